"""Packing: many examples in one row, so that no part of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from sfumato.errors import DataError
from sfumato.text.batching import Example


def pack(examples: Iterable[Example], width: int) -> list[Example]:
    """Joins examples into rows of `width` tokens, in order; only the last of a run is shorter.

    A whole text may be cut in two at a row's end; an example with context (a prompt) never is
    torn from it and starts a new row instead. Attention is not reset between the examples of a
    row: the bos and eos are what separates them.

    Raises:
        DataError: an example with context is longer than a row.

    Example:
        >>> one = Example(ids=(1, 5, 6, 2), trained=(False, True, True, True))
        >>> [row.ids for row in pack([one, one], 6)]
        [(1, 5, 6, 2, 1, 5), (6, 2)]
    """
    rows: list[list[Example]] = [[]]
    room = width
    for example in examples:
        size, whole, start = len(example.ids), all(example.trained[1:]), 0
        if size > width and not whole:
            why = f"{size} tokens with their prompt do not fit a row of {width}"
            raise DataError(f"{example.origin}: {why}: encode with a smaller max_length")
        while start < size:
            if room == 0 or (size > room and not whole):
                rows.append([])
                room = width
            end = min(size, start + room)
            ids, trained = example.ids[start:end], example.trained[start:end]
            rows[-1].append(replace(example, ids=ids, trained=trained))
            room -= end - start
            start = end
    return [
        Example(
            ids=tuple(chain.from_iterable(part.ids for part in row)),
            trained=tuple(chain.from_iterable(part.trained for part in row)),
            origin=", ".join(dict.fromkeys(part.origin for part in row)),
        )
        for row in filter(None, rows)
    ]
