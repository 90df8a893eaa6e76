"""Batches of clean vectors with what is true of them, noised, and which texts are told apart.

    text 0 1 2 3        shuffled  2 0 3 1     nobody keeps the own text, everybody's is used once
                        hard      the others whose mean vectors are nearest

Because each text is as often the right one as a wrong one, a text alone tells nothing: only how it
fits the condition does. Hard negatives give that up.

Legend of shapes: `B` batch, `S` slots, `D` width, `L` slots of a condition, `N` candidates, `M`
wrong ones among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.training.objectives import cut, moved


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledVectors:
    """Clean vectors of texts, each with a label.

    Attributes:
        x_0: *shape* `B S D`.
        label: number of the class, *shape* `B`.
    """

    x_0: Float[Tensor, "B S D"]
    label: Int[Tensor, "B"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedVectors:
    """Clean vectors of texts, each with those of what is given, encoded by itself.

    Attributes:
        x_0: *shape* `B S D`.
        given: *shape* `B L D`.
        attend: which of the given ones exist, *shape* `B L`.
    """

    x_0: Float[Tensor, "B S D"]
    given: Float[Tensor, "B L D"]
    attend: Bool[Tensor, "B L"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedLabels:
    """Noised vectors and their labels.

    Attributes:
        x_t: *shape* `B S D`.
        t: time of each row, *shape* `B`.
        label: *shape* `B`.
        weight: of each row's loss, *shape* `B`.
        mass: what each row adds to the divisor, *shape* `B`.
    """

    x_t: Float[Tensor, "B S D"]
    t: Float[Tensor, "B"]
    label: Int[Tensor, "B"]
    weight: Float[Tensor, "B"]
    mass: Float[Tensor, "B"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """What the summed loss is divided by."""
        return self.mass.sum().clamp(min=1e-9)

    def to(self, device: torch.device | str) -> NoisedLabels:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> NoisedLabels:
        """A micro-batch."""
        return cut(self, start, stop)


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedPairs:
    """Noised candidates for each condition, the first of which belongs to it.

    Attributes:
        x_0: the first of them without noise, *shape* `B S D`.
        x_t: all at the level of the row, *shape* `B N S D`.
        real: candidates that count: not those that equal the first, *shape* `B N`.
        t: time of each row, *shape* `B`.
        given: *shape* `B L D`.
        attend: *shape* `B L`.
        weight: of each row's loss, *shape* `B`.
        mass: what each row adds to the divisor, *shape* `B`.
    """

    x_0: Float[Tensor, "B S D"]
    x_t: Float[Tensor, "B N S D"]
    real: Bool[Tensor, "B N"]
    t: Float[Tensor, "B"]
    given: Float[Tensor, "B L D"]
    attend: Bool[Tensor, "B L"]
    weight: Float[Tensor, "B"]
    mass: Float[Tensor, "B"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """What the summed loss is divided by."""
        return self.mass.sum().clamp(min=1e-9)

    def to(self, device: torch.device | str) -> NoisedPairs:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> NoisedPairs:
        """A micro-batch."""
        return cut(self, start, stop)


@dataclass(frozen=True, kw_only=True)
class Negatives:
    """Which other texts of a batch stand against a row's own.

    Attributes:
        shuffled: how many by derangements of the batch.
        hard: how many of the most similar ones, by the cosine of their mean vectors.

    Raises:
        UsageError: none at all.
    """

    shuffled: int = 1
    hard: int = 0

    def __post_init__(self) -> None:
        if min(self.shuffled, self.hard) < 0 or self.shuffled + self.hard < 1:
            raise UsageError(
                f"expected at least one negative, got shuffled={self.shuffled}, hard={self.hard}"
            )

    def choose(self, x_0: Float[Tensor, "B S D"], generator: torch.Generator) -> Int[Tensor, "B M"]:
        """For each row the rows of its wrong texts; fewer columns in a very small batch."""
        others = derangements(len(x_0), self.shuffled, generator)
        return torch.cat([others, nearest(x_0, self.hard)], 1)


def derangements(rows: int, count: int, generator: torch.Generator) -> Int[Tensor, "B M"]:
    """Random permutations without a fixed point, no two of which agree anywhere.

    They turn a random circle of the rows by different numbers of places.

    Args:
        rows: `B`.
        count: how many; there are B − 1.
        generator: of the choice.

    Example:
        >>> other = derangements(4, 3, torch.Generator().manual_seed(0))
        >>> [sorted(row) for row in other.tolist()]
        [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    """
    circle = torch.randperm(rows, generator=generator)
    turns = 1 + torch.randperm(max(0, rows - 1), generator=generator)[:count]
    place = circle.argsort()
    return circle[(place[:, None] + turns) % rows]


def nearest(x_0: Float[Tensor, "B S D"], count: int) -> Int[Tensor, "B M"]:
    """The other rows with the largest cosine of mean vectors; rows of equal vectors come last."""
    mean = nn.functional.normalize(x_0.float().mean(1), dim=1)
    likeness = mean @ mean.T
    same = torch.cdist(mean, mean) == 0
    likeness = likeness.masked_fill(same, -2.0).fill_diagonal_(-3.0)
    return likeness.topk(min(count, len(x_0) - 1), dim=1).indices
