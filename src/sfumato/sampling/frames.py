"""The state shown after a step, and what remains of a run when it ends.

Legend of shapes: `B` batch, `L` positions, `K` tokens written in a step, `U` ids that are
never written, `S` slots of a latent state, `D` its width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.text.canvas import Canvas
from sfumato.types import Condition


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
class Latent:
    """The vectors behind the tokens of a latent model's frame.

    Attributes:
        x: x_t, *shape* `B N D`: a vector for each slot, or fewer.
        attend: vectors that exist, *shape* `B N`.
        position: of each slot in the row, *shape* `B S`.
        time: t of the state.
        condition: the text that is given, encoded by itself; None if there is none.
        known: what the locked slots must become, NaN at the others, *shape* `B S D`; None if
            nothing is held.
        clean: guided x̂_0 of the last step and the time it was made at; None before the first.
        hints: last x̂_0 of the model and of the one that guides it, for self-conditioning.
    """

    x: Float[Tensor, "B N D"]
    attend: Bool[Tensor, "B N"]
    position: Int[Tensor, "B S"]
    time: float
    condition: Condition | None = None
    known: Float[Tensor, "B S D"] | None = None
    clean: tuple[float, Tensor] | None = None
    hints: tuple[Tensor | None, Tensor | None] = (None, None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Everything that determines the rest of a run; sampling resumes from any frame.

    Attributes:
        canvas: the canvas as it was given; its positions never change.
        ids: tokens now, *shape* `B L`.
        pending: positions that are still to be written, *shape* `B L`.
        step: steps made so far on each row, until it is done, *shape* `B`; its draws count by it.
        block: the block each row works on, *shape* `B`.
        clock: steps each row has made in its block, *shape* `B`.
        time: t of each row's block, 1 before its first step and 0 when it is done, *shape* `B`.
        passes: evaluations of the network on each row, *shape* `B`.
        confidence: probability of the token when it was written, NaN where none is; 1 where
            the slot was implied by an end to its left, *shape* `B L`.
        committed: step at which the token was written, −1 where none is, *shape* `B L`.
        done: rows that are finished, *shape* `B`.
        seeds: seed of each row, *shape* `B`.
        latent: the vectors behind the tokens; None where the tokens are the state itself.

    Example:
        >>> from sfumato.text.canvas import Hole, lay_out
        >>> canvas = lay_out([Hole(slots=2)], mask=0)
        >>> frame = first_frame(canvas, canvas.editable, torch.tensor([7]))
        >>> frame.step.tolist(), frame.places.tolist(), frame.done.tolist()
        ([0], [[0, 1]], [False])
    """

    canvas: Canvas
    ids: Int[Tensor, "B L"]
    pending: Bool[Tensor, "B L"]
    step: Int[Tensor, "B"]
    block: Int[Tensor, "B"]
    clock: Int[Tensor, "B"]
    time: Float64[Tensor, "B"]
    passes: Int[Tensor, "B"]
    confidence: Float[Tensor, "B L"]
    committed: Int[Tensor, "B L"]
    done: Bool[Tensor, "B"]
    seeds: Int[Tensor, "B"]
    latent: Latent | None = None

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
        step=zeros,
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
class Written:
    """Tokens that a step writes.

    Attributes:
        batch: row of each, *shape* `K`.
        position: position of each, *shape* `K`.
        token: the token, *shape* `K`.
        confidence: its probability, *shape* `K`.
    """

    batch: Int[Tensor, "K"]
    position: Int[Tensor, "K"]
    token: Int[Tensor, "K"]
    confidence: Float[Tensor, "K"]

    @property
    def place(self) -> tuple[Int[Tensor, "K"], Int[Tensor, "K"]]:
        """Index of the tokens in a tensor of shape `B L`."""
        return self.batch, self.position

    def take(self, keep: Bool[Tensor, "K"]) -> Written:
        """Some of them."""
        return Written(
            batch=self.batch[keep],
            position=self.position[keep],
            token=self.token[keep],
            confidence=self.confidence[keep],
        )


def join(one: Written, other: Written) -> Written:
    """Both together."""
    return Written(
        batch=torch.cat([one.batch, other.batch]),
        position=torch.cat([one.position, other.position]),
        token=torch.cat([one.token, other.token]),
        confidence=torch.cat([one.confidence, other.confidence]),
    )


def write(frame: Frame, written: Written) -> Frame:
    """The frame with tokens written; their positions are no longer pending."""
    new = torch.zeros_like(frame.pending)
    new[written.place] = True
    return replace(
        frame,
        ids=frame.ids.index_put(written.place, written.token),
        pending=frame.pending & ~new,
        confidence=frame.confidence.index_put(written.place, written.confidence),
        committed=torch.where(new, frame.step[:, None], frame.committed),
    )


def empty_slots(frame: Frame, where: Bool[Tensor, "B L"], pad: int) -> Frame:
    """The frame with slots resolved to nothing, because an end implies it."""
    return replace(
        frame,
        ids=frame.ids.masked_fill(where, pad),
        pending=frame.pending & ~where,
        confidence=frame.confidence.masked_fill(where, 1.0),
        committed=torch.where(where, frame.step[:, None], frame.committed),
    )


def take_back(frame: Frame, where: Bool[Tensor, "B L"], mask: int) -> Frame:
    """The frame with tokens masked again."""
    return replace(
        frame,
        ids=frame.ids.masked_fill(where, mask),
        pending=frame.pending | where,
        confidence=frame.confidence.masked_fill(where, torch.nan),
        committed=frame.committed.masked_fill(where, -1),
    )


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """What remains of one row's finished run, without the padding of its batch.

    Attributes:
        ids: final tokens.
        commit_step: step at which each token was written, counted from 0, −1 if it was given.
        confidence: probability of each token when it was written, NaN if it was given.
        passes: evaluations of the network.
        tokens_per_forward: written positions per evaluation.

    Example:
        >>> from sfumato.text.canvas import Locked, lay_out
        >>> canvas = lay_out([Locked(ids=(5, 6))], mask=0)
        >>> run, = trajectories(first_frame(canvas, canvas.editable, torch.tensor([7])))
        >>> run.ids, run.commit_step, run.passes
        ((5, 6), (-1, -1), 0)
    """

    ids: tuple[int, ...]
    commit_step: tuple[int, ...]
    confidence: tuple[float, ...]
    passes: int
    tokens_per_forward: float


def trajectory(frame: Frame, row: int) -> Trajectory:
    """What a row's run leaves that ends in `frame`."""
    exists = frame.canvas.attend[row]
    commit_step = frame.committed[row][exists].tolist()
    passes = int(frame.passes[row])
    return Trajectory(
        ids=tuple(frame.ids[row][exists].tolist()),
        commit_step=tuple(commit_step),
        confidence=tuple(frame.confidence[row][exists].tolist()),
        passes=passes,
        tokens_per_forward=sum(step >= 0 for step in commit_step) / max(1, passes),
    )


def trajectories(frame: Frame) -> list[Trajectory]:
    """One trajectory a row, ending in `frame`."""
    return [trajectory(frame, row) for row in range(len(frame.ids))]
