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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
        need = max(repeats * period, span) - period
        for start, stop in _stretches(tokens, period, need):
            longer = best is None or stop - start > best.stop - best.start
            if longer and stop - start >= need + period:
                best = Loop(start=start, stop=stop, period=period, tokens=total)
    return best


def _stretches(tokens: Sequence[str], period: int, need: int) -> Iterator[tuple[int, int]]:
    """Maximal stretches with this period and at least `need` matches w_s = w_{s+p}.

    So many matches in a row cover one of any `need` positions apart, so only these are tried.
    """
    at, last = need - 1, len(tokens) - period
    while at < last:
        if tokens[at] == tokens[at + period]:
            start, at = at, at + 1
            while start > 0 and tokens[start - 1] == tokens[start - 1 + period]:
                start -= 1
            while at < last and tokens[at] == tokens[at + period]:
                at += 1
            yield start, at + period
        at += need


def loop_rate(
    texts: Sequence[str],
    *,
    repeats: int = 2,
    span: int = 8,
    tokens: Callable[[str], list[str]] = words,
    seed: int | None = None,
    reference: str | None = None,
) -> Metric:
    """The share of texts that hold a loop, `loop_rate`.

    Its standard error is the standard deviation of Beta(k + 1, n − k + 1) for k loops in n
    texts, which stays above zero when no loop was seen.

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
    found, n = sum(loop is not None for loop in loops), len(loops)
    return Metric(
        name="loop_rate",
        value=found / n,
        n=n,
        seed=seed,
        reference=reference,
        settings={"repeats": repeats, "span": span, "tokens": tokens.__name__},
        stderr=math.sqrt((found + 1) * (n - found + 1) / (n + 3)) / (n + 2),
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


def loop_profile(
    texts: Sequence[str],
    *,
    cells: int = 20,
    repeats: int = 2,
    span: int = 8,
    tokens: Callable[[str], list[str]] = words,
) -> list[float]:
    """Share of the texts that loop at each place, from start to end; for a heat strip.

    Args:
        texts: texts to judge, at least one.
        cells: equal parts that each text is cut into.
        repeats: see `find_loop`.
        span: see `find_loop`.
        tokens: `words` or `characters`.

    Example:
        >>> loop_profile(["one two a b a b a b a b", "a nice place"], cells=5)
        [0.0, 0.5, 0.5, 0.5, 0.5]
    """
    if not texts or cells < 1:
        raise UsageError(
            f"a loop profile needs texts and cells ≥ 1, got {len(texts)} texts and {cells} cells"
        )
    counts = [0] * cells
    for text in texts:
        loop = find_loop(tokens(text), repeats=repeats, span=span)
        if loop is not None:
            first = loop.start * cells // loop.tokens
            last = (loop.stop * cells - 1) // loop.tokens
            for cell in range(first, last + 1):
                counts[cell] += 1
    return [count / len(texts) for count in counts]
