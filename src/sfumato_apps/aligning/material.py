"""From files to rankings that are learnt from, and others that are measured on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

from sfumato.alignment.rankings.formats import read_ranking
from sfumato.alignment.rankings.sets import RankedRecord
from sfumato.errors import DataError, UnusableError
from sfumato.text.files import Row, rows
from sfumato_apps.notes import Notes

Encode = Callable[[Any], Any]
Form = Callable[[Row, str], RankedRecord]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """What is learnt from, and what is measured on."""

    train: Sequence[Any]
    held: Sequence[Any]


def read_rankings(
    data: Sequence[str],
    valid: Sequence[str],
    encode: Encode,
    *,
    fraction: float,
    most: int,
    skip_bad: bool,
    seed: int,
    notes: Notes,
    form: Form = read_ranking,
) -> Rankings:
    """Reads and encodes; prompts are on one side of the split only.

    Args:
        data: files to learn from.
        valid: files to measure on.
        encode: a record to what is learnt from.
        fraction: without such files, the share of the prompts that is measured on.
        most: the most rankings to measure on.
        skip_bad: skip records that cannot be read, instead of stopping.
        seed: of the split.
        notes: is told what was skipped.
        form: a row to a ranking.

    Raises:
        DataError: a bad record, or none that is of use.
    """
    records = read_rows(data, form, skip_bad=skip_bad, notes=notes)
    held = read_rows(valid, form, skip_bad=skip_bad, notes=notes) if valid else None
    return set_apart(
        records, held, encode, fraction=fraction, most=most, seed=seed, notes=notes, name=data[0]
    )


def set_apart(
    records: Sequence[Any],
    held: Sequence[Any] | None,
    encode: Encode,
    *,
    fraction: float,
    most: int,
    seed: int,
    notes: Notes,
    name: str,
) -> Rankings:
    """Encodes; prompts are on one side of the split only.

    Args:
        records: to learn from.
        held: to measure on; None takes a share of the prompts.
        encode: a record to what is learnt from.
        fraction: that share.
        most: the most rankings to measure on.
        seed: of the split.
        notes: is told what was skipped.
        name: of the data, for messages.

    Raises:
        DataError: nothing is left to learn from.
    """
    if held is None:
        prompts = sorted({record.group for record in records})
        count = min(round(fraction * len(prompts)), most)
        apart = set(random.Random(seed).sample(prompts, count))
        held = [record for record in records if record.group in apart]
        records = [record for record in records if record.group not in apart]
    train, kept = (_encoded(side, encode, notes) for side in (records, held[:most]))
    notes.sum_up()
    if not train:
        raise DataError(f"{name}: no ranking is left to learn from; see what was skipped")
    return Rankings(train=train, held=kept)


def _encoded(records: Sequence[Any], encode: Encode, notes: Notes) -> list[Any]:
    found = []
    for record in records:
        try:
            found.append(encode(record))
        except UnusableError as error:
            notes.skip(error)
    return found


def read_rows(
    paths: Sequence[str],
    form: Callable[[Row, str], T],
    *,
    skip_bad: bool,
    notes: Notes,
    most: int | None = None,
) -> list[T]:
    """What the rows of files say.

    Args:
        paths: the files.
        form: a row and its place to what it says.
        skip_bad: skip rows that cannot be read, instead of stopping.
        notes: is told what was skipped.
        most: rows of each file; all if None.

    Raises:
        DataError: a bad row.
    """
    found = []
    for origin, load in chain.from_iterable(islice(rows(path), most) for path in paths):
        try:
            found.append(form(load(), origin))
        except DataError as error:
            if skip_bad:
                notes.skip(error)
            else:
                notes.skip_unusable(error)
    return found
