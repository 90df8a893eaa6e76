"""Time as an input of the network, for noise whose level cannot be read off the tokens.

A masked denoiser needs none: the best one does not depend on t (RADD, arXiv 2409.02908). Under
uniform noise a wrong token looks like a right one, and knowing t tells how many are wrong.

Legend of shapes: `B` batch, `D` width.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

_FASTEST, _SLOWEST = 1.0, 1e-4
_TIME_SCALE = 1000.0


class TimeEmbedding(nn.Module):
    """t → a vector that is added to every input embedding of the row; zero before training.

    Sinusoids of 1000·t at geometric frequencies (Vaswani et al., 2017, §3.5, with t in place of
    the position), then a two-layer perceptron whose last layer starts at zero, so that a model
    converted from an encoder begins exactly as that encoder.

    Args:
        width: `D`, the width of the network's input embeddings.

    Example:
        >>> TimeEmbedding(width=8)(torch.tensor([0.5])).abs().sum().item()
        0.0
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.width = width
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B D"]:
        """The embedding of each row's time."""
        waves = sinusoids(t, self.width).to(self.inner.weight.dtype)
        embedding: Tensor = self.outer(nn.functional.silu(self.inner(waves)))
        return embedding


def sinusoids(t: Float[Tensor, "B"], width: int) -> Float[Tensor, "B D"]:
    """Sines and cosines of 1000·t at `width // 2` frequencies from 1 down to 1e-4.

    Example:
        >>> sinusoids(torch.tensor([0.0]), 4).tolist()
        [[0.0, 0.0, 1.0, 1.0]]
    """
    half = max(width // 2, 1)
    exponents = torch.linspace(math.log(_FASTEST), math.log(_SLOWEST), half, device=t.device)
    angles = _TIME_SCALE * t.float()[:, None] * exponents.exp()[None]
    waves = torch.cat((angles.sin(), angles.cos()), dim=1)
    return nn.functional.pad(waves, (0, width - waves.shape[1]))
