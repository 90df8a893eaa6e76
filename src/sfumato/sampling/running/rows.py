"""Frames taken apart and put together row by row.

A row's next frame depends on its own fields only, so it may change its companions at any step.
The rows of a latent model share their time and are never taken apart.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from sfumato.sampling.frames import Frame
from sfumato.text.canvas import Canvas, stack

# Fields of shape `B L` with what stands under batch padding; the ids get the padding token.
_WIDE = {"ids": 0, "pending": False, "confidence": math.nan, "committed": -1}
_ROWS = ("step", "block", "clock", "time", "passes", "done", "seeds")


def take(frame: Frame, rows: Sequence[int]) -> Frame:
    """Some rows of a frame, without the padding that only the others needed.

    Args:
        frame: the state, of a model of tokens, padded on the right.
        rows: at least one.

    Example:
        >>> from sfumato.sampling.frames import first_frame
        >>> from sfumato.text.canvas import Hole, lay_out
        >>> board = stack([lay_out([Hole(slots=n)], mask=0) for n in (1, 3)], pad=1)
        >>> both = first_frame(board, board.editable, torch.tensor([7, 8]))
        >>> one = take(both, [0])
        >>> one.ids.shape, one.seeds.tolist()
        (torch.Size([1, 1]), [7])
    """
    assert frame.latent is None, "the rows of a latent model are written together"
    chosen = torch.tensor(rows, device=frame.ids.device)
    canvas = frame.canvas
    width = int(canvas.attend[chosen].sum(1).max())
    parts = {part.name: getattr(canvas, part.name)[chosen, :width] for part in fields(Canvas)}
    wide = {name: getattr(frame, name)[chosen, :width] for name in _WIDE}
    narrow = {name: getattr(frame, name)[chosen] for name in _ROWS}
    return replace(frame, canvas=Canvas(**parts), **wide, **narrow)


def join(one: Frame, other: Frame, *, pad: int) -> Frame:
    """The rows of two frames as one, those of `other` last.

    Args:
        one: a state of a model of tokens.
        other: another one, whatever its width and its steps.
        pad: the token under batch padding.

    Example:
        >>> from sfumato.sampling.frames import first_frame
        >>> from sfumato.text.canvas import Hole, lay_out
        >>> boards = [lay_out([Hole(slots=n)], mask=0) for n in (1, 3)]
        >>> one, other = (first_frame(b, b.editable, torch.tensor([7])) for b in boards)
        >>> join(one, other, pad=1).ids.tolist()
        [[0, 1, 1], [0, 0, 0]]
    """
    both = (one, other)
    assert all(frame.latent is None for frame in both), "latent rows are written together"
    width = max(frame.ids.shape[1] for frame in both)

    def widened(frame: Frame, name: str, fill: int | float) -> torch.Tensor:
        values: torch.Tensor = getattr(frame, name)
        return torch.nn.functional.pad(values, (0, width - values.shape[1]), value=fill)

    fills = {**_WIDE, "ids": pad}
    parts: dict[str, Any] = {name: [getattr(frame, name) for frame in both] for name in _ROWS}
    parts |= {name: [widened(frame, name, fill) for frame in both] for name, fill in fills.items()}
    joined: dict[str, Any] = {name: torch.cat(values) for name, values in parts.items()}
    return replace(one, canvas=stack([frame.canvas for frame in both], pad=pad), **joined)


def on_cpu(frame: Frame) -> Frame:
    """The frame where it can be read without asking a device for each number; no vectors."""
    if frame.ids.device.type == "cpu":
        return frame
    moved: dict[str, Any] = {name: getattr(frame, name).cpu() for name in (*_WIDE, *_ROWS)}
    return replace(frame, canvas=frame.canvas.to("cpu"), latent=None, **moved)
