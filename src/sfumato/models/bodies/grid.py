"""Tokens in one line, and where they stand in a batch of rows.

    ▒▒▒▒▒··        a batch with padding: what linear layers would compute in vain
    ▒▒▒▒▒▒▒   ⇄   ▒▒▒▒▒▒▒▒▒▒▒▒▒▒    its tokens in one line

Legend of shapes: `B` rows, `S` places of a row, `T` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Places of tokens in a batch, row by row.

    Attributes:
        row: of each token, *shape* `T`, ascending.
        place: of each token in its row, *shape* `T`.
        shape: of the batch, `B S`.
    """

    row: Int[Tensor, "T"]
    place: Int[Tensor, "T"]
    shape: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether there is a token at every place."""
        return len(self.row) == self.shape[0] * self.shape[1]

    @cached_property
    def index(self) -> Int[Tensor, "T"]:
        """Of each token in the flattened batch."""
        return self.row * self.shape[1] + self.place

    def spread(self, line: Shaped[Tensor, "T *X"]) -> Shaped[Tensor, "B S *X"]:
        """Tokens at their places, zeros at the others; a view where there are no others."""
        if not self.whole:
            batch = line.new_zeros(self.shape[0] * self.shape[1], *line.shape[1:])
            line = batch.index_copy(0, self.index, line)
        return line.view(*self.shape, *line.shape[1:])

    def gather(self, batch: Shaped[Tensor, "B S *X"]) -> Shaped[Tensor, "T *X"]:
        """What stands at the tokens' places."""
        line = batch.flatten(0, 1)
        return line if self.whole else line.index_select(0, self.index)


def whole_grid(rows: int, places: int, device: torch.device) -> Grid:
    """A token at every place."""
    each = torch.arange(rows * places, device=device)
    return Grid(row=each // places, place=each % places, shape=(rows, places))


def grid_of(exists: Bool[Tensor, "B S"]) -> Grid:
    """The places where a token exists.

    Example:
        >>> grid_of(torch.tensor([[True, True], [False, True]])).place.tolist()
        [0, 1, 1]
    """
    row, place = exists.nonzero(as_tuple=True)
    return Grid(row=row, place=place, shape=(exists.shape[0], exists.shape[1]))


def close_up(grid: Grid) -> Grid:
    """The same tokens in the same rows, each row without gaps, as wide as the longest.

    Example:
        >>> few = close_up(grid_of(torch.tensor([[True, False, True], [False, True, False]])))
        >>> few.place.tolist(), few.shape
        ([0, 1, 0], (2, 2))
    """
    counts = torch.bincount(grid.row, minlength=grid.shape[0])
    first = (counts.cumsum(0) - counts)[grid.row]
    place = torch.arange(len(grid.row), device=grid.row.device) - first
    return Grid(row=grid.row, place=place, shape=(grid.shape[0], int(counts.max())))
