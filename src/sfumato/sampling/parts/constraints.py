"""Constraints: tokens that a position must not take, found from what is written around it.

A constraint returns (row, token) pairs, and these few logits are lowered in place; no pass over
the vocabulary is made. Text lies on both sides of a position, so every rule looks to both.

    written      the  cat   ▒    the   cat   sat
                       └ forbidden here by Repetition(size=2): "the", which would make a second
                         "the cat" with its right neighbour … and whatever follows "cat" elsewhere

Positions written in one step do not see each other: `violations` asks the same rules again with
the new tokens in place, and all but the best ranked of the offenders wait.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `E` forbidden pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.frames import Frame, Specials

_UNKNOWN = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What a constraint looks at.

    Attributes:
        frame: the state.
        ids: tokens now; differ from the frame's while new tokens are examined, *shape* `B L`.
        settled: positions that exist and are not pending, *shape* `B L`.
        batch: row of each predicted position, *shape* `M`.
        position: the predicted positions, *shape* `M`.
        specials: ids with a meaning of their own.
    """

    frame: Frame
    ids: Int[Tensor, "B L"]
    settled: Bool[Tensor, "B L"]
    batch: Int[Tensor, "M"]
    position: Int[Tensor, "M"]
    specials: Specials

    @property
    def written(self) -> Bool[Tensor, "B L"]:
        """Positions that hold text, which an end is not."""
        return self.settled & ~self.specials.ends(self.ids)

    def text(self, reach: int) -> Int[Tensor, "B P"]:
        """Written tokens, −1 elsewhere, with `reach` unknown positions on both sides."""
        ids = torch.where(self.written, self.ids, _UNKNOWN)
        return torch.nn.functional.pad(ids, (reach, reach), value=_UNKNOWN)


@dataclass(frozen=True, kw_only=True, eq=False)
class Forbidden:
    """Pairs of a predicted position and a token, and what the token's logit loses.

    Attributes:
        row: number of the position among the predicted ones, *shape* `E`.
        token: the token, *shape* `E`.
        penalty: nats; ∞ forbids.
    """

    row: Int[Tensor, "E"]
    token: Int[Tensor, "E"]
    penalty: float = math.inf


Constraint = Callable[[Scene], Forbidden]


def scene(
    frame: Frame,
    place: tuple[Int[Tensor, "M"], Int[Tensor, "M"]],
    specials: Specials,
    ids: Int[Tensor, "B L"],
) -> Scene:
    """The scene of the positions `place` (rows and positions), with `ids` on the canvas."""
    settled = frame.canvas.attend & (~frame.pending | (ids != frame.ids))
    batch, position = place
    return Scene(
        frame=frame, ids=ids, settled=settled, batch=batch, position=position, specials=specials
    )


def apply(logits: Float[Tensor, "M V"], forbidden: Forbidden) -> None:
    """Lowers the logits of the pairs, in place; a pair named twice is lowered once."""
    logits[forbidden.row, forbidden.token] -= forbidden.penalty


def violations(
    tokens: Int[Tensor, "M"], after: Scene, constraints: tuple[Constraint, ...]
) -> Bool[Tensor, "M"]:
    """Which new tokens a hard constraint forbids, seen with all of them in place.

    Args:
        tokens: the new token of each predicted position.
        after: the scene with these tokens written.
        constraints: the rules; soft ones forbid nothing.
    """
    broken = torch.zeros_like(tokens, dtype=torch.bool)
    for constraint in constraints:
        pairs = constraint(after)
        if math.isinf(pairs.penalty):
            broken[pairs.row[tokens[pairs.row] == pairs.token]] = True
    return broken


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


@dataclass(frozen=True, kw_only=True)
class Ban:
    """Tokens and phrases that must not be written.

    A phrase is forbidden at the position that would complete it, whichever of its tokens that is.

    Attributes:
        phrases: sequences of ids; a sequence of one id bans the token.

    Raises:
        UsageError: no phrase, or an empty one.

    Example:
        >>> Ban(phrases=((7,), (8, 9)))
        Ban(phrases=((7,), (8, 9)))
    """

    phrases: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.phrases or not all(self.phrases):
            raise UsageError(f"a ban needs phrases of at least one id each, got {self.phrases}")

    def __call__(self, view: Scene) -> Forbidden:
        """The pairs that would complete a phrase."""
        reach = max(map(len, self.phrases)) - 1
        text = view.text(reach)
        pairs = [
            (_completes(text, view, phrase, at, reach), phrase[at])
            for phrase in self.phrases
            for at in range(len(phrase))
        ]
        rows = [complete.nonzero()[:, 0] for complete, _ in pairs]
        tokens = [torch.full_like(row, token) for row, (_, token) in zip(rows, pairs, strict=True)]
        return Forbidden(row=torch.cat(rows), token=torch.cat(tokens))


def _completes(
    text: Int[Tensor, "B P"], view: Scene, phrase: tuple[int, ...], at: int, reach: int
) -> Bool[Tensor, "M"]:
    """Whether all tokens of a phrase but the one at `at` stand around each position."""
    found = torch.ones_like(view.batch, dtype=torch.bool)
    for offset, token in enumerate(phrase):
        if offset != at:
            found &= text[view.batch, view.position + reach + offset - at] == token
    return found


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
        return (beside == shifted) & (beside != _UNKNOWN)
