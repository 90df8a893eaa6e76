"""What a corpus consists of: records, and the fields they are read from.

    fields of a row (the first line that fits)      record
    messages or conversations                       DialogueRecord (role/content or from/value)
    instruction (+ input) + output or response      DialogueRecord of two turns
    prompt + completion or response                 PairRecord, joined as they are
    src + trg, source + target, question + answer   PairRecord, joined by a space
    text                                            TextRecord

`origin` says where a record came from ("stories.jsonl:17"), for messages to people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sfumato.errors import DataError
from sfumato.text.dialogue import ASSISTANT, Message
from sfumato.text.vocabulary import ROLES, lone_surrogate

Row = Mapping[str, object]
_ALIASES = {"human": "user", "gpt": ASSISTANT, "bot": ASSISTANT, "model": ASSISTANT}


@dataclass(frozen=True, kw_only=True)
class TextRecord:
    """A text to be learnt whole.

    Example:
        >>> TextRecord(text="A cat sat.").text
        'A cat sat.'
    """

    text: str
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class PairRecord:
    """A prompt that stays clean and a completion to be learnt; they are joined as they are.

    Example:
        >>> PairRecord(prompt="A cat", completion=" sat.").completion
        ' sat.'
    """

    prompt: str
    completion: str
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class DialogueRecord:
    """A dialogue; what the assistant says is to be learnt.

    Example:
        >>> DialogueRecord(messages=(Message(role="user", content="Hi"),)).messages[0].role
        'user'
    """

    messages: tuple[Message, ...]
    origin: str = ""


Record = TextRecord | PairRecord | DialogueRecord


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

    def __str__(self) -> str:
        return " + ".join(self.fields)


def read_text(row: Row, fields: tuple[str, ...], origin: str) -> Record:
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
    Format(fields=("text",), build=read_text),
)


def detect_format(row: Row, origin: str = "") -> Format:
    """The first known format whose fields a row has.

    Raises:
        DataError: none fits; suggests what a misspelt field may have meant.

    Example:
        >>> str(detect_format({"src": "he go", "trg": "he goes", "id": 7}))
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


def in_json(value: object) -> str:
    """A value in the words of JSON."""
    if isinstance(value, bool | int | float | str):
        kind = {bool: "the boolean", str: "the string"}.get(type(value), "the number")
        return f"{kind} {str(value)[:20]!r}"
    names = {type(None): "null", list: "a list" if value else "an empty list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
