"""A long file worked off line by line: one output line for each input line, in their order.

    texts.jsonl ──► lines ──► batches ──► work ──► lines ──► out.jsonl
                                                     │
                              counted at the next start, a torn last one dropped: work goes on there

A line that cannot be read or worked off becomes a record `{"error": …, "line": …}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sfumato.errors import DataError, SfumatoError, UsageError
from sfumato.text.vocabulary import lone_surrogate

Work = Callable[[list[str]], list[dict[str, Any]]]
Say = Callable[[str], None]
_JSON = (".jsonl", ".json", ".ndjson")
_SAID_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the input: its text, or what is wrong with it."""

    number: int
    text: str = ""
    error: str | None = None


def work_off(
    source: Path, target: Path, work: Work, *, field: str, batch: int, say: Say
) -> tuple[int, int]:
    """Works a file off into another, going on where an interrupted run stopped.

    Args:
        source: JSON lines with a text field, or plain text with one text a line.
        target: JSON lines; what it holds of an earlier run is kept.
        work: texts to one record each, the same whatever texts are worked off together.
        field: where a JSON line has its text.
        batch: lines worked off together.
        say: tells what happens.

    Returns:
        lines in the target, and how many of those written now are errors.

    Raises:
        DataError: the source cannot be read.
        UsageError: the target holds something else, or results of another source.
    """
    if batch < 1:
        raise UsageError(f"expected a batch of 1 line or more, got {batch}")
    try:
        opened = source.open("rb")
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror}") from error
    with opened as file:
        lines = _lines(file, source, field)
        done = _resume(target, lines, source)
        if done:
            say(f"{target} has {done} lines: going on after them")
        return _go_on(lines, target, work, batch=batch, done=done, say=say)


def _go_on(
    lines: Iterator[Line], target: Path, work: Work, *, batch: int, done: int, say: Say
) -> tuple[int, int]:
    errors = 0
    with target.open("ab") as file:
        while chunk := list(islice(lines, batch)):
            records = _worked(chunk, work)
            errors += sum("error" in record for record in records)
            rows = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            file.write("".join(rows).encode("utf-8"))
            file.flush()
            if (done + len(chunk)) // _SAID_EVERY > done // _SAID_EVERY:
                say(f"{done + len(chunk)} lines")
            done += len(chunk)
    return done, errors


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


def _worked(lines: Sequence[Line], work: Work) -> list[dict[str, Any]]:
    """One record a line; where a batch fails, each of its lines is tried alone."""
    good = [line for line in lines if line.error is None]
    try:
        records = work([line.text for line in good]) if good else []
    except SfumatoError as error:
        if len(good) == 1:
            records = [{"error": str(error), "source": good[0].text}]
        else:
            records = [record for line in good for record in _worked([line], work)]
    found = iter(records)
    return [
        {"error": line.error, "line": line.number}
        if line.error is not None
        else _numbered(next(found), line)
        for line in lines
    ]


def _numbered(record: dict[str, Any], line: Line) -> dict[str, Any]:
    return {**record, "line": line.number} if "error" in record else record


def _resume(target: Path, lines: Iterator[Line], source: Path) -> int:
    """Drops a torn last line of the target and skips the lines that it has results of."""
    if not target.exists():
        return 0
    content = target.read_bytes()
    whole = content.rfind(b"\n") + 1
    rows = content[:whole].split(b"\n")[:-1]
    last: Line | None = None
    for _ in rows:
        last = next(lines, None)
        if last is None:
            raise UsageError(f"{target} has more lines than {source}: name another --output")
    if last is not None and not _belongs(rows[-1], last):
        raise UsageError(
            f"{target} holds no results of {source} (line {len(rows)}): name another --output"
        )
    if whole < len(content):
        with target.open("r+b") as file:
            file.truncate(whole)
    return len(rows)


def _belongs(row: bytes, line: Line) -> bool:
    """Whether a line of the target can be the result of a line of the source."""
    try:
        record = json.loads(row)
    except ValueError:
        return False
    if not isinstance(record, dict):
        return False
    if line.error is not None or "error" in record:
        return "error" in record and record.get("line") == line.number
    return bool(record.get("source") == line.text)
