"""Levels of noise drawn by how hard they are, with weights that undo the choice.

    0 ▁▁▁▂▃▅▆▇███ 1     √E[loss²] in bins of t, as it was seen lately

More rows are drawn where it is large, and weigh less: the mean loss stays that of even t.

Legend of shapes: `B` batch, `K` bins.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess


class ByDifficulty(nn.Module):
    """Draws t in proportion to √E[loss²] of its bin (arXiv 2102.09672, §3.3, of a loss by t).

    It learns while it is used, so it is a module: registered beside the network, its histogram is
    saved and resumed with the weights.

    Args:
        bins: `K`, of equal width in t.
        keep: share of a bin's history that one more loss leaves.
        even: share of the draws that is even, whatever the losses are: no weight is larger than
            its inverse.

    Raises:
        UsageError: a number out of range.

    Example:
        >>> from sfumato.noise.gaussian import Flow
        >>> from sfumato.noise.log_snr import Odds
        >>> process = GaussianProcess(schedule=Odds(), path=Flow())
        >>> times = ByDifficulty(bins=2, keep=0.5, even=0.1)
        >>> times.observe(torch.tensor([0.1, 0.9]), torch.tensor([0.0, 7.0]), process)
        >>> [round(chance, 2) for chance in times.chances.tolist()]
        [0.16, 0.84]
    """

    def __init__(self, *, bins: int = 20, keep: float = 0.99, even: float = 0.1) -> None:
        super().__init__()
        if bins < 1 or not (0 <= keep < 1 and 0 < even <= 1):
            raise UsageError(
                f"expected bins ≥ 1, keep in [0, 1) and even in (0, 1], got {bins}, {keep}, {even}"
            )
        self.keep, self.even = keep, even
        self.register_buffer("squares", torch.ones(bins, dtype=torch.float64))
        self.squares: Tensor

    @property
    def chances(self) -> Float[Tensor, "K"]:
        """The chance of each bin."""
        size = self.squares.cpu().sqrt().clamp(min=1e-12)
        return (1 - self.even) * size / size.sum() + self.even / len(size)

    def levels(
        self, rows: int, process: GaussianProcess, generator: torch.Generator
    ) -> Float[Tensor, "B"]:
        """A time for each row, stratified over what is drawn."""
        order = torch.randperm(rows, generator=generator)
        u = (order + torch.rand(rows, generator=generator, dtype=torch.float64)) / rows
        chances = self.chances
        ends = chances.cumsum(0)
        place = torch.searchsorted(ends, u, right=True).clamp(max=len(ends) - 1)
        within = (u - (ends - chances)[place]) / chances[place]
        first, last = _span(process)
        return first + (last - first) * (place + within.clamp(0, 1)) / len(ends)

    def weight(self, t: Float[Tensor, "B"], process: GaussianProcess) -> Float[Tensor, "B"]:
        """What makes a mean over drawn times the mean over even ones: 1/(K·p)."""
        chances = self.chances
        return 1 / (len(chances) * chances[self._place(t, process).cpu()]).to(t)

    @torch.no_grad()
    def observe(
        self, t: Float[Tensor, "B"], loss: Float[Tensor, "B"], process: GaussianProcess
    ) -> None:
        """Takes note of the losses of some rows."""
        squares = self.squares
        place = self._place(t, process).to(squares.device)
        count = torch.bincount(place, minlength=len(squares))
        total = torch.zeros_like(squares).index_add_(0, place, loss.to(squares).square())
        kept = self.keep ** count.to(squares)
        squares.copy_(kept * squares + (1 - kept) * total / count.clamp(min=1))

    def _place(self, t: Tensor, process: GaussianProcess) -> Tensor:
        first, last = _span(process)
        share = (t.double() - first) / (last - first)
        return (share * len(self.squares)).long().clamp(0, len(self.squares) - 1)


def _span(process: GaussianProcess) -> tuple[float, float]:
    ends = process.time(torch.tensor(process.reach[::-1], dtype=torch.float64))
    return float(ends[0]), float(ends[1])
