"""Mixtures: exact counts for weights, ratios and balance."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import DataError, UsageError
from sfumato.text.corpora import Source
from sfumato.text.mixtures import AsWeighted, Balanced, Ratio, draw, parse_mix

sizes = st.lists(st.integers(1, 60), min_size=1, max_size=4)


def parts_of(counts: list[int]) -> list[list[tuple[int, int]]]:
    """Records that know their source and their place."""
    return [[(source, n) for n in range(count)] for source, count in enumerate(counts)]


def names(counts: list[int]) -> list[str]:
    return [str(source) for source in range(len(counts))]


@given(counts=sizes, seed=st.integers(0, 9))
def test_balanced_sources_give_as_many_as_the_smallest_and_none_twice(
    counts: list[int], seed: int
) -> None:
    drawn = draw(parts_of(counts), Balanced(), names=names(counts), seed=seed)
    assert [len(part) for part in drawn] == [min(counts)] * len(counts)
    assert all(len(set(part)) == len(part) for part in drawn)


@given(counts=sizes, data=st.data())
def test_a_ratio_leaves_nothing_out_and_is_kept_to_a_record(
    counts: list[int], data: st.DataObject
) -> None:
    """Each source gives its ratio times the same k, and k is the least with which all come."""
    ratio = tuple(float(data.draw(st.integers(1, 5))) for _ in counts)
    drawn = draw(parts_of(counts), Ratio(parts=ratio), names=names(counts), seed=0)
    k = max(size / part for size, part in zip(counts, ratio, strict=True))
    for part, size, share in zip(drawn, counts, ratio, strict=True):
        assert abs(len(part) - k * share) <= 0.5 + 1e-9
        seen = Counter(part)
        assert len(seen) == size
        assert max(seen.values()) - min(seen.values()) <= 1


@given(counts=sizes, weight=st.floats(0.05, 3.0))
def test_weights_say_how_often(counts: list[int], weight: float) -> None:
    mix = AsWeighted(given=(weight,) * len(counts))
    drawn = draw(parts_of(counts), mix, names=names(counts), seed=0)
    assert [len(part) for part in drawn] == [max(1, round(weight * size)) for size in counts]


def test_what_is_left_out_depends_on_the_seed() -> None:
    found = {
        draw([range(50), range(5)], Balanced(), names=["a", "b"], seed=seed)[0] for seed in range(4)
    }
    assert len(found) == 4


def test_an_empty_source_is_named() -> None:
    with pytest.raises(DataError, match="chats.jsonl: nothing in it is of use"):
        draw([[1], []], Balanced(), names=["a", "chats.jsonl"], seed=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3:1:1", "'3:1:1' does not fit 2 sources: .* such as 1:1"),
        ("1", "does not fit 2 sources"),
        ("even", "expected 'balanced' or one positive number"),
        ("0:1", "does not fit"),
        ("nan:1", "does not fit"),
    ],
)
def test_a_mixture_that_cannot_be_meant(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_mix(text, [Source(path="a"), Source(path="b")])


def test_a_mixture_beside_weights_is_refused() -> None:
    sources = [Source(path="a"), Source(path="b", weight=0.5)]
    assert parse_mix(None, sources) == AsWeighted(given=(1.0, 0.5))
    with pytest.raises(UsageError, match="b has a weight"):
        parse_mix("1:1", sources)
