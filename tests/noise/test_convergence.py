"""Golden tests 3 and 4: the exact law of the N-step sampler on a world of 27 outcomes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tests.worlds import (
    TokenProcess,
    World,
    dirichlet_world,
    forward_kernel,
    states,
    total_variation,
)
from torch import Tensor

from sfumato.noise.masked import MaskedProcess
from sfumato.noise.routes import posterior
from sfumato.noise.uniform import UniformProcess

STEPS = [1, 2, 4, 8, 16, 32, 64, 128]
MASKED = [0.25368, 0.13169, 0.06772, 0.03454, 0.01744, 0.00877, 0.00439, 0.00220]
UNIFORM = [0.25368, 0.18347, 0.10846, 0.05918, 0.03125, 0.01617, 0.00831, 0.00426]
PROCESSES = [(MaskedProcess(mask=3), MASKED), (UniformProcess(size=3), UNIFORM)]


def position_laws(
    process: TokenProcess, world: World, x_t: Tensor, alpha_t: Tensor, alpha_s: Tensor
) -> Tensor:
    """p(x_s^i | x_t) of a step that draws x̂₀ from the marginals, then a route, *shape* `S L W`.

    Args:
        process: the noise, which splits the step into routes.
        world: knows the marginals.
        x_t: all states, *shape* `S L`.
        alpha_t: α at the present time, a scalar.
        alpha_s: α at the next time, a scalar.
    """
    width = int(x_t.max()) + 1
    kernel = forward_kernel(process, alpha_t.expand(len(x_t)), world.tokens, width)
    clean = world.posterior(x_t, kernel)
    now = x_t[..., None].expand_as(clean).flatten()
    guess = torch.arange(world.tokens).expand_as(clean).flatten()
    routes = process.routes(now, guess, alpha_t.expand(len(now)), alpha_s.expand(len(now)))
    given_guess = posterior(routes, now, guess, process.law(width)).view(*clean.shape, width)
    return (clean[..., None] * given_guess).sum(2)


def output_law(process: TokenProcess, world: World, width: int, steps: int) -> Tensor:
    """The exact law of what N equal steps from t = 1 to t = 0 write."""
    x_t = states(width, world.length)
    prior = process.law(width)
    law = prior[x_t].prod(1)
    alphas = process.schedule.alpha(torch.linspace(1, 0, steps + 1, dtype=torch.float64))
    for alpha_t, alpha_s in itertools.pairwise(alphas):
        step = position_laws(process, world, x_t, alpha_t, alpha_s)
        law = torch.einsum("s,sa,sb,sc->abc", law, *step.unbind(1)).flatten()
    cube = law.view([width] * world.length)
    return cube[: world.tokens, : world.tokens, : world.tokens]


@pytest.mark.parametrize(("process", "published"), PROCESSES, ids=["masked", "uniform"])
def test_the_convergence_table(process: TokenProcess, published: list[float]) -> None:
    """Total variation to p for N = 1 … 128, to the printed digits, and first order in 1/N.

    At N = 1 both draw the three positions independently from the marginals of p.
    """
    world = dirichlet_world()
    width = 4 if isinstance(process, MaskedProcess) else 3
    laws = [output_law(process, world, width, steps) for steps in STEPS]
    assert all(law.sum().item() == pytest.approx(1) for law in laws)
    distances = [total_variation(law, world.law) for law in laws]
    assert [round(distance, 5) for distance in distances] == published
    order = math.log2(distances[-2] / distances[-1])
    assert order == pytest.approx(1, abs=0.05)


def test_a_hybrid_converges_as_fast() -> None:
    """First order in 1/N too; it begins where the others do and stays between them."""
    world, process = dirichlet_world(), UniformProcess(size=3, masked=0.5, mask=3)
    distances = [total_variation(output_law(process, world, 4, n), world.law) for n in STEPS]
    assert round(distances[0], 5) == MASKED[0]
    assert all(
        masked < found < uniform
        for masked, found, uniform in zip(MASKED[1:], distances[1:], UNIFORM[1:], strict=True)
    ), distances
    assert math.log2(distances[-2] / distances[-1]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), None], ids=["forward", "mixed", "random"])
def test_one_token_a_step_is_exact(order: tuple[int, ...] | None) -> None:
    """A planner that moves one masked position a step, along its clean route: total variation 0.

    In a fixed order, or in random order, where every masked position is as likely.
    """
    world, process = dirichlet_world(), MaskedProcess(mask=3)
    x_t = states(4, 3)
    step = position_laws(process, world, x_t, *torch.tensor([0.5, 1.0], dtype=torch.float64))
    law = (x_t == 3).all(1).double()
    for turn in range(3):
        chance = (x_t == 3).double()
        if order is not None:
            chance = chance * torch.nn.functional.one_hot(torch.tensor(order[turn]), 3)
        chance = chance / chance.sum(1, keepdim=True).clamp(min=1)
        following = torch.zeros_like(law)
        for i in range(3):
            for token in range(3):
                target = x_t.clone()
                target[:, i] = token
                index = (target * torch.tensor([16, 4, 1])).sum(1)
                following.index_add_(0, index, law * chance[:, i] * step[:, i, token])
        law = following
    written = law.view(4, 4, 4)[:3, :3, :3]
    assert total_variation(written, world.law) < 1e-12
