"""From the beginning of a text on: write, complete.

[CLS] The cat ▒▒▒▒▒▒▒▒▒▒▒▒                        may end anywhere
[CLS] <|user|> Who is it? <|assistant|> ▒▒▒▒▒▒▒▒  the same, trained on dialogues
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from sfumato.errors import UsageError
from sfumato.protocols import Scorer
from sfumato.sampling.parts.constraints import Loops
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.parts.randomness import Purpose, uniform
from sfumato.sampling.tasks.jobs import (
    SUREST,
    How,
    Policy,
    Row,
    Watch,
    Work,
    Writer,
    policy_for,
    run,
    run_work,
)
from sfumato.sampling.tasks.results import best_first
from sfumato.sampling.trace import Sample
from sfumato.text.batching import prompt_ids
from sfumato.text.canvas import Hole, Locked, lay_out
from sfumato.text.dialogue import Message
from sfumato.text.vocabulary import Vocabulary

BLOCK = 8
USUAL = replace(SUREST, blocks=Blocks(size=BLOCK), constraints=(Loops(),))
LENGTH = 64


def write(
    model: Writer,
    *,
    prompt: str | Sequence[Message] | None = None,
    n: int = 1,
    length: int | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
) -> list[Sample]:
    """Writes texts from noise.

    The width of the canvas tells a model how much to write, so by default each text's is drawn
    from the widths of the texts that the model was trained on (`Checkpoint.lengths`). After a
    prompt, a model of pairs or dialogues gets the upper quartile of the widths of its answers
    (`Checkpoint.answers`): room for most of them, and it has learnt to leave slots empty. A canvas
    much wider than those trained on is filled with repetitions.

    Args:
        model: a checkpoint.
        prompt: how the text begins, which comes back unchanged; or a dialogue, to be answered.
        n: how many texts; text i has the seed `seed + i`.
        length: the most tokens to write; a text may end earlier. If not given, it is drawn from
            the lengths that the model was trained on, 64 if it does not say.
        policy: how to write; if not given, blocks of 8 tokens from left to right, in each the
            surest positions first, several at once where that costs at most 0.1 nats, and no
            loops of 8 or more tokens; ancestral sampling for noise without marks.
        seed: seed of the first text.
        rank: sorts the texts, those that it scores highest first.
        ban: words and phrases that must not be written, as the vocabulary spells them.
        require: phrases that must be written; the model chooses their places.
        batch_size: texts written side by side.
        watch: is shown every frame.

    Raises:
        UsageError: a number below 1, or a policy that does not fit the noise.

    Example:
        >>> from types import SimpleNamespace
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> [one.seed for one in write(model, n=2, length=4)]
        [0, 1]
    """
    work = writing(
        model,
        prompt,
        length=length,
        seeds=range(seed, seed + n),
        policy=policy,
        ban=ban,
        require=require,
    )
    return best_first(run_work(model, work, batch_size=batch_size, watch=watch), rank)


def writing(
    model: Writer,
    prompt: str | Sequence[Message] | None,
    *,
    length: int | None = None,
    seeds: Sequence[int] = (0,),
    policy: Policy | None = None,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
) -> Work:
    """What `write` does with these arguments, to be run by the caller.

    Raises:
        UsageError: a length below 1, or a policy that does not fit the noise.
    """
    rows, steps = rows_after(model, prompt, length, seeds)
    chosen = policy_for(model, policy, steps=steps, ban=ban, require=require, usual=USUAL)
    return Work(rows=rows, policy=chosen, require=require)


def complete(
    model: Writer,
    text: str,
    *,
    n: int = 1,
    length: int | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    rank: Scorer | None = None,
) -> list[Sample]:
    """Writes what follows a text: `write` with a prompt, and only the new part in `text`.

    The scorer `rank` reads the whole text. The arguments are those of `write`.
    """
    samples = write(model, prompt=text, n=n, length=length, policy=policy, seed=seed, rank=rank)
    return [replace(one, text=one.text.removeprefix(text)) for one in samples]


def complete_each(
    model: Writer,
    texts: Sequence[str | Sequence[Message]],
    *,
    lengths: Sequence[int] | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> list[Sample]:
    """Writes what follows each of many texts, side by side; text i has the seed `seed + i`.

    Args:
        model: a checkpoint.
        texts: what to go on from; turns of a dialogue are answered.
        lengths: the most tokens to write after each; if not given, as `write` chooses them.
        policy: how to write, as in `write`.
        seed: seed of the first text.
        batch_size: texts written side by side.

    Raises:
        UsageError: no text, not one length for each, or a number below 1.
    """
    if lengths is not None and len(lengths) != len(texts):
        raise UsageError(f"expected a length for each of {len(texts)} texts, got {len(lengths)}")
    most: Sequence[int | None] = lengths or [None] * len(texts)
    found = [rows_after(model, text, most[i], [seed + i]) for i, text in enumerate(texts)]
    steps = max((needed for _, needed in found), default=1)
    chosen = policy_for(model, policy, steps=steps, usual=USUAL)
    samples = run(model, [row for (row,), _ in found], How(policy=chosen, batch_size=batch_size))
    return [
        replace(one, text=one.text.removeprefix(text if isinstance(text, str) else ""))
        for one, text in zip(samples, texts, strict=True)
    ]


def rows_after(
    model: Writer, prompt: str | Sequence[Message] | None, length: int | None, seeds: Sequence[int]
) -> tuple[list[Row], int]:
    """A row to write for every seed, and the most slots that any of them might have.

    Args:
        model: what writes.
        prompt: how the text begins, or the dialogue to be answered.
        length: the most tokens to write; None chooses as `write` says.
        seeds: of the rows.

    Raises:
        UsageError: a length below 1.
    """
    if length is not None and length < 1:
        raise UsageError(f"expected length ≥ 1, got {length}")
    vocabulary = model.vocabulary
    typed = prompt if isinstance(prompt, str) else ""
    # The space before the first word written is carried by that word.
    head = typed.removesuffix(" ") if prompt is None or isinstance(prompt, str) else prompt
    locked = prompt_ids(head, vocabulary)
    lengths = _lengths(model, length, len(locked), prompted=bool(head))

    def row(seed: int) -> Row:
        hole = Hole(slots=lengths[_pick(seed, len(lengths))], optional=True)
        canvas = lay_out([Locked(ids=locked), hole], mask=vocabulary.mask)
        return Row(canvas=canvas, seed=seed, read=read)

    def read(ids: Sequence[int]) -> str:
        return typed + _tail(ids[len(locked) :], typed, vocabulary)

    return [row(seed) for seed in seeds], max(lengths)


def _tail(ids: Sequence[int], typed: str, vocabulary: Vocabulary) -> str:
    """The text of what was written, up to its end."""
    ends = (i for i, token in enumerate(ids) if token in (vocabulary.eos, vocabulary.pad))
    written = ids[: next(ends, len(ids))]
    if not typed:
        return vocabulary.decode(written)
    tail = vocabulary.continuation(written)
    return tail.removeprefix(" ") if typed.endswith(" ") else tail


def _lengths(model: Writer, length: int | None, given: int, *, prompted: bool) -> tuple[int, ...]:
    """Numbers of slots to choose from after `given` locked tokens."""
    if length is not None:
        return (length,)
    answers: Sequence[int] = getattr(model, "answers", ())
    if prompted and answers:
        return (sorted(answers)[3 * len(answers) // 4],)
    known: Sequence[int] = getattr(model, "lengths", ()) or (LENGTH,)
    return tuple(width - given for width in known if width > given) or (LENGTH,)


def _pick(seed: int, count: int) -> int:
    """One of `count` indices, by the seed."""
    first = torch.zeros(1, dtype=torch.long)
    number = uniform(first + seed, first, step=0, purpose=Purpose.LENGTH)
    return min(int(number * count), count - 1)
