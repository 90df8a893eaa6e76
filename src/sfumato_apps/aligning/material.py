"""From files to rankings that are learnt from, and others that are measured on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from sfumato.alignment.rankings.formats import read_ranking
from sfumato.alignment.rankings.sets import RankedExample, RankedRecord
from sfumato.errors import DataError, UnusableError
from sfumato.text.files import rows
from sfumato_apps.notes import Notes

Encode = Callable[[RankedRecord], RankedExample]


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """What is learnt from, and what is measured on."""

    train: Sequence[RankedExample]
    held: Sequence[RankedExample]


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
) -> Rankings:
    """Reads and encodes; prompts are on one side of the split only.

    Args:
        data: files to learn from.
        valid: files to measure on.
        encode: a record to ids.
        fraction: without such files, the share of the prompts that is measured on.
        most: the most rankings to measure on.
        skip_bad: skip records that cannot be read, instead of stopping.
        seed: of the split.
        notes: is told what was skipped.

    Raises:
        DataError: a bad record, or none that is of use.
    """
    records, held = _read(data, skip_bad, notes), _read(valid, skip_bad, notes)
    if not valid:
        prompts = sorted({*map(_key, records)})
        count = min(round(fraction * len(prompts)), most)
        apart = set(random.Random(seed).sample(prompts, count))
        held = [record for record in records if _key(record) in apart]
        records = [record for record in records if _key(record) not in apart]
    train, kept = (_encoded(side, encode, notes) for side in (records, held[:most]))
    notes.sum_up()
    if not train:
        raise DataError(f"{data[0]}: no ranking is left to learn from; see what was skipped")
    return Rankings(train=train, held=kept)


def _key(record: RankedRecord) -> str:
    """What two rankings must not share across the split."""
    return str(record.prompt) or record.completions[0]


def _encoded(records: Sequence[RankedRecord], encode: Encode, notes: Notes) -> list[RankedExample]:
    found = []
    for record in records:
        try:
            found.append(encode(record))
        except UnusableError as error:
            notes.skip(error)
    return found


def _read(paths: Sequence[str], skip_bad: bool, notes: Notes) -> list[RankedRecord]:
    found = []
    for origin, load in chain.from_iterable(rows(path) for path in paths):
        try:
            found.append(read_ranking(load(), origin))
        except DataError as error:
            if skip_bad:
                notes.skip(error)
            else:
                notes.skip_unusable(error)
    return found
