"""From files to records, texts and examples, saying what was found and what was skipped.

files ──► records, source by source ──► split by text ──► examples ──► a mixture of them
                 │ unknown role                              │ one message, no answer left
                 └──────────── skipped, counted ◄────────────┘
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from sfumato.errors import DataError
from sfumato.text.batching import Example, encode
from sfumato.text.corpora import Source, format_of, read
from sfumato.text.languages import UNKNOWN, language_of
from sfumato.text.mixtures import Mix, draw
from sfumato.text.records import (
    DialogueRecord,
    InfillRecord,
    PairRecord,
    Record,
    TextRecord,
    TrainSplit,
    ValidationSplit,
    split,
)
from sfumato.text.vocabulary import Vocabulary
from sfumato_apps.notes import Notes, Prompt

_PROMPT_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What a run learns from.

    Attributes:
        sources: where the training records come from.
        train: the training records of each source, each record once.
        validation: held-out records; no text of theirs is in `train`.
    """

    sources: tuple[Source, ...]
    train: tuple[TrainSplit, ...]
    validation: ValidationSplit


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one source gives to a pass over a mixture.

    Attributes:
        source: file or name on the hub.
        usable: its training records that are of use.
        drawn: how many of them a pass sees, repeats included.
        share: part of the pass by records.
        token_share: part of the pass by trained tokens.
    """

    source: str
    usable: int
    drawn: int
    share: float
    token_share: float


def read_corpus(
    sources: Sequence[Source],
    valid: Sequence[Source],
    *,
    fraction: float,
    most: int,
    skip_bad: bool,
    seed: int,
    notes: Notes,
) -> Corpus:
    """Reads the training and the validation records, saying which fields were found.

    Args:
        sources: what to train on.
        valid: what to validate on, instead of a share of the sources.
        fraction: that share of the texts.
        most: the most texts to validate on.
        skip_bad: skip records that cannot be read, instead of stopping.
        seed: of the split.
        notes: is told what was found and skipped.

    Raises:
        DataError: a file that cannot be read, or a bad record.
    """
    parts = [_read(source, skip_bad, notes) for source in sources]
    given = [_read(source, skip_bad, notes) for source in valid]
    everything = list(chain.from_iterable(parts))
    share = 0.0 if valid else min(fraction, most / max(1, len(everything)))
    splits = split(everything, share, seed)
    kept = {id(record) for record in splits.train.records}
    held = splits.validation
    if valid:
        weighted = [(part, source.weight) for part, source in zip(given, valid, strict=True)]
        chosen = [_some(part, weight, seed) for part, weight in weighted]
        held = ValidationSplit(records=tuple(_at_most(list(chain(*chosen)), most, seed)))
    train = tuple(TrainSplit(records=tuple(r for r in p if id(r) in kept)) for p in parts)
    return Corpus(sources=tuple(sources), train=train, validation=held)


def _read(source: Source, skip_bad: bool, notes: Notes) -> list[Record]:
    try:
        notes.say(f"{source.path}: {format_of(source).name}")
    except DataError:
        if not skip_bad:
            raise
    records = list(read(source, on_bad=notes.skip if skip_bad else notes.skip_unusable))
    if not records:
        raise DataError(f"{source.path}: none of its records is of use; see what was skipped")
    return records


def _some(records: Sequence[Record], weight: float, seed: int) -> list[Record]:
    """A weight above one has no meaning for measuring: every text counts once."""
    return _at_most(records, max(1, round(min(1.0, weight) * len(records))), seed)


def _at_most(records: Sequence[Record], most: int, seed: int) -> list[Record]:
    if len(records) <= most:
        return list(records)
    return random.Random(seed).sample(list(records), most)


def texts_of(records: Iterable[Record]) -> list[str]:
    """Every text of the records, for learning a vocabulary."""
    found: list[str] = []
    for record in records:
        values = vars(record)
        if isinstance(record, InfillRecord):
            found.append(record.prefix + record.middle + record.suffix)
        found += [values[name] for name in ("text", "prompt", "completion") if name in values]
        found += [message.content for message in values.get("messages", ())]
    return found


def answers_of(parts: Iterable[TrainSplit]) -> list[str]:
    """What is to be learnt of each record, without what it answers."""
    found: list[str] = []
    for record in chain.from_iterable(part.records for part in parts):
        match record:
            case TextRecord():
                found.append(record.text)
            case PairRecord():
                found.append(record.completion)
            case InfillRecord():
                found.append(record.middle)
            case DialogueRecord():
                found += [m.content for m in record.messages if m.role == "assistant"]
    return [text for text in found if text.strip()]


def prompts_of(records: Iterable[Record], count: int) -> list[Prompt]:
    """Short prompts of held-out records, of as many languages as there are; None for a text."""
    by_language: dict[str, list[Prompt]] = {}
    for record in records:
        prompt, asked = _prompt(record)
        if len(asked) <= _PROMPT_CHARACTERS:
            by_language.setdefault(language_of(asked), []).append(prompt)
    ranked = sorted(by_language.values(), key=len, reverse=True)
    width = max(map(len, ranked), default=0)
    turns = [group[place] for place in range(width) for group in ranked if place < len(group)]
    return list({str(prompt): prompt for prompt in turns}.values())[:count] or [None]


def _prompt(record: Record) -> tuple[Prompt, str]:
    match record:
        case TextRecord() | InfillRecord():
            return None, ""
        case PairRecord():
            return record.prompt, record.prompt
        case DialogueRecord():
            ends = [i for i, m in enumerate(record.messages) if m.role == "assistant"]
            asked = record.messages[: ends[-1] if ends else None]
            return asked, "\n".join(turn.content for turn in asked)


def holds_dialogues(corpus: Corpus) -> bool:
    """Whether a model of these records will know how to answer."""
    return any(isinstance(r, DialogueRecord) for part in corpus.train for r in part.records)


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


def mixed(
    sources: Sequence[Source], parts: Sequence[Sequence[Example]], mix: Mix, seed: int
) -> tuple[list[Example], tuple[Share, ...]]:
    """One pass over the examples of all sources, in random order, and what each source gives.

    Raises:
        DataError: nothing of a source is of use.
    """
    names = [source.path for source in sources]
    drawn = draw(parts, mix, names=names, seed=seed)
    total = sum(map(len, drawn))
    tokens = [sum(sum(example.trained) for example in part) for part in drawn]
    shares = tuple(
        Share(
            source=name,
            usable=len(part),
            drawn=len(chosen),
            share=len(chosen) / total,
            token_share=count / sum(tokens),
        )
        for name, part, chosen, count in zip(names, parts, drawn, tokens, strict=True)
    )
    examples = list(chain.from_iterable(drawn))
    random.Random(seed).shuffle(examples)
    return examples, shares


def cut_short(examples: Iterable[Example], vocabulary: Vocabulary) -> int:
    """How many examples were cut inside what is learnt: they have no end."""
    return sum(example.trained[-1] and example.ids[-1] != vocabulary.eos for example in examples)


def languages_of(examples: Iterable[Example], vocabulary: Vocabulary) -> list[str]:
    """The language of what each example trains; where that is too short, of all of it."""
    found = []
    for example in examples:
        pairs = zip(example.ids, example.trained, strict=True)
        learnt = language_of(vocabulary.decode([token for token, trained in pairs if trained]))
        whole = language_of(vocabulary.decode(example.ids)) if learnt == UNKNOWN else learnt
        found.append(whole)
    return found


def canvas_lengths(
    examples: Sequence[Example], slack: int, count: int = 64
) -> dict[str, list[int]]:
    """How wide the canvases are that `compose` makes, spare slots included, in quantiles.

    Returns:
        `lengths` of whole texts; `answers`, without what stands before them, of all others but
        middles, which are no answers.

    Example:
        >>> text = Example(ids=(1, 5, 6, 2), trained=(False, True, True, True))
        >>> pair = Example(ids=(1, 5, 6, 2), trained=(False, False, True, True))
        >>> canvas_lengths([text, pair], slack=1, count=2)
        {'lengths': [4, 5], 'answers': [2, 3]}
    """
    whole = [len(one.ids) for one in examples if all(one.trained[1:])]
    asked = [one for one in examples if not all(one.trained[1:]) and not one.hole]
    others = [groupby(one.trained) for one in asked]
    answers = [max(len([*run]) for learnt, run in runs if learnt) for runs in others]
    return {
        "lengths": _widths(whole, slack, count),
        "answers": _widths(answers, slack, count),
    }


def _widths(sizes: Sequence[int], slack: int, count: int) -> list[int]:
    ordered = sorted(sizes)
    places = [(2 * i + 1) * len(ordered) // (2 * count) for i in range(count if ordered else 0)]
    return [ordered[place] + index % (slack + 1) for index, place in enumerate(places)]


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
