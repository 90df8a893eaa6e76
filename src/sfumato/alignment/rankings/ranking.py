"""Scores to places, candidates to rankings, rankings to pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from sfumato.alignment.rankings.sets import Prompt, RankedRecord
from sfumato.errors import UsageError

Strategy = Literal["all_pairs", "adjacent", "best_worst"]


def places(scores: Sequence[float], *, gap: float = 0.0) -> tuple[int, ...]:
    """Places by score, 1 for the highest; who is within `gap` of the first at a place shares it.

    Args:
        scores: the higher the better.
        gap: differences up to it are no differences.

    Raises:
        UsageError: a score that is not finite, or a negative gap.

    Example:
        >>> places([0.2, 0.9, 0.85, 0.1], gap=0.1)
        (2, 1, 1, 2)
    """
    if gap < 0 or not all(map(math.isfinite, scores)):
        raise UsageError(f"expected finite scores and a gap ≥ 0, got {scores}, {gap}")
    found, place, head = [0] * len(scores), 0, math.inf
    for index in sorted(range(len(scores)), key=scores.__getitem__, reverse=True):
        if scores[index] < head - gap or not place:
            place, head = place + 1, scores[index]
        found[index] = place
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How scored candidates become a ranking.

    Attributes:
        chosen: with `rejected`: those with at least this score come first, those with at most the
            other come second, and those between are left out.
        rejected: see `chosen`.
        gap: scores that differ by no more are tied.
        overlap: leave out a candidate of which more than this share of word n-grams stand in
            better ones already; 1 keeps all but those that are the same.
        size: n of these n-grams.

    Raises:
        UsageError: one threshold without the other or below it, or a share outside (0, 1].

    Example:
        >>> record = Ranking().of("Hi", ["Hello.", "No.", "Hello."], [0.9, 0.2, 0.9])
        >>> record.completions, record.ranks
        (('Hello.', 'No.'), (1, 2))
    """

    chosen: float | None = None
    rejected: float | None = None
    gap: float = 0.0
    overlap: float = 1.0
    size: int = 3

    def __post_init__(self) -> None:
        if (self.chosen is None) != (self.rejected is None):
            raise UsageError("chosen and rejected are thresholds that need each other")
        if self.chosen is not None and self.rejected is not None and self.chosen <= self.rejected:
            raise UsageError(
                f"chosen must lie above rejected, got {self.chosen} and {self.rejected}"
            )
        if not 0 < self.overlap <= 1 or self.size < 1:
            raise UsageError(f"expected overlap in (0, 1] and size ≥ 1, got {self}")

    def of(
        self, prompt: Prompt, completions: Sequence[str], scores: Sequence[float], origin: str = ""
    ) -> RankedRecord:
        """The ranking of some candidates, best first.

        Raises:
            UnusableError: fewer than two candidates are left, or they are all tied.
            UsageError: see `places`.
        """
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        kept = [i for i in order if self._class(scores[i])]
        kept = [kept[j] for j in diverse([completions[i] for i in kept], self.overlap, self.size)]
        values = tuple(scores[i] for i in kept)
        ranks = (
            places(values, gap=self.gap)
            if self.chosen is None
            else tuple(1 if value >= self.chosen else 2 for value in values)
        )
        texts = tuple(completions[i] for i in kept)
        return RankedRecord(
            prompt=prompt, completions=texts, ranks=ranks, scores=values, origin=origin
        )

    def _class(self, score: float) -> bool:
        """Whether a score is on one side of the thresholds."""
        if self.chosen is None or self.rejected is None:
            return True
        return score >= self.chosen or score <= self.rejected


def diverse(texts: Sequence[str], overlap: float, size: int) -> list[int]:
    """Numbers of texts that add enough to those before them; time grows with the words only.

    Args:
        texts: the most wanted first.
        overlap: the largest share of n-grams that may stand in texts kept before.
        size: n; of a shorter text the whole counts as one.

    Example:
        >>> diverse(["a b c d", "a b c e", "a b c d", "x y z"], 0.4, 2)
        [0, 3]
    """
    kept: list[int] = []
    said: set[tuple[str, ...]] = set()
    same: set[str] = set()
    for index, text in enumerate(texts):
        words = text.casefold().split()
        grams = {tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}
        if text in same or len(grams & said) > overlap * len(grams):
            continue
        kept.append(index)
        said |= grams
        same.add(text)
    return kept


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A completion that is better than another."""

    prompt: Prompt
    chosen: str
    rejected: str


def pairs_of(record: RankedRecord, strategy: Strategy = "all_pairs") -> Iterator[Pair]:
    """The pairs of a ranking.

    Args:
        record: the ranking.
        strategy: all of them, neighbours in rank, or the best and the worst.

    Example:
        >>> record = RankedRecord(prompt="", completions=("a", "b", "c"), ranks=(2, 1, 3))
        >>> [(pair.chosen, pair.rejected) for pair in pairs_of(record, "adjacent")]
        [('b', 'a'), ('a', 'c')]
    """
    order = sorted(zip(record.ranks, record.completions, strict=True), key=lambda one: one[0])
    ranks = sorted(set(record.ranks))
    wanted = {
        "all_pairs": {(a, b) for a in ranks for b in ranks if a < b},
        "adjacent": {*pairwise(ranks)},
        "best_worst": {(ranks[0], ranks[-1])},
    }[strategy]
    for place, better in order:
        for other, worse in order:
            if (place, other) in wanted:
                yield Pair(prompt=record.prompt, chosen=better, rejected=worse)
