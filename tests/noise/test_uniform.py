"""Uniform noise: its law, and the reduced form of its bound against the definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.worlds import dirichlet_world, forward_kernel, states
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Cosine, Geometric, Linear, LogLinear, Polynomial
from sfumato.noise.times import Stratified
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Schedule

seeds = st.integers(0, 2**31)


def random_log_p(rows: int, width: int, seed: int, spread: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return logits.log_softmax(-1)


def every_pair(width: int) -> tuple[Tensor, Tensor]:
    ids = torch.arange(width)
    return ids.repeat_interleave(width), ids.repeat(width)


def by_definition(
    process: UniformProcess, log_p: Tensor, x_0: Tensor, x_t: Tensor, t: float
) -> Tensor:
    """−α′/α π_z Σ_{j≠z} s_j − r_j + r_j log(r_j/s_j), with r and s from the kernel alone.

    r_j = q(j | x_0)/q(z | x_0) and s_j its mean over p(x_0 | x_t); zero if noise never writes z.
    """
    width = log_p.shape[1]
    now = torch.tensor([t], dtype=torch.float64)
    alpha = process.schedule.alpha(now)
    kernel = forward_kernel(process, alpha, width, width)[0]
    ratios = kernel / kernel[:, x_t].T[..., None]  # row, x_0, j
    exact = ratios[torch.arange(len(x_0)), x_0]
    mean = torch.einsum("mx,mxj->mj", log_p.exp(), ratios)
    terms = mean - exact + torch.xlogy(exact, exact / mean)
    noise = process.law(width)[x_t]
    rate = -process.schedule.derivative(now) / alpha * noise
    total = rate * terms.scatter(1, x_t[:, None], 0).sum(1)
    return torch.where(noise > 0, total, 0)


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=repr)
@pytest.mark.parametrize(
    ("size", "excluded"), [(2, ()), (6, ()), (5, ()), (6, (0, 4)), (5, (2,))], ids=repr
)
@settings(max_examples=20)
@given(t=st.floats(0.01, 0.99), seed=seeds)
def test_the_reduced_bound_is_the_definition(
    size: int, excluded: tuple[int, ...], schedule: Schedule, t: float, seed: int
) -> None:
    """For every x_0 and x_t of six ids, written by noise or not."""
    process = UniformProcess(size=size, schedule=schedule, excluded=excluded)
    x_0, x_t = every_pair(6)
    log_p = random_log_p(36, 6, seed)
    times = torch.full((36,), t, dtype=torch.float64)
    found = process.elbo(log_p, x_0, x_t, times, torch.ones(36))
    expected = by_definition(process, log_p, x_0, x_t, t)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("size", "excluded"), [(5, ()), (6, (5,)), (6, (0, 5))], ids=repr)
@settings(max_examples=20)
@given(t=st.floats(0.01, 0.99), seed=seeds, masked=st.floats(0.01, 0.99))
def test_so_is_that_of_a_hybrid(
    size: int, excluded: tuple[int, ...], t: float, seed: int, masked: float
) -> None:
    """For every x_0 but the mask and every x_t; the denoiser never predicts the mask."""
    process = UniformProcess(size=size, excluded=excluded, masked=masked, mask=5)
    x_0, x_t = (ids[:30] for ids in every_pair(6))
    log_p = random_log_p(30, 6, seed)
    log_p[:, 5] = -torch.inf
    log_p = log_p.log_softmax(-1)
    times = torch.full((30,), t, dtype=torch.float64)
    found = process.elbo(log_p, x_0, x_t, times, torch.ones(30))
    expected = by_definition(process, log_p, x_0, x_t, t)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=20)
@given(t=st.floats(0.01, 0.99), seed=seeds)
def test_a_hybrid_that_hides_nearly_all_is_masked_noise(t: float, seed: int) -> None:
    """At the mask the bound becomes −λ·log p(x_0), λ = 1/t."""
    process = UniformProcess(size=5, masked=1 - 1e-9, mask=5)
    x_0, x_t = torch.arange(5), torch.full((5,), 5)
    log_p = random_log_p(5, 5, seed)
    log_p = torch.cat((log_p, torch.full((5, 1), -torch.inf)), 1)
    times = torch.full((5,), t, dtype=torch.float64)
    found = process.elbo(log_p, x_0, x_t, times, 1 / times)
    expected = MaskedProcess(mask=5).elbo(log_p, x_0, x_t, times, 1 / times)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(t=st.floats(0.01, 0.99), seed=seeds, size=st.integers(2, 9))
def test_leave_one_out_logits_give_the_bound_of_udlm_and_duo(
    t: float, seed: int, size: int
) -> None:
    """UDLM's integrand with x̄ = Kα·x + (1 − α), by one-hot vectors, i the index of x_t:

    α′/(Kα)·[K/x̄_i − K/x̄^θ_i − Σ_j x̄_j/x̄_i · log(x̄^θ_i·x̄_j / (x̄^θ_j·x̄_i))].
    """
    process, alpha = UniformProcess(size=size), 1 - t
    x_0, x_t = every_pair(size)
    rows = torch.arange(len(x_0))
    prediction = random_log_p(len(x_0), size, seed)
    true = size * alpha * torch.eye(size, dtype=torch.float64)[x_0] + 1 - alpha
    theta = size * alpha * prediction.exp() + 1 - alpha
    true_i, theta_i = true[rows, x_t, None], theta[rows, x_t, None]
    pull = (true / true_i * (theta_i * true / (theta * true_i)).log()).sum(1)
    expected = -1 / (size * alpha) * (size / true_i - size / theta_i)[:, 0] + pull / (size * alpha)
    times = torch.full((len(x_0),), t, dtype=torch.float64)
    log_p = process.posterior_logits(prediction, x_t, times).log_softmax(-1)
    found = process.elbo(log_p, x_0, x_t, times, torch.ones(len(x_0)))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def time_grid(nodes: int) -> tuple[list[float], list[float]]:
    """Gauss–Legendre on (0, 1) after t = u³, which takes out the logarithm at t = 0."""
    u, weights = np.polynomial.legendre.leggauss(nodes)
    u = (u + 1) / 2
    return (u**3).tolist(), (weights / 2 * 3 * u**2).tolist()


def expected_bound(process: UniformProcess, blur: float) -> Tensor:
    """∫ E_{x_t} Σ_i elbo dt of the 27 outcomes; `blur` mixes the exact posterior with 1/3."""
    width = 3 if process.mask is None else 4
    world, seen = dirichlet_world(), states(width, 3)
    x_0 = states(3, 3).repeat_interleave(len(seen), 0)
    x_t = seen.repeat(27, 1)
    bound = torch.zeros(27, dtype=torch.float64)
    for t, weight in zip(*time_grid(40), strict=True):
        times = torch.full((len(seen),), t, dtype=torch.float64)
        kernel = forward_kernel(process, process.schedule.alpha(times), 3, width)
        p = (1 - blur) * world.posterior(seen, kernel) + blur / 3
        log_p = torch.nn.functional.pad(p, (0, width - 3)).log()
        flat = torch.full((27 * len(seen) * 3,), t, dtype=torch.float64)
        terms = process.elbo(
            log_p.repeat(27, 1, 1).flatten(0, 1), x_0.flatten(), x_t.flatten(), flat, flat
        )
        chance = kernel[0][x_0, x_t].prod(1)
        bound += weight * (chance * terms.view(-1, 3).sum(1)).view(27, -1).sum(1)
    return bound


@pytest.mark.parametrize(
    "process",
    [
        UniformProcess(size=3),
        UniformProcess(size=3, schedule=Cosine()),
        UniformProcess(size=3, masked=0.7, mask=3),
    ],
    ids=repr,
)
def test_the_bound_has_no_gap_at_the_exact_posterior(process: UniformProcess) -> None:
    """The integral is −log p(x) for each of the 27 outcomes, whatever the schedule and the mix."""
    bound = expected_bound(process, blur=0.0)
    torch.testing.assert_close(bound, -dirichlet_world().law.flatten().log(), rtol=1e-6, atol=1e-6)


def test_a_blurred_posterior_pays_for_it() -> None:
    law = dirichlet_world().law.flatten()
    bound = expected_bound(UniformProcess(size=3), blur=0.05)
    assert (law * bound).sum() > -(law * law.log()).sum() + 0.01


@settings(max_examples=40)
@given(t=st.floats(0.001, 0.999))
def test_a_certain_and_right_prediction_costs_nothing(t: float) -> None:
    process = UniformProcess(size=7)
    x_0, x_t = every_pair(7)
    log_p = torch.eye(7, dtype=torch.float64)[x_0].log()
    cost = process.elbo(log_p, x_0, x_t, torch.full((49,), t, dtype=torch.float64), torch.ones(49))
    assert cost.abs().max() < 1e-9


SCHEDULES = [Linear(), Cosine(), Polynomial(power=3.0), LogLinear(), Geometric()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("t", [0.0, 1e-30, 2**-24, 1e-5, 0.5, 1 - 2**-24, 1.0])
def test_float32_stays_finite_at_extreme_times(schedule: Schedule, t: float) -> None:
    """Value and gradient, for sure, impossible and flat predictions over 1,000 tokens."""
    width = 1000
    process = UniformProcess(size=width, schedule=schedule, excluded=(5,))
    logits = torch.zeros(8, width)
    logits[0:4, 7] = torch.tensor([30.0, 100.0, 1e4, 10.0])
    logits[4:6, 5] = -torch.inf
    logits[6, 8] = -torch.inf
    logits.requires_grad_()
    x_t = torch.tensor([7, 7, 7, 7, 7, 5, 8, 9])
    x_0 = torch.tensor([7, 8, 8, 5, 7, 5, 7, 9])
    cost = process.elbo(logits.log_softmax(-1), x_0, x_t, torch.full((8,), t), torch.ones(8))
    assert cost.isfinite().all()
    cost.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("t", [2**-10, 2**-3, 0.5, 1 - 2**-10, 1 - 2**-16])
def test_float32_agrees_with_float64_over_a_large_vocabulary(t: float) -> None:
    """Over 50,000 tokens, whose terms would cancel down to a few nats if summed as they stand.

    The times are powers of two, so that α is the same number in both precisions.
    """
    process, width = UniformProcess(size=50_000), 50_000
    x_t = torch.tensor([3, 3, 4, 4])
    x_0 = torch.tensor([3, 4, 4, 3])
    logits = 3 * torch.randn(4, width, generator=torch.Generator().manual_seed(0))
    logits[:2, 3] += 14
    times = torch.full((4,), t)
    single = process.elbo(logits.log_softmax(-1), x_0, x_t, times, times)
    exact = process.elbo(logits.double().log_softmax(-1), x_0, x_t, times.double(), times)
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-4)


@given(size=st.integers(5, 40), dropped=st.sets(st.integers(0, 3), max_size=3))
def test_the_prior_writes_each_allowed_token_equally_often(size: int, dropped: set[int]) -> None:
    """Ten numbers in each of K equal slices give each token ten times."""
    process = UniformProcess(size=size, excluded=tuple(dropped))
    numbers = (torch.arange(10 * process.tokens, dtype=torch.float64) + 0.5) / 10 / process.tokens
    counts = process.prior(numbers).bincount(minlength=size)
    assert counts.tolist() == [0 if i in dropped else 10 for i in range(size)]
    torch.testing.assert_close(process.law(size), counts / counts.sum().double())


def test_the_largest_number_below_one_is_the_last_token() -> None:
    below = torch.tensor([1 - 2**-24])
    assert UniformProcess(size=250_000).prior(below).item() == 249_999


@given(seed=seeds)
def test_hits_are_redrawn_and_every_editable_position_is_asked_for(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x_0 = torch.randint(10, (3, 8), generator=generator)
    editable = torch.rand((3, 8), generator=generator) < 0.5
    draw = Stratified().draw(torch.ones_like(editable), Linear(), generator)
    process = UniformProcess(size=10)
    noised = process.corrupt(x_0, editable, draw)
    hit = draw.hit & editable
    assert torch.equal(noised.where, editable)
    assert torch.equal(noised.x_t[~hit], x_0[~hit])
    assert torch.equal(noised.x_t[hit], process.prior(draw.uniform)[hit])
    other = process.corrupt(x_0.flip(1), editable, draw)
    assert torch.equal(other.x_t[hit], noised.x_t[hit])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 4, "excluded": (4,)}, "distinct"),
        ({"size": 4, "excluded": (1, 1)}, "distinct"),
        ({"size": 3, "excluded": (0, 1)}, "1 are left"),
        ({"size": 3, "masked": 0.5}, "needs a mask"),
        ({"size": 3, "mask": 3}, "needs a mask"),
        ({"size": 3, "masked": 1.0, "mask": 3}, "needs a mask"),
        ({"size": 3, "masked": 0.5, "mask": 2}, "exclude it"),
    ],
)
def test_a_noise_law_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        UniformProcess(**settings)


def test_the_prior_of_a_hybrid_shows_the_mask_in_its_share() -> None:
    process = UniformProcess(size=6, excluded=(0, 5), masked=0.25, mask=5)
    drawn = process.prior((torch.arange(1600, dtype=torch.float64) + 0.5) / 1600)
    assert drawn.bincount(minlength=6).tolist() == [0, 300, 300, 300, 300, 400]
    torch.testing.assert_close(process.law(6), drawn.bincount(minlength=6).double() / 1600)


def test_one_term_by_hand() -> None:
    """K = 2, t = ½, flat prediction, x_t = x_0: ρ = 3, r = ⅓, s = ½·⅓ + ½·3 = 5/3, rate 1.

    s − r + r·log(r/s) = 4/3 − ⅓·log 5.
    """
    cost = UniformProcess(size=2).elbo(
        torch.tensor([[0.5, 0.5]]).log(),
        torch.tensor([0]),
        torch.tensor([0]),
        torch.tensor([0.5]),
        torch.ones(1),
    )
    assert cost.item() == pytest.approx(4 / 3 - math.log(5) / 3)
