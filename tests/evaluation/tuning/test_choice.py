"""Which pace is chosen, and which is not even tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.sampling.told import whimsical

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.records import Parts
from sfumato.evaluation.tuning.choice import Tried, Try, agreement, choose, quality
from sfumato.evaluation.tuning.openings import openings
from sfumato.evaluation.tuning.paces import Pace, Paces, pace_from_json, paces
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.planners import Order
from sfumato.sampling.parts.quotas import Factor, Fixed, Threshold
from sfumato.text.records import PairRecord

PAIRS = [PairRecord(prompt=f"the {word}", completion=" sat") for word in ("cat", "dog", "mat")]


def family(*levels: float) -> tuple[Pace, ...]:
    return tuple(Pace(quota=Threshold(probability=level)) for level in levels)


def scripted(shares: Callable[[float], Sequence[int]], tried: list[float]) -> Try:
    """Ten tokens a text of which a share is kept, at passes that fall with the threshold."""

    def attempt(pace: Pace) -> Tried:
        level = pace.quota.probability if isinstance(pace.quota, Threshold) else 1.0
        tried.append(level)
        kept = tuple(shares(level))
        parts = Parts(pool="ratio", columns=(kept, (10,) * len(kept)))
        return Tried(parts=parts, passes=(level * 10,) * len(kept))

    return attempt


def test_the_cheapest_that_passes_wins_and_the_bolder_are_not_tried() -> None:
    """0.6 misses the target, so 0.5 is not tried, though it would pass."""
    tried: list[float] = []
    attempt = scripted(lambda level: [9] * 20 if level == 0.6 else [10] * 20, tried)
    among = Paces(careful=Pace(), families=(family(0.9, 0.6, 0.5), family(0.8)))
    found = choose(attempt, among, target=0.95)
    assert tried == [1.0, 0.9, 0.6, 0.8]
    assert found.pace.quota == Threshold(probability=0.8)
    assert (found.careful, found.passes) == (10.0, 8.0)
    assert [one.passed for one in found.trials] == [True, False, True]
    assert found.trials[1].share == pytest.approx(0.9)


def test_a_share_that_may_be_luck_is_not_enough() -> None:
    """0.98 of the tokens on average passes 0.97 on a thousand texts, and not on ten of them."""
    among = Paces(careful=Pace(), families=(family(0.5),))

    def chosen(n: int) -> Pace:
        attempt = scripted(lambda level: [10] * n if level == 1 else [9, *[10] * 4] * (n // 5), [])
        return choose(attempt, among, target=0.97).pace

    assert chosen(10) == among.careful
    assert chosen(1000) == among.families[0][0]


def test_families_share_the_risk() -> None:
    """The same pace has a lower lower end where three families are tried."""
    attempt = scripted(lambda level: [9, 10, 10, 10] * 25, [])
    ends = [
        choose(attempt, Paces(careful=Pace(), families=(family(0.5),) * n)).trials[0].interval.low
        for n in (1, 3)
    ]
    assert ends[0] > ends[1]


@pytest.mark.parametrize(
    ("options", "texts", "said"),
    [({"target": 1.0}, 4, "target"), ({"level": 0.5}, 4, "level"), ({}, 1, "two texts")],
)
def test_what_cannot_be_judged_is_refused(options: dict[str, float], texts: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose(scripted(lambda _: [10] * texts, []), paces(), **options)


def test_agreement_and_quality_try_the_same_paces() -> None:
    """The careful pace keeps everything by both; a measure sees the whole texts."""
    model, policy, among = whimsical(), DecodingPolicy(), paces()
    rows = openings(model, PAIRS, length=6)
    seen: list[str] = []

    def length(texts: Sequence[str]) -> list[float]:
        seen.extend(texts)
        return [float(len(text)) for text in texts]

    for attempt in (
        agreement(model, rows, policy, among),
        quality(model, rows, policy, among, measure=length),
    ):
        tried = attempt(among.careful)
        assert tried.parts.columns[0] == tried.parts.columns[1]
        bold = attempt(among.families[2][-1])
        assert sum(bold.passes) < sum(tried.passes)
    assert all(text.startswith("the ") for text in seen)
    with pytest.raises(UsageError, match="negative"):
        quality(model, rows, policy, among, measure=lambda texts: [-1.0] * len(texts))(Pace())


def test_a_pace_with_a_guidance_of_its_own_needs_a_measure() -> None:
    """Tokens under another guidance are others; a measure of the texts can compare them."""
    model, policy, among = whimsical(), DecodingPolicy(), paces(guidances=[2.0])
    rows = openings(model, PAIRS, length=6)
    with pytest.raises(UsageError, match="give a measure"):
        agreement(model, rows, policy, among)
    attempt = quality(model, rows, policy, among, measure=lambda texts: [1.0] * len(texts))
    passes = attempt(among.families[3][0]).passes
    assert all(one % 2 == 0 for one in passes), "two evaluations at every step"


def test_paces_are_written_down_and_read_back() -> None:
    for pace in [Pace(), *paces(Order(by=planners.margin), [1.5]).all]:
        assert pace_from_json(pace.as_json()) == pace
    with pytest.raises(UsageError, match="written down"):
        Pace(order=Order(temperature=0.5)).as_json()


@pytest.mark.parametrize(
    "change",
    [
        {"quota": "Even"},
        {"order": "best"},
        {"factor": -1.0},
        {"size": 2},
        {"order": None},
        {"guidance": "much"},
    ],
)
def test_what_is_no_pace_is_refused(change: dict[str, object]) -> None:
    record = Pace(quota=Factor(factor=1.0)).as_json() | change
    with pytest.raises(DataError, match="is no pace"):
        pace_from_json(record)


def test_a_pace_changes_order_quota_and_perhaps_guidance_only() -> None:
    policy = DecodingPolicy(stopping=False, guidance=ClassifierFree(scale=0.5))
    assert Pace().of(policy).guidance == ClassifierFree(scale=0.5)
    assert Pace(guidance=1.0).of(policy).guidance == ClassifierFree(scale=1.0)
    changed = Pace(order=Order(distinct=True), quota=Fixed(size=3)).of(policy)
    assert (changed.order.distinct, changed.quota, changed.stopping) == (True, Fixed(size=3), False)
