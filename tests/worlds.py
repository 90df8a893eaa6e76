"""Tiny worlds in which every law can be enumerated, with their exact denoisers.

A world is a joint law of `L` tokens out of `V`. Its exact factorised denoiser knows the marginals
p(x_0^i | x_t) of the true posterior, and nothing of how positions hang together: what a perfectly
trained network would know.

Legend of shapes: `L` positions, `V` clean tokens, `W` tokens that noise may leave (with the mask,
`V + 1`), `S` states, `B` batch, `M` selected positions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess

TokenProcess = MaskedProcess | UniformProcess


def states(tokens: int, length: int) -> Tensor:
    """All sequences of `length` out of `tokens`, *shape* `S L`, ordered as a flat joint law."""
    return torch.tensor(list(itertools.product(range(tokens), repeat=length)))


def total_variation(p: Tensor, q: Tensor) -> float:
    return 0.5 * (p - q).abs().sum().item()


def forward_kernel(process: TokenProcess, alpha: Tensor, tokens: int, width: int) -> Tensor:
    """q(x_t | x_0) at each α, *shape* `S V W`."""
    clean = torch.eye(tokens, width, dtype=torch.float64)
    alpha = alpha.double()[:, None, None]
    return alpha * clean + (1 - alpha) * process.law(width)


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """A joint law as an array with one axis a position, float64."""

    law: Tensor

    @property
    def tokens(self) -> int:
        return self.law.shape[0]

    @property
    def length(self) -> int:
        return self.law.dim()

    def posterior(self, x_t: Tensor, kernel: Tensor) -> Tensor:
        """p(x_0^i | x_t), *shape* `S L V`, zero where x_t is impossible.

        Args:
            x_t: states, *shape* `S L`.
            kernel: q(x_t | x_0) for each state, *shape* `S V W`.
        """
        rows = torch.arange(len(x_t))
        joint = self.law.expand(len(x_t), *self.law.shape)
        for i in range(self.length):
            shape = [len(x_t)] + [self.tokens if j == i else 1 for j in range(self.length)]
            joint = joint * kernel[rows, :, x_t[:, i]].reshape(shape)
        axes = range(1, self.length + 1)
        marginals = [joint.sum([axis for axis in axes if axis != i]) for i in axes]
        result = torch.stack(marginals, 1)
        return result / result.sum(-1, keepdim=True).clamp(min=1e-300)


def dirichlet_world() -> World:
    """The 27 = 3³ outcomes of the convergence table, p ~ Dirichlet(½)."""
    p = np.random.default_rng(0).dirichlet(np.full(27, 0.5))
    return World(law=torch.from_numpy(p).reshape(3, 3, 3))


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """The exact factorised denoiser of a world, as a `protocols.Denoiser`.

    Ids from `world.tokens` up, such as the mask, get −∞.
    """

    world: World
    process: TokenProcess
    width: int

    def __call__(
        self,
        x_t: Tensor,
        where: Tensor,
        *,
        attend: Tensor | None = None,
        t: Tensor | None = None,
    ) -> Tensor:
        times = torch.full((len(x_t),), 0.5) if t is None else t
        alpha = self.process.schedule.alpha(times)
        kernel = forward_kernel(self.process, alpha, self.world.tokens, self.width)
        log_p = self.world.posterior(x_t, kernel).log()
        blank = (0, self.width - self.world.tokens)
        return torch.nn.functional.pad(log_p, blank, value=-torch.inf)[where].float()
