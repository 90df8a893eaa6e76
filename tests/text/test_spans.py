"""Spans opened and joined again: bytes, spaces, deletions and insertions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text import vocabularies
from tests.text.test_words import TEXTS

from sfumato.errors import UsageError
from sfumato.text.batching import encode, prompt_ids
from sfumato.text.records import PairRecord
from sfumato.text.spans import (
    begun,
    close_spans,
    cut,
    join_neighbours,
    merge_spans,
    open_spans,
    put,
    spans_of,
    without,
)


@pytest.mark.parametrize(
    ("text", "phrase", "left"),
    [
        ("a stupid cat", "stupid", "a cat"),
        ("Stupid cat", "Stupid", "cat"),
        ("you are stupid", "stupid", "you are"),
        ("you are stupid.", "stupid", "you are."),
        ("you are stupid !", "stupid", "you are !"),
        ("(stupid cat)", "stupid", "(cat)"),
        ("a (stupid) cat", "stupid", "a () cat"),
        ("first\nstupid cat", "stupid", "first\ncat"),
        ("first stupid\r\ncat", "stupid", "first\r\ncat"),
        ("a\tstupid\tcat", "stupid", "a\t\tcat"),
        ("he, stupid, left", "stupid", "he,, left"),
        ("это глупый ёж", "глупый", "это ёж"),
        ("笨猫", "笨", "猫"),
        ("stupid", "stupid", ""),
    ],
)
def test_a_deleted_word_leaves_no_double_space(text: str, phrase: str, left: str) -> None:
    assert without(text, spans_of(text, phrase)) == left


def test_neighbours_deleted_one_by_one() -> None:
    for text in ("bad old cat", "a bad old cat", "cat is bad old"):
        spans = [*spans_of(text, "bad"), *spans_of(text, "old")]
        assert without(text, spans) == " ".join(w for w in text.split() if w not in ("bad", "old"))


@pytest.mark.parametrize(
    ("text", "at", "written", "joined"),
    [
        ("the cat", 3, " old", "the old cat"),
        ("the cat", 4, " old", "the old cat"),
        ("the cat", 4, "old", "the old cat"),
        ("the cat", 3, "old", "the old cat"),
        ("the cat", 7, " sat", "the cat sat"),
        ("the cat", 7, ".", "the cat."),
        ("the cat", 0, " See", "See the cat"),
        ("the cat", 5, "h", "the chat"),
        ("a\ncat", 2, " big", "a\nbig cat"),
        ("the cat.", 7, " here", "the cat here."),
        ("猫好", 1, "很", "猫很好"),
        ("", 0, " Hello", "Hello"),
    ],
)
def test_an_insertion_finds_its_spaces(text: str, at: int, written: str, joined: str) -> None:
    assert put(text, [(at, at)], [written]) == joined


@pytest.mark.parametrize(
    ("text", "span", "written", "joined"),
    [
        ("the cat sat", (4, 7), " dog", "the dog sat"),
        ("the cat sat", (4, 7), "dog", "the dog sat"),
        ("the cat sat", (3, 7), "dog", "the dog sat"),
        ("the cat sat", (3, 7), " dog", "the dog sat"),
        ("(cat)", (1, 4), " dog", "(dog)"),
        ("cats", (0, 3), "dog", "dogs"),
        ("x\n    y\nz", (2, 8), "    q\n", "x\n    q\nz"),
        ("a  b", (1, 3), "\n", "a\nb"),
    ],
)
def test_a_rewritten_span_finds_its_spaces(
    text: str, span: tuple[int, int], written: str, joined: str
) -> None:
    assert put(text, [span], [written]) == joined


@st.composite
def spanned(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    text = draw(TEXTS)
    places = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(places, places), max_size=4))
    return text, [(min(pair), max(pair)) for pair in pairs]


@given(case=spanned(), written=st.lists(TEXTS, min_size=5, max_size=5))
@settings(max_examples=150)
def test_what_is_outside_comes_back_byte_for_byte(
    case: tuple[str, list[tuple[int, int]]], written: list[str]
) -> None:
    """All literals in order; a literal beside a deletion may lose one space of that edge."""
    text, pairs = case
    spans = merge_spans(text, pairs)
    written = written[: len(spans)]
    joined = put(text, spans, written)
    gone = [not new.strip(" ") for new in written]
    literals = cut(text, spans)
    pattern = ""
    for index, literal in enumerate(literals):
        left = index > 0 and gone[index - 1] and literal.startswith(" ")
        right = index < len(spans) and gone[index] and literal.endswith(" ")
        middle = literal[left : len(literal) - (right and len(literal) > left)]
        pattern += " ?" * left + re.escape(middle) + " ?" * (right and len(literal) > left)
        if index < len(spans):
            old = text[slice(*spans[index])]
            blank = " *" if old and not old.strip() else ""
            new = " *" + re.escape(written[index].strip(" ")) + " *"
            core = r"\s*" + re.escape(written[index].strip(" ")) + r"\s*"
            pattern += blank if gone[index] else (core if old[:1].isspace() else new) + " *"
    assert re.fullmatch(pattern, joined, re.DOTALL), (pattern, joined)
    assert without(text, ()) == text


@given(case=spanned(), written=st.lists(TEXTS, min_size=5, max_size=5), size=st.integers(0, 40))
@settings(max_examples=150)
def test_how_a_text_begins_holds_whatever_follows(
    case: tuple[str, list[tuple[int, int]]], written: list[str], size: int
) -> None:
    """For every span that may be under way, and any beginning of what it becomes."""
    text, pairs = case
    spans = merge_spans(text, pairs)
    whole = put(text, spans, written[: len(spans)])
    for count in range(1, len(spans) + 1):
        new = [*written[: count - 1], written[count - 1][:size]]
        assert whole.startswith(begun(text, spans[:count], new))


def test_the_first_ids_of_a_row_give_how_its_text_begins() -> None:
    words = vocabularies.byte_level()
    opening = open_spans("the quick fox. The dog.", [(4, 9), (19, 22)], words, extra=0)
    (first, _), (last, _) = opening.fill.holes
    row = opening.fill.canvas.ids[0].tolist()
    row[first] = words.encode(" lazy")[0]
    assert close_spans(opening, row[:first], words) == "the"
    assert close_spans(opening, row[: first + 1], words).startswith("the l")
    row[first : opening.fill.holes[0][1]] = [words.pad] * (opening.fill.holes[0][1] - first)
    assert close_spans(opening, row[:last], words) == "the fox. The"


@pytest.mark.parametrize("name", vocabularies.SMALL)
def test_the_source_written_back_is_the_source(name: str) -> None:
    """The slots hold the tokens that the span had, so writing them again changes nothing."""
    words = vocabularies.SMALL[name]()
    text = "the quick brown fox, the lazy dog."
    for phrase in ("the", "quick brown", "fox", "dog", "lazy dog."):
        spans = spans_of(text, phrase) or ((text.index(phrase), len(text)),)
        opening = open_spans(text, spans, words, extra=1)
        row = opening.fill.canvas.ids[0].tolist()
        whole = words.encode(text)
        body = row[words.bos is not None : -1]
        kept = iter(whole)
        for place, token in enumerate(body):
            if token != words.mask:
                assert token == next(t for t in kept), name
                continue
            start = place + (words.bos is not None)
            hole = next(h for h in opening.fill.holes if h[0] <= start < h[1])
            row[start] = words.pad if start == hole[1] - 1 else next(kept)
        assert close_spans(opening, row, words) == text


@given(case=spanned(), prompt=TEXTS, name=st.sampled_from(sorted(vocabularies.SMALL)))
@settings(max_examples=40)
def test_a_prompt_stands_where_training_puts_it(
    case: tuple[str, list[tuple[int, int]]], prompt: str, name: str
) -> None:
    """With nothing open the canvas is the pair; with spans open only the completion changes."""
    (text, spans), words = case, vocabularies.SMALL[name]()
    lead = " " * prompt.endswith(" ")
    pair = PairRecord(prompt=prompt.removesuffix(" "), completion=lead + text)
    closed = open_spans(text, [], words, extra=1, prompt=prompt).fill.canvas
    assert tuple(closed.ids[0].tolist()) == encode(pair, words, max_length=1000).ids
    assert not closed.editable.any()
    opened = open_spans(text, spans, words, extra=1, prompt=prompt)
    head, canvas = prompt_ids(pair.prompt, words), opened.fill.canvas
    assert tuple(canvas.ids[0, : len(head)].tolist()) == head
    assert not canvas.editable[0, : len(head)].any()
    assert canvas.ids[0, -1] == words.eos
    ids = canvas.ids[0].tolist()
    for start, stop in opened.fill.holes:
        ids[start:stop] = [words.pad] * (stop - start)
    assert close_spans(opened, ids, words) == without(text, spans)


def test_slots_are_the_span_s_tokens_and_a_few_more() -> None:
    words = vocabularies.byte_level()
    text = "the lazy dog"
    for extra in (0, 3):
        ((start, stop),) = open_spans(text, [(4, 8)], words, extra=extra).fill.holes
        assert stop - start == len(words.encode(" lazy")) + extra
    canvas = open_spans(text, [(4, 8)], words, extra=1).fill.canvas
    assert canvas.optional.equal(canvas.editable)


def test_spans_are_checked() -> None:
    words = vocabularies.byte_level()
    for span in ((2, 1), (-1, 2), (0, 9)):
        with pytest.raises(UsageError, match="0 ≤ start ≤ stop ≤ 3"):
            open_spans("cat", [span], words, extra=1)
    with pytest.raises(UsageError, match="give extra ≥ 1"):
        open_spans("cat", [(1, 1)], words, extra=0)
    assert merge_spans("abcdef", [(3, 4), (0, 2), (1, 3)]) == ((0, 4),)
    assert join_neighbours("a b  c", [(0, 1), (2, 3), (5, 6)]) == ((0, 3), (5, 6))


def test_a_phrase_is_found_as_words() -> None:
    assert spans_of("cat concat cats cat", "cat") == ((0, 3), (16, 19))
    assert spans_of("cat", "") == ()
