"""Corpora: sources as streams of records, mixtures of them, and what their fields mean.

    fields of a row (the first line that fits)      record
    messages or conversations                       DialogueRecord (role/content or from/value)
    instruction (+ input) + output or response      DialogueRecord of two turns
    prompt + completion or response                 PairRecord, joined as they are
    src + trg, source + target, question + answer   PairRecord, joined by a space
    text                                            TextRecord

What kinds of file there are stands in `files`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sfumato.errors import DataError, UsageError
from sfumato.text.dialogue import ASSISTANT, Message
from sfumato.text.files import Row, in_json, rows, size
from sfumato.text.records import DialogueRecord, PairRecord, Record, TextRecord
from sfumato.text.vocabulary import ROLES, lone_surrogate

OnBad = Callable[[DataError], None]
_ALIASES = {"human": "user", "gpt": ASSISTANT, "bot": ASSISTANT, "model": ASSISTANT}


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


@dataclass(frozen=True, kw_only=True)
class Format:
    """How the fields of a row become a record.

    Attributes:
        fields: the fields that every row must have.
        build: (row, fields, origin) → record; raises DataError for a field that is missing, of
            another type, empty or beyond UTF-8.
    """

    fields: tuple[str, ...]
    build: Callable[[Row, tuple[str, ...], str], Record]

    @property
    def name(self) -> str:
        """The format in words."""
        return " + ".join(self.fields)


def _whole(row: Row, fields: tuple[str, ...], origin: str) -> Record:
    """The text in the one field."""
    text = _text(row, fields[0], origin)
    if not text.strip():
        raise DataError(f"{origin}: field {fields[0]!r} is empty: drop the line")
    return TextRecord(text=text, origin=origin)


def _pair(row: Row, fields: tuple[str, ...], origin: str) -> Record:
    prompt, completion = (_text(row, field, origin) for field in fields)
    return PairRecord(prompt=prompt, completion=completion, origin=origin)


def _spaced_pair(row: Row, fields: tuple[str, ...], origin: str) -> Record:
    """Two sentences that the file keeps apart: without a space they would run together."""
    prompt, completion = (_text(row, field, origin) for field in fields)
    apart = prompt[-1:].isspace() or completion[:1].isspace()
    completion = completion if apart else f" {completion}"
    return PairRecord(prompt=prompt, completion=completion, origin=origin)


def _instruction(row: Row, fields: tuple[str, ...], origin: str) -> Record:
    asked, answer = (_text(row, field, origin) for field in fields)
    extra = _text(row, "input", origin) if row.get("input") else ""
    question = Message(role="user", content=f"{asked}\n\n{extra}" if extra else asked)
    turns = (question, Message(role=ASSISTANT, content=answer))
    return DialogueRecord(messages=turns, origin=origin)


def _dialogue(row: Row, fields: tuple[str, ...], origin: str) -> Record:
    turns = _value(row, fields[0], origin)
    if not isinstance(turns, list) or not turns:
        came = in_json(turns)
        raise DataError(f"{origin}: field {fields[0]!r} is {came}, expected a list of turns")
    messages = (_message(turn, f"{origin}: {fields[0]}[{i}]") for i, turn in enumerate(turns))
    return DialogueRecord(messages=tuple(messages), origin=origin)


FORMATS = (
    Format(fields=("messages",), build=_dialogue),
    Format(fields=("conversations",), build=_dialogue),
    Format(fields=("instruction", "output"), build=_instruction),
    Format(fields=("instruction", "response"), build=_instruction),
    Format(fields=("prompt", "completion"), build=_pair),
    Format(fields=("prompt", "response"), build=_pair),
    Format(fields=("src", "trg"), build=_spaced_pair),
    Format(fields=("source", "target"), build=_spaced_pair),
    Format(fields=("question", "answer"), build=_spaced_pair),
    Format(fields=("text",), build=_whole),
)


def detect_format(row: Row, origin: str = "") -> Format:
    """The first known format whose fields a row has.

    Raises:
        DataError: none fits; suggests what a misspelt field may have meant.

    Example:
        >>> detect_format({"src": "he go", "trg": "he goes", "id": 7}).name
        'src + trg'
    """
    for known in FORMATS:
        if set(known.fields) <= set(row):
            return known
    options = "; ".join(" + ".join(known.fields) for known in FORMATS)
    names = {field for known in FORMATS for field in known.fields}
    hints = [_hint(field, row) for field in sorted(names - set(row))]
    hint = next(filter(None, hints), "")
    raise DataError(
        f"{origin}: no known format has the fields {_listed(row)}{hint}; "
        f"expected one of: {options}; or say which field holds the text"
    )


def _value(row: Row, field: str, origin: str) -> object:
    if field not in row:
        raise DataError(f"{origin}: no field {field!r}{_hint(field, row)}; it has {_listed(row)}")
    return row[field]


def _text(row: Row, field: str, origin: str) -> str:
    value = _value(row, field, origin)
    what = f"{origin}: field {field!r}"
    if not isinstance(value, str):
        raise DataError(f"{what} is {in_json(value)}, expected a string: quote it or drop the line")
    if fault := lone_surrogate(value):
        raise DataError(f"{what}: {fault}")
    return value


def _message(turn: object, what: str) -> Message:
    if not isinstance(turn, Mapping):
        raise DataError(f"{what} is {in_json(turn)}, expected role and content")
    speaker, said = ("from", "value") if "from" in turn else ("role", "content")
    role = _text(turn, speaker, what)
    role = _ALIASES.get(role, role)
    if role not in ROLES:
        raise DataError(f"{what}: unknown role {role!r}, expected one of {', '.join(ROLES)}")
    return Message(role=role, content=_text(turn, said, what))


def _hint(field: str, row: Row) -> str:
    near = get_close_matches(field, list(map(str, row)), n=1, cutoff=0.7)
    return f": did you mean {field!r} where it says {near[0]!r}?" if near else ""


def _listed(row: Row) -> str:
    return ", ".join(map(repr, row)) if row else "(none)"


def _format(source: Source, row: Row, origin: str) -> Format:
    if source.text_field is not None:
        return Format(fields=(source.text_field,), build=_whole)
    return detect_format(row, origin)
