"""The state shown after a step, and what remains of a run when it ends.

Legend of shapes: `B` batch, `L` positions, `U` ids that are never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.text.canvas import Canvas


@dataclass(frozen=True, kw_only=True)
class Specials:
    """The ids a sampler must know by name; it knows no tokenizer.

    Attributes:
        mask: the token of a position that is not written yet.
        pad: the token of a slot that resolved to nothing.
        eos: the token that ends a text.
        unwritable: ids that are never written, such as role markers; the mask always is one.

    Raises:
        UsageError: two of mask, pad and eos are one id, or an end is unwritable.
    """

    mask: int
    pad: int
    eos: int
    unwritable: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if len({self.mask, self.pad, self.eos}) < 3:
            raise UsageError(
                "mask, pad and eos must be three different ids, got "
                f"mask={self.mask}, pad={self.pad}, eos={self.eos}"
            )
        if self.unwritable & {self.pad, self.eos}:
            raise UsageError(
                "pad and eos end a text and must be writable; take them out of `unwritable`"
            )

    @cached_property
    def forbidden(self) -> Int[Tensor, "U"]:
        """The ids whose logits are −∞ at every position, on the CPU."""
        return torch.tensor(sorted(self.unwritable | {self.mask}), dtype=torch.long)

    def ends(self, ids: Int[Tensor, "*S"]) -> Bool[Tensor, "*S"]:
        """Where a token ends a text or fills a slot with nothing."""
        return (ids == self.pad) | (ids == self.eos)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Everything that determines the rest of a run; sampling resumes from any frame.

    Attributes:
        canvas: the canvas as it was given; its positions never change.
        ids: tokens now, *shape* `B L`.
        pending: positions that are still to be written, *shape* `B L`.
        step: steps made so far.
        block: the block each row works on, *shape* `B`.
        clock: steps each row has made in its block, *shape* `B`.
        time: t of each row's block, 1 before its first step and 0 when it is done, *shape* `B`.
        passes: evaluations of the network on each row, *shape* `B`.
        confidence: probability of the token when it was written, NaN where none is; 1 where
            the slot was implied by an end to its left, *shape* `B L`.
        committed: step at which the token was written, −1 where none is, *shape* `B L`.
        done: rows that are finished, *shape* `B`.
        seeds: seed of each row, *shape* `B`.
    """

    canvas: Canvas
    ids: Int[Tensor, "B L"]
    pending: Bool[Tensor, "B L"]
    step: int
    block: Int[Tensor, "B"]
    clock: Int[Tensor, "B"]
    time: Float64[Tensor, "B"]
    passes: Int[Tensor, "B"]
    confidence: Float[Tensor, "B L"]
    committed: Int[Tensor, "B L"]
    done: Bool[Tensor, "B"]
    seeds: Int[Tensor, "B"]

    @property
    def places(self) -> Int[Tensor, "B L"]:
        """Number of each position among those of its row that exist: what its draws count by."""
        return self.canvas.attend.cumsum(1) - 1


def first_frame(canvas: Canvas, pending: Bool[Tensor, "B L"], seeds: Int[Tensor, "B"]) -> Frame:
    """The frame before the first step, with `pending` positions to be written."""
    rows, device = canvas.ids.shape[0], canvas.ids.device
    zeros = torch.zeros(rows, dtype=torch.long, device=device)
    done = ~pending.any(1)
    return Frame(
        canvas=canvas,
        ids=canvas.ids.clone(),
        pending=pending,
        step=0,
        block=zeros,
        clock=zeros,
        time=(~done).double(),
        passes=zeros,
        confidence=torch.full(canvas.ids.shape, torch.nan, device=device),
        committed=torch.full_like(canvas.ids, -1),
        done=done,
        seeds=seeds,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """What remains of a finished run.

    Attributes:
        ids: final tokens, *shape* `B L`.
        commit_step: step at which each token was written, −1 if it was given, *shape* `B L`.
        confidence: probability of each token when it was written, *shape* `B L`.
        passes: evaluations of the network on each row, *shape* `B`.
        tokens_per_forward: written positions per evaluation, *shape* `B`.
    """

    ids: Int[Tensor, "B L"]
    commit_step: Int[Tensor, "B L"]
    confidence: Float[Tensor, "B L"]
    passes: Int[Tensor, "B"]
    tokens_per_forward: Float[Tensor, "B"]


def trajectory(frame: Frame) -> Trajectory:
    """The trajectory that ends in `frame`."""
    written = (frame.committed >= 0).sum(1)
    return Trajectory(
        ids=frame.ids,
        commit_step=frame.committed,
        confidence=frame.confidence,
        passes=frame.passes,
        tokens_per_forward=written / frame.passes.clamp(min=1),
    )
