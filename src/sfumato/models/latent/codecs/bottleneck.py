"""The learnt parts of an encoder's codec: what reads vectors back, and what makes fewer of them.

Legend of shapes: `B` batch, `S` slots, `C` width of the encoder, `D` width of the vectors,
`N` vectors of a text: `S`, or fewer if it is compressed, `V` vocabulary, `K` kept tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sfumato.models.latent.layers import Layer, initialise


class Compressor(nn.Module):
    """A few vectors for a whole text: questions that are learnt, answered by attention.

    Perceiver (arXiv 2103.03206), as a bottleneck between encoder and decoder. Each vector is
    brought to mean 0 and deviation 1.

    Args:
        inside: width of what is compressed.
        width: `D`, of the vectors.
        latents: how many.
        slots: places of a text; what stands behind them is not read.
        hidden: `W`.
        layers: their number.
        heads: of attention.
        seed: of the weights.

    Example:
        >>> compressor = Compressor(inside=6, width=4, latents=2, slots=9, hidden=8, heads=2)
        >>> compressor(torch.randn(3, 7, 6), torch.ones(3, 7, dtype=torch.bool)).shape
        torch.Size([3, 2, 4])
    """

    def __init__(
        self,
        *,
        inside: int,
        width: int,
        latents: int,
        slots: int,
        hidden: int = 256,
        layers: int = 2,
        heads: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(inside, hidden)
        self.place = nn.Embedding(slots, hidden)
        self.ask = nn.Embedding(latents, hidden)
        self.layers = nn.ModuleList(
            Layer(width=hidden, heads=heads, crossing=True) for _ in range(layers)
        )
        self.leave = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        initialise(self, seed=seed)

    @property
    def latents(self) -> int:
        """How many vectors."""
        return int(self.ask.num_embeddings)

    def forward(
        self, vectors: Float[Tensor, "B S C"], seen: Bool[Tensor, "B S"]
    ) -> Float[Tensor, "B N D"]:
        """The vectors of each text, read off the slots that hold tokens."""
        vectors, seen = (x[:, : self.place.num_embeddings] for x in (vectors, seen))
        given = self.enter(vectors) + self.place.weight[: vectors.shape[1]]
        none = ~seen.any(1, keepdim=True)  # or attention would be a softmax over nothing
        x = self.ask.weight.expand(len(vectors), -1, -1)
        for layer in self.layers:
            x = layer(x, None, None, (given, seen | none))
        found: Tensor = self.norm(self.leave(x))
        return found


class LatentDecoder(nn.Module):
    """Vectors → logits, by a few layers of attention over the whole text.

    Args:
        width: `D`, of the vectors.
        kept: ids of the tokens that it can say, as many as its head is wide.
        size: `V`.
        slots: the most slots of a text.
        hidden: width of its layers.
        layers: their number.
        heads: of attention.
        seed: of the weights.
        latents: vectors of a text, if it is compressed: each slot then reads them by attention.
    """

    def __init__(
        self,
        *,
        width: int,
        kept: Iterable[int],
        size: int,
        slots: int,
        hidden: int = 256,
        layers: int = 2,
        heads: int = 4,
        seed: int = 0,
        latents: int | None = None,
    ) -> None:
        super().__init__()
        self.size, self.heads = size, heads
        self.beside = None if latents is None else nn.Embedding(latents, hidden)
        self.register_buffer("kept", torch.tensor(sorted(set(kept)), dtype=torch.long))
        self.kept: Tensor
        self.enter = nn.Linear(width, hidden)
        self.place = nn.Embedding(slots, hidden)
        self.layers = nn.ModuleList(
            Layer(width=hidden, heads=heads, crossing=latents is not None) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, len(self.kept))
        initialise(self, seed=seed)

    def forward(
        self, latents: Float[Tensor, "B N D"], attend: Bool[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B S K"]:
        """Logits of the kept tokens; of all slots, if the text is compressed."""
        x, given = self.enter(latents), None
        if self.beside is None:
            x = x + self.place.weight[: latents.shape[1]]
        else:
            every = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            given, attend = (x + self.beside.weight, every), None
            x = self.place.weight.expand(len(x), -1, -1)
        for layer in self.layers:
            x = layer(x, attend, None, given)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def spread(self, logits: Float[Tensor, "B S K"]) -> Float[Tensor, "B S V"]:
        """Logits of all tokens, −∞ for those that are not kept."""
        whole = logits.new_full((*logits.shape[:2], self.size), -torch.inf)
        return whole.index_copy(2, self.kept, logits)
