"""Layers of the small networks that read vectors.

Legend of shapes: `B` batch, `S` slots, `C` slots of a context, `W` width, `H` heads,
`E` width of a head, `D` width of a vector, `K` classes.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sfumato.models.parts.attention import attention
from sfumato.types import Condition

_WIDER, _BASE = 4, 10_000.0
_FIRST_TRUST = 0.3


class Attention(nn.Module):
    """Multi-head attention over a context.

    Args:
        width: `W`.
        heads: number of heads.
        rotary: turn queries and keys by their places (RoPE, arXiv 2104.09864), so that attention
            knows how far apart slots are; for attention to the same slots.
    """

    def __init__(self, *, width: int, heads: int, rotary: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.rotary = rotary
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B S W"],
        context: Float[Tensor, "B C W"],
        attend: Bool[Tensor, "B C"] | None,
    ) -> Float[Tensor, "B S W"]:
        """What each slot takes from the attended slots of the context; None means all."""
        query = self._split(self.query(x))
        key, value = (self._split(part) for part in self.key_value(context).chunk(2, 2))
        if self.rotary:
            query, key = turned(query), turned(key)
        mask = None if attend is None else attend[:, None, None]
        mixed = attention(query, key, value, mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Float[Tensor, "B S W"]) -> Float[Tensor, "B H S E"]:
        batch, slots, width = x.shape
        return x.view(batch, slots, self.heads, width // self.heads).transpose(1, 2)


def turned(x: Float[Tensor, "B H S E"]) -> Float[Tensor, "B H S E"]:
    """Each pair of numbers turned by an angle that grows with the place (RoPE, eq. 34).

    Example:
        >>> x = torch.randn(1, 1, 3, 4)
        >>> torch.equal(turned(x)[:, :, 0], x[:, :, 0])  # the first place is not turned
        True
    """
    half = x.shape[3] // 2
    speed = _BASE ** (-torch.arange(half, device=x.device) / max(half, 1))
    angle = torch.arange(x.shape[2], device=x.device)[:, None] * speed
    cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    one, other = x[..., :half], x[..., half : 2 * half]
    parts = (one * cosine - other * sine, one * sine + other * cosine, x[..., 2 * half :])
    return torch.cat(parts, 3)


class Layer(nn.Module):
    """Attention, attention to a condition if there is one, and a perceptron, each after a norm.

    A modulation, six vectors a row, shifts, scales and gates the first and the last (adaLN of DiT,
    arXiv 2212.09748, with one modulation for all layers and an offset of each layer's own, as in
    arXiv 2310.00426).

    Args:
        width: `W`.
        heads: number of heads.
        crossing: attend to a condition.
        dropout: chance to drop a unit.
    """

    def __init__(
        self, *, width: int, heads: int, crossing: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attention = Attention(width=width, heads=heads, rotary=True)
        self.crossing = Attention(width=width, heads=heads) if crossing else None
        self.cross_norm = nn.LayerNorm(width) if crossing else None
        self.offset = nn.Parameter(torch.zeros(6, width))
        self.perceptron = nn.Sequential(
            nn.Linear(width, _WIDER * width), nn.GELU(), nn.Linear(_WIDER * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B S W"],
        attend: Bool[Tensor, "B S"] | None,
        modulation: Float[Tensor, "B 6 W"] | None = None,
        given: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "B S W"]:
        """One layer.

        Args:
            x: slots.
            attend: slots that exist; None means all.
            modulation: shift, scale and gate, twice; None for none.
            given: the condition and which of its slots exist.
        """
        by = self.offset[None] if modulation is None else modulation + self.offset
        shift, scale, gate, shift_2, scale_2, gate_2 = by[:, :, None].unbind(1)
        seen = self.norms[0](x) * (1 + scale) + shift
        x = x + (1 + gate) * self.dropout(self.attention(seen, seen, attend))
        if self.crossing is not None and self.cross_norm is not None and given is not None:
            x = x + self.dropout(self.crossing(self.cross_norm(x), *given))
        seen = self.norms[1](x) * (1 + scale_2) + shift_2
        wide: Tensor = self.dropout(self.perceptron(seen))
        return x + (1 + gate_2) * wide


class SharedMeans(nn.Module):
    """(α·⟨x_t, m⟩ − ½α²‖m‖²)/√(S·D) with a vector m for each class, the same in all slots.

    Args:
        count: `K`.
        width: `D`.
    """

    def __init__(self, *, count: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(count, width)

    def forward(
        self, seen: Float[Tensor, "B S D"], alpha: Float[Tensor, "B"], known: None, given: None
    ) -> Float[Tensor, "B K"]:
        """The log-odds, tempered."""
        m, slots, by = self.table.weight, seen.shape[1], alpha[:, None]
        found: Tensor = by * (seen.sum(1) @ m.T) - by**2 * slots * m.square().sum(1) / 2
        return found / math.sqrt(slots * seen.shape[2])


class PairMeans(nn.Module):
    """The same with a vector for each slot, which attention reads off a condition.

    One encoder wrote both texts, so the mean of what is given is the first guess of what belongs
    to it.

    Args:
        slots: the most `S`.
        width: `D`.
        hidden: `W`.
        heads: of attention.
    """

    def __init__(self, *, slots: int, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.ask = nn.Embedding(slots, hidden)
        self.layer = Layer(width=hidden, heads=heads, crossing=True)
        self.say = nn.Linear(hidden, width)
        self.trust = nn.Parameter(torch.full((slots,), _FIRST_TRUST))

    def forward(
        self,
        seen: Float[Tensor, "B S D"],
        alpha: Float[Tensor, "B"],
        known: Condition,
        given: tuple[Tensor, Tensor],
    ) -> Float[Tensor, "B 1"]:
        """The log-odds, tempered; `given` is the condition in the width of the layers."""
        slots, by = seen.shape[1], alpha[:, None, None]
        m = self.mean(slots, known, given)
        found: Tensor = (by * seen * m - by**2 * m.square() / 2).sum((1, 2))
        return (found / math.sqrt(slots * seen.shape[2]))[:, None]

    def mean(
        self, slots: int, known: Condition, given: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "B S D"]:
        """The vectors m."""
        exists = known.attend.to(known.latents)[..., None]
        first = (known.latents * exists).sum(1) / exists.sum(1)
        asked = self.ask.weight[:slots].expand(len(first), -1, -1)
        said: Tensor = self.say(self.layer(asked, None, None, given))
        return said + self.trust[:slots, None] * first[:, None]


def initialise(module: nn.Module, *, seed: int) -> None:
    """Draws the weights of linear maps and tables anew: U(±1/√inputs), and N(0, 0.02²) for tables.

    What is made as zeros stays zero.

    Args:
        module: its linear maps and tables are drawn.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear):
            bound = part.in_features**-0.5
            nn.init.uniform_(part.weight, -bound, bound, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.02, generator=generator)
