from __future__ import annotations

import json
import math

import pytest

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.records import (
    Metric,
    difference,
    mean_metric,
    measured,
    metric_from_json,
    number,
    ratio_metric,
)

DIV = Metric(
    name="div", value=0.4, n=100, seed=1, reference="e2e", settings={"tokens": "words"}, stderr=0.03
)


def varied(**changes: object) -> Metric:
    return Metric(**{**DIV.as_json(), **changes})  # type: ignore[arg-type]


def test_a_record_survives_json() -> None:
    assert metric_from_json(json.loads(json.dumps(DIV.as_json()))) == DIV


@pytest.mark.parametrize("change", [{"extra": 1}, {"n": None}])
def test_a_broken_record_is_refused_with_its_field(change: dict[str, object]) -> None:
    record = {key: value for key, value in {**DIV.as_json(), **change}.items() if value is not None}
    with pytest.raises(DataError, match=r"unknown here: (extra|n)$"):
        metric_from_json(record)


@pytest.mark.parametrize("change", [{"value": math.nan}, {"stderr": math.inf}, {"n": 0}])
def test_a_metric_is_a_finite_number_of_something(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="div"):
        varied(**change)


def test_a_difference_carries_both_errors() -> None:
    """√(0.03² + 0.04²) = 0.05; seeds may differ."""
    found = difference(varied(value=0.5, stderr=0.04, seed=2), DIV)
    assert found.value == pytest.approx(0.1)
    assert found.stderr == pytest.approx(0.05)
    assert difference(varied(stderr=None), DIV).stderr is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n": 5000}, "n 5000 against 100"),
        ({"name": "distinct_2"}, "name distinct_2 against div"),
        ({"reference": "roc"}, "reference roc against e2e"),
        ({"settings": {"tokens": "characters"}}, "setting tokens characters against words"),
        ({"settings": {"tokens": "words", "k": 1}}, r"setting k 1 against \(unset\)"),
        ({"settings": {}}, r"setting tokens \(unset\) against words"),
    ],
)
def test_different_quantities_are_not_compared(change: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=f"not comparable: {reason}"):
        difference(varied(**change), DIV)


def test_the_error_of_a_mean() -> None:
    """1, 2, 3, 6: mean 3, Σ(x − 3)² = 14, √(14/3/4) = 1.0801."""
    found = mean_metric("m", [1.0, 2.0, 3.0, 6.0], seed=None, reference=None, settings={})
    assert (found.value, found.stderr) == (3.0, pytest.approx(1.0801, abs=1e-4))
    with pytest.raises(UsageError, match="at least one text"):
        mean_metric("m", [], seed=None, reference=None, settings={})


def test_the_error_of_a_ratio() -> None:
    """Totals 2, 8 over sizes 1, 3: value 10/4 = 2.5, residuals ∓0.5, √(2/1·0.5)/4 = 0.25.

    With equal sizes it is the error of a mean divided by the size.
    """
    found = ratio_metric("r", [2.0, 8.0], [1, 3], seed=None, reference=None, settings={})
    assert (found.value, found.stderr) == (2.5, pytest.approx(0.25))
    equal = ratio_metric("r", [1.0, 2.0, 3.0, 6.0], [2] * 4, seed=0, reference="x", settings={})
    assert equal.stderr == pytest.approx(1.0801 / 2, abs=1e-4)
    one = ratio_metric("r", [1.0], [2], seed=None, reference=None, settings={})
    assert one.stderr is None
    with pytest.raises(UsageError, match="divide by"):
        ratio_metric("r", [0.0], [0], seed=None, reference=None, settings={})


@pytest.mark.parametrize(
    ("value", "shown"), [(0.1 + 0.2, "0.3"), (1234567.0, "1234567"), (1e-9, "1e-09"), (3.0, "3")]
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (13.7912, 0.5205, "13.79 ± 0.52"),
        (1234.5, 32.1, "1234 ± 32"),
        (0.0, 0.0081, "0.0000 ± 0.0081"),
        (0.0, 0.0, "0 ± 0"),
        (2.5, None, "2.5"),
    ],
)
def test_a_value_is_as_fine_as_its_error(value: float, error: float | None, shown: str) -> None:
    assert measured(value, error) == shown
