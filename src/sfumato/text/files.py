"""Files and hub data sets as streams of rows.

    .txt               one text a line             read line by line
    .jsonl .ndjson     one object a line           read line by line
    .csv .tsv          a header, then rows         read line by line
    .json              a list of objects           read whole; line by line if it is JSON lines
    .parquet           columns                     read in groups of rows
    hub:owner/name     through `datasets`          streamed; hub:owner/name:split

The text files may be compressed (.gz). An error names file, line and, in JSON, column.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import NoReturn, cast

from sfumato.errors import DataError

HUB = "hub:"
MAX_LINE_BYTES = 2**26
Row = Mapping[str, object]
# A row is loaded when it is wanted, so that a bad one can be skipped and reading can go on.
Rows = Iterator[tuple[str, Callable[[], Row]]]


class _Cut(bytes):
    """The beginning of a line that is longer than a line may be."""


def rows(path: str, *, max_line_bytes: int = MAX_LINE_BYTES) -> Rows:
    r"""Streams the rows of a file: where each stands, and a function that loads it.

    Args:
        path: a file, or a data set of the hub.
        max_line_bytes: a longer line is a bad row; no more of it than this is ever in memory. A
            JSON file that is no JSON lines has no such bound, being read whole.

    Raises:
        DataError: no such file, an unknown kind of file or, from the loading function, a bad row.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"text": "A cat."}\n')
        ...     file.flush()
        ...     [load() for _, load in rows(file.name)]
        [{'text': 'A cat.'}]
    """
    if path.startswith(HUB):
        return _hub(path)
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(sorted(_READERS))
        raise DataError(f"{path}: unknown kind of file {suffix!r}: expected {known} or {HUB}name")
    return _READERS[suffix](path, max_line_bytes)


def size(path: str) -> int | None:
    """Bytes of a file, None for a data set of the hub.

    Raises:
        DataError: no such file.
    """
    try:
        return None if path.startswith(HUB) else Path(path).stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from None


def in_json(value: object) -> str:
    """A value in the words of JSON."""
    if isinstance(value, bool | int | float | str):
        kind = {bool: "the boolean", str: "the string"}.get(type(value), "the number")
        return f"{kind} {str(value)[:20]!r}"
    names = {type(None): "null", list: "a list" if value else "an empty list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _unreadable(path: str, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file")
    return DataError(f"{path}: cannot be read: {error.strerror or error}")


def _lines(path: str, most: int) -> Iterator[tuple[str, bytes]]:
    """Lines with their "file:line", the first without a byte-order mark."""
    try:
        with _opened(path) as file:
            for number, line in enumerate(_bounded(file, most), start=1):
                raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                yield f"{path}:{number}", raw
    except EOFError as error:
        raise DataError(f"{path}: the compressed file is cut: {error}") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _bounded(file: BufferedIOBase, most: int) -> Iterator[bytes]:
    while line := file.readline(most + 1):
        if len(line) <= most or line.endswith(b"\n"):
            yield line
            continue
        while rest := file.readline(most):
            if rest.endswith(b"\n"):
                break
        yield _Cut(line[:most])


def _opened(path: str) -> AbstractContextManager[BufferedIOBase]:
    return gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb")


def _written(path: str, most: int) -> Iterator[tuple[str, bytes]]:
    """Lines that are not blank."""
    return ((origin, raw) for origin, raw in _lines(path, most) if raw.strip())


def _decoded(raw: bytes, origin: str) -> str:
    if isinstance(raw, _Cut):
        raise DataError(
            f"{origin}: the line is longer than {len(raw)} bytes: is a line feed missing? If it is "
            "meant to be so long, raise --max-line-bytes"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{origin}: invalid UTF-8 byte 0x{raw[error.start]:02x} at byte {error.start + 1}: "
            "save the file as UTF-8"
        ) from None


def _parsed(text: str, where: Callable[[json.JSONDecodeError], str], origin: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        message = error.msg.removesuffix(" starting at").removesuffix(" at").lower()
        start = max(0, error.pos - 10)
        excerpt = f"{text}\n"[start : error.pos + 20].replace("\n", "⏎")
        raise DataError(f"{where(error)}: {message} — {'…' * bool(start)}{excerpt}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{origin}: {error}") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON: write null or a number")


def _object(value: object, origin: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{origin}: expected an object {{…}}, but got {in_json(value)}")
    return cast("Row", value)


def _json_line(raw: bytes, origin: str) -> Row:
    text = _decoded(raw, origin).rstrip("\r\n")
    value = _parsed(text, lambda error: f"{origin}:{error.colno}", origin)
    return _object(value, origin)


def _txt(path: str, most: int) -> Rows:
    for origin, raw in _written(path, most):
        yield origin, partial(_text_line, raw, origin)


def _text_line(raw: bytes, origin: str) -> Row:
    return {"text": _decoded(raw, origin).rstrip("\r\n")}


def _jsonl(path: str, most: int) -> Rows:
    for origin, raw in _written(path, most):
        yield origin, partial(_json_line, raw, origin)


def _json(path: str, most: int) -> Rows:
    first = next(_written(path, most), None)
    if first is None:
        return
    try:
        _json_line(first[1], first[0])
    except DataError:
        yield from _json_whole(path)
    else:
        yield from _jsonl(path, most)


def _json_whole(path: str) -> Rows:
    text = _decoded(b"".join(raw for _, raw in _lines(path, sys.maxsize - 1)), path)
    values = _parsed(text, lambda error: f"{path}:{error.lineno}:{error.colno}", path)
    for index, value in enumerate(values if isinstance(values, list) else [values]):
        yield f"{path}[{index}]", partial(_object, value, f"{path}[{index}]")


def _csv(path: str, most: int, *, delimiter: str = ",") -> Rows:
    texts = (_decoded(raw, origin) for origin, raw in _lines(path, most))
    reader = csv.DictReader(texts, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            origin = f"{path}:{reader.line_num}"
            yield origin, partial(_cells, row, origin)
    except csv.Error as error:
        # `line_num` is still the last line of the row before.
        raise DataError(f"{path}:{reader.line_num + 1}: {error}") from None


def _cells(row: dict[str | None, object], origin: str) -> Row:
    if None in row:
        raise DataError(f"{origin}: more cells than the header has columns: quote the delimiter")
    return cast("Row", row)


def _parquet(path: str, _: int) -> Rows:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from _loaded(
                chain.from_iterable(batch.to_pylist() for batch in file.iter_batches(1024)), path
            )
    except OSError as error:
        raise _unreadable(path, error) from None
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from None


def _hub(path: str) -> Rows:
    import datasets

    name, _, part = path.removeprefix(HUB).partition(":")
    try:
        yield from _loaded(datasets.load_dataset(name, split=part or "train", streaming=True), path)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{path}: the data set cannot be loaded: {error}") from None


def _loaded(found: Iterable[Row], path: str) -> Rows:
    for number, row in enumerate(found, start=1):
        yield f"{path}:{number}", partial(_same, row)


def _same(row: Row) -> Row:
    return row


_READERS: dict[str, Callable[[str, int], Rows]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": partial(_csv, delimiter="\t"),
    ".parquet": _parquet,
}
