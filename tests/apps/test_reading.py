"""Reading for a run: sources apart, split by text, prompts, languages, what was cut."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

from sfumato.errors import DataError, UsageError
from sfumato.text.batching import encode
from sfumato.text.corpora import Source
from sfumato.text.dialogue import Message
from sfumato.text.mixtures import AsWeighted, Balanced
from sfumato.text.records import DialogueRecord, PairRecord, Record, TextRecord, TrainSplit
from sfumato.text.vocabulary import learn_vocabulary
from sfumato_apps.notes import Notes
from sfumato_apps.reading import (
    Corpus,
    answers_of,
    cut_short,
    encode_all,
    languages_of,
    mixed,
    prompts_of,
    read_corpus,
)

WORDS = learn_vocabulary(
    ["Where is the cat? The cat is by the river.", "Где кот? Он у реки."], size=400
)
EN = ("Where is the cat?", "It is by the river.")
RU = ("Где этот кот?", "Он у реки, и он спит.")


def talk(question: str, answer: str) -> DialogueRecord:
    turns = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return DialogueRecord(messages=turns)


def texts(path: Path, *lines: str) -> Source:
    path.write_text("\n".join(lines), encoding="utf-8")
    return Source(path=str(path))


def corpus(folder: Path, *, fraction: float = 0.25, most: int = 1000, seed: int = 0) -> Corpus:
    """Two files that share half of their lines."""
    one = texts(folder / "one.txt", *(f"line {n}" for n in range(24)))
    two = texts(folder / "two.txt", *(f"LINE {n}" for n in range(12, 36)))
    options = {"fraction": fraction, "most": most, "skip_bad": False, "seed": seed}
    return read_corpus([one, two], [], **options, notes=Notes(silent=True))


def test_a_held_out_text_is_in_no_source(tmp_path: Path) -> None:
    """36 distinct texts (case apart), a quarter of them held out, from both files at once."""
    found = corpus(tmp_path)
    trained = [record.text.casefold() for part in found.train for record in part.records]
    held = [record.text.casefold() for record in found.validation.records]
    assert len(set(held)) == 9
    assert not set(trained) & set(held)
    assert len(trained) + len(held) == 48
    assert all(r.origin.startswith(str(tmp_path / "two")) for r in found.train[1].records)


def test_validation_has_an_upper_bound(tmp_path: Path) -> None:
    assert len(corpus(tmp_path, most=4).validation.records) <= 8
    one = texts(tmp_path / "one.txt", *map(str, range(10)))
    two = texts(tmp_path / "two.txt", *map(str, range(100, 200)))
    found = read_corpus(
        [one], [two], fraction=0.5, most=7, skip_bad=False, seed=0, notes=Notes(silent=True)
    )
    assert len(found.train[0].records) == 10
    assert len({record.text for record in found.validation.records}) == 7


def test_a_file_of_which_nothing_is_of_use_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "tool", "content": "a"}]}))
    notes = Notes(silent=True)
    with pytest.raises(DataError, match="none of its records is of use"):
        read_corpus(
            [Source(path=str(path))], [], fraction=0.0, most=9, skip_bad=False, seed=0, notes=notes
        )
    assert notes.as_json() == {"unknown role": {"records": 1, "first": f"{path}:1"}}


def test_shares_count_records_and_trained_tokens() -> None:
    """Two long answers of 9 bytes and an end against four of one byte and an end."""
    long = [encode(talk("a", "€€€"), WORDS, max_length=64)] * 2
    short = [encode(talk("a", "b"), WORDS, max_length=64)] * 4
    found, shares = mixed(_sources("long", "short"), [long, short], AsWeighted(given=(1.0, 1.0)), 0)
    assert len(found) == 6
    assert [share.drawn for share in shares] == [2, 4]
    sizes = [sum(long[0].trained) * 2, sum(short[0].trained) * 4]
    assert shares[0].token_share == pytest.approx(sizes[0] / sum(sizes))
    even, shares = mixed(_sources("long", "short"), [long, short], Balanced(), 0)
    assert len(even) == 4
    assert [share.share for share in shares] == [0.5, 0.5]


def _sources(*names: str) -> tuple[Source, ...]:
    return tuple(Source(path=name) for name in names)


def test_what_is_learnt_of_each_record() -> None:
    records: tuple[Record, ...] = (
        talk(*EN),
        PairRecord(prompt="a", completion="b"),
        TextRecord(text="c"),
        talk("d", " "),
    )
    assert answers_of([TrainSplit(records=records)]) == [EN[1], "b", "c"]


def test_prompts_are_of_many_languages_and_short() -> None:
    """Of ten English and two Russian questions, two: one of each; without questions, none."""
    english = [talk(f"{EN[0]} It is number {n}, is it not?", EN[1]) for n in range(10)]
    russian = [talk(f"{RU[0]} И ещё {n}.", RU[1]) for n in range(2)]
    asked = prompts_of([*english, *russian, talk("why? " * 200, "so")], 2)
    assert [turns[0].content for turns in asked] == [
        english[0].messages[0].content,
        russian[0].messages[0].content,
    ]
    assert all(turns[-1].role == "user" for turns in asked)
    pairs = [PairRecord(prompt="The cat", completion=" sat")] * 2
    assert prompts_of(pairs, 5) == ["The cat"]
    assert prompts_of([TextRecord(text="a")], 3) == [None]
    assert prompts_of([], 3) == [None]


def test_a_text_has_the_language_of_its_answer_or_else_of_all_of_it() -> None:
    records = [talk(*EN), talk(*RU), talk(EN[0], RU[1]), talk(RU[0], "42"), talk("41", "42")]
    examples = [encode(record, WORDS, max_length=64) for record in records]
    assert languages_of(examples, WORDS) == ["en", "ru", "ru", "ru", "und"]


def test_cut_answers_are_counted() -> None:
    whole = encode(talk(*EN), WORDS, max_length=64)
    cut = encode(talk(*EN), WORDS, max_length=len(whole.ids) - 1)
    assert cut_short([whole, cut, cut], WORDS) == 2


def test_what_cannot_be_learnt_is_skipped_when_it_is_encoded() -> None:
    notes = Notes(silent=True)
    part = TrainSplit(records=tuple(chain([talk(*EN)], [talk("a " * 90, "b")] * 2)))
    assert len(encode_all(part, WORDS, 64, notes)) == 1
    assert notes.as_json() == {"answer cut away": {"records": 2, "first": ""}}


@pytest.mark.parametrize(("word", "most"), [("skip", 9), ("skip:2", 2), ("skip:1", 1)])
def test_so_many_bad_lines_are_skipped_and_no_more(tmp_path: Path, word: str, most: int) -> None:
    """Nine bad lines; a message that was labelled bad is no bad line and does not count."""
    rows = ['{"text": "a"}', *['{"txet": "b"}'] * 9]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(rows))
    notes = Notes(silent=True)
    options = {"fraction": 0.0, "most": 9, "skip_bad": notes.skips(word), "seed": 0}
    if most == 9:
        read_corpus([Source(path=str(path))], [], **options, notes=notes)
        assert notes.as_json()["cannot be read"]["records"] == 9
        return
    with pytest.raises(DataError, match=rf"a.jsonl:{most + 2}: .*; {most} such records were skip"):
        read_corpus([Source(path=str(path))], [], **options, notes=notes)


@pytest.mark.parametrize("word", ["ignore", "skip:", "skip:-1", "skip:x", "error:3"])
def test_other_words_for_bad_lines_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="expected error, skip, or skip:N"):
        Notes(silent=True).skips(word)
    assert not Notes(silent=True).skips("error")
