from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.evaluation.diversity import characters, words
from sfumato.evaluation.loops import Loop, find_loop, loop_place, loop_profile, loop_rate


def longest_by_definition(tokens: str, repeats: int, span: int) -> Loop | None:
    """The definition of the module, read off: every stretch, every period."""
    found = [
        Loop(start=i, stop=j, period=p, tokens=len(tokens))
        for p in range(1, len(tokens))
        for i in range(len(tokens))
        for j in range(i + max(repeats * p, span), len(tokens) + 1)
        if all(tokens[s] == tokens[s + p] for s in range(i, j - p))
    ]
    best = min(
        found, key=lambda loop: (loop.start - loop.stop, loop.period, loop.start), default=None
    )
    return best


@given(st.text("ab", max_size=14), st.integers(2, 3), st.integers(1, 6))
def test_the_search_follows_the_definition(tokens: str, repeats: int, span: int) -> None:
    assert find_loop(tokens, repeats=repeats, span=span) == longest_by_definition(
        tokens, repeats, span
    )


@given(
    st.integers(0, 20), st.integers(1, 6), st.integers(2, 9), st.integers(0, 5), st.integers(0, 20)
)
def test_a_planted_loop_is_found(
    before: int, period: int, copies: int, rest: int, after: int
) -> None:
    """Tokens that occur once around `copies` copies of one phrase and a part of the next."""
    part = min(rest, period - 1)
    phrase = [f"w{i}" for i in range(period)]
    planted = phrase * copies + phrase[:part]
    tokens = [f"b{i}" for i in range(before)] + planted + [f"a{i}" for i in range(after)]
    loop = find_loop(tokens)
    if copies * period + part < 8:
        assert loop is None
        return
    assert loop == Loop(start=before, stop=before + len(planted), period=period, tokens=len(tokens))
    assert loop.at_end == (after == 0)
    assert loop.copies == pytest.approx(copies + part / period)
    assert loop.place == pytest.approx(before / len(tokens))


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("Нам понравилось. Мы пошли домой и легли спать. Мы пошли домой и легли спать.", 7),
        ("Кот спал, кот спал, Кот спал, кот спал", 3),
        ("food food food food food food food food", 1),
        ("a place . . . . . . . . .", 1),
    ],
)
def test_looping_texts_in_words(text: str, period: int) -> None:
    loop = find_loop(words(text))
    assert loop is not None
    assert loop.period == period


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one",
        "Очень, очень, очень большой дом!!!!!!!!!!!!!!",
        "No no no, she said ----------------------------- and left ..........",
        "They ran and ran and ran until they were tired of running.",
    ],
)
def test_emphasis_is_no_loop(text: str) -> None:
    assert find_loop(words(text)) is None


def test_a_loop_without_spaces_is_found_in_characters() -> None:
    text = "мы шли домой" + "ололо" * 10
    assert find_loop(words(text)) is None
    loop = find_loop(characters(text), span=40)
    assert loop is not None
    assert (loop.period, loop.at_end) == (5, True)


def test_rate_place_and_profile_by_hand() -> None:
    """Loops start at 2/10 and 0/8; the second covers everything, the first the last 80 %."""
    texts = ["one two a b a b a b a b", "x x x x x x x x", "plain text", "another plain text"]
    rate, place = loop_rate(texts, seed=5, reference="r"), loop_place(texts)
    assert (rate.value, rate.n, rate.seed, rate.reference) == (0.5, 4, 5, "r")
    assert rate.stderr == pytest.approx(math.sqrt(3 * 3 / (6**2 * 7)))  # Beta(3, 3)
    assert loop_rate(["plain text"] * 98).stderr == pytest.approx(0.01, rel=0.02)  # Beta(1, 99)
    assert place is not None
    assert (place.value, place.n) == (pytest.approx(0.1), 2)
    assert loop_profile(texts, cells=5) == [0.25, 0.5, 0.5, 0.5, 0.5]
    assert loop_place(["plain text"]) is None
    assert rate.settings == {"repeats": 2, "span": 8, "tokens": "words"}


def test_every_option_changes_the_rate() -> None:
    texts = ["one two one two one two", "the the end"]
    assert loop_rate(texts).value == 0
    assert loop_rate(texts, span=6).value == 0.5
    assert loop_rate(texts, span=2).value == 1
    assert loop_rate(texts, span=2, repeats=3).value == 0.5
    assert loop_rate(texts, span=10, tokens=characters).value == 0.5


@pytest.mark.parametrize("options", [{"repeats": 1}, {"span": 0}])
def test_a_loop_needs_two_copies(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="repeats ≥ 2 and span ≥ 1"):
        find_loop(["a"], **options)


def test_no_texts_have_no_rate() -> None:
    with pytest.raises(UsageError, match="at least one text"):
        loop_rate([])
    with pytest.raises(UsageError, match="texts and cells"):
        loop_profile([])


def read(path: Path, count: int) -> list[str]:
    if not path.is_file():
        pytest.skip(f"{path.name} of {path.parent.name} is not there")
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(count), strict=False)]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("e2e_nlg/valid.jsonl", 0.001),
        ("rocstories/raw_valid.jsonl", 0.002),
        ("tinystories_ru/train.jsonl", 0.005),
    ],
)
def test_real_texts_rarely_loop_and_looped_ones_are_caught(
    shared_data: Path, path: str, most: float
) -> None:
    """Each text is made to loop as a model does: it never gets past its last six words."""
    texts = read(shared_data / path, 250)
    assert loop_rate(texts).value <= most
    looped = [f"{text} {' '.join(text.split()[-6:] * 3)}" for text in texts]
    assert loop_rate(looped).value == 1
    place = loop_place(looped)
    assert place is not None
    expected = [(len(words(t)) - 6) / len(words(x)) for t, x in zip(texts, looped, strict=True)]
    assert place.value == pytest.approx(sum(expected) / len(expected), abs=0.05)
    assert loop_rate(texts[:100], tokens=characters, span=40).value <= 2 * most
    assert loop_rate(looped[:100], tokens=characters, span=40).value > 0.97
