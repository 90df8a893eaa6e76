"""Mixtures: how often one pass over several sources sees the records of each.

    source     usable    as weighted (b@0.5)     ratio 1:1        balanced
    a             300    300                     300              100
    b             100     50                     300 (3 times)    100

The counts are exact: whole copies of a source, and a random share of it for what is left.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sfumato.errors import DataError, UsageError
from sfumato.text.corpora import Source

T = TypeVar("T")
BALANCED = "balanced"


@dataclass(frozen=True, kw_only=True)
class AsWeighted:
    """Each record as often as the weight of its source says.

    Example:
        >>> AsWeighted(given=(1.0, 0.5)).weights([300, 100])
        (1.0, 0.5)
    """

    given: tuple[float, ...]

    def weights(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """How often a pass sees each record of sources of these sizes."""
        return self.given


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Records in a given ratio: none is left out, the scarcer sources are repeated.

    Example:
        >>> Ratio(parts=(3.0, 1.0)).weights([300, 50])
        (1.0, 2.0)
    """

    parts: tuple[float, ...]

    def weights(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """How often a pass sees each record of sources of these sizes; at least once."""
        scale = max(size / part for size, part in zip(sizes, self.parts, strict=True))
        return tuple(scale * p / size for size, p in zip(sizes, self.parts, strict=True))


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """As many records of each source as the smallest one has: none is repeated.

    Example:
        >>> Balanced().weights([400, 100])
        (0.25, 1.0)
    """

    def weights(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """How often a pass sees each record of sources of these sizes; at most once."""
        return tuple(min(sizes) / size for size in sizes)


Mix = AsWeighted | Ratio | Balanced


def parse_mix(text: str | None, sources: Sequence[Source]) -> Mix:
    """A mixture as people write it: "3:1", "balanced", or nothing for the sources' own weights.

    Raises:
        UsageError: another word, a ratio that is not one positive number a source, or a mixture
            of sources that have weights already.

    Example:
        >>> parse_mix("3:1", [Source(path="a.jsonl"), Source(path="b.jsonl")])
        Ratio(parts=(3.0, 1.0))
    """
    if text is None:
        return AsWeighted(given=tuple(source.weight for source in sources))
    weighted = [source.path for source in sources if source.weight != 1]
    if weighted:
        raise UsageError(
            f"{weighted[0]} has a weight (@) and there is a mixture {text!r} as well: give one "
            "of the two"
        )
    if text == BALANCED:
        return Balanced()
    try:
        parts = tuple(float(part) for part in text.split(":"))
    except ValueError:
        parts = ()
    if len(parts) != len(sources) or not all(0 < part < math.inf for part in parts):
        example = ":".join("1" * len(sources))
        raise UsageError(
            f"the mixture {text!r} does not fit {len(sources)} sources: expected {BALANCED!r} or "
            f"one positive number for each, such as {example}"
        )
    return Ratio(parts=parts)


def draw(
    parts: Sequence[Sequence[T]], mix: Mix, *, names: Sequence[str], seed: int
) -> list[tuple[T, ...]]:
    """What one pass sees of each source.

    Args:
        parts: what each source has that is of use.
        mix: how often each is seen.
        names: of the sources, for the error.
        seed: of which records a fractional weight leaves out.

    Raises:
        DataError: a source has nothing.

    Example:
        >>> draw(["abc", "d"], Ratio(parts=(1.0, 1.0)), names=["a", "b"], seed=0)[1]
        ('d', 'd', 'd')
    """
    empty = [name for name, part in zip(names, parts, strict=True) if not part]
    if empty:
        raise DataError(f"{empty[0]}: nothing in it is of use, see above: it cannot be mixed in")
    drawn = []
    for index, (part, weight) in enumerate(
        zip(parts, mix.weights([len(part) for part in parts]), strict=True)
    ):
        copies, rest = divmod(max(1, round(weight * len(part))), len(part))
        chosen = random.Random(f"{seed} {index}").sample(range(len(part)), rest)
        drawn.append((*(list(part) * copies), *(part[place] for place in sorted(chosen))))
    return drawn
