"""Batches with holes and tails; buckets and packing."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import DataError, UsageError
from sfumato.text.batching import Batch, Example, buckets, compose
from sfumato.text.packing import pack
from sfumato.text.vocabulary import Vocabulary


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Batches.


def example(words: Vocabulary, size: int, kind: str) -> Example:
    """A text, a pair with a prompt of two, or a text that was cut."""
    content = tuple(range(40, 40 + size))
    if kind == "cut":
        return Example(ids=(words.bos, *content), trained=(False,) + (True,) * size)
    context = (30, 31) if kind == "pair" else ()
    ids = (words.bos, *context, *content, words.eos)
    flags = (False,) * (1 + len(context)) + (True,) * (size + 1)
    return Example(ids=ids, trained=flags)


made = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from(["text", "pair", "cut"])), min_size=1, max_size=5
)


def rows_of(batch: Batch) -> list[dict[str, list]]:
    """Each row without the padding of the batch, as lists."""
    canvas = batch.canvas
    return [
        {
            "ids": canvas.ids[i][keep].tolist(),
            "editable": canvas.editable[i][keep].tolist(),
            "optional": canvas.optional[i][keep].tolist(),
            "weight": batch.weight[i][keep].tolist(),
        }
        for i, keep in enumerate(canvas.attend)
    ]


@given(
    specs=made,
    slack=st.integers(0, 4),
    holes=st.sampled_from([0.0, 0.5, 1.0]),
    answer_holes=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 50),
)
@settings(max_examples=40)
def test_what_compose_promises(
    words: Vocabulary,
    specs: list[tuple[int, str]],
    slack: int,
    holes: float,
    answer_holes: float,
    seed: int,
) -> None:
    examples = [example(words, size, kind) for size, kind in specs if size or kind != "cut"]
    if not examples:
        return
    shares = {"holes": holes, "answer_holes": answer_holes}
    batch = compose(examples, words, seeded(seed), slack=slack, **shares)
    assert batch.canvas.ids[~batch.canvas.attend].eq(words.pad).all()
    assert batch.weight[~batch.canvas.attend].eq(0).all()
    for row, source in zip(rows_of(batch), examples, strict=True):
        spare = [i for i, token in enumerate(row["ids"]) if token == words.pad]
        kept = [i for i in range(len(row["ids"])) if i not in spare]
        r = len(spare)
        assert r <= slack
        assert tuple(row["ids"][i] for i in kept) == source.ids
        assert spare == list(range(spare[0], spare[0] + r)) if spare else True
        assert all(row["editable"][i] and row["optional"][i] for i in spare)
        assert all(row["weight"][i] == pytest.approx(1 / r) for i in spare)
        assert [row["weight"][i] for i in kept] == [float(row["editable"][i]) for i in kept]
        share = holes if all(source.trained[1:]) else answer_holes
        learnt = [row["editable"][i] for i in kept]
        assert not spare or spare[0] < len(kept) or source.ids[-1] == words.eos
        if learnt == list(source.trained) and (not spare or spare[0] == len(kept)):
            assert not any(row["optional"][i] for i in kept) or share > 0
            continue
        span = [i for i, flag in enumerate(learnt) if flag]
        content = [i for i, token in enumerate(source.ids) if token >= 40 and source.trained[i]]
        assert share > 0
        assert span == list(range(span[0], span[-1] + 1))
        assert set(span) <= set(content)
        assert 1 <= len(span) <= max(1, len(content) // 2)
        assert not spare or spare[0] == span[-1] + 1, "the spare slots follow the span"
        assert row["optional"] == row["editable"]


def test_a_hole_and_a_tail_by_hand(words: Vocabulary) -> None:
    one = example(words, 1, "text")
    hole = rows_of(compose([one], words, seeded(1), slack=0, holes=1.0))[0]
    assert hole["ids"] == list(one.ids)
    assert hole["editable"] == [False, True, False]
    assert hole["weight"] == [0.0, 1.0, 0.0]
    tail = rows_of(compose([one], words, seeded(1), slack=0, holes=0.0))[0]
    assert tail["editable"] == [False, True, True]
    assert tail["optional"] == [False, False, False]


def test_compose_is_a_pure_function(words: Vocabulary) -> None:
    examples = [example(words, size, "text") for size in (3, 7, 5)]
    before = seeded(5)
    one = compose(examples, words, before, slack=3, holes=0.5)
    two = compose(examples, words, seeded(5), slack=3, holes=0.5)
    assert rows_of(one) == rows_of(two)
    other = compose(examples, words, seeded(6), slack=3, holes=0.5)
    assert rows_of(one) != rows_of(other)
    spent = seeded(5)
    compose(examples, words, spent, slack=0, holes=0.0)
    assert before.get_state().equal(spent.get_state()), "the same number of draws for any option"


def test_spans_starts_and_pads_are_uniform(words: Vocabulary) -> None:
    """4,000 rows of six content tokens: spans 1 … 3, pads 0 … 3, starts given a span of 2: 0 … 4.

    Each count is within five standard deviations of its expectation.
    """
    number = 4000
    batch = compose([example(words, 6, "text")] * number, words, seeded(0), slack=3, holes=1.0)
    spare = batch.canvas.ids.eq(words.pad) & batch.canvas.attend
    span = (batch.canvas.editable & ~spare).sum(1)
    start = batch.canvas.editable.int().argmax(1) - 1

    def uniform(values: torch.Tensor, options: range) -> None:
        counts = Counter(values.tolist())
        p, n = 1 / len(options), len(values)
        assert set(counts) == set(options)
        assert all(abs(c - n * p) < 5 * (n * p * (1 - p)) ** 0.5 for c in counts.values())

    uniform(span, range(1, 4))
    uniform(spare.sum(1), range(4))
    uniform(start[span == 2], range(5))


def test_the_share_of_holes(words: Vocabulary) -> None:
    batch = compose(
        [example(words, 6, "text"), example(words, 6, "pair")] * 1000,
        words,
        seeded(0),
        slack=0,
        holes=0.25,
    )
    is_hole = batch.canvas.editable.sum(1) <= 3
    assert abs(is_hole[::2].sum().item() - 250) < 5 * (1000 * 0.25 * 0.75) ** 0.5
    assert not is_hole[1::2].any()
    pairs = [example(words, 6, "pair")] * 1000
    batch = compose(pairs, words, seeded(0), slack=0, holes=0.0, answer_holes=0.25)
    is_hole = batch.canvas.editable.sum(1) <= 3
    assert abs(is_hole.sum().item() - 250) < 5 * (1000 * 0.25 * 0.75) ** 0.5
    turns = Example(ids=(5, 40, 41, 30, 42, 43), trained=(False, True, True, False, True, True))
    batch = compose([turns], words, seeded(0), slack=0, holes=1.0, answer_holes=1.0)
    assert batch.canvas.editable[0].tolist() == list(turns.trained)


def test_only_a_learnt_end_gets_a_tail(words: Vocabulary) -> None:
    """A cut text has no end, and an end that is context says nothing about the answer."""
    cut = example(words, 4, "cut")
    context = Example(ids=(words.bos, 40, words.eos), trained=(False, True, False))
    for one in (cut, context):
        for seed in range(5):
            batch = compose([one], words, seeded(seed), slack=4, holes=0.0)
            assert batch.canvas.ids[0].tolist() == list(one.ids)


def test_impossible_batches_are_refused(words: Vocabulary) -> None:
    one = example(words, 3, "text")
    for examples, slack, holes in (([], 0, 0.0), ([one], -1, 0.0), ([one], 0, 1.5)):
        with pytest.raises(UsageError, match="expected ≥ 1 example"):
            compose(examples, words, seeded(0), slack=slack, holes=holes)


def test_a_batch_moves_to_a_device(words: Vocabulary) -> None:
    batch = compose([example(words, 3, "text")], words, seeded(0), slack=2, holes=0.0)
    assert rows_of(batch.to("cpu")) == rows_of(batch)


# Buckets and packing.


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 99), max_size=60),
    size=st.integers(1, 7),
    seed=st.integers(0, 9),
)
def test_every_index_falls_into_one_bucket(lengths: list[int], size: int, seed: int) -> None:
    found = buckets(lengths, size, seeded(seed))
    assert sorted(index for bucket in found for index in bucket) == list(range(len(lengths)))
    assert all(0 < len(bucket) <= size for bucket in found)
    assert sum(len(bucket) < size for bucket in found) <= 1
    assert found == buckets(lengths, size, seeded(seed))


def test_buckets_save_padding_and_change_with_the_seed() -> None:
    lengths = torch.randint(1, 100, (400,), generator=seeded(0)).tolist()
    found = buckets(lengths, 8, seeded(1))
    padded = sum(max(lengths[i] for i in bucket) * len(bucket) for bucket in found)
    assert padded < 1.05 * sum(lengths)
    assert found != buckets(lengths, 8, seeded(2))
    firsts = [lengths[bucket[0]] for bucket in found]
    assert firsts != sorted(firsts), "short batches do not come first"
    with pytest.raises(UsageError, match="batch_size is 0"):
        buckets(lengths, 0, seeded(0))


@settings(max_examples=40)
@given(specs=made, width=st.integers(12, 20))
def test_packed_rows_hold_every_token_in_order(
    words: Vocabulary, specs: list[tuple[int, str]], width: int
) -> None:
    examples = [example(words, size, kind) for size, kind in specs]
    rows = pack(examples, width)
    assert tuple(t for row in rows for t in row.ids) == tuple(t for e in examples for t in e.ids)
    assert tuple(f for row in rows for f in row.trained) == tuple(
        f for e in examples for f in e.trained
    )
    assert all(0 < len(row.ids) <= width for row in rows)
    if all(kind == "text" for _, kind in specs):
        assert all(len(row.ids) == width for row in rows[:-1])


def test_a_prompt_is_not_torn_from_its_answer(words: Vocabulary) -> None:
    text, pair = example(words, 6, "text"), example(words, 4, "pair")
    assert [len(row.ids) for row in pack([text, pair, text], 12)] == [8, 12, 4]
    assert pack([text, pair], 12)[1].ids == pair.ids
    with pytest.raises(DataError, match="8 tokens with their prompt do not fit a row of 7"):
        pack([pair], 7)


def test_packed_rows_name_their_origins() -> None:
    one = Example(ids=(1, 2), trained=(False, True), origin="a:1")
    two = Example(ids=(1, 3), trained=(False, True), origin="a:2")
    assert [row.origin for row in pack([one, two, one], 4)] == ["a:1, a:2", "a:1"]
