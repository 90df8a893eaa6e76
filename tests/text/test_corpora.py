"""Corpora: fields, dialogues, streaming, mixtures and splits."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.text.written import put

from sfumato.errors import DataError, UnusableError, UsageError
from sfumato.text.corpora import Source, format_of, mix, parse_source, read
from sfumato.text.dialogue import Message
from sfumato.text.formats import detect_format
from sfumato.text.records import DialogueRecord, InfillRecord, PairRecord, TextRecord, split

# Formats of fields.


def first(row: dict, tmp_path: Path) -> object:
    return next(read(Source(path=put(tmp_path, "a.jsonl", json.dumps(row)))))


def test_fields_decide_the_record(tmp_path: Path) -> None:
    origin = str(tmp_path / "a.jsonl:1")
    said = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    talk = DialogueRecord(messages=said, origin=origin)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert first({"messages": turns, "text": "rendered"}, tmp_path) == talk
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    assert first({"conversations": turns}, tmp_path) == talk
    assert first({"instruction": "a", "output": "b"}, tmp_path) == talk
    assert first({"instruction": "a", "input": "", "output": "b"}, tmp_path) == talk
    asked = first({"instruction": "a", "input": "x", "response": "b"}, tmp_path)
    assert isinstance(asked, DialogueRecord)
    assert asked.messages[0].content == "a\n\nx"
    assert first({"prompt": "a", "completion": "b"}, tmp_path) == PairRecord(
        prompt="a", completion="b", origin=origin
    )
    assert first({"src": "a", "trg": "b"}, tmp_path) == PairRecord(
        prompt="a", completion=" b", origin=origin
    )
    assert first({"source": "a\n", "target": "b"}, tmp_path) == PairRecord(
        prompt="a\n", completion="b", origin=origin
    )
    gap = {"prefix": "a", "middle": "b", "suffix": "c"}
    assert first(gap, tmp_path) == InfillRecord(**gap, origin=origin)
    assert first({"text": "a", "label": 1}, tmp_path) == TextRecord(text="a", origin=origin)


def test_a_named_field_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", '{"story": "a", "text": "b"}')
    assert [r.text for r in read(Source(path=path, text_field="story"))] == ["a"]
    with pytest.raises(DataError, match=r"a\.jsonl:1: no field 'stroy': did you mean"):
        list(read(Source(path=path, text_field="stroy")))


def test_the_format_is_reported(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", '{"src": "a", "trg": "b"}')
    assert format_of(Source(path=path)).name == "src + trg"
    assert format_of(Source(path=path, text_field="src")).name == "src"
    with pytest.raises(DataError, match="the file is empty"):
        format_of(Source(path=put(tmp_path, "b.jsonl", "")))


def test_unknown_fields_are_compared_with_the_known_ones() -> None:
    with pytest.raises(DataError) as caught:
        detect_format({"promt": "a", "completion": "b"}, "a.jsonl:1")
    assert "did you mean 'prompt' where it says 'promt'?" in str(caught.value)
    assert "expected one of: messages; conversation; conversations;" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "question_id": 1}, "a:1: 'prompt' has no answer beside it; no known"),
        ({"prompt": "a", "responce": "b"}, "did you mean 'response' where it says 'responce'"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "a:1: chosen and rejected are pref"),
    ],
)
def test_rows_without_an_answer_to_imitate(row: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        detect_format(row, "a:1")


def test_an_answer_that_was_disliked_is_not_to_be_learnt(tmp_path: Path) -> None:
    """Unpaired preferences: the label stands beside the dialogue."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": turns, "label": liked} for liked in (True, False, None)]
    path = put(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    skipped: list[DataError] = []
    assert len(list(read(Source(path=path), on_bad=skipped.append))) == 2
    assert [str(error) for error in skipped] == [
        f"{path}:2: labelled as a bad answer, so there is nothing to learn"
    ]
    assert isinstance(skipped[0], UnusableError)
    assert skipped[0].place == f"{path}:2"


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "no messages, so there is nothing to learn"),
        ("a", "field 'messages' is the string 'a', expected a list of turns"),
        (["a"], r"messages\[0\] is the string 'a', expected role and content"),
        ([{"role": "user"}], r"messages\[0\]: no field 'content'"),
        ([{"role": "user", "content": 3}], r"messages\[0\]: field 'content' is the number '3'"),
        ([{"role": "tool", "content": "a"}], "unknown role 'tool', expected one of system, user"),
    ],
)
def test_faults_of_dialogues(tmp_path: Path, turns: object, message: str) -> None:
    path = put(tmp_path, "a.jsonl", json.dumps({"messages": turns}))
    with pytest.raises(DataError, match=message):
        list(read(Source(path=path)))


