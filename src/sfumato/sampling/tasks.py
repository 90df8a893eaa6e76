"""Text in, text out: write, complete, fill.

    prompt ─▶ canvas ─▶ sample ─▶ frames ─▶ text, passes, trace
    [CLS] The cat ▒▒▒▒▒▒▒▒▒▒▒▒            write and complete: a hole that may end anywhere
    [CLS] The ▒▒▒ sat on ▒▒▒▒▒▒ . [SEP]   fill: holes between locked text

A sample depends on its seed and not on what is written beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, runtime_checkable

import torch

from sfumato.errors import UsageError
from sfumato.protocols import Denoiser, Process
from sfumato.sampling.ancestral import Ancestral, marks_noise
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame, Specials
from sfumato.sampling.loop import resume
from sfumato.sampling.parts.constraints import Ban
from sfumato.sampling.parts.guidance import place
from sfumato.sampling.parts.planners import Blocks, Order, entropy
from sfumato.sampling.parts.quotas import EntropyBound
from sfumato.sampling.parts.randomness import Purpose, uniform
from sfumato.sampling.trace import Sample, record
from sfumato.text.batching import prompt_ids
from sfumato.text.canvas import Canvas, Hole, Locked, lay_out, stack
from sfumato.text.dialogue import Message
from sfumato.text.template import compose_fill, join_fill
from sfumato.text.vocabulary import Vocabulary

__all__ = ["Model", "Sample", "ban_texts", "complete", "fill", "specials_of", "write"]

Policy = DecodingPolicy | Ancestral
Watch = Callable[[Frame], None]
_LENGTH, _BLOCK = 64, 8


@runtime_checkable
class Model(Protocol):
    """What a task needs of a checkpoint."""

    @property
    def denoiser(self) -> Denoiser:
        """The network."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """Text ↔ ids."""
        ...

    @property
    def process(self) -> Process:
        """The noise that the network was trained on."""
        ...


def write(
    model: Model,
    *,
    prompt: str | Sequence[Message] | None = None,
    n: int = 1,
    length: int | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
) -> list[Sample]:
    """Writes texts from noise.

    The width of the canvas tells a model how much to write, so by default each text's is drawn
    from the widths that the model was trained on (`Checkpoint.lengths`). A canvas much wider
    than those is filled with repetitions.

    Args:
        model: a checkpoint.
        prompt: how the text begins, which comes back unchanged; or a dialogue, to be answered.
        n: how many texts; text i has the seed `seed + i`.
        length: the most tokens to write; a text may end earlier. If not given, it is drawn from
            the lengths that the model was trained on, 64 if it does not say.
        policy: how to write; if not given, blocks of 8 tokens from left to right, in each the
            surest positions first, several at once where that costs at most 0.1 nats; ancestral
            sampling for noise without marks.
        seed: seed of the first text.
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
    if length is not None and length < 1:
        raise UsageError(f"expected length ≥ 1, got {length}")
    vocabulary = model.vocabulary
    typed = prompt if isinstance(prompt, str) else ""
    # The space before the first word written is carried by that word.
    head = typed.removesuffix(" ") if prompt is None or isinstance(prompt, str) else prompt
    locked = prompt_ids(head, vocabulary)
    lengths = _lengths(model, length, len(locked))

    def canvas_of(seed: int) -> Canvas:
        hole = Hole(slots=lengths[_pick(seed, len(lengths))], optional=True)
        return lay_out([Locked(ids=locked), hole], mask=vocabulary.mask)

    def read(ids: Sequence[int]) -> str:
        return typed + _tail(ids[len(locked) :], typed, vocabulary)

    chosen = _policy(model, policy, (ban, require), max(lengths), Blocks(size=_BLOCK))
    job = _Job(canvas_of=canvas_of, read=read, policy=chosen, require=require, watch=watch)
    return _run(model, job, n=n, seed=seed, batch_size=batch_size)


def complete(
    model: Model,
    text: str,
    *,
    n: int = 1,
    length: int | None = None,
    policy: Policy | None = None,
    seed: int = 0,
) -> list[Sample]:
    """Writes what follows a text: `write` with a prompt, and only the new part in `text`.

    The other arguments are those of `write`.
    """
    samples = write(model, prompt=text, n=n, length=length, policy=policy, seed=seed)
    return [replace(one, text=one.text.removeprefix(text)) for one in samples]


def fill(
    model: Model,
    text: str,
    *,
    n: int = 1,
    free_slots: int = 16,
    policy: Policy | None = None,
    seed: int = 0,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
) -> list[Sample]:
    """Fills the holes of a text, all at once; everything else comes back byte for byte.

    Args:
        model: a checkpoint.
        text: with holes `{}` (the model chooses the length) and `{8}` (at most eight tokens); a
            literal brace is doubled.
        n: how many ways to fill it.
        free_slots: the most tokens of a hole without a number.
        policy: how to write; if not given, as for `write`, but on all holes at once.
        seed: seed of the first.
        ban: words and phrases that must not be written.
        require: phrases that must be written into the holes.
        batch_size: texts written side by side.
        watch: is shown every frame.

    Raises:
        UsageError: there is no hole in the text, or a brace is not doubled.

    Example:
        >>> from types import SimpleNamespace
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> fill(model, "a {2} sat")[0].text.endswith(" sat")
        True
    """
    task = compose_fill(text, model.vocabulary, free_slots=free_slots)

    def read(ids: Sequence[int]) -> str:
        return join_fill(task, ids, model.vocabulary)

    slots = int(task.canvas.editable.sum())
    chosen = _policy(model, policy, (ban, require), slots, Blocks())
    job = _Job(
        canvas_of=lambda _: task.canvas, read=read, policy=chosen, require=require, watch=watch
    )
    return _run(model, job, n=n, seed=seed, batch_size=batch_size)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """The canvas of a seed, how to write it, and how to read the text off it."""

    canvas_of: Callable[[int], Canvas]
    read: Callable[[Sequence[int]], str]
    policy: Policy
    require: Sequence[str]
    watch: Watch | None


