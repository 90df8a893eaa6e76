"""The canvas: tokens, which of them may change, and which exist.

    ids       [CLS]  The   ▒▒▒   ▒▒▒   ▒▒▒   sat   [SEP]
    editable    ·     ·     ●     ●     ●     ·      ·      may change
    optional    ·     ·     ●     ●     ●     ·      ·      may resolve to nothing
    attend      ●     ●     ●     ●     ●     ●      ●      exists (· only under batch padding)

Supervised fine-tuning noises only the answer, fill-in-the-middle only the hole, bridging only
the gap, detoxification only the offending spans: one canvas each. A slot that resolves to
nothing takes the padding token, so a hole of eight optional slots writes zero to eight tokens,
deletion is an optional draft token and insertion is an optional hole between locked tokens.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Locked:
    """Tokens that never change.

    Example:
        >>> Locked(ids=(7, 8)).ids
        (7, 8)
    """

    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Hole:
    """`slots` positions to be written; with `optional`, at most that many tokens.

    Raises:
        UsageError: fewer slots than none.

    Example:
        >>> Hole(slots=8, optional=True)
        Hole(slots=8, optional=True)
    """

    slots: int
    optional: bool = False

    def __post_init__(self) -> None:
        if self.slots < 0:
            raise UsageError(f"a hole needs 0 slots or more, but it has {self.slots}")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Tokens that are there and may change; with `optional`, they may also vanish.

    Example:
        >>> Draft(ids=(7, 8), optional=True).optional
        True
    """

    ids: tuple[int, ...]
    optional: bool = False


Part = Locked | Hole | Draft


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """A batch of token rows and what may happen to each position.

    Attributes:
        ids: tokens, *shape* `B L`; the mask token where nothing is written yet.
        editable: positions that may change, *shape* `B L`.
        attend: positions that exist, *shape* `B L`; False only under batch padding.
        optional: editable positions that may resolve to nothing, *shape* `B L`.

    Raises:
        UsageError: an editable position does not exist, or an optional one is not editable.

    Example:
        >>> canvas = lay_out([Locked(ids=(7,)), Hole(slots=2, optional=True)], mask=4)
        >>> canvas.terminal.tolist()
        [[False, True, True]]
    """

    ids: Int[Tensor, "B L"]
    editable: Bool[Tensor, "B L"]
    attend: Bool[Tensor, "B L"]
    optional: Bool[Tensor, "B L"]

    def __post_init__(self) -> None:
        if bool((self.editable & ~self.attend).any()):
            raise UsageError("a canvas position is editable but does not exist (attend is False)")
        if bool((self.optional & ~self.editable).any()):
            raise UsageError("a canvas position is optional but not editable")

    @property
    def terminal(self) -> Bool[Tensor, "B L"]:
        """Optional positions with no locked token after them: where a text may end."""
        locked = self.attend & ~self.editable
        locked_after = locked.flip(1).cumsum(1).flip(1)
        return self.optional & (locked_after == 0)

    def to(self, device: torch.device | str) -> Canvas:
        """The same canvas on another device."""
        return Canvas(
            ids=self.ids.to(device),
            editable=self.editable.to(device),
            attend=self.attend.to(device),
            optional=self.optional.to(device),
        )

    def with_ids(self, ids: Int[Tensor, "B L"]) -> Canvas:
        """The same positions with other tokens."""
        return replace(self, ids=ids)

    def row(self, index: int) -> Canvas:
        """One row without its batch padding, as a batch of one."""
        keep = self.attend[index]
        return Canvas(
            ids=self.ids[index : index + 1, keep],
            editable=self.editable[index : index + 1, keep],
            attend=self.attend[index : index + 1, keep],
            optional=self.optional[index : index + 1, keep],
        )


def lay_out(parts: Sequence[Part], *, mask: int) -> Canvas:
    """Lays parts side by side into a canvas of one row.

    Args:
        parts: locked tokens, holes and drafts, left to right.
        mask: the mask token's id, which fills the holes.

    Example:
        >>> canvas = lay_out([Locked(ids=(7, 8)), Hole(slots=2)], mask=4)
        >>> canvas.ids.tolist(), canvas.editable.tolist()
        ([[7, 8, 4, 4]], [[False, False, True, True]])
    """
    ids: list[int] = []
    editable: list[bool] = []
    optional: list[bool] = []
    for part in parts:
        tokens = [mask] * part.slots if isinstance(part, Hole) else list(part.ids)
        free = not isinstance(part, Locked)
        vanishing = free and getattr(part, "optional", False)
        ids += tokens
        editable += [free] * len(tokens)
        optional += [vanishing] * len(tokens)
    return Canvas(
        ids=torch.tensor([ids], dtype=torch.long),
        editable=torch.tensor([editable], dtype=torch.bool),
        attend=torch.ones((1, len(ids)), dtype=torch.bool),
        optional=torch.tensor([optional], dtype=torch.bool),
    )


def stack(rows: Sequence[Canvas], *, pad: int) -> Canvas:
    """Stacks canvases into one batch, padding on the right with positions that do not exist.

    Raises:
        UsageError: no canvas.

    Example:
        >>> short, long = lay_out([Hole(slots=1)], mask=4), lay_out([Hole(slots=2)], mask=4)
        >>> stack([short, long], pad=0).ids.tolist()
        [[4, 0], [4, 4]]
    """
    if not rows:
        raise UsageError("a batch needs at least one canvas, but got none")
    width = max(row.ids.shape[1] for row in rows)

    def join(name: str, fill: int | bool) -> Tensor:
        tensors: list[Tensor] = [getattr(row, name) for row in rows]
        return torch.cat(
            [
                torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=fill)
                for tensor in tensors
            ]
        )

    return Canvas(
        ids=join("ids", pad),
        editable=join("editable", False),
        attend=join("attend", False),
        optional=join("optional", False),
    )


def insert_slots(
    canvas: Canvas, at: Int[Tensor, "B"], count: Int[Tensor, "B"], *, token: int
) -> Canvas:
    """Inserts `count` optional slots holding `token` before position `at` of each row.

    Args:
        canvas: rows padded on the right.
        at: first position that moves to the right, up to the row's length.
        count: how many slots a row gets; rows may get none.
        token: what the new slots hold; also fills the padding of the batch.

    Example:
        >>> row = lay_out([Locked(ids=(7, 8))], mask=4)
        >>> wide = insert_slots(row, torch.tensor([1]), torch.tensor([2]), token=0)
        >>> wide.ids.tolist(), wide.optional.tolist()
        ([[7, 0, 0, 8]], [[False, True, True, False]])
    """
    at, count = at[:, None], count[:, None]
    length = canvas.attend.sum(1, keepdim=True) + count
    place = torch.arange(int(length.max()), device=canvas.ids.device)[None]
    attend = place < length
    new = (place >= at) & (place < at + count)
    source = torch.where(place < at, place, place - count).clamp(min=0)

    def moved(values: Tensor) -> Tensor:
        wide = torch.nn.functional.pad(values, (0, place.shape[1] - values.shape[1]))
        return wide.gather(1, source)

    old = attend & ~new
    return Canvas(
        ids=torch.where(old, moved(canvas.ids), token),
        editable=(moved(canvas.editable) & old) | new,
        attend=attend,
        optional=(moved(canvas.optional) & old) | new,
    )
