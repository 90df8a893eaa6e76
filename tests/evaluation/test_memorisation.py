from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.evaluation.diversity import cased
from sfumato.evaluation.memorisation import memorisation

TEXTS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=3, max_size=8).map(" ".join), min_size=1, max_size=5
)


def test_memorisation_by_hand() -> None:
    """Four-grams: "a b c d", "b c d e" of one text, "x y z w" of the other; one was seen."""
    found = memorisation(["a b c d e", "x y z w"], ["0 A B C D", "y z w"])
    assert found.value == pytest.approx(1 / 3)
    assert (found.name, found.n, found.settings["tokens"]) == ("memorisation_4", 2, "words")
    # Residuals of the ratio: 1 − 2/3 and 0 − 1/3, twice n/(n − 1), over the 3 n-grams.
    assert found.stderr == pytest.approx((2 * 2 / 9) ** 0.5 / 3)


@given(TEXTS, TEXTS)
def test_memorisation_by_brute_force(texts: list[str], training: list[str]) -> None:
    """Each n-gram of each text is looked for in each text of the training data."""
    seen = total = 0
    for text in texts:
        grams = [text[i : i + 5] for i in range(0, len(text) - 4, 2)]
        seen += sum(any(gram in other for other in training) for gram in grams)
        total += len(grams)
    assert memorisation(texts, training, 3).value == pytest.approx(seen / total)


def test_what_was_copied_is_memorised_and_nothing_else() -> None:
    assert memorisation(["the cat sat on it"], ["And the cat sat on it."]).value == 1.0
    assert memorisation(["the cat sat on it"], []).value == 0.0


def test_tokens_and_reference_are_in_the_record() -> None:
    found = memorisation(
        ["The cat sat on"], ["the cat sat on"], tokens=cased, seed=3, reference="r"
    )
    assert found.value == 0.0
    assert (found.settings["tokens"], found.seed, found.reference) == ("cased", 3, "r")


def test_nothing_to_look_for_is_an_error() -> None:
    with pytest.raises(UsageError, match="something to divide by"):
        memorisation(["a b c"], ["a b c d"])
    with pytest.raises(UsageError, match="at least one token"):
        memorisation(["a"], ["a"], 0)
