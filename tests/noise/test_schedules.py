"""Golden test 1: derivative, ends, inverse, and the weight of the masked ELBO."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.noise.schedules import (
    Cosine,
    Geometric,
    Linear,
    LogLinear,
    Polynomial,
    elbo_weight,
    log_snr,
)
from sfumato.protocols import Schedule

COMPLETE = [Linear(), Cosine(), Polynomial(power=2.0), Polynomial(power=0.5), Geometric()]
FLOORS = [LogLinear(floor=0.0), LogLinear(), LogLinear(floor=0.25)]
SCHEDULES = COMPLETE + FLOORS


def grid(low: float, high: float) -> torch.Tensor:
    return torch.linspace(low, high, 101, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_derivative_is_autograds(schedule: Schedule) -> None:
    t = grid(0.01, 0.99).requires_grad_()
    (gradient,) = torch.autograd.grad(schedule.alpha(t).sum(), t)
    torch.testing.assert_close(schedule.derivative(t.detach()), gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_ends_are_exact(schedule: Schedule, dtype: torch.dtype) -> None:
    end = schedule.floor if isinstance(schedule, LogLinear) else 0.0
    ends = schedule.alpha(torch.tensor([0, 1], dtype=dtype)).tolist()
    assert ends == pytest.approx([1, end], abs=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_alpha_falls(schedule: Schedule) -> None:
    assert (schedule.alpha(grid(0, 1)).diff() < 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_inverse_inverts(schedule: Schedule) -> None:
    t = grid(0, 0.9)
    torch.testing.assert_close(schedule.inverse(schedule.alpha(t)), t, rtol=0, atol=1e-7)
    alpha = grid(0.3, 1)
    torch.testing.assert_close(schedule.alpha(schedule.inverse(alpha)), alpha, rtol=0, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_inverse_of_no_signal_is_the_end_of_time(schedule: Schedule) -> None:
    assert schedule.inverse(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(1)


def test_the_linear_masked_weight_is_one_over_t() -> None:
    t = grid(0.001, 1)
    torch.testing.assert_close(elbo_weight(Linear(), t), 1 / t, rtol=1e-12, atol=0)


def test_a_polynomial_masked_weight_is_power_over_t() -> None:
    """−α′/(1 − α) = p·t^(p−1)/t^p."""
    t = grid(0.01, 1)
    weight = elbo_weight(Polynomial(power=3.0), t)
    torch.testing.assert_close(weight, 3 / t, rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_weight_is_finite_at_every_float(schedule: Schedule) -> None:
    t = torch.tensor([0.0, 1e-30, 2**-24, 1e-4, 0.5, 1 - 2**-24, 1.0])
    weight = elbo_weight(schedule, t)
    assert weight.isfinite().all()
    assert (weight >= 0).all()


def test_log_linear_without_floor_is_linear_and_with_it_mdlms_sigma() -> None:
    """σ = −log(1 − (1 − ε)t), so at ε = 1/4, t = 2/3: α = exp(−σ) = 1 − 3/4 · 2/3 = 1/2."""
    t = grid(0, 1)
    torch.testing.assert_close(LogLinear(floor=0.0).alpha(t), Linear().alpha(t))
    assert LogLinear(floor=0.25).alpha(torch.tensor([2 / 3])).item() == pytest.approx(0.5)


def test_geometric_is_the_published_one_between_its_ends() -> None:
    """exp(−low^(1−t)·high^t), shifted by its value at t = 1 and scaled to start at 1."""
    t = grid(0, 1)
    published = torch.exp(-(0.01 ** (1 - t)) * 3**t)
    expected = (published - math.exp(-3)) / (math.exp(-0.01) - math.exp(-3))
    alpha = Geometric(low=0.01, high=3.0).alpha(t)
    torch.testing.assert_close(alpha, expected, rtol=0, atol=1e-14)


@given(st.floats(0.02, 0.98))
def test_log_snr_is_the_logit(t: float) -> None:
    alpha = 1 - t
    snr = log_snr(Linear(), torch.tensor([t], dtype=torch.float64))
    assert snr.item() == pytest.approx(math.log(alpha / (1 - alpha)), abs=1e-9)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Polynomial(power=0.0), "power > 0"),
        (lambda: LogLinear(floor=1.0), "floor < 1"),
        (lambda: Geometric(low=2.0, high=1.0), "low < high"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(UsageError, match=message):
        build()
