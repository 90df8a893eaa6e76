"""Rows of validation records with the part open that a model has to write."""

from __future__ import annotations

from collections.abc import Sequence

from sfumato.errors import DataError
from sfumato.sampling.tasks.jobs import Model, Row
from sfumato.sampling.tasks.writing import rows_after
from sfumato.text.canvas import Hole
from sfumato.text.dialogue import ASSISTANT, Message
from sfumato.text.records import DialogueRecord, InfillRecord, PairRecord, Record
from sfumato.text.template import fill_texts, lay_middle


def openings(
    model: Model, records: Sequence[Record], *, length: int | None = None, seed: int = 0
) -> list[Row]:
    """A row for every record; row i has the seed `seed + i`.

    A pair is open after its prompt, a dialogue after what comes before its last answer, a middle
    between its sides with as many slots as it has tokens, and a whole text from its beginning.

    Args:
        model: a checkpoint.
        records: of validation.
        length: the most tokens to write; if not given, as `write` chooses it.
        seed: of the first row.

    Raises:
        DataError: a dialogue without an answer.
    """
    return [_row(model, record, length, seed + i) for i, record in enumerate(records)]


def _row(model: Model, record: Record, length: int | None, seed: int) -> Row:
    if isinstance(record, InfillRecord):
        return _between(model, record, length, seed)
    rows, _ = rows_after(model, _prompt(record), length, [seed])
    return rows[0]


def _prompt(record: Record) -> str | Sequence[Message] | None:
    """What stands before the part to be written; None before a whole text."""
    if isinstance(record, PairRecord):
        return record.prompt
    if not isinstance(record, DialogueRecord):
        return None
    places = [i for i, turn in enumerate(record.messages) if turn.role == ASSISTANT]
    if not places:
        raise DataError(f"{record.origin}: the dialogue has no answer, so there is none to write")
    return record.messages[: places[-1]]


def _between(model: Model, record: InfillRecord, length: int | None, seed: int) -> Row:
    words = model.vocabulary
    slots = length or max(1, len(words.encode(record.middle)))
    longest: int | None = getattr(model.denoiser, "max_length", None)
    room = None if longest is None else max(1, longest - slots)
    fill = lay_middle(
        record.prefix, record.suffix, Hole(slots=slots, optional=True), words, room=room
    )

    def read(ids: Sequence[int]) -> str:
        return fill_texts(fill, ids, words)[0]

    return Row(canvas=fill.canvas, seed=seed, read=read)
