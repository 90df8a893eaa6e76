"""What tasks return: a text between others, an edit of a source; and the best of them first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sfumato.errors import ModelError
from sfumato.protocols import Scorer
from sfumato.sampling.frames import Trajectory
from sfumato.sampling.trace import Sample, Trace
from sfumato.text.words import Segment, diff, share_kept


@dataclass(frozen=True, kw_only=True)
class Infill:
    """A text that was written between two others.

    Attributes:
        text: the whole text; what was given stands at its ends as it was typed.
        middle: what was written.
        seed: writes it again.
        passes: evaluations of the network.
        trajectory: ids, with the step and the confidence of each.
        trace: every step, for players and files.
        score: what a ranking scorer gave the text.
    """

    text: str
    middle: str
    seed: int
    passes: int
    trajectory: Trajectory
    trace: Trace
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a text is worth as a detoxified form of its source.

    Attributes:
        toxicity: by the scorer.
        meaning: how much of the source is kept, 0 to 1.
        fluency: 0 to 1.
        joint: (1 − toxicity) · meaning · fluency.
        clean: the toxicity is at most the threshold.
    """

    toxicity: float
    meaning: float
    fluency: float
    joint: float
    clean: bool


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A text that was rewritten, and what became of its source.

    Attributes:
        text: the new text.
        source: the old one.
        segments: what is kept, removed and written, in order.
        seed: writes it again.
        passes: evaluations of the network.
        trace: every step; None if nothing was written, as when words are only deleted.
        verdict: what `detox` found.
        score: what a ranking scorer gave the text.
    """

    text: str
    source: str
    segments: tuple[Segment, ...]
    seed: int
    passes: int
    trace: Trace | None = None
    verdict: Verdict | None = None
    score: float | None = None

    @property
    def kept(self) -> float:
        """Share of the source's words that are kept."""
        return share_kept(self.segments)


def edited(
    source: str,
    text: str,
    *,
    seed: int,
    passes: int = 0,
    trace: Trace | None = None,
    verdict: Verdict | None = None,
) -> Edit:
    """An edit with its diff."""
    segments = diff(source, text)
    return Edit(
        text=text,
        source=source,
        segments=segments,
        seed=seed,
        passes=passes,
        trace=trace,
        verdict=verdict,
    )


Candidate = TypeVar("Candidate", Sample, Infill, Edit)


def best_first(candidates: Sequence[Candidate], rank: Scorer | None) -> list[Candidate]:
    """Candidates by the score of their texts, the highest first; as they are without a scorer.

    Example:
        >>> from sfumato.sampling.tasks.results import edited
        >>> found = [edited("", text, seed=0) for text in ("a", "abc", "ab")]
        >>> [one.text for one in best_first(found, lambda texts: [float(len(t)) for t in texts])]
        ['abc', 'ab', 'a']
    """
    if rank is None:
        return list(candidates)
    scores = scores_of(rank, [one.text for one in candidates])
    scored = [replace(one, score=score) for one, score in zip(candidates, scores, strict=True)]
    return sorted(scored, key=lambda one: -(one.score or 0.0))


def scores_of(scorer: Scorer, texts: Sequence[str]) -> list[float]:
    """A scorer's numbers, checked.

    Raises:
        ModelError: not one number a text, or no number at all.
    """
    scores = scorer(texts) if texts else []
    if len(scores) != len(texts) or any(map(math.isnan, scores)):
        raise ModelError(
            f"the scorer must give one number for each of {len(texts)} texts, but gave "
            f"{len(scores)}, {sum(map(math.isnan, scores))} of them NaN"
        )
    return [float(score) for score in scores]
