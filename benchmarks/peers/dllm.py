"""dLLM's MDLMSampler: LLaDA's algorithm on rows of different length.

Restated from the sampler and its `infill` of April 2026, which share their steps. Beside LLaDA's:
an attention mask for rows that are padded on the right, blocks that begin where each row's answer
does, numbers of tokens a step by the linear schedule with steps of none left out, a copy of every
canvas for the history, and a softmax in the type of the logits. All rows take as many passes as
the longest. Its weights are bfloat16 unless told otherwise: that is up to the caller.

Legend of shapes: `B` batch, `L` positions, `N` steps of a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from peers.llada import race, surest


@torch.no_grad()
def generate(
    network: nn.Module,
    canvas: Int[Tensor, "B L"],
    *,
    attend: Bool[Tensor, "B L"],
    steps: int,
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
        steps: passes in all, divided among the blocks.
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
    blocks = math.ceil(longest / size)
    for index in range(blocks):
        counts = transfers((masked & (number == index)).sum(1), math.ceil(steps / blocks))
        for count in counts.T:
            logits = network(canvas, attention_mask=attend.long()).logits
            drawn = (race(logits, temperature, generator) if temperature else logits).argmax(-1)
            sure = logits.softmax(-1).gather(-1, drawn[..., None])[..., 0]
            for row, begin in enumerate(start.tolist()):
                sure[row, begin + (index + 1) * size :] = -torch.inf
            sure = torch.where(canvas == mask, sure, -torch.inf)
            canvas = torch.where(surest(sure, count), drawn, canvas)
            yield canvas.clone()


def transfers(total: Int[Tensor, "B"], steps: int) -> Int[Tensor, "B N"]:
    """How many of `total` masks each row writes in each step, steps of none left out.

    With α linear, a mask is written between t and s with probability (t − s)/t; the number is
    its mean, rounded.
    """
    rows = []
    for left in total.tolist():
        counts = []
        for step in range(steps, 0, -1):
            counts.append(min(round(left / step), left))
            left -= counts[-1]
        rows.append([count for count in counts if count])
    width = max(map(len, rows))
    filled = [counts + [0] * (width - len(counts)) for counts in rows]
    return torch.tensor(filled, dtype=torch.long, device=total.device)
