"""A codec and denoisers of a few lines for latent sampling."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from tests.sampling.fakes import SIZE
from torch import Tensor

from sfumato.noise.gaussian import GaussianProcess, Preserving
from sfumato.noise.log_snr import Tangent
from sfumato.types import Condition

PROCESS = GaussianProcess(schedule=Tangent(), path=Preserving(), low=-5.0, high=4.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """One vector a token, read back by the nearest."""

    width: int = 6
    table: Tensor = field(
        default_factory=lambda: torch.randn(SIZE, 6, generator=torch.Generator().manual_seed(3))
    )

    latents: None = None

    def told(self, ids: Tensor, attend: Tensor) -> Condition:
        return Condition(latents=self.encode(ids, attend), attend=attend)

    def encode(self, ids: Tensor, attend: Tensor) -> Tensor:
        return self.table[ids] * attend[..., None]

    def decode(self, latents: Tensor, attend: Tensor | None = None) -> Tensor:
        return -torch.cdist(latents, self.table.expand(len(latents), -1, -1)).square()

    def nearest(self, latents: Tensor) -> Tensor:
        return self.table[self.decode(latents).argmax(2)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """Exact for independent slots: each holds a token of its own law, seen through the noise."""

    codec: Table
    process: GaussianProcess
    weights: Tensor

    def __call__(
        self,
        x_t: Tensor,
        log_snr: Tensor,
        *,
        attend: Tensor | None = None,
        condition: Condition | None = None,
        hint: Tensor | None = None,
    ) -> Tensor:
        at = self.process.path.scales(log_snr.double()).over(x_t)
        apart = torch.cdist(x_t, (at.alpha * self.codec.table[None]).expand(len(x_t), -1, -1))
        logits = self.weights.log() - apart.square() / (2 * at.sigma**2)
        return logits.softmax(2) @ self.codec.table
