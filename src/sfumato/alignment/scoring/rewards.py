"""Rewards from rules and from other scorers; each is a `protocols.Scorer`, higher is better.

Classifiers of transformers, word lists and consensus stand in `sfumato.models.scorers`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.perplexity import causal_perplexity
from sfumato.protocols import Scorer
from sfumato.text.words import word_spans

_REACH, _NEGATED, _SOFTENING = 3, -0.74, 15.0
_PLAIN = ("not", "no", "never", "none", "nobody", "nothing", "nor", "cannot", "without", "hardly")
_VERBS = ("is", "was", "are", "were", "do", "does", "did", "ca", "could", "wo", "would", "should")
_NEGATIONS = frozenset([*_PLAIN, *(f"{verb}n't" for verb in _VERBS)])
TrlReward = Callable[..., list[float]]


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """How often a regular expression is found in a text, a word.

    Attributes:
        expression: in Python's syntax.

    Raises:
        UsageError: it is no regular expression.

    Example:
        >>> Pattern(expression=r"c[ao]t")(["a cat and a cot", "rain"])
        [0.4, 0.0]
    """

    expression: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.expression)
        except re.error as error:
            raise UsageError(f"{self.expression!r} is no regular expression: {error}") from error

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One number a text."""
        found = re.compile(self.expression)
        return [len(found.findall(text)) / max(1, len(text.split())) for text in texts]


@dataclass(frozen=True, kw_only=True)
class Length:
    """How near a text's length is to the best one: −|words − best| / best.

    Attributes:
        best: words.

    Raises:
        UsageError: fewer than one word.

    Example:
        >>> Length(best=4)(["a b c d", "a b"])
        [0.0, -0.5]
    """

    best: int

    def __post_init__(self) -> None:
        if self.best < 1:
            raise UsageError(f"expected best ≥ 1, got {self.best}")

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One number a text."""
        return [-abs(len(text.split()) - self.best) / self.best or 0.0 for text in texts]


@dataclass(frozen=True, kw_only=True)
class Fluency:
    """Mean log-probability of a text's tokens under an autoregressive model, nats a token.

    Attributes:
        model: folder or hub name.
    """

    model: str

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One number a text, at most 0."""
        parts = causal_perplexity(self.model, texts)[0].parts
        assert parts is not None
        nats, tokens = parts.columns
        return [-float(n) / max(1.0, float(m)) for n, m in zip(nats, tokens, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Valence:
    """Feeling by a list of words with valences (VADER, Hutto and Gilbert 2014), −1 to 1.

    A negation among the three words before turns a valence round and weakens it by a quarter; the
    sum s becomes s / √(s² + 15). Boosters, capitals and punctuation do not count.

    Attributes:
        words: lower-case words and their valences.

    Raises:
        UsageError: no words.

    Example:
        >>> feel = Valence(words={"good": 1.9, "bad": -2.5})
        >>> [round(score, 2) for score in feel(["A good idea.", "Not a good one.", "So bad!"])]
        [0.44, -0.34, -0.54]
    """

    words: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.words:
            raise UsageError("expected words with valences, got none")

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One number a text."""
        return [self._felt(text) for text in texts]

    def _felt(self, text: str) -> float:
        said = [text[start:stop].casefold() for start, stop in word_spans(text)]
        total = 0.0
        for place, word in enumerate(said):
            valence = self.words.get(word, 0.0)
            before = said[max(0, place - _REACH) : place]
            total += valence * (_NEGATED if _NEGATIONS & {*before} else 1)
        return total / math.sqrt(total * total + _SOFTENING)


def valences(lines: Iterable[str], origin: str = "") -> Valence:
    r"""A `Valence` from lines of a word, a tab and a number; what follows is not read.

    Args:
        lines: of a file, such as VADER's lexicon.
        origin: its name, for messages.

    Raises:
        DataError: a line without a number.

    Example:
        >>> valences(["good\t1.9\t0.9\n", "\n"]).words
        {'good': 1.9}
    """
    words = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, _, rest = line.rstrip("\n").partition("\t")
        try:
            words[word.casefold()] = float(rest.split("\t")[0])
        except ValueError as error:
            raise DataError(
                f"{origin}:{number}: expected a word, a tab and a number, got {line!r:.60}"
            ) from error
    return Valence(words=words)


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """A sum of rewards.

    Attributes:
        parts: weights and scorers.

    Raises:
        UsageError: no parts.

    Example:
        >>> reward = Weighted(parts=((1.0, Length(best=2)), (2.0, Pattern(expression="cat"))))
        >>> reward(["a cat", "a"])
        [1.0, -0.5]
    """

    parts: tuple[tuple[float, Scorer], ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise UsageError("expected weights and scorers, got none")

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One number a text."""
        columns = [[weight * one for one in scorer(texts)] for weight, scorer in self.parts]
        return [sum(row) for row in zip(*columns, strict=True)]


def for_trl(scorer: Scorer) -> TrlReward:
    """A scorer as a reward function of TRL: `(prompts, completions, **columns) → list[float]`.

    Args:
        scorer: judges the completions.

    Example:
        >>> for_trl(Length(best=1))(prompts=["Hi"], completions=["a b"], answer=["c"])
        [-1.0]
    """

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        return scorer([_said(one) for one in completions])

    return reward


def from_trl(reward: TrlReward) -> Scorer:
    """A reward function of TRL as a scorer; it is given empty prompts.

    Args:
        reward: a reward function.
    """

    def scorer(texts: Sequence[str]) -> list[float]:
        return [float(one) for one in reward(prompts=[""] * len(texts), completions=[*texts])]

    return scorer


def _said(completion: Any) -> str:  # noqa: ANN401
    """A completion's text; TRL gives turns for dialogues."""
    if isinstance(completion, str):
        return completion
    return "".join(turn["content"] for turn in completion)
