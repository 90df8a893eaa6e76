"""What a layer of an encoder does, in the three parts that reading it needs.

    hidden ─ project ─▶ query, key, value ─ attention ─▶ mixed ─ finish ─▶ hidden
              every token alone             the only part       every token alone
                                        where tokens meet

Weights and modules are transformers' own, adapters included.

Legend of shapes: `T` tokens, `D` width, `H` heads, `E` width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

Heads = tuple[Tensor, Tensor, Tensor]
Angles = tuple[Tensor, Tensor]


def _no_window(layer: Any) -> int | None:  # noqa: ANN401
    return None


def _no_angles(body: Any, hidden: Tensor, position: Tensor) -> Mapping[str, Angles]:  # noqa: ANN401
    return {}


def _nothing_after(body: Any, hidden: Tensor) -> Tensor:  # noqa: ANN401
    return hidden


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How the layers of a family are computed; all tensors are lines of tokens.

    Attributes:
        layers: path from the body to its list of layers.
        kind: name of the layers' class; another one (of shards, for one) is left to transformers.
        embed: ids or embeddings (*shape* `1 T` or `1 T D`) and positions → hidden `T D`.
        angles: of rotary positions, by kind of layer; each is passed on to `project`.
        project: a layer's queries, keys and values, each `T H E`, of hidden `T D`.
        finish: a layer's output, of its input `T D` and of what attention mixed, `T D`.
        window: how far a layer looks to either side; None for everywhere.
        dropout: of a layer's attention weights while training.
        after: what follows the last layer.
    """

    layers: str
    kind: str
    embed: Callable[[Any, Mapping[str, Tensor]], Tensor]
    project: Callable[[Any, Tensor, Mapping[str, Angles]], Heads]
    finish: Callable[[Any, Tensor, Tensor], Tensor]
    dropout: Callable[[Any], float]
    angles: Callable[[Any, Tensor, Tensor], Mapping[str, Angles]] = _no_angles
    window: Callable[[Any], int | None] = _no_window
    after: Callable[[Any, Tensor], Tensor] = _nothing_after

    def reads(self, body: nn.Module) -> bool:
        """Whether a body's layers are what this spells, attention among them."""
        layers = body.get_submodule(self.layers).children()
        usual = cast(Any, body).config._attn_implementation in ("sdpa", "eager")
        return usual and all(type(layer).__name__ == self.kind for layer in layers)
