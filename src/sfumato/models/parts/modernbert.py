"""ModernBERT's body: the same numbers and gradients, with less work around the products.

    x_t `B L` ─ embeddings ─ 21 layers, whole canvas ─ last layer, chosen rows ─ norm ─ `M D`

Rotary positions turn queries and keys together and in place, a third of the passes over memory
that transformers makes; what follows the last attention runs on the chosen rows only. Weights,
masks and angles are transformers' own, and so are all linear layers, adapters included.

Legend of shapes: `B` batch, `L` positions, `D` width, `H` heads, `M` chosen rows, `E` width of a
head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx
from transformers import PreTrainedModel
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_bidirectional_sliding_window_mask,
)
from transformers.models.modernbert.modeling_modernbert import ModernBertEncoderLayer

from sfumato.models.parts.attention import attention

_MASKS = {
    "full_attention": create_bidirectional_mask,
    "sliding_attention": create_bidirectional_sliding_window_mask,
}
_KINDS = ("sdpa", "eager")
Angles = tuple[Tensor, Tensor]


def rows_of_modernbert(
    body: PreTrainedModel, inputs: Mapping[str, Tensor], rows: Int[Tensor, "M"]
) -> Float[Tensor, "M D"] | None:
    """The body's output at chosen rows, or None where it must be left to transformers.

    That is with dropout or checkpoints of activations while training, with layers that something
    else has taken over (shards), and with another library's attention.

    Args:
        body: a `ModernBertModel`.
        inputs: of its forward pass: ids or embeddings, attention mask, position ids.
        rows: indices into the flattened canvas.
    """
    config: Any = body.config
    if not is_plain(body):
        return None
    parts: Any = body
    if config._attn_implementation != "sdpa":
        config = copy(config)
        config._attn_implementation = "sdpa"  # for masks that say yes or no
    words = {name: inputs[name] for name in ("input_ids", "inputs_embeds") if name in inputs}
    hidden: Tensor = parts.embeddings(**words)
    masks, angles = {}, {}
    for kind in set(config.layer_types):
        masks[kind] = _MASKS[kind](
            config=config, inputs_embeds=hidden, attention_mask=inputs["attention_mask"]
        )
        angles[kind] = _signed(parts.rotary_emb(hidden, inputs["position_ids"], kind))
    shape, hidden = hidden.shape, hidden.flatten(0, 1)
    for layer in parts.layers:
        kind = layer.attention_type
        mixed = _attend(layer, hidden.view(shape), masks[kind], angles[kind])
        if layer is parts.layers[-1]:
            mixed, hidden = mixed.index_select(0, rows), hidden.index_select(0, rows)
        hidden = hidden + layer.attn.Wo(mixed)
        hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
    found: Tensor = parts.final_norm(hidden)
    return found


def is_plain(body: PreTrainedModel) -> bool:
    """Whether a `ModernBertModel` computes what `rows_of_modernbert` does."""
    config, layers = body.config, cast(Any, body).layers
    dropout = config.attention_dropout + config.mlp_dropout + config.embedding_dropout
    return (
        config._attn_implementation in _KINDS
        and not (body.training and dropout > 0)
        and all(type(layer) is ModernBertEncoderLayer for layer in layers)
        and not (body.training and any(layer.gradient_checkpointing for layer in layers))
    )


def _signed(angles: Angles) -> Angles:
    """Cosines, and sines of which the first half is negative, *shape* `B L 1 1 E`."""
    cosine, sine = (values[:, :, None, None] for values in angles)
    first, second = sine.chunk(2, -1)
    return cosine, torch.cat([-first, second], -1)


def _attend(layer: Any, hidden: Tensor, mask: Any, angles: Angles) -> Tensor:  # noqa: ANN401
    """The heads' outputs of a layer before their projection, *shape* `B·L D`."""
    own = layer.attn
    joint = own.Wqkv(layer.attn_norm(hidden)).unflatten(-1, (3, -1, own.head_dim))
    turn = cast(Callable[..., Tensor], _Turn.apply)
    joint = turn(joint, *(values.to(joint.dtype) for values in angles))
    query, key, value = (part.transpose(1, 2) for part in joint.unbind(2))
    mixed = attention(query, key, value, mask)
    return mixed.transpose(1, 2).reshape(-1, hidden.shape[-1])


class _Turn(torch.autograd.Function):
    """Rotary positions of queries and keys in place; a rotation's gradient is turned back."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, joint: Float[Tensor, "B L 3 H E"], cosine: Tensor, sine: Tensor
    ) -> Float[Tensor, "B L 3 H E"]:
        ctx.mark_dirty(joint)
        ctx.save_for_backward(cosine, sine)
        _turn(joint[:, :, :2], (cosine, sine))
        return joint

    @staticmethod
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors  # type: ignore[attr-defined]
        back = outer.clone()
        _turn(back[:, :, :2], (cosine, -sine))
        return back, None, None


def _turn(pairs: Float[Tensor, "B L 2 H E"], angles: Angles) -> None:
    """Turns each pair of numbers by its angle (Su et al., arXiv 2104.09864, eq. 34), in place."""
    cosine, sine = angles
    other = pairs.roll(pairs.shape[-1] // 2, -1)
    pairs.mul_(cosine).addcmul_(other, sine)
