"""Draws: which positions are hit how often, and with what weight."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from sfumato.noise.schedules import Cosine, Linear, LogLinear, Polynomial, elbo_weight
from sfumato.noise.times import ExactCount, Stratified, Uniform
from sfumato.protocols import Schedule, TimeSampler

SAMPLERS = [Uniform(), Stratified(), ExactCount()]
canvases = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(0, 2**31)).map(
    lambda args: torch.rand(args[:2], generator=seeded(args[2])) < 0.6
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full(rows: int, length: int) -> Tensor:
    return torch.ones(rows, length, dtype=torch.bool)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@given(editable=canvases, seed=st.integers(0, 2**31))
def test_a_draw_keeps_its_promises(sampler: TimeSampler, editable: Tensor, seed: int) -> None:
    draw = sampler.draw(editable, Cosine(), seeded(seed))
    assert not (draw.hit & ~editable).any()
    assert ((draw.uniform >= 0) & (draw.uniform < 1)).all()
    assert ((draw.t >= -1e-6) & (draw.t <= 1)).all()
    assert draw.rate.isfinite().all()
    assert (draw.rate[~editable.any(1)] == 0).all()
    again = sampler.draw(editable, Cosine(), seeded(seed))
    assert all(torch.equal(getattr(draw, name), getattr(again, name)) for name in vars(draw))


@given(editable=canvases, seed=st.integers(0, 2**31))
def test_exactly_k_hits_with_weight_n_over_k(editable: Tensor, seed: int) -> None:
    """So Σ rate over the hits is n in every row: counting has no variance left."""
    draw = ExactCount().draw(editable, Linear(), seeded(seed))
    n, k = editable.sum(1), draw.hit.sum(1)
    assert (k[n > 0] >= 1).all()
    torch.testing.assert_close(draw.rate * k, n.float())
    torch.testing.assert_close(draw.t, k / n.clamp(min=1))


@pytest.mark.parametrize("schedule", [Linear(), Polynomial(power=2.0), LogLinear(floor=0.1)])
def test_the_time_of_a_count_is_where_the_schedule_expects_it(schedule: Schedule) -> None:
    draw = ExactCount().draw(full(64, 8), schedule, seeded())
    share = draw.hit.float().mean(1)
    floor = 0.1 if isinstance(schedule, LogLinear) else 0.0
    torch.testing.assert_close(schedule.alpha(draw.t), (1 - share).clamp(min=floor))


def test_counts_are_stratified_over_the_batch() -> None:
    """24 rows of 8 positions: each count 1..8 exactly three times."""
    for seed in range(20):
        draw = ExactCount().draw(full(24, 8), Linear(), seeded(seed))
        assert torch.bincount(draw.hit.sum(1), minlength=9).tolist() == [0] + [3] * 8


def test_stratified_times_fall_one_into_each_slice_in_random_order() -> None:
    draws = [Stratified().draw(full(16, 2), Linear(), seeded(seed)).t for seed in range(20)]
    assert all((t * 16).ceil().sort().values.tolist() == list(range(1, 17)) for t in draws)
    assert len({tuple(t.argsort().tolist()) for t in draws}) == 20


def test_each_row_alone_sees_every_count_equally_often() -> None:
    """The order is shuffled: row 0 of a batch of 4 gets k uniform on 1..8, χ² at p > 1e-4."""
    counts = [
        int(ExactCount().draw(full(4, 8), Linear(), generator).hit[0].sum())
        for generator in [seeded()]
        for _ in range(800)
    ]
    assert chisquare(torch.tensor(counts).bincount(minlength=9)[1:].numpy()).pvalue > 1e-4


def test_the_k_hits_are_any_k_positions_equally_often() -> None:
    """All C(5, k) subsets of each size, χ² at p > 1e-4."""
    hit = ExactCount().draw(full(20_000, 5), Linear(), seeded()).hit
    code = (hit.long() << torch.arange(5)).sum(1)
    for k in range(1, 5):
        times = code[hit.sum(1) == k].bincount(minlength=32)
        assert (times > 0).sum() == math.comb(5, k)
        assert chisquare(times[times > 0].numpy()).pvalue > 1e-4


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=repr)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_weights_are_unbiased(sampler: TimeSampler, schedule: Schedule) -> None:
    """E[rate · hit] = 1 at every position: ∫ −α′ dt = 1, and Σ_k 1/n · n/k · k/n = 1.

    For 40,000 rows the standard error is at most √(ln 2²⁴ − 1)/200 ≈ 0.02 (Bernoulli hits).
    """
    draw = sampler.draw(full(40_000, 4), schedule, seeded())
    mean = (draw.rate[:, None] * draw.hit).mean(0)
    torch.testing.assert_close(mean, torch.ones(4), rtol=0, atol=0.1)


@pytest.mark.parametrize("sampler", [Uniform(), Stratified()], ids=repr)
def test_bernoulli_hits_have_the_chance_and_the_weight_of_their_time(sampler: TimeSampler) -> None:
    schedule = Cosine()
    draw = sampler.draw(full(2000, 50), schedule, seeded())
    error = draw.hit.float().mean(1) - (1 - schedule.alpha(draw.t))
    assert error.abs().max() < 5 * 0.5 / math.sqrt(50)
    assert abs(error.mean()) < 5 * 0.5 / math.sqrt(2000 * 50)
    torch.testing.assert_close(draw.rate, elbo_weight(schedule, draw.t))


def test_exact_counts_have_no_counting_noise() -> None:
    """Constant cross-entropy 1 over L = 32 positions: the ELBO is Σ rate·hit.

    Its relative deviation is √((ln(1/ε) − 1)/L) = 43 % for Bernoulli hits from ε = 1e-3 up (the
    range of times fixes ε, so times below it are left out), and 0 for exact counts.
    """
    rows, length = 20_000, 32
    bernoulli = Uniform().draw(full(rows, length), Linear(), seeded())
    kept = bernoulli.t > 1e-3
    bound = (bernoulli.rate * bernoulli.hit.sum(1) / length)[kept]
    assert bound.std().item() == pytest.approx(math.sqrt((math.log(1e3) - 1) / length), rel=0.1)
    exact = ExactCount().draw(full(rows, length), Linear(), seeded())
    assert (exact.rate * exact.hit.sum(1) / length).std() < 1e-6
