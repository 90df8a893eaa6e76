"""What a constraint sees, what it says, and how that is applied to logits and new tokens.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `E` forbidden pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.sampling.frames import Frame, Specials

UNKNOWN = -1


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
        ids = torch.where(self.written, self.ids, UNKNOWN)
        return torch.nn.functional.pad(ids, (reach, reach), value=UNKNOWN)


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
