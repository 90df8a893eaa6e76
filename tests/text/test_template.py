"""Holes in texts: parsing, laying out, and locked text that comes back byte for byte."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text import vocabularies

from sfumato.errors import UsageError
from sfumato.text.template import (
    HoleSpec,
    compose_fill,
    escape_braces,
    fill_texts,
    join_fill,
    parse_holes,
)
from sfumato.text.vocabulary import Vocabulary

ODD = ["", " ", "  ", "\r\n", "\t", "{", "}", "{}", "{8}", "é", "e\u0301", "\u200d", "🙂", "[MASK]"]
literals = st.lists(st.text(max_size=5) | st.sampled_from(ODD), max_size=3).map("".join)
sizes = st.none() | st.integers(1, 4)


def test_holes_by_hand() -> None:
    free, eight = HoleSpec(), HoleSpec(slots=8)
    assert parse_holes("{}") == (free,)
    assert parse_holes("{8} a") == (eight, " a")
    assert parse_holes("{}{8}") == (free, eight)
    assert parse_holes("{{}}") == ("{}",)
    assert parse_holes("{{8}}") == ("{8}",)
    assert parse_holes("{{{8}}}") == ("{", eight, "}")
    assert parse_holes("a\r\n{}\r\n") == ("a\r\n", free, "\r\n")
    assert parse_holes("") == ()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", 1),
        ("a }", 3),
        ("a {b}", 3),
        ("{0}", 1),
        ("{-1}", 1),
        ("{ }", 1),
        ("{{}", 3),
        ("{12345678}", 1),
    ],
)
def test_what_is_no_hole_is_named_with_its_place(text: str, place: int) -> None:
    with pytest.raises(UsageError, match=f"at character {place} is no hole: write"):
        parse_holes(text)


def test_a_text_without_holes_is_refused(words: Vocabulary) -> None:
    with pytest.raises(UsageError, match="no hole in the text"):
        compose_fill("plain {{text}}", words)


@given(parts=st.lists(st.tuples(sizes, literals), max_size=4), first=literals)
def test_escaped_text_is_all_literal(parts: list[tuple[int | None, str]], first: str) -> None:
    """Parsing undoes escaping, and finds each hole between the right texts."""
    text = escape_braces(first)
    expected: list[str | HoleSpec] = [first]
    for slots, literal in parts:
        text += "{}" if slots is None else f"{{{slots}}}"
        text += escape_braces(literal)
        expected += [HoleSpec(slots=slots), literal]
    assert parse_holes(text) == tuple(part for part in expected if part != "")


@given(
    first=literals,
    parts=st.lists(st.tuples(sizes, literals), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
@settings(max_examples=20)
def test_locked_text_comes_back_byte_for_byte(
    vocabulary: Vocabulary, first: str, parts: list[tuple[int | None, str]], seed: int
) -> None:
    """Whatever is written into the holes: words, bytes of half a character, ends, nothing."""
    text = escape_braces(first)
    for slots, literal in parts:
        text += ("{}" if slots is None else f"{{{slots}}}") + escape_braces(literal)
    fill = compose_fill(text, vocabulary, free_slots=3)
    assert fill.literals == (first, *(literal for _, literal in parts))

    draw = random.Random(seed)
    row = fill.canvas.ids[0].tolist()
    for start, stop in fill.holes:
        row[start:stop] = [draw.randrange(vocabulary.size) for _ in range(start, stop)]
    joined = join_fill(fill, row, vocabulary)
    written = fill_texts(fill, row, vocabulary)
    assert (
        joined.encode()
        == "".join(
            literal + hole for literal, hole in zip(fill.literals, (*written, ""), strict=True)
        ).encode()
    )
    pattern = "(.*)".join(map(re.escape, fill.literals))
    assert re.fullmatch(pattern, joined, re.DOTALL)

    nothing = [vocabulary.pad] * len(row)
    assert join_fill(fill, nothing, vocabulary).encode() == "".join(fill.literals).encode()


@given(
    first=literals,
    parts=st.lists(st.tuples(sizes, literals), min_size=1, max_size=3),
)
@settings(max_examples=10)
def test_the_canvas_of_a_text_with_holes(
    vocabulary: Vocabulary, first: str, parts: list[tuple[int | None, str]]
) -> None:
    text = escape_braces(first)
    for slots, literal in parts:
        text += ("{}" if slots is None else f"{{{slots}}}") + escape_braces(literal)
    fill = compose_fill(text, vocabulary, free_slots=3)
    ids, editable = fill.canvas.ids[0].tolist(), fill.canvas.editable[0].tolist()
    inside = [place for start, stop in fill.holes for place in range(start, stop)]
    assert [place for place, free in enumerate(editable) if free] == inside
    assert [place for place, token in enumerate(ids) if token == vocabulary.mask] == inside
    assert [stop - start for start, stop in fill.holes] == [slots or 3 for slots, _ in parts]
    assert fill.canvas.optional.equal(fill.canvas.editable)
    assert ids[-1] == vocabulary.eos
    assert vocabulary.bos is None or ids[0] == vocabulary.bos


SENTENCE = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]


@given(data=st.data())
@settings(max_examples=10)
def test_the_words_cut_out_fit_back_in(vocabulary: Vocabulary, data: st.DataObject) -> None:
    """The tokens of the cut words, in the hole, give the sentence back: spaces fall in place."""
    start = data.draw(st.integers(0, len(SENTENCE) - 1))
    stop = data.draw(st.integers(start + 1, len(SENTENCE)))
    before, cut = SENTENCE[:start], SENTENCE[start:stop]
    sentence = " ".join(SENTENCE) + "."
    head = " ".join([*before, ""]) if before else ""
    whole = vocabulary.encode(sentence)
    opening = vocabulary.encode(" ".join(before))
    tokens = whole[len(opening) : len(vocabulary.encode(" ".join([*before, *cut])))]
    text = head + f"{{{len(tokens)}}}" + sentence[len(head + " ".join(cut)) :]
    fill = compose_fill(text, vocabulary)
    row = fill.canvas.ids[0].tolist()
    row[slice(*fill.holes[0])] = list(tokens)
    assert join_fill(fill, row, vocabulary) == sentence
    assert tuple(row[vocabulary.bos is not None : -1]) == whole


def test_the_space_before_a_hole_is_left_to_the_word(words: Vocabulary) -> None:
    fill = compose_fill("the {2} dog", words)
    assert words.pieces(fill.canvas.ids[0].tolist()) == [
        "[CLS]",
        *words.pieces(words.encode("the")),
        "[MASK]",
        "[MASK]",
        *words.pieces(words.encode(" dog")),
        "[SEP]",
    ]
    two_spaces = compose_fill("the  {1}", words)
    assert two_spaces.canvas.ids[0].tolist()[1 : two_spaces.holes[0][0]] == [*words.encode("the ")]


def test_holes_apart_stay_apart_on_the_canvas(words: Vocabulary) -> None:
    (_, first), (second, _) = compose_fill("{2} {2}", words).holes
    assert second - first == 1
    (_, first), (second, _) = compose_fill("{2}{2}", words).holes
    assert second == first


def test_punctuation_after_a_hole_is_encoded_as_it_goes_on() -> None:
    """Tokenizers that begin every text with a space must not put one before the comma."""
    for made in (vocabularies.roberta_like, vocabularies.metaspace):
        words = made()
        fill = compose_fill("the {1}, the", words)
        after = fill.canvas.ids[0].tolist()[fill.holes[0][1]]
        assert words.pieces([after]) == [","]


def test_the_first_hole_begins_without_a_space(words: Vocabulary) -> None:
    fill = compose_fill("{4} dog", words)
    row = fill.canvas.ids[0].tolist()
    row[slice(*fill.holes[0])] = [*words.encode(" the"), *[words.pad] * 3][:4]
    assert join_fill(fill, row, words).startswith("the") is True
    assert fill_texts(fill, row, words) == ("the",)


@given(
    first=literals,
    parts=st.lists(st.tuples(sizes, literals), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_the_first_ids_of_a_row_give_how_its_text_begins(
    words: Vocabulary, first: str, parts: list[tuple[int | None, str]], seed: int
) -> None:
    """But for half a character at the end; and all literals before the first hole that is open."""
    text = escape_braces(first)
    for slots, literal in parts:
        text += ("{}" if slots is None else f"{{{slots}}}") + escape_braces(literal)
    fill = compose_fill(text, words, free_slots=3)
    draw = random.Random(seed)
    row = fill.canvas.ids[0].tolist()
    for start, stop in fill.holes:
        row[start:stop] = [draw.randrange(words.size) for _ in range(start, stop)]
    whole = join_fill(fill, row, words)
    for size in range(len(row)):
        begun = join_fill(fill, row[:size], words)
        assert whole.startswith(begun.rstrip("\ufffd"))
        done = sum(stop <= size for _, stop in fill.holes)
        assert len(begun) >= sum(map(len, fill.literals[: done + 1]))
