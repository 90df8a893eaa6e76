"""What the fields of a row mean: from a row to a record.

    fields (the first line that fits)               record
    messages, conversation or conversations         DialogueRecord (role/content or from/value)
    instruction (+ input) + output or response      DialogueRecord of two turns
    prompt + completion or response                 PairRecord, joined as they are
    src + trg, source + target, question + answer   PairRecord, joined by a space
    prefix + middle + suffix                        InfillRecord, joined as they are
    text                                            TextRecord

A row beside whose dialogue stands `label: false` holds an answer that somebody disliked
(unpaired preferences); such answers are not to be imitated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sfumato.errors import DataError, UnusableError
from sfumato.text.dialogue import ASSISTANT, Message
from sfumato.text.files import Row, in_json
from sfumato.text.records import DialogueRecord, InfillRecord, PairRecord, Record, TextRecord
from sfumato.text.vocabulary import ROLES, lone_surrogate

_QUESTIONS, _ANSWERS = ("prompt", "instruction", "question"), {"completion", "output", "response"}
_ALIASES = {"human": "user", "gpt": ASSISTANT, "bot": ASSISTANT, "model": ASSISTANT}


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


def _infill(row: Row, fields: tuple[str, ...], origin: str) -> Record:
    prefix, middle, suffix = (_text(row, field, origin) for field in fields)
    return InfillRecord(prefix=prefix, middle=middle, suffix=suffix, origin=origin)


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
    if turns == [] or row.get("label") is False:
        reason = "no messages" if turns == [] else "labelled as a bad answer"
        raise UnusableError(f"{reason}, so there is nothing to learn", reason=reason, place=origin)
    if not isinstance(turns, list):
        came = in_json(turns)
        raise DataError(f"{origin}: field {fields[0]!r} is {came}, expected a list of turns")
    messages = (_message(turn, origin, f"{fields[0]}[{i}]") for i, turn in enumerate(turns))
    return DialogueRecord(messages=tuple(messages), origin=origin)


FORMATS = (
    Format(fields=("messages",), build=_dialogue),
    Format(fields=("conversation",), build=_dialogue),
    Format(fields=("conversations",), build=_dialogue),
    Format(fields=("instruction", "output"), build=_instruction),
    Format(fields=("instruction", "response"), build=_instruction),
    Format(fields=("prompt", "completion"), build=_pair),
    Format(fields=("prompt", "response"), build=_pair),
    Format(fields=("src", "trg"), build=_spaced_pair),
    Format(fields=("source", "target"), build=_spaced_pair),
    Format(fields=("question", "answer"), build=_spaced_pair),
    Format(fields=("prefix", "middle", "suffix"), build=_infill),
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
    if {"chosen", "rejected"} <= set(row):
        raise DataError(
            f"{origin}: chosen and rejected are preferences, not answers to imitate: write what "
            "is to be learnt as messages, or train on files that hold answers"
        )
    asked = next((field for field in _QUESTIONS if field in row), None)
    names = _ANSWERS if asked else {field for known in FORMATS for field in known.fields}
    hint = next(filter(None, (_hint(field, row) for field in sorted(names - set(row)))), "")
    what = f"{asked!r} has no answer beside it; " if asked else ""
    options = "; ".join(" + ".join(known.fields) for known in FORMATS)
    raise DataError(
        f"{origin}: {what}no known format has the fields {_listed(row)}{hint}; "
        f"expected one of: {options}; or say which field holds the text"
    )


def text_format(field: str) -> Format:
    """The format of rows whose text stands in one field.

    Example:
        >>> text_format("story").name
        'story'
    """
    return Format(fields=(field,), build=_whole)


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


def _message(turn: object, origin: str, name: str) -> Message:
    what = f"{origin}: {name}"
    if not isinstance(turn, Mapping):
        raise DataError(f"{what} is {in_json(turn)}, expected role and content")
    speaker, said = ("from", "value") if "from" in turn else ("role", "content")
    role = _text(turn, speaker, what)
    role = _ALIASES.get(role, role)
    if role not in ROLES:
        fault = f"{name}: unknown role {role!r}, expected one of {', '.join(ROLES)}"
        raise UnusableError(fault, reason="unknown role", place=origin)
    return Message(role=role, content=_text(turn, said, what))


def _hint(field: str, row: Row) -> str:
    near = get_close_matches(field, list(map(str, row)), n=1, cutoff=0.7)
    return f": did you mean {field!r} where it says {near[0]!r}?" if near else ""


def _listed(row: Row) -> str:
    return ", ".join(map(repr, row)) if row else "(none)"
