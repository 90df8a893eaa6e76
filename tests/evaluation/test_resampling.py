from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.evaluation.records import Metric, Parts, mean_metric, ratio_metric
from sfumato.evaluation.resampling import bootstrap, compare, jackknife, pooled

VALUES = st.lists(st.floats(-5, 5), min_size=2, max_size=12)


def score(values: list[float], **changes: object) -> Metric:
    options = {"seed": None, "reference": None, "settings": {}} | changes
    return mean_metric("score", values, **options)  # type: ignore[arg-type]


@given(VALUES)
def test_the_jackknife_of_a_mean_is_its_standard_error(values: list[float]) -> None:
    """√((n − 1)/n · Σ (x̄₍ᵢ₎ − x̄)²) with x̄₍ᵢ₎ − x̄ = (x̄ − xᵢ)/(n − 1) is s/√n."""
    metric = score(values)
    assert metric.parts is not None
    assert jackknife(metric.parts) == pytest.approx(metric.stderr, abs=1e-9)
    assert pooled(metric.parts) == pytest.approx(metric.value, abs=1e-9)


def test_a_ratio_is_pooled_as_it_was_measured() -> None:
    """(6 + 2 + 1)/(3 + 1 + 2); leaving out each text gives 3/3, 7/5, 8/4."""
    metric = ratio_metric("r", [6.0, 2.0, 1.0], [3, 1, 2], seed=0, reference=None, settings={})
    assert metric.parts is not None
    assert pooled(metric.parts) == pytest.approx(1.5)
    assert pooled(Parts(pool="exp_ratio", columns=metric.parts.columns)) == pytest.approx(
        math.exp(1.5)
    )
    left_out = [1.0, 7 / 5, 2.0]
    mean = sum(left_out) / 3
    expected = math.sqrt(2 / 3 * sum((value - mean) ** 2 for value in left_out))
    assert jackknife(metric.parts) == pytest.approx(expected)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """200 samples of 60 exponential numbers: 95 % intervals hold the mean 1 in most of them."""
    source = random.Random(0)
    held = 0
    for seed in range(200):
        values = tuple(source.expovariate(1.0) for _ in range(60))
        found = bootstrap(Parts(pool="mean", columns=(values,)), draws=400, seed=seed)
        held += found.low <= 1 <= found.high
    assert 0.88 <= held / 200 <= 0.98


def test_the_width_is_that_of_the_standard_error() -> None:
    metric = score([random.Random(seed).gauss(0, 1) for seed in range(1500)])
    assert metric.parts is not None
    assert metric.stderr is not None
    found = bootstrap(metric.parts, draws=2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * metric.stderr, rel=0.05)
    narrow = bootstrap(metric.parts, draws=2000, level=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.6745 * metric.stderr, rel=0.08)
    assert (found.draws, found.level, found.seed) == (2000, 0.95, 0)


def test_texts_of_two_systems_are_drawn_together() -> None:
    """A constant gain has an interval of no width, however different the texts are."""
    texts = [random.Random(seed).gauss(0, 10) for seed in range(50)]
    found = compare(score([value + 1 for value in texts]), score(texts))
    assert found.value == pytest.approx(1)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(1)
    assert found.interval.high == pytest.approx(1)


def test_the_seed_chooses_the_draws() -> None:
    new, old = score([1.0, 4.0, 2.0, 0.0]), score([0.0, 1.0, 1.0, 3.0])
    first, again, other = (compare(new, old, seed=seed).interval for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_without_parts_the_errors_are_taken_as_independent() -> None:
    """√(3² + 4²) = 5, times 1.95996."""
    new, old = (Metric(name="div", value=v, n=9, stderr=e) for v, e in ((2.0, 3.0), (1.0, 4.0)))
    found = compare(new, old)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(1 - 9.7998, abs=1e-4)
    assert (found.interval.draws, found.interval.seed) == (0, None)
    assert compare(new, Metric(name="div", value=1.0, n=9)).interval is None
    assert found.relative == pytest.approx(1.0)
    assert found.as_json()["difference"] == 1.0


def test_what_is_not_comparable_is_refused() -> None:
    """Values at different n, against different references, of other settings."""
    old = score([1.0, 2.0, 3.0])
    with pytest.raises(UsageError, match="n 2 against 3"):
        compare(score([1.0, 2.0]), old)
    with pytest.raises(UsageError, match="reference"):
        compare(score([1.0, 2.0, 3.0], reference="targets"), old)
    with pytest.raises(UsageError, match="setting tokens"):
        compare(score([1.0, 2.0, 3.0], settings={"tokens": "words"}), old)
    with pytest.raises(UsageError, match="at least one draw"):
        compare(old, old, draws=0)
    with pytest.raises(UsageError, match="level between 0 and 1"):
        compare(old, old, level=1.0)


def test_parts_belong_to_their_texts() -> None:
    with pytest.raises(UsageError, match="of one length"):
        Parts(pool="ratio", columns=((1.0, 2.0), (1.0,)))
    with pytest.raises(UsageError, match="3 texts got the parts of 2"):
        Metric(name="x", value=1.0, n=3, parts=Parts(pool="mean", columns=((1.0, 2.0),)))


def test_many_texts_are_drawn_in_blocks() -> None:
    """More counts than are held at once: the interval is the same kind of interval."""
    source = random.Random(7)
    values = tuple(source.random() for _ in range(50_000))
    found = bootstrap(Parts(pool="mean", columns=(values,)), draws=100)
    assert found.draws == 100
    assert found.low < sum(values) / len(values) < found.high
