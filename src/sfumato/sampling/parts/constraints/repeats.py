"""Repetitions: of an n-gram anywhere in a text, and of a stretch right after itself.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `E` forbidden pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.parts.constraints.scene import UNKNOWN, Forbidden, Scene


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """No n-gram twice in a row of the batch, whether its first copy is to the left or right.

    Placing v = x_q at position i repeats an n-gram where the tokens around i agree with those
    around q on a run of at least n that includes i.

    Attributes:
        size: n; 1 looks at single tokens.
        penalty: nats that a repeating token loses; None forbids it.
        prompt: whether repeating what is locked counts.

    Raises:
        UsageError: a size or penalty out of range, or single tokens forbidden.

    Example:
        >>> Repetition(size=3)
        Repetition(size=3, penalty=None, prompt=True)
    """

    size: int = 3
    penalty: float | None = None
    prompt: bool = True

    def __post_init__(self) -> None:
        if self.size < 1 or (self.penalty is not None and not self.penalty > 0):
            raise UsageError(
                "repetition needs size ≥ 1 and penalty > 0, got "
                f"size={self.size}, penalty={self.penalty}"
            )
        if self.size == 1 and self.penalty is None:
            raise UsageError("no text repeats no token at all: give size=1 a penalty, such as 1.0")

    def __call__(self, view: Scene) -> Forbidden:
        """The pairs that would repeat an n-gram."""
        reach = self.size - 1
        text = view.text(reach)
        own, length = text[view.batch], view.ids.shape[1]
        candidate = own[:, reach : reach + length]
        run = torch.ones_like(candidate)
        for side in (-1, 1):
            agrees = torch.ones_like(candidate, dtype=torch.bool)
            for offset in range(side, side * (reach + 1), side):
                agrees = agrees & self._same(own, candidate, view.position, offset)
                run += agrees
        itself = torch.arange(length, device=text.device) == view.position[:, None]
        counts = view.written if self.prompt else view.written & view.frame.canvas.editable
        repeats = (run >= self.size) & counts[view.batch] & ~itself
        row, place = repeats.nonzero(as_tuple=True)
        penalty = math.inf if self.penalty is None else self.penalty
        return Forbidden(row=row, token=candidate[row, place], penalty=penalty)

    def _same(
        self,
        own: Int[Tensor, "M P"],
        candidate: Int[Tensor, "M L"],
        position: Int[Tensor, "M"],
        offset: int,
    ) -> Bool[Tensor, "M L"]:
        """Whether the token at i + offset is the one at q + offset, with x_q placed at i."""
        length, reach = candidate.shape[1], self.size - 1
        beside = own.gather(1, (position + reach + offset)[:, None])
        shifted = own[:, reach + offset : reach + offset + length]
        place = torch.arange(length, device=own.device)[None] + offset
        shifted = torch.where(place == position[:, None], candidate, shifted)
        return (beside == shifted) & (beside != UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Loops:
    """No stretch of text twice in a row, whether its first copy is to the left or right.

    The definition is that of `sfumato.evaluation.loops`, in tokens: a stretch in which every
    token equals the one p places on, with at least two full copies of its first p tokens and at
    least `span` tokens. Locked text may be part of it.

        near the river near the ▒        "river" would close a loop of 6 tokens, p = 3

    Attributes:
        span: tokens of the shortest loop.
        period: the longest p that is looked for.

    Raises:
        UsageError: a number out of range.

    Example:
        >>> Loops()
        Loops(span=8, period=32)
    """

    span: int = 8
    period: int = 32

    def __post_init__(self) -> None:
        if self.span < 2 or self.period < 1:
            raise UsageError(
                f"expected span ≥ 2 and period ≥ 1, got span={self.span}, period={self.period}"
            )

    def __call__(self, view: Scene) -> Forbidden:
        """The pairs that would close a loop."""
        longest = min(self.period, view.ids.shape[1] - 1)
        period = torch.arange(1, longest + 1, device=view.ids.device)
        text = view.text(longest + 1)
        at = view.position[:, None] + longest + 1
        batch, column = view.batch[:, None], (period - 1)[None]
        ending, starting = _runs(text, longest)
        before, after = (text[batch, at + side * period] for side in (-1, 1))
        # Pairs (s, s + p) around the two that hold the position, s = at − p and s = at.
        left, right = ending[batch, column, at - period - 1], starting[batch, column, at + 1]
        inner_left = torch.minimum(starting[batch, column, at - period + 1], period - 1)
        inner_right = torch.minimum(ending[batch, column, at - 1], period - 1)
        whole = (inner_left == period - 1) & (before == after)
        as_before = left + 1 + torch.where(whole, period + right, inner_left)
        as_after = right + 1 + torch.where(whole, period + left, inner_right)
        enough = torch.maximum(period, self.span - period)
        pairs = [
            (*((token != UNKNOWN) & (run >= enough)).nonzero(as_tuple=True), token)
            for token, run in ((before, as_before), (after, as_after))
        ]
        return Forbidden(
            row=torch.cat([row for row, _, _ in pairs]),
            token=torch.cat([token[row, place] for row, place, token in pairs]),
        )


def _runs(text: Int[Tensor, "B P"], longest: int) -> tuple[Int[Tensor, "B N P"], ...]:
    """How many pairs (s, s + p) in a row are equal, up to each s and from each s on."""
    size = text.shape[1]
    beyond = torch.nn.functional.pad(text, (0, longest), value=UNKNOWN)
    equal = beyond.unfold(1, size, 1)[:, 1:] == text[:, None]
    equal &= (text != UNKNOWN)[:, None]
    place = torch.arange(size, device=text.device)
    gap_before = torch.where(equal, -1, place).cummax(2).values
    gap_after = torch.where(equal, size, place).flip(2).cummin(2).values.flip(2)
    return place - gap_before, gap_after - place
