"""Attention, the fast way.

In bfloat16 on a CPU the gradient of PyTorch's own kernel (flash attention for CPUs, PyTorch 2.13)
takes two to four times as long as that of the definition while texts are short; see docs/log.md,
2026-11-21. Where a layer looks a few positions to either side, a long row is cut into bands:

    queries      |  128  |  128  |  128  |
    keys      | 64|  128  |64 |              a band and what its ends can see

Legend of shapes: `B` batch, `H` heads, `L` positions, `E` width of a head, `N` bands, `W` window.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from transformers import PreTrainedModel

_SHORT = 256
_BAND = 128


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, dropout: float = 0.0
) -> Tensor:
    """Values mixed by softmax(query·key / √E), the fast way.

    Args:
        query: *shape* `B H S E`.
        key: *shape* `B H C E`.
        value: *shape* `B H C E`.
        mask: False where nothing may be read, *shape* `B 1 1 C` or `B 1 S C`; None reads all.
        dropout: share of the weights that are dropped.
    """
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if not (slow and torch.is_grad_enabled() and key.shape[2] <= _SHORT):
        return nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout
        )
    scores = (query / math.sqrt(query.shape[3])) @ key.transpose(2, 3)
    if mask is not None:
        # Finite, or a row that may read nothing would spoil the gradients of all.
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    weights = nn.functional.dropout(scores.softmax(3), dropout)
    return weights.to(value.dtype) @ value


def pays_in_bands(length: int, window: int | None) -> bool:
    """Whether a window leaves less than half of the keys to look at."""
    return window is not None and 2 * (_BAND + 2 * window) <= length


def mask_of_bands(
    exists: Bool[Tensor, "B L"] | None, length: int, window: int, device: torch.device
) -> Bool[Tensor, "BN 1 _ _"]:
    """Where each band may read.

    Args:
        exists: positions that may be read; None for all.
        length: `L`.
        window: `W`.
        device: where the mask is made.
    """
    if exists is None:
        exists = torch.ones(1, length, dtype=torch.bool, device=device)
    seen = _bands(exists[:, None, :, None], window)[:, :, None, :, 0]
    own = torch.arange(_BAND, device=device)[:, None]
    other = torch.arange(_BAND + 2 * window, device=device)
    return seen & ((other - own - window).abs() <= window)


def attention_in_bands(
    query: Float[Tensor, "B H L E"],
    key: Float[Tensor, "B H L E"],
    value: Float[Tensor, "B H L E"],
    mask: Bool[Tensor, "_ 1 _ _"],
    *,
    window: int,
    dropout: float = 0.0,
) -> Float[Tensor, "B H L E"]:
    """The same as `attention` under a window, with less to look at.

    Args:
        query: of the whole row.
        key: of the whole row.
        value: of the whole row.
        mask: of `mask_of_bands`.
        window: `W`.
        dropout: share of the weights that are dropped.
    """
    batch, _, length, _ = query.shape
    count = -(-length // _BAND)
    query = nn.functional.pad(query, (0, 0, 0, count * _BAND - length))
    query = torch.stack(query.chunk(count, 2), 1).flatten(0, 1)
    key, value = _bands(key, window), _bands(value, window)
    if len(mask) < len(query):
        mask = mask.repeat(batch, 1, 1, 1)
    mixed = attention(query, key, value, mask, dropout=dropout)
    mixed = mixed.view(batch, count, *mixed.shape[1:]).transpose(1, 2)
    return mixed.flatten(2, 3)[:, :, :length]


def _bands(part: Shaped[Tensor, "B H L E"], window: int) -> Shaped[Tensor, "BN H _ E"]:
    """Each band with the window on its two sides; zeros beyond the row."""
    beyond = -part.shape[2] % _BAND
    part = nn.functional.pad(part, (0, 0, window, beyond + window))
    return part.unfold(2, _BAND + 2 * window, _BAND).permute(0, 2, 1, 4, 3).flatten(0, 1)


def spell_out_attention(module: nn.Module, *, length: int) -> None:
    """Makes the networks of transformers in a module compute attention by its definition.

    Args:
        module: is changed, for training in bfloat16 on a CPU.
        length: of the longest text, tokens; nothing changes if it is long.
    """
    if length > _SHORT:
        return
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and part.config._attn_implementation == "sdpa":
            part.set_attn_implementation("eager")
