"""After each of any number of prompts: texts in a stream.

    prompts ─▶ rows ─▶ a batch that is kept full ─▶ texts, in the order of the prompts

Only the rows of a few batches are held, however many prompts there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from sfumato.errors import DataError, SfumatoError, UsageError
from sfumato.sampling.tasks.jobs import How, Policy, Row, Writer, policy_for, stream
from sfumato.sampling.tasks.writing import LENGTH, USUAL, rows_after
from sfumato.sampling.trace import Sample
from sfumato.text.canvas import Locked, lay_out
from sfumato.text.dialogue import Message

Prompt = str | Sequence[Message]
Asked = tuple[Prompt | SfumatoError, int]
Result = list[Sample] | SfumatoError


def write_each(
    model: Writer,
    prompts: Iterable[Prompt | SfumatoError],
    *,
    n: int = 1,
    length: int | None = None,
    policy: Policy | None = None,
    seeds: int | Iterable[int] = 0,
    batch_size: int = 16,
) -> Iterator[Result]:
    """Writes texts after each of any number of prompts, in their order.

    What is written after a prompt depends on it and on its seed, not on the others.

    Args:
        model: a checkpoint.
        prompts: how texts begin, "" for texts from noise; dialogues are answered. An error in the
            place of a prompt comes back in its place.
        n: how many texts a prompt.
        length: the most tokens of each, as in `write`.
        policy: how to write, as in `write`; without it, noise without marks is walked back in as
            many steps as the widest canvas has slots.
        seeds: seed of the first text of each prompt, or one that prompt i adds `n * i` to; the
            others of a prompt count on from its first.
        batch_size: texts written side by side.

    Yields:
        the texts of a prompt, or what is wrong with it, such as too many tokens for the model.

    Raises:
        UsageError: a number below 1, or a policy that does not fit the noise.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> [texts[0].seed for texts in write_each(model, ["a", "a cat"], n=2, length=3)]
        [0, 2]
    """
    if min(n, batch_size, 1 if length is None else length) < 1:
        given = f"n={n}, batch_size={batch_size}, length={length}"
        raise UsageError(f"expected n, batch_size and length ≥ 1, got {given}")
    steps = length or max(getattr(model, "lengths", ()), default=LENGTH)
    chosen = policy_for(model, policy, steps=steps, usual=USUAL)
    numbers = count(seeds, n) if isinstance(seeds, int) else seeds
    job = _Job(model=model, how=How(policy=chosen, batch_size=batch_size), n=n, length=length)
    return job.results(zip(_read(prompts), numbers, strict=False))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """What is written after each prompt."""

    model: Writer
    how: How
    n: int
    length: int | None

    def results(self, asked: Iterable[Asked]) -> Iterator[Result]:
        """The results of prompts; where a batch is refused, those under way are tried again."""
        rest, held = iter(asked), deque[Asked]()
        while True:
            try:
                yield from self._streamed(rest, held)
                return
            except UsageError:
                yield from self._apart([*held])
                held.clear()

    def _apart(self, asked: Sequence[Asked]) -> list[Result]:
        """The results of prompts of which one at least is refused."""
        half = len(asked) // 2
        if not half:
            return self._whole(asked)
        return [one for part in (asked[:half], asked[half:]) for one in self._whole(part)]

    def _whole(self, asked: Sequence[Asked]) -> list[Result]:
        try:
            return [*self._streamed(iter(asked), deque())]
        except UsageError as error:
            return [error] if len(asked) == 1 else self._apart(asked)

    def _streamed(self, asked: Iterator[Asked], held: deque[Asked]) -> Iterator[Result]:
        """The results of prompts; `held` are those that are read and whose turn is to come."""
        wrong: deque[SfumatoError | None] = deque()

        def rows() -> Iterator[Row]:
            for prompt, seed in asked:
                found = _rows(self.model, prompt, self.length, range(seed, seed + self.n))
                held.append((prompt, seed))
                wrong.append(found if isinstance(found, SfumatoError) else None)
                yield from [_idle(self.model)] if isinstance(found, SfumatoError) else found

        samples = stream(self.model, rows(), self.how)
        for first in samples:
            error = wrong.popleft()
            result = error if error is not None else [first, *islice(samples, self.n - 1)]
            held.popleft()
            yield result


def _read(prompts: Iterable[Prompt | SfumatoError]) -> Iterator[Prompt | SfumatoError]:
    """The prompts; an error of where they come from is no fault of a prompt's."""
    try:
        yield from prompts
    except UsageError as error:
        raise DataError(f"the prompts cannot be read any further: {error}") from error


def _rows(
    model: Writer, prompt: Prompt | SfumatoError, length: int | None, seeds: Sequence[int]
) -> list[Row] | SfumatoError:
    """The rows of a prompt, or what is wrong with it."""
    if isinstance(prompt, SfumatoError):
        return prompt
    try:
        rows, _ = rows_after(model, prompt, length, seeds)
    except SfumatoError as error:
        return error
    room: int | None = getattr(model.denoiser, "max_length", None)
    width = max(row.canvas.ids.shape[1] for row in rows)
    if room is not None and width > room:
        return UsageError(
            f"the prompt and what follows it take {width} tokens, but the model reads at most "
            f"{room}: shorten the prompt or what is to be written"
        )
    return rows


def _idle(model: Writer) -> Row:
    """A row with nothing to write, so that an error waits for its turn like a text."""
    canvas = lay_out([Locked(ids=(model.vocabulary.eos,))], mask=model.vocabulary.mask)
    return Row(canvas=canvas, seed=0, read=lambda _: "")
