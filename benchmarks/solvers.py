"""How much of the data's spread a solver returns, by steps and grid.

    python benchmarks/solvers.py --std 0.3

Data N(0, std²), the exact denoiser, the tangent schedule. The map from noise to the result is
linear, so one point tells it; for stochastic solvers the variances of the steps are added up by
drawing many points. The run ends in x̂_0, as a sampler's does.
"""

from __future__ import annotations

import argparse
import itertools

import torch
from contest import table
from torch import Tensor

from sfumato.noise.gaussian import GaussianProcess, Preserving
from sfumato.noise.log_snr import Tangent
from sfumato.sampling.latent.grids import Grid, Karras, LogSnrs, Times
from sfumato.sampling.latent.solvers import SOLVERS, Solver, Step

GRIDS: dict[str, Grid] = {
    "even in t": Times(),
    "even in t, to 0.01": Times(end=0.01),
    "even in log-SNR": LogSnrs(),
    "Karras": Karras(),
}
STEPS, POINTS = (5, 10, 20, 50, 200), 20_000


def returned(process: GaussianProcess, solver: Solver, grid: Grid, steps: int, std: float) -> float:
    """The standard deviation of what comes back, as a share of the data's."""

    def clean(x: Tensor, time: float) -> Tensor:
        at = process.scales(torch.tensor(time, dtype=torch.float64))
        return x * at.alpha * std**2 / (at.alpha**2 * std**2 + at.sigma**2)

    generator = torch.Generator().manual_seed(0)

    def noise() -> Tensor:
        return torch.randn(POINTS, 1, generator=generator, dtype=torch.float64)

    times, x, before = grid.times(process, steps).tolist(), noise(), None
    start = x
    for t, s in itertools.pairwise(times):
        hat = clean(x, t)
        step = Step(
            process=process, t=t, s=s, x_t=x, clean=hat, before=before, noise=noise, predict=clean
        )
        before, x = (t, hat), solver.solve(step)
    return float(clean(x, times[-1]).std() / start.std() / std)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--std", type=float, default=0.3, help="of the data")
    parser.add_argument("--slope", type=float, default=9.0, help="of the tangent schedule")
    options = parser.parse_args()
    process = GaussianProcess(schedule=Tangent(slope=options.slope), path=Preserving())
    rows = [
        [name, kind, *(f"{returned(process, one, grid, n, options.std):.3f}" for n in STEPS)]
        for name, one in SOLVERS.items()
        if name != "ancestral"
        for kind, grid in GRIDS.items()
    ]
    print(table(["solver", "grid", *(f"{n} steps" for n in STEPS)], rows))


if __name__ == "__main__":
    main()
