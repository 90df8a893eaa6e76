"""The layers of ModernBERT.

Rotary positions turn queries and keys together and in place, a third of the passes over memory
that transformers makes.

Legend of shapes: `T` tokens, `D` width, `H` heads, `E` width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

from sfumato.models.bodies.spelling import Angles, Heads, Spelling


def _embed(body: Any, inputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ANN401
    words = {name: part for name, part in inputs.items() if name != "position_ids"}
    found: Tensor = body.embeddings(**words)[0]
    return found


def _angles(body: Any, hidden: Tensor, position: Tensor) -> Mapping[str, Angles]:  # noqa: ANN401
    """Cosines, and sines of which the first half is negative, *shape* `T 1 1 E`."""
    found = {}
    for kind in dict.fromkeys(body.config.layer_types):
        cosine, sine = (part[0, :, None, None] for part in body.rotary_emb(hidden, position, kind))
        first, second = sine.chunk(2, -1)
        found[kind] = (cosine, torch.cat([-first, second], -1))
    return found


def _project(layer: Any, hidden: Tensor, angles: Mapping[str, Angles]) -> Heads:  # noqa: ANN401
    own = layer.attn
    joint = own.Wqkv(layer.attn_norm(hidden)).unflatten(-1, (3, -1, own.head_dim))
    cosine, sine = (part.to(joint.dtype) for part in angles[layer.attention_type])
    if torch.is_grad_enabled():
        joint = cast(Callable[..., Tensor], _Turn.apply)(joint, cosine, sine)
    else:
        _turn(joint[:, :2], (cosine, sine))
    query, key, value = joint.unbind(1)
    return query, key, value


def _finish(layer: Any, hidden: Tensor, mixed: Tensor) -> Tensor:  # noqa: ANN401
    hidden = hidden + layer.attn.out_drop(layer.attn.Wo(mixed))
    found: Tensor = hidden + layer.mlp(layer.mlp_norm(hidden))
    return found


def _window(layer: Any) -> int | None:  # noqa: ANN401
    if layer.attention_type != "sliding_attention":
        return None
    return int(layer.config.sliding_window)


def _dropout(layer: Any) -> float:  # noqa: ANN401
    return float(layer.attn.attention_dropout)


def _after(body: Any, hidden: Tensor) -> Tensor:  # noqa: ANN401
    found: Tensor = body.final_norm(hidden)
    return found


MODERNBERT = Spelling(
    layers="layers",
    kind="ModernBertEncoderLayer",
    embed=_embed,
    angles=_angles,
    project=_project,
    finish=_finish,
    window=_window,
    dropout=_dropout,
    after=_after,
)


class _Turn(torch.autograd.Function):
    """Rotary positions of queries and keys in place; a rotation's gradient is turned back."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, joint: Float[Tensor, "T 3 H E"], cosine: Tensor, sine: Tensor
    ) -> Float[Tensor, "T 3 H E"]:
        ctx.mark_dirty(joint)
        ctx.save_for_backward(cosine, sine)
        _turn(joint[:, :2], (cosine, sine))
        return joint

    @staticmethod
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors  # type: ignore[attr-defined]
        back = outer.clone()
        _turn(back[:, :2], (cosine, -sine))
        return back, None, None


def _turn(pairs: Float[Tensor, "T 2 H E"], angles: Angles) -> None:
    """Turns each pair of numbers by its angle (Su et al., arXiv 2104.09864, eq. 34), in place."""
    cosine, sine = angles
    other = pairs.roll(pairs.shape[-1] // 2, -1)
    pairs.mul_(cosine).addcmul_(other, sine)
