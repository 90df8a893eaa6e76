"""Learnt vectors of tokens as a codec (Diffusion-LM).

Legend of shapes: `B` batch, `L` positions, `S` slots, `D` width, `V` vocabulary.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.types import Condition


class EmbeddingCodec(nn.Module):
    """One vector of length √D for each token, learnt with the denoiser.

    The length is fixed, or the vectors would shrink to make the noise's task easy; what keeps
    them apart is the anchor, the cross-entropy of `decode` at x̂_0 (Difformer, arXiv 2212.09412,
    §4.1; rounding and clamping are Diffusion-LM's, arXiv 2205.14217).

    Args:
        size: `V`.
        width: `D`.
        seed: of the first vectors.

    Example:
        >>> codec = EmbeddingCodec(size=9, width=16)
        >>> ids = torch.tensor([[3, 4]])
        >>> codec.decode(codec.encode(ids, ids > 0)).argmax(2).tolist()
        [[3, 4]]
    """

    def __init__(self, *, size: int, width: int, seed: int = 0) -> None:
        super().__init__()
        if width < 2:
            raise UsageError(f"vectors of tokens need a width of at least 2, got {width}")
        self.table = nn.Embedding(size, width)
        nn.init.normal_(self.table.weight, generator=torch.Generator().manual_seed(seed))

    @property
    def width(self) -> int:
        """`D`."""
        return int(self.table.embedding_dim)

    @property
    def latents(self) -> None:
        """One vector a token."""
        return None

    @property
    def vectors(self) -> Float[Tensor, "V D"]:
        """All tokens' vectors."""
        unit = nn.functional.normalize(self.table.weight, dim=1)
        return unit * math.sqrt(self.width)

    def encode(
        self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L D"]:
        """The tokens' vectors; zero where not attended."""
        found: Tensor = nn.functional.embedding(ids, self.vectors) * attend[..., None]
        return found

    def told(self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]) -> Condition:
        """The attended tokens as a condition."""
        return Condition(latents=self.encode(ids, attend), attend=attend)

    def decode(
        self, latents: Float[Tensor, "B S D"], attend: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B S V"]:
        """Dot products with the tokens' vectors: their distances, for all have one length."""
        return latents @ self.vectors.T

    def nearest(self, latents: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The nearest token's vector."""
        return nn.functional.embedding(self.decode(latents).argmax(2), self.vectors)
