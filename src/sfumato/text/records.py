"""What a corpus consists of: records, and their splits into parts with types of their own.

`origin` says where a record came from ("stories.jsonl:17"), for messages to people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sfumato.errors import UsageError
from sfumato.text.dialogue import ASSISTANT, Message


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
class InfillRecord:
    """A middle to be learnt between a prefix and a suffix that stay clean; joined as they are.

    Example:
        >>> InfillRecord(prefix="A cat", middle=" sat", suffix=" on a mat.").middle
        ' sat'
    """

    prefix: str
    middle: str
    suffix: str
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


Record = TextRecord | PairRecord | InfillRecord | DialogueRecord


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
        case InfillRecord():
            said = record.prefix + record.middle + record.suffix
        case DialogueRecord():
            said = "\n".join(m.content for m in record.messages if m.role != ASSISTANT)
    return " ".join(said.split()).casefold()
