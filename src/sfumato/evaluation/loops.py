"""Loops: the failure that perplexity cannot see.

A looping text scores better under a small language model than real text, so the share of
looping texts and the place where they start to loop stand beside every perplexity.

**Definition.** Let w_0 … w_{m−1} be the tokens of a text. A stretch [i, j) has period p if
w_s = w_{s+p} for every s with i ≤ s and s + p < j. It is a *loop* if it holds at least
`repeats` full copies of its first p tokens and at least `span` tokens:

    j − i ≥ max(repeats · p, span)

    We     ate  ,  the food was good  the food was good  the food
    0      1    2  └──── p = 4 ────┘  └──── copy 2 ───┘  └ part of copy 3
                   i = 3                                          j = 13

p is the smallest such period, the stretch is extended as far as the period holds, and of
several loops in a text the longest counts (of equally long ones the one with the smallest
period, then the earliest).
Words are compared without case; a stretch of punctuation is one word, so that a line of dots
is not a loop. With the defaults of words (two copies, 8 words) real text loops in at most
0.3 % of documents (restaurant descriptions 0, ROCStories 0.02 %, Russian children's stories
0.2 %); characters need a longer span, 40.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import eq

from sfumato.errors import UsageError
from sfumato.evaluation.diversity import words
from sfumato.evaluation.records import Metric, mean_metric


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A stretch of a text that repeats itself.

    Attributes:
        start: index of its first token.
        stop: index after its last token.
        period: tokens of one copy.
        tokens: tokens of the whole text.
    """

    start: int
    stop: int
    period: int
    tokens: int

    @property
    def copies(self) -> float:
        """How often the period fits into the stretch, the last copy perhaps in part."""
        return (self.stop - self.start) / self.period

    @property
    def place(self) -> float:
        """Where the loop starts, as a share of the text: 0 at its beginning."""
        return self.start / self.tokens

    @property
    def at_end(self) -> bool:
        """The loop runs to the end of the text."""
        return self.stop == self.tokens


def find_loop(tokens: Sequence[str], *, repeats: int = 2, span: int = 8) -> Loop | None:
    """The loop of a text (see the module's definition), or None.

    Args:
        tokens: words or characters.
        repeats: full copies that make a loop, at least 2.
        span: tokens that the whole stretch needs, at least.

    Raises:
        UsageError: `repeats` is below 2 or `span` below 1.

    Example:
        >>> loop = find_loop("we ate , the food was good the food was good the food".split())
        >>> loop.start, loop.period, loop.copies
        (3, 4, 2.5)
        >>> find_loop("a very , very , very good story".split()) is None
        True
    """
    if repeats < 2 or span < 1:
        raise UsageError(
            f"a loop needs repeats ≥ 2 and span ≥ 1, got repeats = {repeats}, span = {span}"
        )
    total = len(tokens)
    best: Loop | None = None
    for period in range(1, total // repeats + 1):
        for start, stop in _stretches(tokens, period):
            length = stop - start
            longer = best is None or length > best.stop - best.start
            if longer and length >= max(repeats * period, span):
                best = Loop(start=start, stop=stop, period=period, tokens=total)
    return best


def _stretches(tokens: Sequence[str], period: int) -> list[tuple[int, int]]:
    """Maximal stretches with this period: [start, stop) pairs that hold at least one match."""
    found, position = [], 0
    for matches, run in groupby(map(eq, tokens, islice(tokens, period, None))):
        length = sum(1 for _ in run)
        if matches:
            found.append((position, position + length + period))
        position += length
    return found


def loop_rate(
    texts: Sequence[str],
    *,
    repeats: int = 2,
    span: int = 8,
    tokens: Callable[[str], list[str]] = words,
    seed: int | None = None,
    reference: str | None = None,
) -> Metric:
    """The share of texts that hold a loop, `loop_rate`, with its binomial standard error.

    Args:
        texts: texts to judge.
        repeats: full copies that make a loop; `repeats=2, span=2` counts every stutter.
        span: tokens that the whole stretch needs, at least.
        tokens: `words` or `characters` (which want a span of about 40).
        seed: seed that the texts were drawn with, for the record.
        reference: what the texts are, for the record.

    Example:
        >>> loop_rate(["a nice place", "a b a b a b a b a b"]).value
        0.5
    """
    loops = [find_loop(tokens(text), repeats=repeats, span=span) for text in texts]
    if not loops:
        raise UsageError("loop_rate needs at least one text, got none")
    rate = sum(loop is not None for loop in loops) / len(loops)
    return Metric(
        name="loop_rate",
        value=rate,
        n=len(loops),
        seed=seed,
        reference=reference,
        settings={"repeats": repeats, "span": span, "tokens": tokens.__name__},
        stderr=math.sqrt(rate * (1 - rate) / len(loops)),
    )


def loop_place(
    texts: Sequence[str],
    *,
    repeats: int = 2,
    span: int = 8,
    tokens: Callable[[str], list[str]] = words,
    seed: int | None = None,
    reference: str | None = None,
) -> Metric | None:
    """Where loops start, as a share of the text, averaged over the texts that loop.

    `n` counts the looping texts; None if there are none. The arguments are those of
    `loop_rate`.

    Example:
        >>> loop_place(["one two a b a b a b a b"]).value
        0.2
    """
    loops = [find_loop(tokens(text), repeats=repeats, span=span) for text in texts]
    places = [loop.place for loop in loops if loop is not None]
    if not places:
        return None
    return mean_metric(
        "loop_place",
        places,
        seed=seed,
        reference=reference,
        settings={"repeats": repeats, "span": span, "tokens": tokens.__name__},
    )
