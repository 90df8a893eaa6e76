"""Counter-based random numbers: a pure function of seed, step, purpose and position.

A generator with hidden state would tie a row's numbers to its companions in the batch and to
the steps already made. Here a number depends on nothing but its own counter, so the same seed
gives the same text for a row alone or in any batch, and a frame can be resumed from its fields.

    seed ─▶ mix ─▶ ⊕ (step, purpose) ─▶ mix ─▶ ⊕ position ─▶ mix ─▶ upper 53 bits / 2⁵³

`mix` is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), a bijection of 64-bit words.

Legend of shapes: `B` batch, `L` positions, `*S` any.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.frames import Frame

# Words of 64 bits as torch stores them: signed.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


class Purpose(IntEnum):
    """What a number is drawn for; draws for different purposes are independent."""

    ORDER = 0
    TOKEN = 1
    COUNT = 2
    TIME = 3
    REMASK = 4
    ROUTE = 5
    NOISE = 6
    PLACE = 7
    PRIOR = 8
    LENGTH = 9


def uniform(
    seeds: Int[Tensor, "*#S"],
    positions: Int[Tensor, "*#S"],
    *,
    step: int | Int[Tensor, "*#S"],
    purpose: Purpose,
) -> Float64[Tensor, "..."]:
    """Numbers in [0, 1) on the grid of 2⁻⁵³, one for each (seed, position) pair.

    Args:
        seeds: seed of each number; seeds and positions are broadcast.
        positions: position of each number in its row.
        step: the step of the run, one for all numbers or one for each.
        purpose: what the numbers are for.

    Example:
        >>> seeds, positions = torch.tensor([7, 8]), torch.tensor([0, 0])
        >>> both = uniform(seeds, positions, step=3, purpose=Purpose.TOKEN)
        >>> alone = uniform(seeds[1:], positions[1:], step=3, purpose=Purpose.TOKEN)
        >>> bool(both[1] == alone[0])
        True
    """
    word = _mix(seeds)
    word = _mix(word ^ (step << 8 | purpose))
    word = _mix(word ^ positions)
    return (word >> 11 & 2**53 - 1).double() * 2.0**-53


def numbers(frame: Frame, purpose: Purpose) -> Float64[Tensor, "B L"]:
    """The numbers of each row's step for one purpose, one for each position."""
    return uniform(frame.seeds[:, None], frame.places, step=frame.step[:, None], purpose=purpose)


def row_numbers(frame: Frame, purpose: Purpose) -> Float64[Tensor, "B"]:
    """The numbers of each row's step for one purpose, one for each row."""
    zeros = torch.zeros_like(frame.seeds)
    return uniform(frame.seeds, zeros, step=frame.step, purpose=purpose)


def normal(
    seeds: Int[Tensor, "B"], shape: tuple[int, int], *, step: int, purpose: Purpose
) -> Float64[Tensor, "B S D"]:
    """Standard normal numbers for each row, by the inverse of their law; no two rows share any.

    Args:
        seeds: of the rows.
        shape: slots and width.
        step: the step of the run.
        purpose: what the numbers are for.

    Example:
        >>> both = normal(torch.tensor([7, 8]), (3, 2), step=0, purpose=Purpose.PRIOR)
        >>> alone = normal(torch.tensor([8]), (3, 2), step=0, purpose=Purpose.PRIOR)
        >>> torch.equal(both[1], alone[0])
        True
    """
    place = torch.arange(shape[0] * shape[1], device=seeds.device)[None]
    numbers = uniform(seeds[:, None], place, step=step, purpose=purpose)
    values: Tensor = torch.special.ndtri(numbers + 2.0**-54)
    return values.view(-1, *shape)


def gumbel(uniforms: Float64[Tensor, "*S"]) -> Float64[Tensor, "*S"]:
    """Standard Gumbel numbers from uniform ones, −log(−log u), finite for u = 0."""
    return -torch.log(-torch.log(uniforms.clamp(min=2.0**-54)))


def seed_rows(seeds: int | Sequence[int], rows: int, device: torch.device) -> Int[Tensor, "B"]:
    """One seed a row: row i of a single seed s gets s + i.

    Raises:
        UsageError: not one seed a row, or a seed outside 64 bits.

    Example:
        >>> seed_rows(5, 3, torch.device("cpu")).tolist()
        [5, 6, 7]
    """
    numbers = [seeds + row for row in range(rows)] if isinstance(seeds, int) else list(seeds)
    if len(numbers) != rows:
        raise UsageError(f"expected one seed for each of {rows} rows, got {len(numbers)} seeds")
    if any(not -(2**63) <= number < 2**63 for number in numbers):
        raise UsageError(f"a seed must fit in 64 bits, got {numbers}")
    return torch.tensor(numbers, dtype=torch.long, device=device)


def _mix(word: Tensor) -> Tensor:
    # torch's shift keeps the sign; the mask of the remaining bits makes it a logical one.
    word = word + _GOLDEN
    word = (word ^ (word >> 30 & 2**34 - 1)) * _FIRST
    word = (word ^ (word >> 27 & 2**37 - 1)) * _SECOND
    return word ^ (word >> 31 & 2**33 - 1)
