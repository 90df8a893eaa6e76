"""One hole between two texts: fim, bridge.

prefix ▒▒▒▒ suffix                 a model says little about a length beyond the slots that it
prefix ▒▒▒▒▒▒▒▒ suffix             learnt to leave empty, so several widths are written side by
prefix ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ suffix     side, and the one that fits its surroundings best is kept
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sfumato.errors import UsageError
from sfumato.protocols import Scorer
from sfumato.sampling.tasks.choosing import log_likelihoods
from sfumato.sampling.tasks.jobs import Model, Policy, Row, Watch, Work, policy_for, run_work
from sfumato.sampling.tasks.results import Infill, best_first
from sfumato.sampling.trace import Sample
from sfumato.text.canvas import Hole
from sfumato.text.overlap import begun, trimmed
from sfumato.text.template import Fill, fill_texts, lay_middle

_WIDTHS = (4, 8, 12, 16, 24, 32, 48, 64)
_SEAM = 3
_LEAST_CONTEXT = 8

# What becomes of a middle; of its beginning, if it is not whole, what is sure of that.
Tidy = Callable[[str, bool], str]


def fim(
    model: Model,
    prefix: str,
    suffix: str,
    *,
    length: int | None = None,
    trim: bool = True,
    n: int = 1,
    seed: int = 0,
    policy: Policy | None = None,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
) -> list[Infill]:
    """Writes the middle of a text or of code; prefix and suffix come back byte for byte.

    With a byte-level vocabulary, line breaks and indentation are written as they are meant. Of
    more than the model can read, it sees the end of the prefix and the beginning of the suffix.

    Args:
        model: a checkpoint.
        prefix: what comes before.
        suffix: what comes after.
        length: the most tokens of the middle. If not given, up to 64: several widths are
            written, and the one kept has the likeliest middle and the likeliest tokens beside it.
        trim: end the middle where it goes on as the suffix does, and drop what repeats the end
            of the prefix or the beginning of the suffix.
        n: how many middles; the i-th has the seed `seed + i`.
        seed: seed of the first.
        policy: how to write.
        rank: sorts the texts, those that it scores highest first.
        ban: words and phrases that must not be written.
        batch_size: texts written side by side.
        watch: is shown every frame.

    Raises:
        UsageError: a number below 1, or a text that the model has no room for.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> (one,) = fim(model, "a ", " sat", length=2)
        >>> one.text == "a " + one.middle + " sat"
        True
    """
    seeds = range(seed, seed + n)
    found = middles(
        model, prefix, suffix, length=length, trim=trim, seeds=seeds, policy=policy, ban=ban
    )
    samples = run_work(model, found.work, batch_size=batch_size, watch=watch)
    return best_first(found.best(model, samples, batch_size=batch_size), rank)


def middles(
    model: Model,
    prefix: str,
    suffix: str,
    *,
    length: int | None = None,
    trim: bool = True,
    seeds: Sequence[int] = (0,),
    policy: Policy | None = None,
    ban: Sequence[str] = (),
) -> Between:
    """What `fim` does with these arguments, to be run by the caller.

    Raises:
        UsageError: a length below 1, or a text that the model has no room for.
    """

    def tidy(middle: str, whole: bool) -> str:
        if not trim:
            return middle
        return trimmed(prefix, middle, suffix) if whole else begun(prefix, middle, suffix)

    chosen = policy_for(model, policy, steps=length or _WIDTHS[-1], ban=ban)
    gap = _Gap(prefix=prefix, suffix=suffix, least=0)
    return _between(model, gap, tidy, chosen, length=length, seeds=seeds)


def bridge(
    model: Model,
    first: str,
    second: str,
    *,
    joint: str = " ",
    length: int | None = None,
    n: int = 1,
    seed: int = 0,
    policy: Policy | None = None,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
) -> list[Infill]:
    r"""Writes what connects two texts, at least one token; both come back byte for byte.

    Args:
        model: a checkpoint.
        first: the text before.
        second: the text after.
        joint: what stands on either side of the bridge where the texts have no white space of
            their own: a space, or "\n\n" for a paragraph of its own.
        length: the most tokens of the bridge; if not given, up to 64, as in `fim`.
        n: how many bridges; the i-th has the seed `seed + i`.
        seed: seed of the first.
        policy: how to write.
        rank: sorts the texts, those that it scores highest first.
        ban: words and phrases that must not be written.
        batch_size: texts written side by side.
        watch: is shown every frame.

    Raises:
        UsageError: a number below 1, or a text that the model has no room for.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> bridge(model, "A cat.", "It sat.", length=2)[0].text.endswith(" It sat.")
        True
    """
    before = first if not first or first[-1].isspace() else first + joint
    after = second if not second or second[0].isspace() else joint + second
    gap = _Gap(prefix=before, suffix=after, least=1)

    def tidy(middle: str, whole: bool) -> str:
        cut = trimmed if whole else begun
        return cut(before, middle, after).strip()

    chosen = policy_for(model, policy, steps=length or _WIDTHS[-1], ban=ban)
    seeds = range(seed, seed + n)
    found = _between(model, gap, tidy, chosen, length=length, seeds=seeds)
    samples = run_work(model, found.work, batch_size=batch_size, watch=watch)
    return best_first(found.best(model, samples, batch_size=batch_size), rank)


@dataclass(frozen=True, kw_only=True)
class _Gap:
    """What stands on both sides of a hole, and how many of its slots must be written."""

    prefix: str
    suffix: str
    least: int

    def fill(self, width: int, model: Model, room: int | None) -> Fill:
        """The canvas with a hole of `width` slots between the nearest `room` tokens."""
        hole = Hole(slots=width, optional=True)
        fill = lay_middle(self.prefix, self.suffix, hole, model.vocabulary, room=room)
        start, _ = fill.holes[0]
        optional = fill.canvas.optional.clone()
        optional[0, start : start + self.least] = False
        return replace(fill, canvas=replace(fill.canvas, optional=optional))


@dataclass(frozen=True, kw_only=True, eq=False)
class Between:
    """A hole at several widths, to be written, and the choice among what was written.

    Attributes:
        work: for each seed a row of every width.
        gap: what stands on both sides.
        fills: the canvas of each width.
    """

    work: Work
    gap: _Gap
    fills: Sequence[Fill]

    def best(self, model: Model, samples: Sequence[Sample], *, batch_size: int) -> list[Infill]:
        """For each seed the sample whose width fits best; with several, it takes passes."""
        each = len(self.fills)
        if each == 1:
            return [_infill(one, self.gap) for one in samples]
        fits = _fits(model, samples, self.fills, batch_size)
        found = []
        for first in range(0, len(samples), each):
            group = range(first, first + each)
            best = max(group, key=fits.__getitem__)
            passes = sum(samples[i].passes for i in group) + each
            found.append(_infill(replace(samples[best], passes=passes), self.gap))
        return found


def _between(
    model: Model, gap: _Gap, tidy: Tidy, policy: Policy, *, length: int | None, seeds: Sequence[int]
) -> Between:
    widths, room = _widths(model, length)
    fills = [gap.fill(width, model, room) for width in widths]

    def row(fill: Fill, seed: int) -> Row:
        def read(ids: Sequence[int]) -> str:
            whole = fill.holes_within(len(ids)) == 1
            return tidy(fill_texts(fill, ids, model.vocabulary)[0], whole)

        return Row(canvas=fill.canvas, seed=seed, read=read)

    rows = [row(fill, seed) for seed in seeds for fill in fills]
    return Between(work=Work(rows=rows, policy=policy), gap=gap, fills=fills)


def _widths(model: Model, length: int | None) -> tuple[tuple[int, ...], int | None]:
    """Widths of the hole to try, and the room for what stands around it.

    Half of what the model reads is left to that, more if the length that is asked for is small.
    """
    longest: int | None = getattr(model.denoiser, "max_length", None)
    if length is not None and length < 1:
        raise UsageError(f"expected length ≥ 1, got {length}")
    if longest is None:
        return (_WIDTHS if length is None else (length,)), None
    half = tuple(width for width in _WIDTHS if 2 * width <= longest) or _WIDTHS[:1]
    widths = half if length is None else (length,)
    room = longest - max(widths)
    if room < _LEAST_CONTEXT:
        most = longest - _LEAST_CONTEXT
        raise UsageError(
            f"the model reads {longest} tokens: expected length ≤ {most}, got {length}"
        )
    return widths, room


def _fits(
    model: Model, samples: Sequence[Sample], fills: Sequence[Fill], batch_size: int
) -> list[float]:
    """Mean log-probability of what each sample wrote, end included, and of the tokens beside it.

    The latter are the same tokens at every width, so they weigh the same.
    """
    pad = model.vocabulary.pad
    seams, written = [], []
    for index, sample in enumerate(samples):
        start, stop = fills[index % len(fills)].holes[0]
        ids = sample.trajectory.ids
        beside = [*range(max(1, start - _SEAM), start), *range(stop, min(len(ids), stop + _SEAM))]
        seams.append(([*ids], beside))
        size = [*ids[start:stop], pad].index(pad) + 1
        sure = sample.trajectory.confidence[start:stop][:size]
        written.append(sum(math.log(max(p, 1e-9)) for p in sure) / len(sure))
    sums = log_likelihoods(model, seams, batch_size)
    return [
        wrote + total / max(1, len(places))
        for wrote, total, (_, places) in zip(written, sums, seams, strict=True)
    ]


def _infill(sample: Sample, gap: _Gap) -> Infill:
    text = gap.prefix + sample.text + gap.suffix
    return Infill(
        text=text,
        middle=sample.text,
        seed=sample.seed,
        passes=sample.passes,
        trajectory=sample.trajectory,
        trace=replace(sample.trace, text=text),
    )
