"""Corpora: sources as streams of records, and mixtures of them.

    Source → files.rows → Format.build → Record ─┐
    Source → files.rows → Format.build → Record ─┴─ mix → split → encode

What kinds of file there are stands in `files`, which fields become which record in `records`.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sfumato.errors import DataError, UsageError
from sfumato.text.dialogue import ASSISTANT
from sfumato.text.files import rows, size
from sfumato.text.records import (
    DialogueRecord,
    Format,
    PairRecord,
    Record,
    Row,
    TextRecord,
    detect_format,
    read_text,
)

OnBad = Callable[[DataError], None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where records come from.

    Attributes:
        path: a file, or "hub:owner/name" or "hub:owner/name:split".
        weight: how often a pass over a mixture sees each record; 0.5 sees a random half.
        text_field: the field that holds the text; None finds out from the fields.

    Raises:
        UsageError: a weight that is not positive.

    Example:
        >>> Source(path="stories.jsonl", weight=0.5).weight
        0.5
    """

    path: str
    weight: float = 1.0
    text_field: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise UsageError(f"{self.path}: a weight must be positive, but it is {self.weight}")


def parse_source(text: str, *, text_field: str | None = None) -> Source:
    """A source as people write it: a path, and after "@" a weight.

    Raises:
        UsageError: what follows the last "@" looks like a weight and is not positive.

    Example:
        >>> parse_source("a.jsonl@0.7").weight, parse_source("me@home.txt").path
        (0.7, 'me@home.txt')
    """
    path, _, weight = text.rpartition("@")
    try:
        return Source(path=path, weight=float(weight), text_field=text_field)
    except ValueError:
        return Source(path=text, text_field=text_field)


def read(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Record]:
    r"""Streams the records of a source; the first good row decides the format of all.

    Args:
        source: what to read.
        on_bad: is told of each bad record, which is then skipped; None raises at the first.

    Raises:
        DataError: no such file, an unknown kind of file, an empty file, or a bad record.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        ...     _ = file.write("A cat.\nA dog.\n")
        ...     file.flush()
        ...     [record.text for record in read(Source(path=file.name))]
        ['A cat.', 'A dog.']
    """
    form: Format | None = None
    empty = True
    for origin, load in rows(source.path):
        empty = False
        try:
            row = load()
            form = form or _format(source, row, origin)
            record = form.build(row, form.fields, origin)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        yield record
    if empty:
        raise DataError(f"{source.path}: the file is empty: expected at least one record")


def format_of(source: Source) -> Format:
    """The format that `read` will use, from the first row; its name says the fields.

    Raises:
        DataError: as `read`.
    """
    for origin, load in rows(source.path):
        return _format(source, load(), origin)
    raise DataError(f"{source.path}: the file is empty: expected at least one record")


def mix(sources: Sequence[Source], seed: int, *, on_bad: OnBad | None = None) -> Iterator[Record]:
    """One pass over several sources, mixed: each record as often as its source's weight says.

    Sources are drawn in proportion to their weighted size in bytes, so they run out at about
    the same time; within a source, records keep their order. With all weights 1 every record
    comes exactly once.

    Args:
        sources: what to mix.
        seed: of the order and of which records a fractional weight leaves out.
        on_bad: as in `read`.

    Raises:
        DataError: as `read`.
    """
    choice = random.Random(seed)
    streams = [
        _repeated(source, random.Random(f"{seed} {index}"), on_bad)
        for index, source in enumerate(sources)
    ]
    sizes = [size(source.path) for source in sources]
    known = [bytes_ for bytes_ in sizes if bytes_]
    typical = sum(known) / len(known) if known else 1.0
    shares = [s.weight * (bytes_ or typical) for s, bytes_ in zip(sources, sizes, strict=True)]
    alive = list(range(len(sources)))
    while alive:
        index = choice.choices(alive, [shares[i] for i in alive])[0]
        record = next(streams[index], None)
        if record is None:
            alive.remove(index)
        else:
            yield record


def _repeated(source: Source, keep: random.Random, on_bad: OnBad | None) -> Iterator[Record]:
    part, whole = math.modf(source.weight)
    for _ in range(int(whole)):
        yield from read(source, on_bad=on_bad)
    if part:
        yield from (r for r in read(source, on_bad=on_bad) if keep.random() < part)


def _format(source: Source, row: Row, origin: str) -> Format:
    if source.text_field is not None:
        return Format(fields=(source.text_field,), build=read_text)
    return detect_format(row, origin)


@dataclass(frozen=True, kw_only=True)
class TrainSplit:
    """Records to learn from."""

    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class ValidationSplit:
    """Records to choose models by."""

    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class TestSplit:
    """Records to report on; nothing is chosen by them."""

    __test__ = False  # not a test case of pytest

    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The three parts of a corpus; each has its own type, so they cannot be mixed up."""

    train: TrainSplit
    validation: ValidationSplit
    test: TestSplit


def split(
    records: Iterable[Record], valid_fraction: float, seed: int, *, test_fraction: float = 0.0
) -> Splits:
    """Splits records by their text, so that equal texts and equal prompts stay on one side.

    Which side a text falls on depends on the text and the seed, not on the order of the records.
    Case and white space do not make texts different. A positive fraction gets at least one text
    as long as one is left to train on.

    Args:
        records: all of them, held in memory.
        valid_fraction: share of the distinct texts for validation.
        seed: of the choice.
        test_fraction: share of the distinct texts for the test.

    Raises:
        UsageError: a negative fraction, or nothing left to train on.

    Example:
        >>> parts = split([TextRecord(text=t) for t in "abcdabcd"], 0.25, seed=0)
        >>> len(parts.train.records), len(parts.validation.records)
        (6, 2)
    """
    if min(valid_fraction, test_fraction) < 0 or valid_fraction + test_fraction >= 1:
        raise UsageError(
            "the fractions must be at least 0 and leave something to train on, but got "
            f"{valid_fraction} for validation and {test_fraction} for the test"
        )
    found = [(_key(record), record) for record in records]
    ranked = sorted({key for key, _ in found}, key=lambda key: _digest(f"{seed} {key}"))
    validation = _share(valid_fraction, len(ranked), len(ranked) - 1)
    test = _share(test_fraction, len(ranked), len(ranked) - 1 - validation)
    side = dict.fromkeys(ranked[:validation], 1)
    side |= dict.fromkeys(ranked[validation : validation + test], 2)
    parts = [tuple(r for key, r in found if side.get(key, 0) == part) for part in range(3)]
    return Splits(
        train=TrainSplit(records=parts[0]),
        validation=ValidationSplit(records=parts[1]),
        test=TestSplit(records=parts[2]),
    )


def _share(fraction: float, total: int, most: int) -> int:
    return max(0, min(most, max(round(fraction * total), fraction > 0)))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _key(record: Record) -> str:
    """What makes two records the same: the text, the prompt, or what was asked."""
    match record:
        case TextRecord():
            said = record.text
        case PairRecord():
            said = record.prompt
        case DialogueRecord():
            said = "\n".join(m.content for m in record.messages if m.role != ASSISTANT)
    return " ".join(said.split()).casefold()