# Streams and mixtures.


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    """A file of 8 MB is read to its end with a peak below 1 MB."""
    words = "word " * 4000
    path = put(tmp_path, "a.jsonl", (json.dumps({"text": words}) + "\n") * 400)
    table = put(tmp_path, "a.csv", "text\n" + f"{words}\n" * 400)
    for name in (path, table):
        tracemalloc.start()
        number = sum(1 for _ in mix([Source(path=name)], seed=0))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert number == 400
        assert peak < 1_000_000


def test_weights_say_how_often_a_record_comes(tmp_path: Path) -> None:
    one = put(tmp_path, "one.txt", "".join(f"a{n}\n" for n in range(300)))
    two = put(tmp_path, "two.txt", "".join(f"b{n}\n" for n in range(300)))

    def counts(weight: float, seed: int = 0) -> Counter:
        sources = [Source(path=one), Source(path=two, weight=weight)]
        return Counter(record.text for record in mix(sources, seed))

    assert set(counts(1.0).values()) == {1}
    assert len(counts(1.0)) == 600
    assert {text: n for text, n in counts(2.0).items() if text[0] == "b"} == {
        f"b{n}": 2 for n in range(300)
    }
    half = sum(text[0] == "b" for text in counts(0.5))
    assert abs(half - 150) < 5 * (300 * 0.25) ** 0.5  # five standard deviations
    assert sum(counts(1.5).values()) > 600
    assert counts(0.5, seed=1) != counts(0.5)


def test_a_mixture_is_mixed_and_repeatable(tmp_path: Path) -> None:
    one = put(tmp_path, "one.txt", "a\n" * 400)
    two = put(tmp_path, "two.txt", "b\n" * 100)
    sources = [Source(path=one), Source(path=two)]
    order = "".join(record.text for record in mix(sources, seed=3))
    assert order == "".join(record.text for record in mix(sources, seed=3))
    assert order != "".join(record.text for record in mix(sources, seed=4))
    assert 20 < order[:250].count("b") < 80  # 50 expected; six standard deviations are 38
    first_few = list(islice(mix(sources, seed=3), 3))
    assert "".join(record.text for record in first_few) == order[:3]


