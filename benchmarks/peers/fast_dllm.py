"""Fast-dLLM's parallel decoding: every position that is sure enough, and at least one (2505.22618).

Restated from algorithm 1 and the reference implementation, with its float64 softmax over the
canvas and its loops over rows, and with dLLM's attention mask for rows of different length. The
second half of Fast-dLLM, the cache of keys and values of prefix and suffix, needs hooks in every
layer that the encoders of transformers do not have; it is left out, so this is the algorithm
without its cache.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from peers.llada import race


@torch.no_grad()
def generate(
    network: nn.Module,
    canvas: Int[Tensor, "B L"],
    *,
    attend: Bool[Tensor, "B L"],
    threshold: float,
    block: int | None,
    temperature: float,
    mask: int,
    generator: torch.Generator,
) -> Iterator[Int[Tensor, "B L"]]:
    """Yields the canvas after each pass of the network.

    Args:
        network: a masked language model of transformers.
        canvas: prompts with masks to their right.
        attend: positions that exist.
        threshold: the confidence that is enough.
        block: positions that are finished before the next ones begin; None for the whole answer.
        temperature: of the Gumbel noise.
        mask: id of the mask token.
        generator: of the noise.
    """
    masked = canvas == mask
    longest = int(masked.sum(1).max())
    size = block or longest
    place, start = torch.arange(canvas.shape[1], device=canvas.device), masked.long().argmax(1)
    number = (place - start[:, None]) // size
    for index in range(math.ceil(longest / size)):
        while bool((here := (canvas == mask) & (number == index)).any()):
            logits = network(canvas, attention_mask=attend.long()).logits
            drawn = (race(logits, temperature, generator) if temperature else logits).argmax(-1)
            sure = logits.double().softmax(-1).gather(-1, drawn[..., None])[..., 0]
            sure = torch.where(here, sure, -torch.inf)
            canvas = torch.where(_enough(sure, here, threshold), drawn, canvas)
            yield canvas


def _enough(
    sure: Float[Tensor, "B L"], here: Bool[Tensor, "B L"], threshold: float
) -> Bool[Tensor, "B L"]:
    """The positions that pass, and the surest one of each row that has any left."""
    kept = torch.zeros_like(here)
    for row, count in enumerate(here.sum(1).tolist()):
        best = sure[row].topk(count).indices
        for rank, position in enumerate(best.tolist()):
            kept[row, position] = rank == 0 or bool(sure[row, position] >= threshold)
    return kept
