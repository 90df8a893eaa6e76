"""Where a text may end and a slot stay empty: always in force.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `E` forbidden pairs.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.sampling.frames import Frame, Specials
from sfumato.sampling.parts.constraints.scene import Forbidden, Scene


def ends_in_place(view: Scene, *, closing: bool) -> Forbidden:
    """Where a text may end or a slot stay empty: always in force while sampling.

    A slot takes padding only if it is optional, and the end of text if no locked token follows.

    Args:
        view: the predicted positions.
        closing: an end closes its hole, so none stands left of anything that the hole holds.
    """
    canvas = view.frame.canvas
    free = view.frame.pending & ~_more_follows(view) if closing else view.frame.pending
    no_pad = ~(canvas.optional & free)[view.batch, view.position]
    no_eos = ~(canvas.terminal & free)[view.batch, view.position]
    row = torch.cat([no_pad.nonzero()[:, 0], no_eos.nonzero()[:, 0]])
    token = torch.full_like(row, view.specials.eos)
    token[: int(no_pad.sum())] = view.specials.pad
    return Forbidden(row=row, token=token)


def outranked(
    tokens: Int[Tensor, "B L"], chosen: Bool[Tensor, "B L"], rank: Int[Tensor, "B L"], view: Scene
) -> Bool[Tensor, "B L"]:
    """New tokens that contradict a better ranked one: an end, and more to its right in one hole.

    Args:
        tokens: the new token of each chosen position.
        chosen: the positions that are about to be written.
        rank: their places in the order.
        view: where the holes are.
    """
    hole = holes(view.frame)
    new = chosen & (hole > 0)
    end, more = new & view.specials.ends(tokens), new & (tokens != view.specials.pad)
    size = tokens.shape[1] + 1
    never, beside = 2 * size * size, torch.nn.functional.pad
    # Keys put the nearest hole first, then the rank; a position looks past itself by one.
    key = torch.where(more, hole * size + rank, never)
    right = beside(key.flip(1).cummin(1).values.flip(1)[:, 1:], (0, 1), value=never)
    loses_end = end & (right // size == hole) & (right % size < rank)
    key = torch.where(end, (size - hole) * size + rank, never)
    left = beside(key.cummin(1).values[:, :-1], (1, 0), value=never)
    loses_more = more & (left // size == size - hole) & (left % size < rank)
    return loses_end | loses_more


def closed(frame: Frame, specials: Specials) -> Bool[Tensor, "B L"]:
    """Pending slots to the right of an end in the same hole: nothing can follow there."""
    hole = holes(frame)
    ends = specials.ends(frame.ids) & ~frame.pending
    return frame.pending & (hole > 0) & ((hole * ends).cummax(1).values == hole)


def holes(frame: Frame) -> Int[Tensor, "B L"]:
    """Number of the hole of each position, 0 outside: runs of optional slots that are written."""
    slot = frame.canvas.optional & (frame.pending | (frame.committed >= 0))
    starts = slot & ~torch.nn.functional.pad(slot, (1, 0))[:, :-1]
    return starts.cumsum(1) * slot


def _more_follows(view: Scene) -> Bool[Tensor, "B L"]:
    """Whether the hole of each position holds text or the end of text further right."""
    hole, held = holes(view.frame), view.settled & (view.ids != view.specials.pad)
    place = torch.arange(hole.shape[1], device=hole.device).expand_as(hole)
    last = hole.new_full((hole.shape[0], hole.shape[1] + 1), -1)
    last = last.scatter_reduce(1, hole, torch.where(held, place, -1), "amax")
    return (hole > 0) & (place < last.gather(1, hole))
