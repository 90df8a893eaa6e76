"""One encode path: what is trained on has the ids of what is written and evaluated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text import vocabularies

from sfumato.errors import DataError, UnusableError
from sfumato.text.batching import compose, encode, prompt_ids
from sfumato.text.canvas import Hole, Locked, lay_out
from sfumato.text.dialogue import Message, encode_dialogue
from sfumato.text.records import DialogueRecord, InfillRecord, PairRecord, Record, TextRecord
from sfumato.text.template import compose_fill, fill_texts, lay_middle, middle_ids, sides
from sfumato.text.vocabulary import Vocabulary

LONG = 10_000
TALK = (Message(role="user", content="who?"), Message(role="assistant", content="the dog"))
pieces = st.sampled_from(["", "the", " dog", "é", "\n", "🙂", " quick brown", "."])
texts = st.lists(pieces, max_size=6).map("".join)


def bos(vocabulary: Vocabulary) -> tuple[int, ...]:
    return () if vocabulary.bos is None else (vocabulary.bos,)


@given(prompt=texts, completion=texts)
@settings(max_examples=8)
def test_training_sampling_and_evaluation_see_the_same_ids(
    vocabulary: Vocabulary, prompt: str, completion: str
) -> None:
    """A batch to train on and a canvas to write on begin with the same ids."""
    example = encode(PairRecord(prompt=prompt, completion=completion), vocabulary, max_length=LONG)
    trained = compose(
        [example], vocabulary, torch.Generator().manual_seed(0), slack=0, holes=0.0
    ).canvas
    context = prompt_ids(prompt, vocabulary)
    written = lay_out([Locked(ids=context), Hole(slots=4)], mask=vocabulary.mask)
    assert trained.ids[0, : len(context)].equal(written.ids[0, : len(context)])
    assert trained.editable[0].tolist() == [False] * len(context) + [True] * (
        len(example.ids) - len(context)
    )
    assert written.editable[0, : len(context)].any().item() is False
    assert example.ids[len(context) :] == (*vocabulary.encode(completion), vocabulary.eos)


@given(text=texts)
@settings(max_examples=8)
def test_filling_and_training_see_the_same_ids(vocabulary: Vocabulary, text: str) -> None:
    example = encode(TextRecord(text=text), vocabulary, max_length=LONG)
    fill = compose_fill(text + "{1}", vocabulary)
    shown = fill.canvas.ids[0].tolist()[: fill.holes[0][0]]
    spoken = text[:-1] if text.endswith(" ") else text
    assert tuple(shown) == (*bos(vocabulary), *vocabulary.encode(spoken))
    assert example.ids == (*bos(vocabulary), *vocabulary.encode(text), vocabulary.eos)


def test_completions_that_differ_give_ids_that_differ(vocabulary: Vocabulary) -> None:
    one, two = (
        encode(PairRecord(prompt="answer:", completion=c), vocabulary, max_length=LONG).ids
        for c in (" a", " b")
    )
    assert one != two
    assert one[: len(prompt_ids("answer:", vocabulary))] == prompt_ids("answer:", vocabulary)


def test_dialogues_take_the_dialogue_layout(words: Vocabulary) -> None:
    example = encode(DialogueRecord(messages=TALK, origin="a:1"), words, max_length=LONG)
    assert example.ids == encode_dialogue(TALK, words).ids
    assert example.trained == encode_dialogue(TALK, words).trained
    assert example.origin == "a:1"
    context = prompt_ids(TALK[:1], words)
    assert example.ids[: len(context)] == context
    twice = DialogueRecord(messages=TALK * 2)
    every = encode(twice, words, max_length=LONG)
    last = encode(twice, words, max_length=LONG, trained="last")
    assert sum(every.trained) == 2 * sum(last.trained)


@settings(max_examples=40)
@given(record_is_pair=st.booleans(), length=st.integers(4, 30))
def test_a_cut_text_has_no_end(words: Vocabulary, record_is_pair: bool, length: int) -> None:
    text = "the quick brown fox jumps"
    record: Record = TextRecord(text=text)
    if record_is_pair:
        record = PairRecord(prompt="the", completion=text)
    whole = encode(record, words, max_length=LONG)
    example = encode(record, words, max_length=length)
    assert example.ids == whole.ids[:length]
    assert example.trained == whole.trained[:length]
    assert (example.ids[-1] == words.eos) == (length >= len(whole.ids))


def test_an_answer_that_is_cut_away_is_an_error(words: Vocabulary) -> None:
    size = len(prompt_ids("the dog", words))
    record = PairRecord(prompt="the dog", completion=" sat", origin="a.jsonl:7")
    with pytest.raises(DataError, match=f"a.jsonl:7: the prompt takes {size} tokens of {size}"):
        encode(record, words, max_length=size)
    assert sum(encode(record, words, max_length=size + 1).trained) == 1


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (TALK[:1], "one message"),
        (TALK[1:], "one message"),
        (TALK[:1] * 2, "no answer"),
        ((TALK[0], Message(role="assistant", content=" \n")), "empty answer"),
        ((Message(role="user", content="who? " * LONG), TALK[1]), "answer cut away"),
    ],
)
def test_dialogues_without_an_answer_say_where_and_why(
    words: Vocabulary, messages: tuple[Message, ...], reason: str
) -> None:
    talk = DialogueRecord(messages=messages, origin="a.jsonl:8")
    with pytest.raises(UnusableError, match=r"^a\.jsonl:8: ") as caught:
        encode(talk, words, max_length=16)
    assert (caught.value.reason, caught.value.place) == (reason, "a.jsonl:8")


@given(prefix=texts, middle=texts, suffix=texts, width=st.integers(1, 5), room=st.integers(2, 40))
@settings(max_examples=30)
def test_a_middle_has_the_ids_that_are_written(
    vocabulary: Vocabulary, prefix: str, middle: str, suffix: str, width: int, room: int
) -> None:
    """The canvas to write on has the same tokens on both sides, whatever is cut away."""
    record = InfillRecord(prefix=prefix, middle=middle, suffix=suffix)
    size = len(middle_ids(prefix, middle, vocabulary))
    if not 0 < size <= room:
        with pytest.raises(UnusableError, match="the middle has"):
            encode(record, vocabulary, max_length=room)
        return
    example = encode(record, vocabulary, max_length=size + room)
    hole = Hole(slots=width, optional=True)
    fill = lay_middle(prefix, suffix, hole, vocabulary, room=room)
    start, stop = fill.holes[0]
    ids = fill.canvas.ids[0].tolist()
    assert example.hole
    assert example.ids[:start] == tuple(ids[:start])
    assert example.ids[start + size :] == tuple(ids[stop:])
    assert example.trained == tuple(start <= i < start + size for i in range(len(example.ids)))
    assert len(example.ids) <= size + room
    shown = compose(
        [example], vocabulary, torch.Generator().manual_seed(0), slack=3, holes=0.0
    ).canvas
    assert shown.editable.equal(shown.optional)
    kept = shown.ids[0, ~shown.editable[0]].tolist()
    assert kept == [*example.ids[:start], *example.ids[start + size :]]
    assert shown.editable[0, start : start + size].all()


def test_a_middle_comes_back_as_it_was(words: Vocabulary) -> None:
    """Code keeps its line breaks and indentation, also where it is cut within them or a word."""
    code = "def f(x):\n\tif x:\n        return  x + 1  # é\n    \n\n"
    for start in range(1, len(code)):
        for stop in range(start + 1, len(code) + 1):
            prefix, middle = code[:start], code[start:stop]
            fill = lay_middle(prefix, code[stop:], Hole(slots=0), words)
            ids = middle_ids(prefix, middle, words)
            span = (fill.holes[0][0], fill.holes[0][0] + len(ids))
            before, after = sides(prefix, code[stop:], words)
            assert fill_texts(replace(fill, holes=(span,)), [*before, *ids, *after], words) == (
                middle,
            )


def test_both_sides_of_a_middle_give_way_alike(words: Vocabulary) -> None:
    """Of nine one is the bos, and each side gets half of the rest or what the other leaves."""
    before, after = sides("12345678", "12345678", words, room=9)
    assert ([*map(words.name, before)], len(after)) == (["[CLS]", *"5678"], 4)
    before, after = sides("12345678", "1", words, room=9)
    assert ([*map(words.name, before)], len(after)) == (["[CLS]", *"345678"], 2)
    before, after = sides("1", "12345678", words, room=9)
    assert (len(before), "".join(map(words.name, after))) == (2, "1234567")
    assert sides("1", "2", words, room=9) == sides("1", "2", words)


def test_a_vocabulary_without_bos() -> None:
    with_bos = vocabularies.byte_level()
    words = Vocabulary(
        tokenizer=with_bos.tokenizer,
        mask=with_bos.mask,
        pad=with_bos.pad,
        eos=with_bos.eos,
        bos=None,
        size=with_bos.size,
    )
    one = encode(TextRecord(text="the dog"), words, max_length=LONG)
    assert one.ids == (*words.encode("the dog"), words.eos)
    batch = compose([one], words, torch.Generator().manual_seed(0), slack=0, holes=1.0)
    assert 1 <= batch.canvas.editable.sum() <= len(one.ids) // 2
