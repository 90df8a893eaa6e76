"""The boldest pace whose quality is sure to reach a share of what careful writing has.

    family      careful ──────────────────────────▶ bold
    Threshold   0.99 ✓   0.95 ✓   0.9 ✓   0.8 ✗            tried in order until one fails
    Factor      0.25 ✓   0.5 ✓    1 ✗                      the cheapest ✓ of all families wins

A pace passes if the lower end of its interval reaches the target. Paces of a family are tried in
a fixed order up to the first that fails, and the families share the risk equally, so that the
chance of a winner below the target stays at 1 − level however many are tried (Learn then Test,
Angelopoulos et al. 2110.01052, fixed sequence testing; CALM, 2207.07061, for thresholds).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from sfumato.errors import UsageError
from sfumato.evaluation.records import Parts
from sfumato.evaluation.resampling import Interval, bootstrap, pooled
from sfumato.evaluation.tuning.agreement import Walk, walks
from sfumato.evaluation.tuning.paces import Pace, Paces
from sfumato.protocols import Scorer
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.tasks.jobs import How, Model, Row, run
from sfumato.sampling.tasks.results import scores_of

_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A pace that was tried on every row.

    Attributes:
        parts: what each row adds to the share, a ratio: of tokens that agree, or of the careful
            texts' quality.
        passes: evaluations of the network on each row.
    """

    parts: Parts
    passes: tuple[float, ...]


Try = Callable[[Pace], Tried]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of a pace.

    Attributes:
        pace: the pace.
        share: of the tokens, or of the careful quality, that it keeps.
        interval: of the share, over the choice of rows.
        passes: mean evaluations of the network a row.
        passed: the lower end of the interval reaches the target.
    """

    pace: Pace
    share: float
    interval: Interval
    passes: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A pace and how it was found.

    Attributes:
        pace: the cheapest that passed; the careful one if none did.
        careful: mean passes of careful writing.
        passes: mean passes of the chosen pace.
        trials: all that were tried, family by family.
    """

    pace: Pace
    careful: float
    passes: float
    trials: tuple[Trial, ...]


def choose(
    attempt: Try,
    among: Paces,
    *,
    target: float = 0.98,
    level: float = 0.9,
    seed: int = 0,
) -> Choice:
    """The cheapest pace that is sure to keep the target's share.

    Args:
        attempt: tries a pace: `agreement` or `quality`.
        among: the paces.
        target: the least share, 0 to 1.
        level: chance that the chosen pace truly reaches it, more than a half.
        seed: of the bootstrap.

    Raises:
        UsageError: a target outside (0, 1), a level outside (0.5, 1), no family, or fewer than
            two rows.

    Example:
        >>> from sfumato.evaluation.tuning.paces import paces
        >>> def attempt(pace):
        ...     least = getattr(pace.quota, "probability", 1.0)
        ...     parts = Parts(pool="ratio", columns=((10 if least > 0.6 else 8,) * 4, (10,) * 4))
        ...     return Tried(parts=parts, passes=(10 * least,) * 4)
        >>> choose(attempt, paces()).pace.quota
        Threshold(probability=0.7)
    """
    count = len(among.families)
    if not (0 < target < 1 and 0.5 < level < 1 and count):
        raise UsageError(
            "expected a target in (0, 1), a level in (0.5, 1) and a family of paces, got target "
            f"{target}, level {level} and {count} families"
        )
    careful = attempt(among.careful)
    if len(careful.passes) < 2:
        raise UsageError(f"expected at least two texts to judge by, got {len(careful.passes)}")
    # One side of the interval counts, so each end may be missed as often as a family may err.
    each = 1 - 2 * (1 - level) / count
    trials: list[Trial] = []
    for family in among.families:
        for pace in family:
            trials.append(_trial(pace, attempt(pace), target=target, level=each, seed=seed))
            if not trials[-1].passed:
                break
    cost = fmean(careful.passes)
    good = [one for one in trials if one.passed and one.passes < cost]
    best = min(good, key=lambda one: one.passes, default=None)
    return Choice(
        pace=among.careful if best is None else best.pace,
        careful=cost,
        passes=cost if best is None else best.passes,
        trials=tuple(trials),
    )


def _trial(pace: Pace, tried: Tried, *, target: float, level: float, seed: int) -> Trial:
    interval = bootstrap(tried.parts, draws=_DRAWS, level=level, seed=seed)
    return Trial(
        pace=pace,
        share=pooled(tried.parts),
        interval=interval,
        passes=fmean(tried.passes),
        passed=interval.low >= target,
    )


def agreement(
    model: Model, rows: Sequence[Row], policy: DecodingPolicy, among: Paces, *, batch_size: int = 16
) -> Try:
    """Tries paces by the tokens that they would write along a careful run, see `walks`.

    Args:
        model: a checkpoint of masked noise.
        rows: what to write.
        policy: how, but for its order, quota and temperature.
        among: the paces that will be tried.
        batch_size: rows written side by side.

    Raises:
        UsageError: a pace has a guidance of its own.
    """
    if any(pace.guidance is not None for pace in among.all):
        raise UsageError(
            "tokens are compared under one guidance: give a measure to choose among several"
        )
    careful, cost = among.careful.of(policy), 2 if policy.guidance else 1

    @cache
    def several() -> list[list[Walk]]:
        return walks(model, rows, careful, among.all, batch_size=batch_size)

    def attempt(pace: Pace) -> Tried:
        found = several()[among.all.index(pace)]
        columns = tuple(one.agreed for one in found), tuple(one.written for one in found)
        parts = Parts(pool="ratio", columns=columns)
        return Tried(parts=parts, passes=tuple(float(cost * one.steps) for one in found))

    return attempt


def quality(
    model: Model,
    rows: Sequence[Row],
    policy: DecodingPolicy,
    among: Paces,
    *,
    measure: Scorer,
    batch_size: int = 16,
) -> Try:
    """Tries paces by writing, and by a measure of what was written.

    Args:
        model: a checkpoint of masked noise.
        rows: what to write.
        policy: how, but for its order and quota.
        among: the paces, of which the careful one is written first.
        measure: the texts of the rows, in their order → a number each, higher for better; the
            careful texts' must not be negative, nor all 0.
        batch_size: rows written side by side.

    The first pace that is tried raises a UsageError for a measure that shares cannot be taken of.
    """

    @cache
    def write(pace: Pace) -> tuple[tuple[float, ...], tuple[float, ...]]:
        samples = run(model, rows, How(policy=pace.of(policy), batch_size=batch_size))
        scores = scores_of(measure, [one.text for one in samples])
        return tuple(scores), tuple(float(one.passes) for one in samples)

    def attempt(pace: Pace) -> Tried:
        careful, _ = write(among.careful)
        if min(careful) < 0 or sum(careful) == 0:
            raise UsageError(
                "a share of the careful quality needs a measure that is not negative, nor 0 for "
                f"all texts, got {min(careful):g} to {max(careful):g}"
            )
        scores, passes = write(pace)
        return Tried(parts=Parts(pool="ratio", columns=(scores, careful)), passes=passes)

    return attempt
