"""Gaussian noise: schedules, paths, parameterisations, the posterior and the bound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.noise.gaussian import (
    PARAMETERIZATIONS,
    Exploding,
    Flow,
    GaussianProcess,
    Parameterization,
    Path,
    Preserving,
    noise_of,
)
from sfumato.noise.log_snr import (
    LinearBeta,
    LogSnr,
    Odds,
    Shifted,
    SquareRoot,
    Straight,
    Tangent,
)

SCHEDULES: list[LogSnr] = [
    Tangent(),
    Tangent(slope=1.0),
    SquareRoot(),
    LinearBeta(),
    Straight(),
    Odds(),
    Shifted(schedule=Tangent(slope=1.0), by=-math.log(9)),
]
PATHS: list[Path] = [Preserving(), Exploding(), Flow()]


def grid(low: float, high: float, count: int = 101) -> torch.Tensor:
    return torch.linspace(low, high, count, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_derivative_is_autograds(schedule: LogSnr) -> None:
    t = grid(0.01, 0.99).requires_grad_()
    (gradient,) = torch.autograd.grad(schedule.value(t).sum(), t)
    torch.testing.assert_close(schedule.derivative(t.detach()), gradient, rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_inverse_inverts(schedule: LogSnr) -> None:
    t = grid(0.01, 0.99)
    torch.testing.assert_close(schedule.inverse(schedule.value(t)), t, rtol=1e-9, atol=1e-12)
    assert (schedule.value(t).diff() < 0).all()


def test_a_tangent_is_a_shifted_cosine() -> None:
    t = grid(0.01, 0.99)
    torch.testing.assert_close(SCHEDULES[0].value(t), SCHEDULES[-1].value(t))


def test_the_published_formulas_are_ours() -> None:
    """α of TEncDM's tan-9, ᾱ of Diffusion-LM's square root, log α of the linear β."""
    t = grid(0.01, 0.99)
    alpha = Preserving().scales(Tangent(slope=9.0).value(t)).alpha
    torch.testing.assert_close(alpha, 1 / (1 + 81 * torch.tan(math.pi / 2 * t) ** 2).sqrt())
    squared = Preserving().scales(SquareRoot().value(t)).alpha ** 2
    torch.testing.assert_close(squared, 1 - ((t + 1e-4) / (1 + 1e-4)).sqrt())
    alpha = Preserving().scales(LinearBeta().value(t)).alpha
    torch.testing.assert_close(alpha, torch.exp(-(t**2) * 19.9 / 4 - 0.1 * t / 2))
    flow = Flow().scales(Odds().value(t))
    torch.testing.assert_close(flow.alpha, 1 - t)
    torch.testing.assert_close(flow.sigma, t)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_path_has_its_log_snr_its_law_and_its_rates(path: Path) -> None:
    log_snr = grid(-6, 6).requires_grad_()
    at = path.scales(log_snr)
    torch.testing.assert_close((at.alpha / at.sigma).log(), log_snr)
    law = {
        Preserving: at.alpha**2 + at.sigma**2,
        Exploding: at.alpha,
        Flow: at.alpha + at.sigma,
    }[type(path)]
    torch.testing.assert_close(law, torch.ones_like(law))
    rates = path.rates(log_snr.detach())
    for value, rate in ((at.alpha, rates.alpha), (at.sigma, rates.sigma)):
        if value.requires_grad and value.grad_fn is not None:
            (slope,) = torch.autograd.grad(value.sum(), log_snr, retain_graph=True)
            torch.testing.assert_close(slope, rate)
        else:
            assert not rate.any()


@given(
    name=st.sampled_from(sorted(PARAMETERIZATIONS)),
    path=st.sampled_from(PATHS),
    log_snr=st.floats(-5, 5),
)
def test_every_parameterisation_gives_the_clean_vector_back(
    name: str, path: Path, log_snr: float
) -> None:
    one, at = PARAMETERIZATIONS[name], path.scales(torch.tensor([log_snr], dtype=torch.float64))
    x_0, noise = torch.randn(2, 1, 3, dtype=torch.float64, generator=torch.Generator())
    x_t = at.alpha * x_0 + at.sigma * noise
    said = one.target(x_0, noise, at)
    torch.testing.assert_close(one.clean(said, x_t, at), x_0)
    torch.testing.assert_close(one.output(x_0, x_t, at), said)
    torch.testing.assert_close(noise_of(x_0, x_t, at), noise)


def test_the_parameterisations_are_the_fields() -> None:
    """v = αε − σx₀ (2202.00512), u = ε − x₀ (2210.02747), score = −ε/σ."""
    at = Preserving().scales(torch.tensor([0.3], dtype=torch.float64))
    x_0, noise = torch.randn(2, 1, 4, dtype=torch.float64)

    def target(name: str) -> torch.Tensor:
        one: Parameterization = PARAMETERIZATIONS[name]
        return one.target(x_0, noise, at)

    torch.testing.assert_close(target("velocity"), at.alpha * noise - at.sigma * x_0)
    torch.testing.assert_close(target("field"), noise - x_0)
    torch.testing.assert_close(target("score"), -noise / at.sigma)
    torch.testing.assert_close(target("noise"), noise)
    torch.testing.assert_close(target("clean"), x_0)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_posterior_is_bayes(path: Path) -> None:
    """q(x_s | x_t, x_0) ∝ q(x_s | x_0)·q(x_t | x_s), two normal laws multiplied by hand.

    x_t given x_s is normal with mean ρx_s, ρ = α_t/α_s, and variance σ_t² − ρ²σ_s².
    """
    process = GaussianProcess(schedule=Odds(), path=path)
    t, s = torch.tensor([0.6], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    at, to = process.scales(t), process.scales(s)
    ratio = at.alpha / to.alpha
    between = at.sigma**2 - ratio**2 * to.sigma**2
    x_0, x_t = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[-1.1]]).double()
    precision = 1 / to.sigma**2 + ratio**2 / between
    mean = (to.alpha * x_0 / to.sigma**2 + ratio * x_t / between) / precision
    found = process.posterior(x_t, x_0, t, s)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.std.squeeze(), precision.rsqrt().squeeze())


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_noise_has_its_scales(path: Path) -> None:
    process = GaussianProcess(schedule=Tangent(), path=path)
    x_0, noise, t = torch.ones(2, 3, 4), torch.full((2, 3, 4), 2.0), torch.tensor([0.1, 0.9])
    at = process.scales(t)
    expected = at.alpha + 2 * at.sigma
    torch.testing.assert_close(process.corrupt(x_0, noise, t)[:, 0, 0], expected)


@pytest.mark.parametrize("schedule", [Tangent(), Straight(high=9.0, low=-9.0), Odds()], ids=repr)
def test_the_bound_of_a_known_gaussian_is_its_entropy(schedule: LogSnr) -> None:
    """∫ e^2λ·E‖x_0 − x̂_0‖² dλ of the best denoiser is the information that x at `high` holds.

    For data N(0, c²) the least error is c²/(1 + c²e^2λ), and the integral from `low` to `high`
    is ½·log((1 + c²e^2high)/(1 + c²e^2low)), the mutual information of x_0 and x_high less that
    of x_0 and x_low. It does not depend on the schedule.
    """
    c, process = 0.7, GaussianProcess(schedule=schedule, path=Preserving(), low=-4.0, high=3.0)
    ends = torch.tensor([process.high, process.low], dtype=torch.float64)
    first, last = process.time(ends).tolist()
    t = first + (last - first) * (grid(0, 1, 200_001)[:-1] + 0.5 / 200_000)
    snr = torch.exp(2 * process.log_snr(t))
    error = (c**2 / (1 + c**2 * snr)).sqrt()[:, None]
    terms = process.elbo(error, torch.zeros_like(error), t)
    exact = (math.log1p(c**2 * math.exp(6)) - math.log1p(c**2 * math.exp(-8))) / 2
    assert float(terms.mean()) * (last - first) == pytest.approx(exact, rel=1e-4)


def test_outside_of_its_log_snrs_a_process_is_still() -> None:
    process = GaussianProcess(schedule=Tangent(), path=Preserving(), low=-2.0, high=2.0)
    t = torch.tensor([1e-6, 1 - 1e-6])
    assert process.log_snr(t).tolist() == [2.0, -2.0]
    assert not process.elbo(torch.ones(2, 1), torch.zeros(2, 1), t).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tangent(slope=0.0),
        lambda: SquareRoot(offset=0.0),
        lambda: LinearBeta(low=2.0, high=1.0),
        lambda: Straight(high=0.0, low=1.0),
        lambda: GaussianProcess(schedule=Odds(), path=Flow(), low=1.0, high=1.0),
    ],
)
def test_what_makes_no_sense_is_refused(make) -> None:
    with pytest.raises(UsageError, match="expected|needs"):
        make()
