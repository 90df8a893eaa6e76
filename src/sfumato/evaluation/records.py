"""A metric is a record, not a number: `div` of 100 texts and of 5,000 are different quantities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from sfumato.errors import DataError, UsageError

Number = int | float
Setting = str | int | float | bool | None
Pool = Literal["mean", "ratio", "exp_ratio", "bleu", "sari", "sari_easse"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What each text adds to a metric, so that texts can be drawn anew.

    Attributes:
        pool: how the value comes from the columns, see `sfumato.evaluation.resampling`.
        columns: quantities that are summed over texts, each with one number a text.

    Raises:
        UsageError: no columns, or of different lengths.

    Example:
        >>> Parts(pool="ratio", columns=((6.0, 2.0), (3, 1))).n
        2
    """

    pool: Pool
    columns: tuple[tuple[Number, ...], ...]

    def __post_init__(self) -> None:
        sizes = {len(column) for column in self.columns}
        if len(sizes) != 1:
            raise UsageError(f"parts need columns of one length, got lengths {sorted(sizes)}")

    @property
    def n(self) -> int:
        """Texts."""
        return len(self.columns[0])


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measured number with everything that fixes its meaning.

    Attributes:
        name: what was measured, with its unit where it has one (`elbo_nats_per_token`).
        value: the number; finite.
        n: texts that it was measured on.
        seed: seed of the randomness behind it (of the generated texts or of the estimator);
            None where there is none.
        reference: what the texts are measured against (a judge, a corpus); None if nothing.
        settings: every option that changes the number.
        stderr: standard error of the value in the value's unit; None where unknown.
        parts: what each text adds, for intervals by the bootstrap; no part of the record that
            is written or compared, and None where the metric is no function of sums over texts.

    Raises:
        UsageError: the value or its error is not finite, nothing was measured, or the parts are
            those of another number of texts.

    Example:
        >>> Metric(name="div", value=0.41, n=100, settings={"tokens": "words"}).n
        100
    """

    name: str
    value: float
    n: int
    seed: int | None = None
    reference: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    stderr: float | None = None
    parts: Parts | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UsageError(f"metric {self.name!r} needs at least one text, got n = {self.n}")
        if self.parts is not None and self.parts.n != self.n:
            raise UsageError(
                f"metric {self.name!r} of {self.n} texts got the parts of {self.parts.n}"
            )
        for label, number in (("value", self.value), ("stderr", self.stderr)):
            if number is not None and not math.isfinite(number):
                raise UsageError(f"metric {self.name!r} needs a finite {label}, got {number}")

    def as_json(self) -> dict[str, object]:
        """The record as plain JSON types; `metric_from_json` reads it back."""
        values = {name: getattr(self, name) for name in _WRITTEN}
        return {**values, "settings": dict(self.settings)}


_WRITTEN = tuple(entry.name for entry in fields(Metric) if entry.name != "parts")


def metric_from_json(record: Mapping[str, object], *, parts: Parts | None = None) -> Metric:
    """Reads back what `Metric.as_json` wrote, perhaps with parts that were kept apart.

    Raises:
        DataError: a field is missing or unknown.

    Example:
        >>> metric = Metric(name="div", value=0.41, n=100)
        >>> metric_from_json(metric.as_json()) == metric
        True
    """
    wrong = sorted(set(record) ^ set(_WRITTEN))
    if wrong:
        raise DataError(
            f"a metric record has the fields {', '.join(sorted(_WRITTEN))}; "
            f"missing or unknown here: {', '.join(wrong)}"
        )
    return Metric(**dict(record), parts=parts)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`new − old` of two comparable metrics.

    Attributes:
        name: the metric.
        value: new value − old value.
        stderr: standard error of the difference, the two taken as independent; None where
            either is unknown. Measured on the same texts the true error is smaller.
    """

    name: str
    value: float
    stderr: float | None


