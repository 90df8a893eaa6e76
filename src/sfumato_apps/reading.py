"""From files to records, texts and examples, saying what was found and what was skipped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.errors import DataError
from sfumato.text.batching import Example, encode
from sfumato.text.corpora import Source, format_of, mix
from sfumato.text.records import DialogueRecord, Record, Splits, TrainSplit, ValidationSplit, split
from sfumato.text.vocabulary import Vocabulary
from sfumato_apps.notes import Notes


def read_splits(
    sources: Sequence[Source],
    valid: Sequence[Source],
    *,
    fraction: float,
    skip_bad: bool,
    seed: int,
    notes: Notes,
) -> Splits:
    """Reads the training and the validation records, saying which fields were found."""
    on_bad = notes.skip if skip_bad else None
    for source in [*sources, *valid]:
        notes.say(f"{source.path}: {format_of(source).name}")
    records = list(mix(sources, seed, on_bad=on_bad))
    if not valid:
        return split(records, fraction, seed)
    held = ValidationSplit(records=tuple(mix(valid, seed, on_bad=on_bad)))
    return replace(split(records, 0.0, seed), validation=held)


def texts_of(records: Iterable[Record]) -> list[str]:
    """Every text of the records, for learning a vocabulary."""
    found: list[str] = []
    for record in records:
        values = vars(record)
        found += [values[name] for name in ("text", "prompt", "completion") if name in values]
        found += [message.content for message in values.get("messages", ())]
    return found


def holds_dialogues(part: TrainSplit) -> bool:
    """Whether a model of these records will know how to answer."""
    return any(isinstance(record, DialogueRecord) for record in part.records)


def encode_all(
    part: TrainSplit | ValidationSplit, vocabulary: Vocabulary, max_length: int, notes: Notes
) -> list[Example]:
    """Encodes a split; a record with nothing to learn is skipped and counted."""
    examples = []
    for record in part.records:
        try:
            examples.append(encode(record, vocabulary, max_length=max_length))
        except DataError as error:
            notes.skip(error)
    return examples


def canvas_lengths(examples: Sequence[Example], slack: int, count: int = 64) -> list[int]:
    """Quantiles of the widths that `compose` gives whole texts, spare slots included.

    Example:
        >>> one = Example(ids=(1, 5, 6, 2), trained=(False, True, True, True))
        >>> canvas_lengths([one], slack=1, count=2)
        [4, 5]
    """
    sizes = sorted(len(example.ids) for example in examples)
    places = [(2 * i + 1) * len(sizes) // (2 * count) for i in range(count)]
    return [sizes[place] + index % (slack + 1) for index, place in enumerate(places)]


def around_marker(path: Path, marker: str) -> tuple[str, str]:
    """What stands before and after a marker in a file, byte for byte.

    Raises:
        DataError: the file cannot be read, or the marker does not stand in it once.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    count = text.count(marker)
    if not marker or count != 1:
        raise DataError(f"{path}: expected the marker {marker!r} once, found it {count} times")
    before, _, after = text.partition(marker)
    return before, after
