"""Attention in bfloat16 on a CPU.

There the gradient of PyTorch's own kernel (flash attention for CPUs, PyTorch 2.13) takes two to
four times as long as that of the definition while texts are short; see docs/log.md, 2026-11-21.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_SHORT = 256


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Values mixed by softmax(query·key / √E), the fast way.

    Args:
        query: *shape* `B H S E`.
        key: *shape* `B H C E`.
        value: *shape* `B H C E`.
        mask: False where nothing may be read, *shape* `B 1 1 C` or `B 1 S C`; None reads all.
    """
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if not (slow and torch.is_grad_enabled() and key.shape[2] <= _SHORT):
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query / math.sqrt(query.shape[3])) @ key.transpose(2, 3)
    if mask is not None:
        # Finite, or a row that may read nothing would spoil the gradients of all.
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(3).to(value.dtype) @ value


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
