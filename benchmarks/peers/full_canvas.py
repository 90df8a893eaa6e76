"""Training losses over logits of the whole canvas.

Both give the same number as sfumato's objective on the same draw of noise; they differ from it,
and from each other, in what they compute on the way.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.training.objectives import Prepared


def masked_rows(network: nn.Module, noised: Prepared) -> Float[Tensor, ""]:
    """Logits everywhere, cross-entropy at the masks (LLaDA's guideline for pre-training)."""
    logits = network(noised.x_t, attention_mask=noised.attend.long()).logits
    hit = noised.where
    nats = torch.nn.functional.cross_entropy(logits[hit], noised.x_0[hit], reduction="none")
    weight = (noised.weight * noised.rate[:, None])[hit]
    return (nats * weight).sum()


def every_position(network: nn.Module, noised: Prepared) -> Float[Tensor, ""]:
    """Logits and cross-entropy everywhere, then a mask (dLLM's trainer)."""
    logits = network(noised.x_t, attention_mask=noised.attend.long()).logits
    nats = torch.nn.functional.cross_entropy(logits.mT, noised.x_0, reduction="none")
    weight = noised.weight * noised.rate[:, None] * noised.where
    return (nats * weight).sum()
