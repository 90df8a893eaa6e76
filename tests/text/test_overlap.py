"""Middles without what they repeat, whole and as far as they are written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.text.overlap import begun, trimmed

PIECES = (
    " ",
    "\n",
    " the",
    "the",
    " cat",
    " sat on the",
    " warm mat",
    ".",
    "    return x",
    "(",
    ")",
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@given(prefix=TEXTS, middle=TEXTS, suffix=TEXTS)
@settings(max_examples=300)
def test_how_a_middle_begins_holds_whatever_follows(prefix: str, middle: str, suffix: str) -> None:
    """Each beginning gives one of the result, and a longer one of it than a shorter one."""
    whole, last = trimmed(prefix, middle, suffix), ""
    for size in range(len(middle) + 1):
        found = begun(prefix, middle[:size], suffix)
        assert whole.startswith(found)
        assert found.startswith(last)
        last = found


def test_what_repeats_nothing_is_settled_at_once() -> None:
    assert begun("The Eagle is", " a pub", " near it.") == " a pub"
    assert begun("The Eagle is", " a pub near", " near it.") == " a pub"


@pytest.mark.parametrize(
    ("prefix", "middle", "suffix", "left"),
    [
        ("f(", "(x)", ")", "(x)"),
        ("x", " = y\n    return y\n    x", "\n    return y\n\nend", " = y"),
        ("the mat ", "the mat", " the mat", "the mat"),
        ("on the warm mat", " and on the", " on the warm mat", " and on the"),
        ("sat on the mat", " sat on the mat and", " ran", " and"),
        ("a", " b sat on the", " sat on the mat", " b"),
        ("x\n", "    return value\n", "    return value\nend", ""),
        ("", "", "", ""),
    ],
)
def test_overlap_is_trimmed_only_where_it_tells(
    prefix: str, middle: str, suffix: str, left: str
) -> None:
    assert trimmed(prefix, middle, suffix) == left