def test_bad_records_of_a_mixture_are_told(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": 1}\n{"text": "b"}\n')
    told: list[DataError] = []
    assert len(list(mix([Source(path=path)], seed=0, on_bad=told.append))) == 2
    assert len(told) == 1
    with pytest.raises(DataError, match="no such file"):
        list(mix([Source(path=str(tmp_path / "none.txt"))], seed=0))
    assert list(mix([], seed=0)) == []


def test_sources_as_people_write_them() -> None:
    assert parse_source("a.jsonl") == Source(path="a.jsonl")
    assert parse_source("a.jsonl@2", text_field="t") == Source(
        path="a.jsonl", weight=2.0, text_field="t"
    )
    assert parse_source("a@b/c.txt").path == "a@b/c.txt"
    for weight in ("0", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match="a weight must be positive"):
            parse_source(f"a.jsonl@{weight}")


# Splits.

keys = st.lists(st.sampled_from(["a", "A ", "b", " b", "c", "d", "e", "f"]), max_size=12)


@given(said=keys, fraction=st.floats(0, 0.5), test=st.floats(0, 0.4), seed=st.integers(0, 9))
def test_equal_texts_stay_on_one_side(
    said: list[str], fraction: float, test: float, seed: int
) -> None:
    records = [TextRecord(text=text, origin=str(i)) for i, text in enumerate(said)]
    parts = split(records, fraction, seed, test_fraction=test)
    sides = [parts.train.records, parts.validation.records, parts.test.records]
    found = [{record.text.strip().casefold() for record in side} for side in sides]
    assert sum(map(len, found)) == len(set.union(*found))
    assert sorted(r.origin for side in sides for r in side) == sorted(r.origin for r in records)
    assert bool(found[0]) == bool(records)
    again = split(records[::-1], fraction, seed, test_fraction=test)
    assert set(again.validation.records) == set(parts.validation.records)


def test_the_share_is_of_distinct_texts() -> None:
    records = [TextRecord(text=str(n)) for n in range(200)]
    parts = split(records, 0.1, 0, test_fraction=0.05)
    sizes = [len(side.records) for side in (parts.train, parts.validation, parts.test)]
    assert sizes == [170, 20, 10]
    other = split(records, 0.1, 1)
    assert other.validation.records != parts.validation.records


def test_one_record_is_trained_on_and_two_are_shared() -> None:
    one = split([TextRecord(text="a")], 0.1, 0)
    assert (len(one.train.records), len(one.validation.records)) == (1, 0)
    two = split([TextRecord(text="a"), TextRecord(text="b")], 0.1, 0)
    assert (len(two.train.records), len(two.validation.records)) == (1, 1)


def test_prompts_and_questions_stay_on_one_side() -> None:
    """Answers to one prompt must not be learnt and tested on."""
    pairs = [PairRecord(prompt=p, completion=c) for p in "abcd" for c in "xyz"]
    sides = split(pairs, 0.5, 0)
    trained = {record.prompt for record in sides.train.records if isinstance(record, PairRecord)}
    held = {r.prompt for r in sides.validation.records if isinstance(r, PairRecord)}
    assert (len(trained), len(held), trained & held) == (2, 2, set())
    talks = [
        DialogueRecord(
            messages=(Message(role="user", content=q), Message(role="assistant", content=a))
        )
        for q in "ab"
        for a in "xy"
    ]
    assert len(split(talks, 0.5, 0).train.records) == 2


def test_middles_of_one_text_stay_on_one_side() -> None:
    texts = ("a cat sat", "a dog ran", "the mat lay", "it was warm")
    gaps = [
        InfillRecord(prefix=text[:i], middle=text[i:6], suffix=text[6:])
        for text in texts
        for i in range(5)
    ]
    assert len(split(gaps, 0.5, 0).train.records) == 10


def test_impossible_fractions_are_refused() -> None:
    for valid, test in ((-0.1, 0.0), (0.5, 0.5), (1.0, 0.0)):
        with pytest.raises(UsageError, match="leave something to train on"):
            split([], valid, 0, test_fraction=test)


# Real data, where it is.


@pytest.mark.parametrize(
    ("path", "form", "number"),
    [
        ("e2e_nlg/valid.jsonl", "text", 1000),
        ("edits_grammar/ru_change_person.jsonl", "src + trg", 1000),
        ("instruct_en/raschka_1100.jsonl", "messages", 1000),
        ("instruct_ru/ru_arena_5models.jsonl", "messages", 1000),
        ("story_continuations/guided_1.jsonl", "source + target", 1000),
        ("wikitext2/valid.txt", "text", 1000),
    ],
)
def test_real_files_are_read(shared_data: Path, path: str, form: str, number: int) -> None:
    """The first 1,000 records of each."""
    source = Source(path=str(shared_data / path))
    assert format_of(source).name == form
    assert sum(1 for _ in islice(read(source), 1000)) == number


REAL = {
    "instruct_en/alpaca_en_demo.jsonl": "messages",
    "instruct_en/arena_hard_v01_questions.jsonl": "'prompt' has no answer beside it",
    "instruct_en/code_alpaca_2k.jsonl": "messages",
    "instruct_en/gpteacher_roleplay.jsonl": "messages",
    "instruct_en/new_codealpaca.jsonl": "messages",
    "instruct_en/raschka_1100.jsonl": "messages",
    "instruct_en/self_instruct_seeds_175.jsonl": "messages",
    "instruct_en/user_oriented_252.jsonl": "messages",
    "instruct_ru/ru_alpaca_seeds.jsonl": "messages",
    "instruct_ru/ru_arena_5models.jsonl": "messages",
    "instruct_ru/ru_arena_questions.jsonl": "'prompt' has no answer beside it",
    "instruct_ru/rulm_sbs2_tasks.json": "'instruction' has no answer beside it",
    "preferences_en/dpo_en_demo.jsonl": "chosen and rejected are preferences",
    "preferences_en/hh_harmless_test.jsonl": "chosen and rejected are preferences",
    "preferences_en/imagereward_test_rankings.jsonl": "'prompt' has no answer beside it",
    "preferences_en/kto_en_demo.jsonl": "messages",
    "preferences_en/raschka_polite_1100.jsonl": "chosen and rejected are preferences",
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_recognised_or_refused_with_the_reason(name: str, shared_data: Path) -> None:
    """The first 60 rows of each; of the file with labels, the disliked answers are left out."""
    source = Source(path=str(shared_data / name))
    if REAL[name] != "messages":
        with pytest.raises(DataError, match=REAL[name]):
            format_of(source)
        return
    assert format_of(source).name == "messages"
    skipped: list[DataError] = []
    records = list(islice(read(source, on_bad=skipped.append), 60))
    assert len(records) == 60
    assert all(isinstance(record, DialogueRecord) for record in records)
    assert bool(skipped) == ("kto" in name)
    assert {error.reason for error in skipped if isinstance(error, UnusableError)} <= {
        "labelled as a bad answer"
    }
