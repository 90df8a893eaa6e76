from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.evaluation.diversity import (
    cased,
    characters,
    distinct_n,
    div,
    repetition,
    unigram_entropy,
    words,
)
from sfumato.evaluation.records import difference

THREE = ["the cat sat on the mat", "the cat sat on the cat", "a dog ran on the mat"]
TEXTS = st.lists(
    st.lists(st.sampled_from("abcd"), min_size=5, max_size=9).map(" ".join), min_size=2, max_size=6
)


def test_div_of_three_sentences_by_hand() -> None:
    """Each sentence has 5 bigrams, 4 trigrams, 3 four-grams.

    Different bigrams: the-cat cat-sat sat-on on-the the-mat, of the third a-dog dog-ran ran-on:
    8 of 15. Trigrams: the-cat-sat cat-sat-on sat-on-the on-the-mat, on-the-cat, a-dog-ran
    dog-ran-on ran-on-the: 8 of 12. Four-grams: the-cat-sat-on cat-sat-on-the sat-on-the-mat,
    sat-on-the-cat, a-dog-ran-on dog-ran-on-the ran-on-the-mat: 7 of 9.
    """
    assert distinct_n(THREE, 2).value == pytest.approx(8 / 15)
    assert distinct_n(THREE, 3).value == pytest.approx(8 / 12)
    assert distinct_n(THREE, 4).value == pytest.approx(7 / 9)
    assert div(THREE).value == pytest.approx(8 / 15 * 8 / 12 * 7 / 9)


def test_repetition_by_hand() -> None:
    """Bigrams of "a b a b a": ab ba ab ba, two of four are new; the third text is too short."""
    found = repetition(["a b a b a", "a b c", "a"], 2)
    assert (found.value, found.n) == (pytest.approx(0.25), 2)


def test_unigram_entropy_by_hand() -> None:
    """Counts 3, 1: −¾ log ¾ − ¼ log ¼."""
    expected = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert unigram_entropy(["a a", "a b"]).value == pytest.approx(expected)


@given(TEXTS)
def test_errors_are_the_jackknife(texts: list[str]) -> None:
    """√((n − 1)/n · Σ(θ₍ᵢ₎ − θ̄)²) with each θ₍ᵢ₎ measured anew without text i."""
    for metric in (div, unigram_entropy):
        left_out = [metric(texts[:i] + texts[i + 1 :]).value for i in range(len(texts))]
        mean = sum(left_out) / len(texts)
        spread = sum((value - mean) ** 2 for value in left_out)
        expected = math.sqrt((len(texts) - 1) / len(texts) * spread)
        assert metric(texts).stderr == pytest.approx(expected, abs=1e-9)


@given(TEXTS, st.randoms(use_true_random=False))
def test_the_order_of_texts_does_not_matter(texts: list[str], order: random.Random) -> None:
    shuffled = order.sample(texts, len(texts))
    assert div(shuffled).value == pytest.approx(div(texts).value)
    assert 0 < div(texts).value <= 1


def test_more_texts_are_less_diverse() -> None:
    """Why n is part of the record: the same source repeats itself more among more texts."""
    source = random.Random(0)
    texts = [" ".join(source.choices("abcdefgh", k=12)) for _ in range(400)]
    assert div(texts[:20]).value > 1.5 * div(texts).value


def test_tokens_of_any_script() -> None:
    assert words("Ёжик-то НЕ спал… «да»!") == [
        "ёжик",
        "-",
        "то",
        "не",
        "спал",
        "…",
        "«",
        "да",
        "»!",
    ]
    assert characters(" Ё \n a ") == ["ё", " ", "a"]
    found = distinct_n(["мама мама"], 1, tokens=characters, seed=3, reference="x")
    assert found.value == pytest.approx(3 / 9)
    assert (found.settings["tokens"], found.seed, found.reference) == ("characters", 3, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He said: \"I can't, Tom's ill.\"", "He said : \" I ca n't , Tom 's ill . \""),
        ("We'll go; they’re well-known", "We 'll go ; they ’re well - known"),
        ("Wait... no!!", "Wait ... no ! !"),
        ("Ёжик НЕ спал", "Ёжик НЕ спал"),
        ("the dogs' bone, rock 'n' roll", "the dogs ' bone , rock ' n ' roll"),
    ],
)
def test_cased_tokens_by_hand(text: str, expected: str) -> None:
    """As spaCy's English tokenizer has them, for words, clitics and punctuation."""
    assert cased(text) == expected.split()


def test_case_counts_where_it_is_kept() -> None:
    texts = ["the cat sat on", "The Cat Sat On"]
    assert div(texts, tokens=cased).value == 1.0
    assert div(texts).value == pytest.approx(1 / 8)
    with pytest.raises(UsageError, match="setting tokens cased against words"):
        difference(div(texts, tokens=cased), div(texts))


def test_nothing_to_count_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least 4 tokens"):
        div(["a b c"])
    with pytest.raises(UsageError, match="at least one token"):
        unigram_entropy([""])
    with pytest.raises(UsageError, match="at least one text"):
        repetition(["a"], 4)
