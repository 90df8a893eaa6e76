"""LLaDA's sampler: low-confidence remasking, in blocks from left to right (2502.09992, §2.4).

Every step predicts the whole canvas, draws a token at every position and keeps the ones it is
surest of. Restated from algorithm 5 and the reference implementation of June 2026: float32
softmax, float64 Gumbel noise, no noise at temperature 0.

Legend of shapes: `B` batch, `P` positions of the prompt, `L` positions of the canvas,
`V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn
from torch.nn.functional import pad


@torch.no_grad()
def generate(
    network: nn.Module,
    prompt: Int[Tensor, "B P"],
    *,
    length: int,
    steps: int,
    block: int,
    temperature: float,
    mask: int,
    generator: torch.Generator,
    attend: Bool[Tensor, "B P"] | None = None,
) -> Iterator[Int[Tensor, "B L"]]:
    """Yields the canvas after each pass of the network.

    Args:
        network: a masked language model of transformers.
        prompt: what stands to the left of the answer; shorter ones are padded on the left.
        length: positions of the answer, a multiple of `block`.
        steps: passes in all, a multiple of the number of blocks.
        block: positions that are finished before the next ones begin.
        temperature: of the Gumbel noise.
        mask: id of the mask token.
        generator: of the noise.
        attend: positions of the prompt that exist; None means all.
    """
    canvas = pad(prompt, (0, length), value=mask)
    exists = None if attend is None else pad(attend.long(), (0, length), value=1)
    sampler = Race(network=network, mask=mask, temperature=temperature, generator=generator)
    each = steps // (length // block)
    for end in range(prompt.shape[1] + block, canvas.shape[1] + 1, block):
        block_of = sampler.run(canvas, first=end - block, end=end, steps=each, exists=exists)
        for canvas in block_of:
            yield canvas


@torch.no_grad()
def fill(
    network: nn.Module, canvas: Int[Tensor, "B L"], *, steps: int, mask: int
) -> Iterator[Int[Tensor, "B L"]]:
    """The same for masks that stand anywhere in a text, in one block, at temperature 0.

    Args:
        network: a masked language model of transformers.
        canvas: text and masks.
        steps: passes in all.
        mask: id of the mask token.
    """
    sampler = Race(network=network, mask=mask, temperature=0.0, generator=torch.Generator())
    yield from sampler.run(canvas, first=0, end=canvas.shape[1], steps=steps, exists=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Race:
    """How positions of a block are drawn and kept."""

    network: nn.Module
    mask: int
    temperature: float
    generator: torch.Generator

    def run(
        self, canvas: Tensor, *, first: int, end: int, steps: int, exists: Tensor | None
    ) -> Iterator[Tensor]:
        """The canvas after each pass over a block."""
        given = {} if exists is None else {"attention_mask": exists}
        total = (canvas[:, first:end] == self.mask).sum(1)
        for step in range(steps):
            count = total // steps + (step < total % steps)
            logits = self.network(canvas, **given).logits
            hot = self.temperature > 0
            drawn = (race(logits, self.temperature, self.generator) if hot else logits).argmax(-1)
            sure = logits.softmax(-1).gather(-1, drawn[..., None])[..., 0]
            sure[:, end:] = -torch.inf
            sure = torch.where(canvas == self.mask, sure, -torch.inf)
            canvas = torch.where(surest(sure, count), drawn, canvas)
            yield canvas


def surest(sure: Float[Tensor, "B L"], count: Int[Tensor, "B"]) -> Bool[Tensor, "B L"]:
    """The `count` positions of each row with the largest values."""
    kept = torch.zeros_like(sure, dtype=torch.bool)
    for row, number in enumerate(count.tolist()):
        kept[row, sure[row].topk(number).indices] = True
    return kept


def race(
    logits: Float[Tensor, "B L V"], temperature: float, generator: torch.Generator
) -> Float64[Tensor, "B L V"]:
    """e^ℓ / (−log u)^T: the largest is distributed as softmax(ℓ / T), by Gumbel's argmax."""
    logits = logits.double()
    u = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device, generator=generator)
    return logits.exp() / (-u.log()) ** temperature