def _run(model: Model, job: _Job, *, n: int, seed: int, batch_size: int) -> list[Sample]:
    if n < 1 or batch_size < 1:
        raise UsageError(f"expected n ≥ 1 and batch_size ≥ 1, got n={n}, batch_size={batch_size}")
    samples: list[Sample] = []
    for first in range(0, n, batch_size):
        seeds = [seed + row for row in range(first, min(n, first + batch_size))]
        samples += _batch(model, job, seeds)
    return samples


def _batch(model: Model, job: _Job, seeds: list[int]) -> list[Sample]:
    vocabulary, specials = model.vocabulary, specials_of(model.vocabulary)
    rows = [job.canvas_of(seed) for seed in seeds]
    canvas = stack(rows, pad=vocabulary.pad).to(_device(model.denoiser))
    phrases = [vocabulary.encode(f" {phrase.strip()}") for phrase in job.require]
    canvas = place(model.denoiser, canvas, phrases, specials, seeds=seeds)
    first = job.policy.start(canvas, seeds, specials)
    first = replace(first, passes=first.passes + len(phrases))
    run = chain([first], resume(model.denoiser, first, job.policy, specials))
    return record(_watched(run, job.watch), job.read, vocabulary.pieces, specials)


def _watched(frames: Iterable[Frame], watch: Watch | None) -> Iterator[Frame]:
    for frame in frames:
        if watch is not None:
            watch(frame)
        yield frame


def _policy(
    model: Model,
    policy: Policy | None,
    job: tuple[Sequence[str], Sequence[str]],
    steps: int,
    blocks: Blocks,
) -> Policy:
    """The policy with the banned phrases; the default of the noise if none is given.

    Raises:
        UsageError: the policy or the phrases need noise that marks what is unwritten.
    """
    ban, require = job
    marked = marks_noise(model.process, specials_of(model.vocabulary))
    if not marked and (ban or require or isinstance(policy, DecodingPolicy)):
        raise UsageError(
            f"{model.process} does not mark what is unwritten, so decoding policies, `ban` and "
            "`require` cannot be used with it: leave them out, or use Ancestral(process=…)"
        )
    if policy is None:
        surest = DecodingPolicy(blocks=blocks, order=Order(by=entropy), quota=EntropyBound())
        policy = surest if marked else Ancestral(process=model.process, steps=steps)
    if not ban:
        return policy
    if not isinstance(policy, DecodingPolicy):
        raise UsageError("ancestral sampling takes no constraints: ban with a DecodingPolicy")
    return replace(policy, constraints=(*policy.constraints, ban_texts(ban, model.vocabulary)))


def ban_texts(texts: Sequence[str], vocabulary: Vocabulary) -> Ban:
    """A ban of words and phrases, at the beginning of a word and inside one.

    It bans the tokens that the vocabulary spells them with, not every other spelling.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["cat cat"], size=300)
        >>> len(ban_texts(["cat"], words).phrases)
        2
    """
    spelled = [vocabulary.encode(form) for text in texts for form in (text, f" {text}")]
    return Ban(phrases=tuple(dict.fromkeys(spelled)))


def specials_of(vocabulary: Vocabulary) -> Specials:
    """What a sampler knows of a vocabulary."""
    return Specials(
        mask=vocabulary.mask,
        pad=vocabulary.pad,
        eos=vocabulary.eos,
        unwritable=vocabulary.unwritable,
    )


def _tail(ids: Sequence[int], typed: str, vocabulary: Vocabulary) -> str:
    """The text of what was written, up to its end."""
    ends = (i for i, token in enumerate(ids) if token in (vocabulary.eos, vocabulary.pad))
    written = ids[: next(ends, len(ids))]
    if not typed:
        return vocabulary.decode(written)
    tail = vocabulary.continuation(written)
    return tail.removeprefix(" ") if typed.endswith(" ") else tail


def _lengths(model: Model, length: int | None, given: int) -> tuple[int, ...]:
    """Numbers of slots to choose from after `given` locked tokens."""
    if length is not None:
        return (length,)
    known: Sequence[int] = getattr(model, "lengths", ()) or (_LENGTH,)
    return tuple(width - given for width in known if width > given) or (_LENGTH,)


def _same(canvas: Canvas, seed: int) -> Canvas:
    return canvas


def _pick(seed: int, count: int) -> int:
    """One of `count` indices, by the seed."""
    first = torch.zeros(1, dtype=torch.long)
    number = uniform(first + seed, first, step=0, purpose=Purpose.LENGTH)
    return min(int(number * count), count - 1)


def _device(denoiser: Denoiser) -> torch.device:
    """Where a network's weights are; the CPU for what has none."""
    parameters = denoiser.parameters() if isinstance(denoiser, torch.nn.Module) else iter(())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device