def difference(new: Metric, old: Metric) -> Difference:
    """How much a metric changed; refuses to compare what is not comparable.

    Args:
        new: the later or candidate measurement.
        old: the one it is compared with. Name, n, reference and settings must agree; the
            seeds may differ.

    Raises:
        UsageError: the records measure different quantities; names what differs.

    Example:
        >>> old = Metric(name="div", value=0.40, n=100)
        >>> difference(Metric(name="div", value=0.45, n=5000), old)
        Traceback (most recent call last):
            ...
        sfumato.errors.UsageError: 'div' and 'div' are not comparable: n 5000 against 100
    """
    reasons = [
        f"{label} {left} against {right}"
        for label, left, right in (
            ("name", new.name, old.name),
            ("n", new.n, old.n),
            ("reference", new.reference, old.reference),
            *_settings_side_by_side(new.settings, old.settings),
        )
        if left != right
    ]
    if reasons:
        raise UsageError(f"{new.name!r} and {old.name!r} are not comparable: {'; '.join(reasons)}")
    stderr = None
    if new.stderr is not None and old.stderr is not None:
        stderr = math.hypot(new.stderr, old.stderr)
    return Difference(name=new.name, value=new.value - old.value, stderr=stderr)


def _settings_side_by_side(
    new: Mapping[str, Setting], old: Mapping[str, Setting]
) -> list[tuple[str, object, object]]:
    absent = "(unset)"
    return [
        (f"setting {key}", new.get(key, absent), old.get(key, absent))
        for key in sorted({*new, *old})
    ]


def mean_metric(
    name: str,
    values: Sequence[float],
    *,
    seed: int | None,
    reference: str | None,
    settings: Mapping[str, Setting],
) -> Metric:
    """The mean of one number a text, with the standard error of a mean.

    Example:
        >>> metric = mean_metric("length", [1.0, 3.0], seed=None, reference=None, settings={})
        >>> metric.value, metric.stderr
        (2.0, 1.0)
    """
    n = len(values)
    if n == 0:
        raise UsageError(f"metric {name!r} needs at least one text, got none")
    mean = math.fsum(values) / n
    stderr = None
    if n > 1:
        stderr = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return Metric(
        name=name,
        value=mean,
        n=n,
        seed=seed,
        reference=reference,
        settings=settings,
        stderr=stderr,
        parts=Parts(pool="mean", columns=(tuple(values),)),
    )


def ratio_metric(
    name: str,
    totals: Sequence[float],
    sizes: Sequence[int],
    *,
    seed: int | None,
    reference: str | None,
    settings: Mapping[str, Setting],
) -> Metric:
    """Σ totals / Σ sizes over texts, with the standard error of a ratio (delta method).

    Example:
        >>> nats, tokens = [6.0, 2.0], [3, 1]
        >>> metric = ratio_metric("nll", nats, tokens, seed=0, reference=None, settings={})
        >>> metric.value, metric.stderr
        (2.0, 0.0)
    """
    n, size = len(totals), sum(sizes)
    if size == 0:
        raise UsageError(f"metric {name!r} needs something to divide by, got {n} empty texts")
    value = math.fsum(totals) / size
    stderr = None
    if n > 1:
        rest = (total - value * part for total, part in zip(totals, sizes, strict=True))
        stderr = math.sqrt(n / (n - 1) * math.fsum(r * r for r in rest)) / size
    return Metric(
        name=name,
        value=value,
        n=n,
        seed=seed,
        reference=reference,
        settings=settings,
        stderr=stderr,
        parts=Parts(pool="ratio", columns=(tuple(totals), tuple(sizes))),
    )


def number(value: Number) -> str:
    """A number for a label: four significant digits, no needless zeros.

    Example:
        >>> number(0.30000000000000004), number(12345.6)
        ('0.3', '12346')
    """
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def measured(value: Number, error: Number | None) -> str:
    """A value with its standard error: two digits of the error, the value as fine.

    Example:
        >>> measured(13.7912, 0.5205), measured(0.0, 0.0), measured(2.0, None)
        ('13.79 ± 0.52', '0 ± 0', '2')
    """
    if error is None:
        return number(value)
    if error <= 0:
        return f"{number(value)} ± 0"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
