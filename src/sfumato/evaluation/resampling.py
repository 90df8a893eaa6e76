"""Texts drawn anew: jackknife errors and bootstrap intervals.

A metric with `Parts` is a function of sums over its texts, so that a thousand sets of texts,
drawn with replacement, cost one product of matrices:

    counts  R N  ──► counts · columns  R K  ──► pool ──► values  R ──► quantiles

Two systems that were measured on the same texts are drawn together (Koehn 2004, Statistical
Significance Tests for Machine Translation Evaluation): what makes a text hard for both does not
widen the interval of their difference.

Legend of shapes: `R` draws, `N` texts, `K` columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.evaluation.records import Metric, Parts, Pool, difference

_CELLS = 4_000_000  # counts held at once


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a value lies.

    Attributes:
        low: lower end, in the value's unit.
        high: upper end.
        level: share of such intervals that hold the true value.
        draws: sets of texts that were drawn; 0 where the interval is the normal one of the
            standard errors, the two measurements taken as independent.
        seed: of the draws; None without any.
    """

    low: float
    high: float
    level: float
    draws: int
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`new − old` of two comparable metrics, with an interval where one is known."""

    new: Metric
    old: Metric
    interval: Interval | None

    @property
    def value(self) -> float:
        """The difference."""
        return self.new.value - self.old.value

    @property
    def relative(self) -> float | None:
        """The difference as a share of the old value; None if that is 0."""
        return self.value / abs(self.old.value) if self.old.value else None

    def as_json(self) -> dict[str, object]:
        """The comparison as plain JSON types."""
        found: dict[str, object] = {"name": self.new.name, "n": self.new.n}
        found |= {"difference": self.value, "relative": self.relative}
        return found | (vars(self.interval) if self.interval is not None else {})


def compare(
    new: Metric, old: Metric, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Comparison:
    """How much a metric changed, with an interval; refuses what `difference` refuses.

    Where both metrics know what each text adds, text i of one is drawn together with text i of
    the other; else the interval is the normal one of the two standard errors.

    Args:
        new: the later or candidate measurement.
        old: the one it is compared with; its text i answers what text i of `new` answers.
        draws: sets of texts to draw.
        level: share of such intervals that hold the true difference.
        seed: of the draws.

    Raises:
        UsageError: the records measure different quantities, no draws, or a level outside (0, 1).

    Example:
        >>> from sfumato.evaluation.records import mean_metric
        >>> old = [float(i % 7) for i in range(100)]
        >>> new = [value + 1 + i % 2 for i, value in enumerate(old)]
        >>> one, other = (
        ...     mean_metric("score", values, seed=None, reference=None, settings={})
        ...     for values in (new, old)
        ... )
        >>> found = compare(one, other)
        >>> found.value, round(found.interval.low, 2), round(found.interval.high, 2)
        (1.5, 1.4, 1.6)
    """
    gap = difference(new, old)
    _check(draws, level)
    if new.parts is not None and old.parts is not None and new.parts.pool == old.parts.pool:
        gaps = _drawn(new.parts, draws, seed) - _drawn(old.parts, draws, seed)
        return Comparison(new=new, old=old, interval=_quantiles(gaps, level, seed))
    interval = None
    if gap.stderr is not None:
        width = NormalDist().inv_cdf((1 + level) / 2) * gap.stderr
        low, high = gap.value - width, gap.value + width
        interval = Interval(low=low, high=high, level=level, draws=0, seed=None)
    return Comparison(new=new, old=old, interval=interval)


def bootstrap(parts: Parts, *, draws: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """The percentile interval of one metric over the choice of its texts (Efron 1979).

    Args:
        parts: what each text adds.
        draws: sets of texts to draw.
        level: share of such intervals that hold the true value.
        seed: of the draws.

    Raises:
        UsageError: no draws, or a level outside (0, 1).

    Example:
        >>> found = bootstrap(Parts(pool="mean", columns=((0.0, 1.0) * 50,)))
        >>> round(found.low, 1), round(found.high, 1)
        (0.4, 0.6)
    """
    _check(draws, level)
    return _quantiles(_drawn(parts, draws, seed), level, seed)


def pooled(parts: Parts) -> float:
    """The metric of all texts, from what each adds.

    Example:
        >>> pooled(Parts(pool="ratio", columns=((6.0, 2.0), (3, 1))))
        2.0
    """
    rows = _rows(parts)
    return float(_POOLS[parts.pool](rows.sum(0, keepdim=True), parts.n))


def jackknife(parts: Parts) -> float | None:
    """Standard error from the values that leave out one text at a time; None for one text.

    Example:
        >>> jackknife(Parts(pool="mean", columns=((1.0, 3.0),)))
        1.0
    """
    if parts.n < 2:
        return None
    rows = _rows(parts)
    without = _POOLS[parts.pool](rows.sum(0) - rows, parts.n - 1)
    spread = float((without - without.mean()).square().sum())
    return math.sqrt((parts.n - 1) / parts.n * spread)


def _check(draws: int, level: float) -> None:
    if draws < 1 or not 0 < level < 1:
        raise UsageError(
            "an interval needs at least one draw and a level between 0 and 1, but got "
            f"{draws} draws and level {level}"
        )


def _rows(parts: Parts) -> Float[Tensor, "N K"]:
    return torch.tensor(parts.columns, dtype=torch.float64).T


def _drawn(parts: Parts, draws: int, seed: int) -> Float[Tensor, "R"]:
    """The metric of sets of texts; the sets depend on the seed and the number of texts only."""
    rows, generator = _rows(parts), torch.Generator().manual_seed(seed)
    size = max(1, _CELLS // parts.n)
    found = []
    for start in range(0, draws, size):
        block = min(size, draws - start)
        chosen = torch.randint(parts.n, (block, parts.n), generator=generator)
        counts = torch.zeros(block, parts.n, dtype=torch.float64)
        counts.scatter_add_(1, chosen, torch.ones_like(counts))
        found.append(_POOLS[parts.pool](counts @ rows, parts.n))
    return torch.cat(found)


def _quantiles(values: Float[Tensor, "R"], level: float, seed: int) -> Interval:
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)
    low, high = values.quantile(ends).tolist()
    return Interval(low=low, high=high, level=level, draws=len(values), seed=seed)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """A part of a whole, 0 where there is nothing."""
    return torch.where(whole > 0, part / whole.where(whole > 0, 1), 0)


def _mean(sums: Float[Tensor, "R K"], n: int) -> Float[Tensor, "R"]:
    return sums[:, 0] / n


def _ratio(sums: Float[Tensor, "R K"], n: int) -> Float[Tensor, "R"]:
    return _share(sums[:, 0], sums[:, 1])


def _exp_ratio(sums: Float[Tensor, "R K"], n: int) -> Float[Tensor, "R"]:
    return _ratio(sums, n).exp()


def _bleu(sums: Float[Tensor, "R K"], n: int) -> Float[Tensor, "R"]:
    """BLEU-4 in points; columns: matches of orders 1 … 4, n-grams of them, words, reference words.

    Papineni et al. 2002, §2.3. An order without a match counts as half, a quarter … of one
    n-gram, the first, second … time: the `exp` smoothing of sacreBLEU.
    """
    matches, grams, words, wanted = sums[:, :4], sums[:, 4:8], sums[:, 8], sums[:, 9]
    missed = matches == 0
    smoothed = torch.where(missed, 0.5 ** missed.cumsum(1).double(), matches)
    log_p = _share(smoothed, grams).clamp_min(1e-300).log().mean(1)
    log_brevity = (1 - wanted / words.clamp_min(1e-300)).clamp_max(0)
    found = 100 * (log_p + log_brevity).exp()
    return torch.where((grams == 0).any(1) | missed.all(1), 0, found)


def _edits(sums: Float[Tensor, "R K"]) -> tuple[Tensor, Tensor]:
    """Precision and recall of SARI, *shape* `R 3 4`: added, kept, deleted; orders 1 … 4."""
    good, system, reference = sums.view(-1, 3, 4, 3).unbind(-1)
    return _share(good, system), _share(good, reference)


def _harmonic(precision: Tensor, recall: Tensor) -> Tensor:
    return _share(2 * precision * recall, precision + recall)


def _sari(sums: Float[Tensor, "R K"], n: int) -> Float[Tensor, "R"]:
    """SARI in points (Xu et al. 2016): (F_add + F_keep + P_del) / 3 of means over orders."""
    precision, recall = (part.mean(-1) for part in _edits(sums))
    scores = _harmonic(precision, recall)
    return 100 * (scores[:, 0] + scores[:, 1] + precision[:, 2]) / 3


def _sari_easse(sums: Float[Tensor, "R K"], n: int) -> Float[Tensor, "R"]:
    """SARI in points as EASSE has it: F of each order, of deletions too, then their mean."""
    return 100 * _harmonic(*_edits(sums)).mean((-2, -1))


_POOLS: Mapping[Pool, Callable[[Tensor, int], Tensor]] = {
    "mean": _mean,
    "ratio": _ratio,
    "exp_ratio": _exp_ratio,
    "bleu": _bleu,
    "sari": _sari,
    "sari_easse": _sari_easse,
}
