"""Words in any script, and the diff of two texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.text.words import diff, likeness, share_kept, tokens, word_spans

# Emoji with joiners, combining marks, line ends, tabs, several scripts.
PIECES = (
    "a|cat|Ёж|é|e\u0301|हिन्दी|猫|です|ไทย|\U0001f469\u200d\U0001f52c|❤️|🇫🇷|"
    "\r\n|\t| |  |'|-|*|.|,|3|{}|[SEP]|\u2028|\x00||؟"
)
TEXTS = st.lists(st.sampled_from(PIECES.split("|")), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's the dog's day", ["It's", "the", "dog's", "day"]),
        ("кто-то ёж, е\u0301ж", ["кто-то", "ёж", "е\u0301ж"]),
        ("f*ck sh**t @ss a@b.c", ["f*ck", "sh**t", "ss", "a@b", "c"]),
        ("3.5 m, 1,000 v2.0.", ["3.5", "m", "1,000", "v2.0"]),
        ("猫が好き", ["猫", "が", "好", "き"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ok 👩🏽‍🔬❤️!", ["ok", "👩🏽‍🔬❤️"]),
        ("a–b well-known -x-", ["a", "b", "well-known", "x"]),
        ("^ ` _x_ ", ["_x_"]),
        ("", []),
    ],
)
def test_words_as_a_reader_sees_them(text: str, words: list[str]) -> None:
    assert [text[start:stop] for start, stop in word_spans(text)] == words


@given(text=TEXTS)
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text
    spans = word_spans(text)
    assert all(start < stop for start, stop in spans)
    assert list(spans) == sorted(spans)


@given(source=TEXTS, text=TEXTS)
@settings(max_examples=60)
def test_a_diff_holds_both_texts(source: str, text: str) -> None:
    segments = diff(source, text)
    assert "".join(one.text for one in segments if one.kind != "written") == source
    assert "".join(one.text for one in segments if one.kind != "removed") == text
    assert 0 <= share_kept(segments) <= 1
    assert share_kept(diff(source, source)) == 1


def test_the_share_of_kept_words_by_hand() -> None:
    """Four words, one replaced and one deleted: half are kept."""
    assert share_kept(diff("one two three four", "one 2 four")) == 0.5


@given(source=TEXTS, text=TEXTS)
@settings(max_examples=60)
def test_likeness_is_symmetric_and_bounded(source: str, text: str) -> None:
    assert 0 <= likeness(source, text) <= 1
    assert likeness(source, text) == pytest.approx(likeness(text, source))
    assert likeness(source, source) == 1


def test_likeness_by_hand() -> None:
    """ "ab" and "ac": of 2 + 2 letters 2 · 1 are shared, of 1 + 1 pairs none: (½ + 0)/2."""
    assert likeness("ab", "ac") == 0.25
