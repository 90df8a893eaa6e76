"""Corpora: sources as streams of records, and mixtures of them.

What kinds of file there are stands in `files`, what the fields of a row mean in `formats`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sfumato.errors import DataError, UsageError
from sfumato.text.files import MAX_LINE_BYTES, Row, rows, size
from sfumato.text.formats import Format, detect_format, text_format
from sfumato.text.records import Record

OnBad = Callable[[DataError], None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where records come from.

    Attributes:
        path: a file, or "hub:owner/name" or "hub:owner/name:split".
        weight: how often a pass over a mixture sees each record; 0.5 sees a random half.
        text_field: the field that holds the text; None finds out from the fields.
        max_line_bytes: a longer line is a bad record.

    Raises:
        UsageError: a weight that is not positive.

    Example:
        >>> Source(path="stories.jsonl", weight=0.5).weight
        0.5
    """

    path: str
    weight: float = 1.0
    text_field: str | None = None
    max_line_bytes: int = MAX_LINE_BYTES

    def __post_init__(self) -> None:
        if self.max_line_bytes < 1:
            raise UsageError(f"expected at least 1 byte a line, got {self.max_line_bytes}")
        if not 0 < self.weight < math.inf:
            raise UsageError(f"{self.path}: a weight must be positive, but it is {self.weight}")


def parse_source(
    text: str, *, text_field: str | None = None, max_line_bytes: int = MAX_LINE_BYTES
) -> Source:
    """A source as people write it: a path, and after "@" a weight.

    Raises:
        UsageError: what follows the last "@" looks like a weight and is not positive.

    Example:
        >>> parse_source("a.jsonl@0.7").weight, parse_source("me@home.txt").path
        (0.7, 'me@home.txt')
    """
    make = partial(Source, text_field=text_field, max_line_bytes=max_line_bytes)
    path, _, weight = text.rpartition("@")
    try:
        return make(path=path, weight=float(weight))
    except ValueError:
        return make(path=text)


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
    for origin, load in rows(source.path, max_line_bytes=source.max_line_bytes):
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
    for origin, load in rows(source.path, max_line_bytes=source.max_line_bytes):
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
        return text_format(source.text_field)
    return detect_format(row, origin)
