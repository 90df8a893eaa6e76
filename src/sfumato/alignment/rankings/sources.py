"""Rankings by origin: what people wrote before what a model wrote.

    {"prompt", "completions", "source"}     a source "real" marks a real text          rank 1
                                            any other says what generated it           rank 2

Where real and generated texts stand in files of their own, they are put beside each other at
random; texts that answer something are put beside answers to the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from sfumato.alignment.rankings.formats import read_prompt, read_ranking
from sfumato.alignment.rankings.sets import Prompt, RankedRecord
from sfumato.errors import DataError, UnusableError, UsageError
from sfumato.text.dialogue import ASSISTANT
from sfumato.text.files import Row
from sfumato.text.formats import detect_format
from sfumato.text.records import DialogueRecord, InfillRecord, PairRecord, Record, TextRecord

REAL = "real"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A text, and what it answers.

    Attributes:
        prompt: the beginning of a text, or the turns of a dialogue; "" for a text as such.
        text: the text.
        origin: where it came from.
    """

    prompt: Prompt
    text: str
    origin: str = ""


def read_sources(row: Row, origin: str) -> RankedRecord:
    """A ranking from a row of completions and their sources; without sources, see `read_ranking`.

    The real ones come first: by the first text, sets are kept on one side of a split.

    Args:
        row: the fields.
        origin: where it stands, for messages.

    Raises:
        DataError: no form fits, or a field is of another type.
        UnusableError: no text is real, or every one is.

    Example:
        >>> row = {"completions": ["A a cat.", "A cat."], "source": ["temperature 1", "real"]}
        >>> read_sources(row, "line 1").completions
        ('A cat.', 'A a cat.')
    """
    if "source" not in row or "completions" not in row:
        return read_ranking(row, origin)
    real = real_ones(row, origin)
    if len({*real}) < 2:
        every = "every text is real" if any(real) else f"no text has the source {REAL!r}"
        raise UnusableError(
            f"{every}: expected both, real and generated ones", reason="no order", place=origin
        )
    texts = cast(list[object], row["completions"])
    order = sorted(range(len(real)), key=real.__getitem__, reverse=True)
    said = {
        "prompt": row.get("prompt", ""),
        "completions": [texts[i] for i in order],
        "ranks": [1 if real[i] else 2 for i in order],
    }
    return read_ranking(said, origin)


def real_ones(row: Row, origin: str) -> list[bool]:
    """Which completions of a row are real.

    Args:
        row: completions and their sources.
        origin: where it stands, for messages.

    Raises:
        DataError: not one source a completion.
    """
    texts, sources = row.get("completions"), row.get("source")
    if not isinstance(texts, list) or not isinstance(sources, list) or len(texts) != len(sources):
        raise DataError(
            f"{origin}: expected a list of completions and a source for each, got "
            f"{texts!r:.60} and {sources!r:.60}"
        )
    return [source == REAL for source in sources]


def read_answers(row: Row, origin: str) -> list[Answer]:
    """The texts of a row: all its completions, or what the row would teach a model to write.

    Empty completions are left out.

    Args:
        row: of candidates, or of any form of training data.
        origin: where it stands, for messages.

    Raises:
        DataError: no form fits, or a field is of another type.
        UnusableError: there is no answer in it.

    Example:
        >>> read_answers({"prompt": "A", "completions": [" cat.", ""]}, "line 1")
        [Answer(prompt='A', text=' cat.', origin='line 1')]
    """
    if "completions" not in row:
        form = detect_format(row, origin)
        return [_answer(form.build(row, form.fields, origin), origin)]
    texts = row["completions"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{origin}: expected a list of texts in the field completions")
    prompt = read_prompt(row.get("prompt", ""), origin)
    return [Answer(prompt=prompt, text=text, origin=origin) for text in texts if text.strip()]


def beside(
    real: Sequence[Answer], generated: Sequence[Answer], *, n: int, seed: int
) -> Iterator[RankedRecord]:
    """Sets of one real text and some generated ones, each text in one set at most.

    Args:
        real: texts of people.
        generated: texts of models.
        n: generated ones in a set.
        seed: of what stands beside what.

    Raises:
        UsageError: n is below 1.

    Example:
        >>> def texts(*several):
        ...     return [Answer(prompt="", text=text) for text in several]
        >>> [sorted(one.completions) for one in beside(texts("a"), texts("b", "c"), n=2, seed=0)]
        [['a', 'b', 'c']]
    """
    if n < 1:
        raise UsageError(f"expected at least one generated text beside a real one, got {n}")
    source = random.Random(seed)
    ours, theirs = (_by_prompt(texts, source) for texts in (real, generated))
    for prompt, texts in ours.items():
        others = theirs.get(prompt, [])
        for place, one in enumerate(texts[: len(others) // n]):
            some = others[place * n : place * n + n]
            yield RankedRecord(
                prompt=prompt,
                completions=(one.text, *(other.text for other in some)),
                ranks=(1, *(2 for _ in some)),
                origin=one.origin,
            )


def _by_prompt(texts: Sequence[Answer], source: random.Random) -> dict[Prompt, list[Answer]]:
    """In random order, by what they answer."""
    found: dict[Prompt, list[Answer]] = {}
    for one in source.sample(texts, len(texts)):
        found.setdefault(one.prompt, []).append(one)
    return found


def _answer(record: Record, origin: str) -> Answer:
    match record:
        case TextRecord():
            return Answer(prompt="", text=record.text, origin=origin)
        case PairRecord():
            return Answer(prompt=record.prompt, text=record.completion, origin=origin)
        case InfillRecord():
            whole = record.prefix + record.middle + record.suffix
            return Answer(prompt="", text=whole, origin=origin)
        case DialogueRecord():
            *before, last = record.messages
            if last.role == ASSISTANT and before:
                return Answer(prompt=tuple(before), text=last.content, origin=origin)
    raise UnusableError("the dialogue ends without an answer", reason="no answer", place=origin)
