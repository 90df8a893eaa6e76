"""The canvas: laying out, stacking, inserting, and where a text may end."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.text.canvas import Canvas, Draft, Hole, Locked, Part, insert_slots, lay_out, stack

MASK, PAD = 4, 0
ids = st.lists(st.integers(5, 20), max_size=4).map(tuple)
# Plain tuples, built into parts by the tests: a type check inside a strategy draws at random.
parts = st.lists(
    st.tuples(st.just(Locked), ids)
    | st.tuples(st.just(Hole), st.integers(0, 4), st.booleans())
    | st.tuples(st.just(Draft), ids, st.booleans()),
    min_size=1,
    max_size=5,
)


def built(row: list[tuple]) -> Canvas:
    made: list[Part] = []
    for kind, content, *optional in row:
        name = "slots" if kind is Hole else "ids"
        made.append(kind(**{name: content}, **dict(zip(["optional"], optional, strict=False))))
    return lay_out(made, mask=MASK)


def same(one: Canvas, other: Canvas) -> bool:
    names = ("ids", "editable", "attend", "optional")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_every_part_lies_where_it_was_put() -> None:
    canvas = lay_out(
        [
            Locked(ids=(7,)),
            Hole(slots=2),
            Draft(ids=(8, 9), optional=True),
            Hole(slots=1, optional=True),
            Locked(ids=(6,)),
        ],
        mask=MASK,
    )
    assert canvas.ids.tolist() == [[7, MASK, MASK, 8, 9, MASK, 6]]
    assert canvas.editable.int().tolist() == [[0, 1, 1, 1, 1, 1, 0]]
    assert canvas.optional.int().tolist() == [[0, 0, 0, 1, 1, 1, 0]]
    assert canvas.attend.all()


@given(rows=st.lists(parts, min_size=1, max_size=4))
@settings(max_examples=40)
def test_a_row_of_a_batch_is_the_row_alone(rows: list[list[tuple]]) -> None:
    singles = [built(row) for row in rows]
    batch = stack(singles, pad=PAD)
    assert batch.ids[~batch.attend].eq(PAD).all()
    assert all(same(batch.row(i), single) for i, single in enumerate(singles))


@given(rows=st.lists(parts, min_size=1, max_size=3))
@settings(max_examples=40)
def test_a_text_may_end_where_nothing_locked_follows(rows: list[list[tuple]]) -> None:
    canvas = stack([built(row) for row in rows], pad=PAD)
    for row in range(len(rows)):
        for place in range(canvas.ids.shape[1]):
            after = slice(place + 1, None)
            locked = (canvas.attend & ~canvas.editable)[row, after].any()
            expected = bool(canvas.optional[row, place]) and not locked
            assert bool(canvas.terminal[row, place]) == expected


@given(data=st.data(), rows=st.lists(parts, min_size=1, max_size=4))
@settings(max_examples=40)
def test_inserted_slots_against_lists(data: st.DataObject, rows: list[list[tuple]]) -> None:
    """The same insertion on Python lists, row by row."""
    singles = [built(row) for row in rows]
    lengths = [single.ids.shape[1] for single in singles]
    at = [data.draw(st.integers(0, length)) for length in lengths]
    count = [data.draw(st.integers(0, 3)) for _ in lengths]
    batch = insert_slots(stack(singles, pad=PAD), torch.tensor(at), torch.tensor(count), token=PAD)

    def widened(values: list, place: int, number: int, fill: object) -> list:
        return values[:place] + [fill] * number + values[place:]

    for i, single in enumerate(singles):
        row = batch.row(i)
        for name, fill in (("ids", PAD), ("editable", True), ("optional", True)):
            before = getattr(single, name)[0].tolist()
            assert getattr(row, name)[0].tolist() == widened(before, at[i], count[i], fill)


def test_positions_that_contradict_each_other_are_refused() -> None:
    row = torch.zeros((1, 2), dtype=torch.long)
    yes, no = torch.ones((1, 2), dtype=torch.bool), torch.zeros((1, 2), dtype=torch.bool)
    with pytest.raises(UsageError, match="does not exist"):
        Canvas(ids=row, editable=yes, attend=no, optional=no)
    with pytest.raises(UsageError, match="optional but not editable"):
        Canvas(ids=row, editable=no, attend=yes, optional=yes)


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(UsageError, match="0 slots or more, but it has -1"):
        Hole(slots=-1)
    with pytest.raises(UsageError, match="at least one canvas"):
        stack([], pad=PAD)


def test_other_ids_and_other_devices_keep_the_positions() -> None:
    canvas = lay_out([Locked(ids=(7,)), Hole(slots=1, optional=True)], mask=MASK)
    other = canvas.with_ids(torch.tensor([[7, 9]]))
    assert other.ids.tolist() == [[7, 9]]
    assert same(other.with_ids(canvas.ids), canvas)
    assert same(canvas.to("cpu"), canvas)
