"""A text written anew: rewrite.

[CLS] he go home. ▒▒▒▒▒▒▒▒▒▒▒▒                    trained on pairs
[CLS] <|user|> Fix it: … <|assistant|> ▒▒▒▒▒▒▒▒   trained on dialogues
"""

from __future__ import annotations

from collections.abc import Sequence

from sfumato.protocols import Scorer
from sfumato.sampling.tasks.jobs import LatentModel, Policy, Watch, Writer
from sfumato.sampling.tasks.results import Edit, best_first, edited
from sfumato.sampling.tasks.writing import write
from sfumato.text.dialogue import Message

_SPARE = 8


def rewrite(
    model: Writer,
    text: str,
    *,
    instruction: str | None = None,
    n: int = 1,
    length: int | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
) -> list[Edit]:
    """Writes a text anew, with a model that was trained on pairs or on dialogues.

    A model of pairs reads the text as its prompt. A model of dialogues reads a turn of the user:
    the instruction, an empty line and the text, as records with `instruction` and `input` are
    laid out in training; without an instruction, the text alone.

    Args:
        model: a checkpoint; its metadata say whether it was trained on dialogues.
        text: what to rewrite.
        instruction: what to do with it; makes the prompt a dialogue.
        n: how many ways; the i-th has the seed `seed + i`.
        length: the most tokens to write; if not given, a quarter and eight more than the text, or
            what a latent model writes.
        policy: how to write.
        seed: seed of the first.
        rank: sorts the results, those that it scores highest first.
        ban: words and phrases that must not be written.
        batch_size: texts written side by side.
        watch: is shown every frame.

    Raises:
        UsageError: a number below 1.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> rewrite(model, "a cat", length=4)[0].source
        'a cat'
    """
    prompt = _request(model, text, instruction)
    if length is None and not isinstance(model, LatentModel):
        tokens = len(model.vocabulary.encode(text))
        length = tokens + tokens // 4 + _SPARE
    samples = write(
        model,
        prompt=prompt,
        n=n,
        length=length,
        policy=policy,
        seed=seed,
        ban=ban,
        batch_size=batch_size,
        watch=watch,
    )
    typed = prompt if isinstance(prompt, str) else ""
    edits = [
        edited(
            text,
            # The space that joins a pair in training is not part of the answer.
            one.text.removeprefix(typed).removeprefix(" "),
            seed=one.seed,
            passes=one.passes,
            trace=one.trace,
        )
        for one in samples
    ]
    return best_first(edits, rank)


def _request(model: Writer, text: str, instruction: str | None) -> str | list[Message]:
    """The prompt that training puts before an answer."""
    if instruction is None and not getattr(model, "metadata", {}).get("dialogues", False):
        return text
    asked = text if instruction is None else f"{instruction}\n\n{text}"
    return [Message(role="user", content=asked)]
