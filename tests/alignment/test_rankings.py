"""Rankings: places, thresholds, pairs, and the forms that other libraries write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.alignment.rankings.formats import read_ranking, row_of, trl_labels, trl_pairs
from sfumato.alignment.rankings.ranking import Pair, Ranking, Strategy, diverse, pairs_of, places
from sfumato.alignment.rankings.sets import RankedRecord
from sfumato.errors import DataError, UnusableError, UsageError
from sfumato.text.dialogue import Message

ASKED = {"role": "user", "content": "Hi"}
SAID = [{"role": "assistant", "content": text} for text in ("Hello.", "No.")]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(0, 2))
def test_places_follow_scores(scores: list[float], gap: float) -> None:
    """A better place never has a lower score; the first is 1; none is skipped."""
    found = places(scores, gap=gap)
    assert {*found} == {*range(1, max(found) + 1)}
    for a, b in zip(scores, found, strict=True):
        for c, d in zip(scores, found, strict=True):
            if b < d:
                assert a > c
            if a - c > gap and b >= d:
                pytest.fail("a lead of more than the gap shares a place")


def test_thresholds_leave_out_the_middle() -> None:
    record = Ranking(chosen=2.5, rejected=1.75).of("", ["a", "b", "c", "d"], [3.0, 2.0, 1.0, 2.5])
    assert record.completions == ("a", "d", "c")
    assert record.ranks == (1, 1, 2)
    with pytest.raises(UnusableError, match="two or more completions"):
        Ranking(chosen=2.5, rejected=1.75).of("", ["a", "b"], [3.0, 2.0])


def test_what_says_the_same_is_left_out() -> None:
    texts = ["the cat sat on a mat", "the cat sat on a rug", "rain falls all day long"]
    record = Ranking(overlap=0.5).of("", texts, [0.9, 0.8, 0.7])
    assert record.completions == (texts[0], texts[2])


def test_diversity_of_many() -> None:
    """4,000 texts of 20 words that share nothing; comparing all pairs would not end in time."""
    texts = [" ".join(f"w{i}_{j}" for j in range(20)) for i in range(4000)]
    assert len(diverse(texts, 0.5, 3)) == 4000


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("all_pairs", {"ab", "ac", "ad", "bd", "cd"}),
        ("adjacent", {"ab", "ac", "bd", "cd"}),
        ("best_worst", {"ad"}),
    ],
)
def test_pairs_of_a_ranking(strategy: Strategy, expected: set[str]) -> None:
    record = RankedRecord(prompt="", completions=("b", "a", "d", "c"), ranks=(2, 1, 3, 2))
    assert {pair.chosen + pair.rejected for pair in pairs_of(record, strategy)} == expected


@pytest.mark.parametrize(
    ("row", "texts", "ranks"),
    [
        ({"prompt": "Hi", "completions": ["a", "b"], "scores": [1, 2]}, ("a", "b"), (2, 1)),
        ({"completions": ["a", "b"], "ranks": [1, 2], "scores": None}, ("a", "b"), (1, 2)),
        ({"prompt": "Hi ", "chosen": "a", "rejected": "b"}, ("a", "b"), (1, 2)),
        ({"chosen": [ASKED, SAID[0]], "rejected": [ASKED, SAID[1]]}, ("Hello.", "No."), (1, 2)),
        (
            {"prompt": [ASKED], "chosen": [SAID[0]], "rejected": [SAID[1]]},
            ("Hello.", "No."),
            (1, 2),
        ),
        (
            {
                "instruction": "Hi",
                "completions": [
                    {"response": "a", "overall_score": 3.0},
                    {"response": "b", "overall_score": 8},
                ],
            },
            ("a", "b"),
            (2, 1),
        ),
    ],
)
def test_forms_are_read(
    row: dict[str, object], texts: tuple[str, ...], ranks: tuple[int, ...]
) -> None:
    record = read_ranking(row, "line 7")
    assert record.completions == texts
    assert record.ranks == ranks
    if "instruction" in row or isinstance(row.get("chosen"), list):
        assert record.prompt == (Message(role="user", content="Hi"),)
    assert read_ranking(row_of(record), "line 7") == record  # there and back
    json.dumps(row_of(record))


def test_trl_reads_what_is_written() -> None:
    """Text stays text and turns stay turns, pairs and labels."""
    plain = RankedRecord(prompt="Hi ", completions=("a", "b", "c"), ranks=(1, 2, 3))
    turns = RankedRecord(
        prompt=(Message(role="user", content="Hi"),), completions=("a", "b"), ranks=(2, 1)
    )
    rows = [*trl_pairs([plain, turns], "best_worst")]
    assert rows == [
        {"prompt": "Hi ", "chosen": "a", "rejected": "c"},
        {
            "prompt": [ASKED],
            "chosen": [{"role": "assistant", "content": "b"}],
            "rejected": [{"role": "assistant", "content": "a"}],
        },
    ]
    back = [read_ranking(row, "") for row in rows]
    assert [*pairs_of(back[1])] == [*pairs_of(turns)] == [
        Pair(prompt=turns.prompt, chosen="b", rejected="a")
    ]  # fmt: skip
    labels = [*trl_labels([plain])]
    assert [(row["completion"], row["label"]) for row in labels] == [("a", True), ("c", False)]


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"text": "a"}, DataError, "line 7: no ranking in the fields text: expected"),
        ({"completions": ["a", "b"]}, DataError, "need scores or ranks"),
        ({"completions": "a", "scores": [1]}, DataError, "expected a list"),
        ({"completions": ["a", "b"], "scores": [1, "2"]}, DataError, "finite numbers"),
        ({"completions": ["a", "b"], "ranks": [1, 1.5]}, DataError, "whole numbers"),
        ({"completions": ["a", "b"], "scores": [1]}, UnusableError, "2 completions, 1 ranks"),
        ({"completions": ["a", "b"], "scores": [1, 1]}, UnusableError, "not all the same"),
        ({"completions": ["a"], "scores": [1]}, UnusableError, "1 completions"),
        ({"chosen": " ", "rejected": "b"}, UnusableError, "empty"),
        ({"chosen": 7, "rejected": "b"}, DataError, "expected a text"),
        ({"instruction": "a", "completions": ["b", "c"]}, DataError, "overall_score"),
    ],
)
def test_bad_rows_are_named(row: dict[str, object], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        read_ranking(row, "line 7")


@pytest.mark.parametrize(
    "options",
    [{"chosen": 1.0}, {"chosen": 1.0, "rejected": 1.0}, {"overlap": 0.0}, {"size": 0}],
)
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Ranking(**options)  # type: ignore[arg-type]
