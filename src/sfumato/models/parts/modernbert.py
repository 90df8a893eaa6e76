"""ModernBERT's body without autograd: the same numbers, with less work around the products.

    x_t `B L` ─ embeddings ─ 21 layers, whole canvas ─ last layer, chosen rows ─ norm ─ `M D`

Rotary positions turn queries and keys together and in place, a third of the passes over memory
that transformers makes; what follows the last attention runs on the chosen rows only. Weights,
masks and angles are transformers' own, and so are all linear layers, adapters included.

Legend of shapes: `B` batch, `L` positions, `D` width, `H` heads, `M` chosen rows, `E` width of a
head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_bidirectional_sliding_window_mask,
)

_MASKS = {
    "full_attention": create_bidirectional_mask,
    "sliding_attention": create_bidirectional_sliding_window_mask,
}
Angles = tuple[Tensor, Tensor]


def rows_of_modernbert(
    body: PreTrainedModel, inputs: Mapping[str, Tensor], rows: Int[Tensor, "M"]
) -> Float[Tensor, "M D"] | None:
    """The body's output at chosen rows, or None where it must be left to transformers.

    That is while training, and with another attention than PyTorch's own.

    Args:
        body: a `ModernBertModel`.
        inputs: of its forward pass: ids or embeddings, attention mask, position ids.
        rows: indices into the flattened canvas.
    """
    config: Any = body.config
    if torch.is_grad_enabled() or body.training or config._attn_implementation != "sdpa":
        return None
    parts: Any = body
    words = {name: inputs[name] for name in ("input_ids", "inputs_embeds") if name in inputs}
    hidden: Tensor = parts.embeddings(**words)
    masks, angles = {}, {}
    for kind in set(config.layer_types):
        masks[kind] = _MASKS[kind](
            config=config, inputs_embeds=hidden, attention_mask=inputs["attention_mask"]
        )
        angles[kind] = _half(parts.rotary_emb(hidden, inputs["position_ids"], kind))
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


def _half(angles: Angles) -> Angles:
    """Cosines and sines, *shape* `B L 1 1 E/2`; transformers repeats them."""
    cosine, sine = (values.chunk(2, -1)[0][:, :, None, None] for values in angles)
    return cosine, sine


def _attend(layer: Any, hidden: Tensor, mask: Any, angles: Angles) -> Tensor:  # noqa: ANN401
    """The heads' outputs of a layer before their projection, *shape* `B·L D`."""
    attention = layer.attn
    joint = attention.Wqkv(layer.attn_norm(hidden)).unflatten(-1, (3, -1, attention.head_dim))
    _turn(joint[:, :, :2], angles)
    query, key, value = (part.transpose(1, 2) for part in joint.unbind(2))
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return mixed.transpose(1, 2).reshape(-1, hidden.shape[-1])


def _turn(pairs: Float[Tensor, "B L 2 H E"], angles: Angles) -> None:
    """Rotary positions of queries and keys, in place (Su et al., arXiv 2104.09864, eq. 34)."""
    cosine, sine = angles
    first, second = pairs.chunk(2, -1)
    turned = first * sine
    first.mul_(cosine).addcmul_(second, sine, value=-1)
    second.mul_(cosine).add_(turned)
