"""What was measured of one thing, and how two of them differ."""

from __future__ import annotations

from dataclasses import dataclass

from sfumato.errors import UsageError
from sfumato.evaluation.records import Metric, number
from sfumato.evaluation.resampling import Comparison, Interval, compare

DIFFERENCE_COLUMNS = ("metric", "difference", "interval", "relative", "how")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model, sampler or corpus that was measured.

    Attributes:
        label: its name in tables and plots.
        metrics: its records, each name once.
        samples: a few of its texts, for the eye.
    """

    label: str
    metrics: tuple[Metric, ...]
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Differences:
    """One run less another, metric by metric.

    Attributes:
        new: label of the one.
        old: label of the other.
        found: what could be compared.
        refused: for each metric that could not, why.
    """

    new: str
    old: str
    found: tuple[Comparison, ...]
    refused: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """`new − old`, in words."""
        return f"{self.new} against {self.old}"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of a table under `DIFFERENCE_COLUMNS`; what was refused comes last."""
        found = [
            (
                one.new.name,
                _signed(one.value),
                _ends(one.interval),
                "–" if one.relative is None else f"{_signed(100 * one.relative)} %",
                _how(one.interval),
            )
            for one in self.found
        ]
        return [*found, *(("–", "–", "–", "–", reason) for reason in self.refused)]


def differences(
    new: Run, old: Run, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Differences:
    """Compares every metric that both runs have; see `compare` of `resampling`.

    Args:
        new: the later or candidate run.
        old: the one it is compared with.
        draws: sets of texts to draw.
        level: share of such intervals that hold the true difference.
        seed: of the draws.

    Raises:
        UsageError: not a single metric can be compared.

    Example:
        >>> runs = [
        ...     Run(label=label, metrics=(Metric(name="div", value=value, n=100, stderr=0.1),))
        ...     for label, value in (("ours", 0.5), ("theirs", 0.4))
        ... ]
        >>> differences(*runs).rows
        [('div', '+0.1', '-0.1772 … 0.3772 (95 %)', '+25 %', 'normal, independent')]
    """
    known = {metric.name: metric for metric in old.metrics}
    found, refused = [], []
    for metric in new.metrics:
        if metric.name not in known:
            continue
        try:
            found.append(compare(metric, known[metric.name], draws=draws, level=level, seed=seed))
        except UsageError as error:
            refused.append(str(error))
    if not found:
        why = refused[0] if refused else "they have no metric in common"
        raise UsageError(f"{new.label!r} cannot be compared with {old.label!r}: {why}")
    return Differences(new=new.label, old=old.label, found=tuple(found), refused=tuple(refused))


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def _ends(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return f"{number(interval.low)} … {number(interval.high)} ({100 * interval.level:g} %)"


def _how(interval: Interval | None) -> str:
    if interval is None:
        return "no error known"
    if interval.seed is None:
        return "normal, independent"
    return f"paired bootstrap, {interval.draws} draws, seed {interval.seed}"
