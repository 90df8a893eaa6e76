"""Golden test 3 for vectors: order of convergence, the common endpoint, and the spread kept."""

from __future__ import annotations

import math

import pytest
import torch
from tests.sampling.gaussians import Normal

from sfumato.errors import UsageError
from sfumato.noise.gaussian import Exploding, Flow, GaussianProcess, Preserving
from sfumato.noise.log_snr import Odds, SquareRoot, Straight, Tangent
from sfumato.sampling.latent.grids import Grid, Karras, LogSnrs, Times
from sfumato.sampling.latent.solvers import SOLVERS, Ddim, Solver

PROCESSES = {
    "preserving": GaussianProcess(schedule=Tangent(), path=Preserving(), low=-3.0, high=3.0),
    "exploding": GaussianProcess(schedule=Straight(), path=Exploding(), low=-3.0, high=3.0),
    "flow": GaussianProcess(schedule=Odds(), path=Flow(), low=-3.0, high=3.0),
}
ORDERS = {"ddim": 1, "euler": 1, "heun": 2, "dpm-solver": 2}
GRIDS: dict[str, Grid] = {"log-SNR": LogSnrs(), "Karras": Karras()}


def start_of(world: Normal, t: float) -> torch.Tensor:
    sigma = world.process.scales(torch.tensor(t, dtype=torch.float64)).sigma
    return 1.3 * sigma.view(1, 1)


def error(world: Normal, solver: Solver, grid: Grid, steps: int) -> float:
    times = grid.times(world.process, steps + 1).tolist()
    x = start_of(world, times[0])
    exact = world.flow(x, times[0], times[-1])
    return float((world.walk(solver, times, x) - exact).abs())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("path", PROCESSES)
@pytest.mark.parametrize("name", ORDERS)
def test_the_measured_order_is_the_declared_one(name: str, path: str, grid: str) -> None:
    world = Normal(process=PROCESSES[path])
    coarse, fine = (error(world, SOLVERS[name], GRIDS[grid], n) for n in (128, 256))
    assert math.log2(coarse / fine) == pytest.approx(ORDERS[name], abs=0.06)


@pytest.mark.parametrize("path", PROCESSES)
@pytest.mark.parametrize("name", ORDERS)
def test_all_solvers_end_where_the_flow_ends(name: str, path: str) -> None:
    world = Normal(process=PROCESSES[path])
    assert error(world, SOLVERS[name], LogSnrs(), 4096) < 3e-3 / ORDERS[name] ** 8


@pytest.mark.parametrize("path", PROCESSES)
def test_the_first_order_step_is_exact_for_a_point(path: str) -> None:
    """With all data at one point x̂_0 never changes, and DDIM may take one step."""
    world = Normal(process=PROCESSES[path], std=1e-9)
    assert error(world, Ddim(), LogSnrs(), 1) < 1e-7


@pytest.mark.parametrize("name", ["ddpm", "euler-maruyama"])
def test_stochastic_solvers_draw_the_law_at_the_end(name: str) -> None:
    world = Normal(process=PROCESSES["preserving"])
    times = LogSnrs().times(world.process, 201).tolist()
    at, to = (world.process.scales(torch.tensor(times[i], dtype=torch.float64)) for i in (0, -1))
    start = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1)).double()
    spread = (at.alpha**2 * world.std**2 + at.sigma**2).sqrt()
    x = world.walk(SOLVERS[name], times, at.alpha * world.mean + spread * start)
    expected = float((to.alpha**2 * world.std**2 + to.sigma**2).sqrt())
    assert float(x.std()) == pytest.approx(expected, rel=0.03)
    assert float(x.mean()) == pytest.approx(float(to.alpha) * world.mean, abs=0.02)


def spread(solver: Solver, grid: Grid, steps: int, std: float) -> float:
    """Standard deviation of what is returned, as a share of the data's.

    The map from x_1 to x̂_0 is linear, so two points tell it. The run ends in x̂_0, as a
    sampler's does.
    """
    process = GaussianProcess(schedule=Tangent(), path=Preserving(), low=-6.0, high=5.0)
    world = Normal(process=process, mean=0.0, std=std)
    times = grid.times(process, steps).tolist()
    x = world.walk(solver, times, torch.ones(1, 1, dtype=torch.float64))
    return float(world.clean(x, times[-1])) / std


def test_the_grid_matters_more_than_the_order() -> None:
    """latent.md, §0.7: uniform steps on tangent-9 lose spread, a log-SNR grid almost none.

    x_1 has the standard deviation 1 here, and the exact flow gives the data's back.
    """
    even = {n: spread(Ddim(), Times(), n, 0.3) for n in (20, 50, 200)}
    level = {n: spread(SOLVERS["dpm-solver"], LogSnrs(), n, 0.3) for n in (10, 20, 50)}
    assert even[20] < 0.6
    assert even[50] < 0.75
    assert even[20] < even[50] < even[200] < 1
    assert all(abs(one - 1) < 0.06 for one in level.values()), level
    assert abs(level[20] - 1) < 0.02


def test_grids_begin_at_pure_noise_and_fall() -> None:
    for process in PROCESSES.values():
        for grid in (Times(), LogSnrs(), Karras(), Times(end=0.1)):
            times = grid.times(process, 7)
            assert len(times) == 7
            assert (times.diff() < 0).all()
            assert float(process.log_snr(times[0])) == pytest.approx(-3.0)


def test_a_grid_stays_within_its_schedule() -> None:
    """Diffusion-LM's square root has λ = 2.3 at t = 0, and a straight line its own ends."""
    for schedule in (SquareRoot(), Straight(high=2.0, low=-3.0)):
        process = GaussianProcess(schedule=schedule, path=Preserving(), low=-6.0, high=6.0)
        for grid in (Times(end=0.0), LogSnrs(), Karras()):
            times = grid.times(process, 9)
            assert (times.diff() < 0).all()
            assert 0 <= float(times[-1]) < float(times[0]) <= 1


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="eta"):
        Ddim(eta=1.5)
    with pytest.raises(UsageError, match="rho"):
        Karras(rho=0.0)
    with pytest.raises(UsageError, match="at least 1"):
        LogSnrs().times(PROCESSES["flow"], 0)
