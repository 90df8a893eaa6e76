"""A long file worked off line by line: one output line for each input line, in their order.

    texts.jsonl ──► lines ──► work ──► records ──► out.jsonl
                                          │
                   counted at the next start, a torn last one dropped: work goes on there

A line that cannot be read or worked off becomes a record `{"error": …, "line": …}`. Neither file is
ever held as a whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from sfumato.errors import DataError, ResourceError, SfumatoError, UsageError
from sfumato.text.vocabulary import lone_surrogate
from sfumato_apps.fingerprints import claim
from sfumato_apps.owning import locked
from sfumato_apps.shares import ALONE, Share

Say = Callable[[str], None]
_JSON = (".jsonl", ".json", ".ndjson")
_SAID_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the input: its number, from 1, and its text, or what is wrong with it."""

    number: int
    text: str = ""
    error: str | None = None

    def refused(self, error: SfumatoError | None = None) -> dict[str, Any]:
        """The record of a line that cannot be read, or of one that cannot be worked off."""
        if error is None:
            return {"error": self.error, "line": self.number}
        return {"error": str(error), "source": self.text, "line": self.number}


Record = dict[str, Any]
Work = Callable[[Iterator[Line]], Iterator[Record]]
Fits = Callable[[Record, Line], bool]


def work_off(
    source: Path,
    target: Path,
    work: Work,
    *,
    field: str,
    say: Say,
    made: Mapping[str, Any],
    share: Share = ALONE,
    fits: Fits = lambda record, line: True,
    texts: int = 1,
) -> tuple[int, int]:
    """Works a file off into another, going on where an interrupted run stopped.

    Args:
        source: JSON lines with a text field, or plain text with one text a line.
        target: JSON lines; what it holds of an earlier run is kept. Several processes write a part
            each.
        work: lines to one record each, in their order and the same wherever a run begins; one that
            holds no error has the line's text as its `source`.
        field: where a JSON line has its text.
        say: tells what happens.
        made: what the records are made with; kept beside the target, and compared.
        share: the lines that are this process's.
        fits: whether a record of the line's text can be a result of this run.
        texts: a line, for the pace that is told.

    Returns:
        lines in the target, and how many of those written now are errors.

    Raises:
        DataError: the source cannot be read.
        UsageError: the target holds something else, results of another source, or of another
            model or other options.
        ResourceError: another process writes the target.
    """
    try:
        opened = source.open("rb")
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror}") from error
    part = share.part(target)
    with opened as file, part.open("ab") as out:
        if not locked(out):
            raise ResourceError(f"another process writes {part}: name another --output")
        claim(part, made)
        lines = share.own(_lines(file, source, field))
        done = _resume(part, lines, source, fits)
        if done:
            say(f"{part} has {done} lines: going on after them")
        return _go_on(work(lines), out, done=done, texts=texts, say=say)


def _go_on(
    records: Iterator[Record], file: IO[bytes], *, done: int, texts: int, say: Say
) -> tuple[int, int]:
    errors, before, began = 0, done, time.monotonic()
    for record in records:
        file.write((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8"))
        file.flush()
        errors += "error" in record
        done += 1
        if done % _SAID_EVERY == 0:
            pace = texts * (done - before) / max(1e-9, time.monotonic() - began)
            say(f"{done} lines, {pace:.1f} texts a second")
    return done, errors


def in_batches(work: Callable[[list[str]], list[Record]], size: int) -> Work:
    """Work on some texts at a time; where it fails, each line is tried alone.

    Args:
        work: texts to one record each, the same whatever texts are worked off together.
        size: lines worked off together.

    Raises:
        UsageError: the size is below one.
    """
    if size < 1:
        raise UsageError(f"expected a batch of 1 line or more, got {size}")

    def records(lines: Iterator[Line]) -> Iterator[Record]:
        while chunk := list(islice(lines, size)):
            yield from _worked(chunk, work)

    return records


def _lines(file: Iterable[bytes], source: Path, field: str) -> Iterator[Line]:
    """The lines of a file one by one; only a line feed ends a line."""
    is_json = source.suffix in _JSON
    for number, raw in enumerate(file, start=1):
        try:
            plain = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            yield Line(number=number, text=_text(plain, field) if is_json else plain)
        except (ValueError, DataError) as error:
            yield Line(number=number, error=f"{source.name}:{number}: {error}")


def _text(line: str, field: str) -> str:
    record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        raise DataError(f"expected an object with a string in the field {field!r}")
    text: str = record[field]
    if fault := lone_surrogate(text):
        raise DataError(fault)
    return text


def _worked(lines: Sequence[Line], work: Callable[[list[str]], list[Record]]) -> list[Record]:
    """One record a line; where a batch fails, each of its lines is tried alone."""
    good = [line for line in lines if line.error is None]
    try:
        records = work([line.text for line in good]) if good else []
    except SfumatoError as error:
        if len(good) == 1:
            records = [good[0].refused(error)]
        else:
            records = [record for line in good for record in _worked([line], work)]
    found = iter(records)
    return [line.refused() if line.error is not None else next(found) for line in lines]


def _resume(target: Path, lines: Iterator[Line], source: Path, fits: Fits) -> int:
    """Drops a torn last line of the target and skips the lines that it has results of."""
    done, whole, row = 0, 0, b""
    last: Line | None = None
    with target.open("r+b") as file:
        for found in file:
            if not found.endswith(b"\n"):
                _check_torn(found, target)
                break
            done, whole, row, last = done + 1, whole + len(found), found, next(lines, None)
            if last is None:
                raise UsageError(f"{target} has more lines than {source}: name another --output")
        if last is not None and not _belongs(row, last, fits):
            raise UsageError(
                f"{target} holds no results of {source} by these options (line {done}): name "
                "another --output"
            )
        file.truncate(whole)
    return done


def _check_torn(rest: bytes, target: Path) -> None:
    """What a killed run leaves of a line begins as every record does; else it is not ours."""
    if not b'{"'.startswith(rest[:2]):
        raise UsageError(f"{target} does not end as a result does: name another --output")


def _belongs(row: bytes, line: Line, fits: Fits) -> bool:
    """Whether a line of the target can be the result of a line of the source."""
    try:
        record = json.loads(row)
    except ValueError:
        return False
    if not isinstance(record, dict):
        return False
    if line.error is not None or "error" in record:
        return "error" in record and record.get("line") == line.number
    return bool(record.get("source") == line.text) and fits(record, line)
