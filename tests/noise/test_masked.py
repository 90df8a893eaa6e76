"""Masked noise: what it touches, and golden test 4, the tight bound."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.worlds import World, dirichlet_world, forward_kernel, states
from torch import Tensor

from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Cosine, Linear, Polynomial, elbo_weight
from sfumato.noise.times import ExactCount
from sfumato.protocols import Schedule
from sfumato.types import Draw

MASK = 3
WORLD = dirichlet_world()
OUTCOMES = states(3, 3)


def subset_term(process: MaskedProcess, hit: Tensor, t: float, rate: float) -> Tensor:
    """Σ of the ELBO's terms of each outcome when exactly the positions `hit` are masked."""
    rows = len(OUTCOMES)
    draw = Draw(
        t=torch.full((rows,), t, dtype=torch.float64),
        hit=hit.expand(rows, -1),
        rate=torch.full((rows,), rate, dtype=torch.float64),
        uniform=torch.zeros(rows, 3),
    )
    noised = process.corrupt(OUTCOMES, torch.ones(rows, 3, dtype=torch.bool), draw)
    kernel = forward_kernel(process, torch.full((rows,), 0.5), 3, 4)
    log_p = WORLD.posterior(noised.x_t, kernel).log()
    where = noised.where
    terms = process.elbo(
        log_p[where],
        OUTCOMES[where],
        noised.x_t[where],
        draw.t[:, None].expand_as(where)[where],
        draw.rate[:, None].expand_as(where)[where],
    )
    return torch.zeros(where.shape, dtype=torch.float64).masked_scatter(where, terms).sum(1)


def subsets(size: int) -> list[Tensor]:
    """The masks over three positions with `size` hits."""
    chosen = itertools.combinations(range(3), size)
    return [torch.tensor([i in subset for i in range(3)]) for subset in chosen]


def test_the_bound_by_exact_counts_is_the_log_probability() -> None:
    """Golden test 4. E_{k ~ U{1..3}} 3/k E_subset Σ −log p(x_i | rest) = −log p(x), all 27 x.

    Each of the three sizes has probability 1/3, each of its subsets 1/C(3, k).
    """
    process = MaskedProcess(mask=MASK)
    bound = sum(
        subset_term(process, hit, t=k / 3, rate=3 / k) / 3 / math.comb(3, k)
        for k in (1, 2, 3)
        for hit in subsets(k)
    )
    torch.testing.assert_close(bound, -WORLD.law.flatten().log(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Polynomial(power=2.0)], ids=repr)
def test_the_bound_over_time_is_the_log_probability_for_every_schedule(schedule: Schedule) -> None:
    """∫ rate(t) Σ_subset (1 − α)^k α^(3−k) Σ −log p dt by Gauss–Legendre with 40 nodes."""
    process = MaskedProcess(mask=MASK, schedule=schedule)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times = torch.from_numpy(nodes + 1) / 2
    alphas, rates = schedule.alpha(times).tolist(), elbo_weight(schedule, times).tolist()
    bound = torch.zeros(27, dtype=torch.float64)
    for k in (1, 2, 3):
        chance = [(1 - a) ** k * a ** (3 - k) for a in alphas]
        mass = sum(w / 2 * c * r for w, c, r in zip(weights, chance, rates, strict=True))
        bound += sum(subset_term(process, hit, t=0.5, rate=mass) for hit in subsets(k))
    torch.testing.assert_close(bound, -WORLD.law.flatten().log(), rtol=1e-9, atol=0)


def test_a_wrong_denoiser_pays_for_it() -> None:
    """With conditionals of another world the mean bound exceeds the entropy."""
    process = MaskedProcess(mask=MASK)
    other = World(law=WORLD.law.flip(0))
    x_t = torch.full((27, 3), MASK)
    kernel = forward_kernel(process, torch.zeros(27), 3, 4)
    one = torch.ones(27, dtype=torch.float64)
    costs = [
        process.elbo(world.posterior(x_t, kernel)[:, 0].log(), OUTCOMES[:, 0], x_t[:, 0], one, one)
        for world in (WORLD, other)
    ]
    exact, wrong = ((WORLD.law.flatten() * cost).sum() for cost in costs)
    assert wrong > exact + 0.01


rows = st.tuples(st.integers(1, 5), st.integers(1, 8), st.integers(0, 2**31))


@given(rows)
def test_only_editable_hits_are_masked_and_asked_for(args: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(args[2])
    x_0 = torch.randint(10, args[:2], generator=generator)
    editable = torch.rand(args[:2], generator=generator) < 0.5
    everywhere = torch.ones_like(editable)
    draw = ExactCount().draw(everywhere, Linear(), generator)
    noised = MaskedProcess(mask=99).corrupt(x_0, editable, draw)
    assert torch.equal(noised.where, draw.hit & editable)
    assert torch.equal(noised.x_t == 99, noised.where)
    assert torch.equal(noised.x_t[~noised.where], x_0[~noised.where])


def test_a_draw_is_reusable() -> None:
    """The same draw hits the same positions of another text: two models on the same noise."""
    editable = torch.ones(4, 6, dtype=torch.bool)
    draw = ExactCount().draw(editable, Linear(), torch.Generator().manual_seed(1))
    process = MaskedProcess(mask=9)
    first = process.corrupt(torch.zeros(4, 6, dtype=torch.long), editable, draw)
    again = process.corrupt(torch.zeros(4, 6, dtype=torch.long), editable, draw)
    other = process.corrupt(torch.ones(4, 6, dtype=torch.long), editable, draw)
    assert torch.equal(first.x_t, again.x_t)
    assert torch.equal(first.where, other.where)


def test_elbo_terms_by_hand() -> None:
    """rate 2, p = 1/4 at a mask: 2·log 4. A token that is still there costs nothing."""
    log_p = torch.tensor([[0.25, 0.75, 0.0]] * 2).log()
    terms = MaskedProcess(mask=2).elbo(
        log_p, torch.tensor([0, 2]), torch.tensor([2, 1]), torch.ones(2) / 2, torch.full((2,), 2.0)
    )
    assert terms.tolist() == pytest.approx([2 * math.log(4), 0])


def test_prior_and_law_are_the_mask() -> None:
    process = MaskedProcess(mask=1)
    assert process.prior(torch.rand(3, 2, generator=torch.Generator())).eq(1).all()
    assert process.law(3).tolist() == [0, 1, 0]
