"""Bytes of letters, by the names that tokenizers have for them."""

from __future__ import annotations

import pytest

from sfumato.text.letters import _byte_letters, with_bytes


def test_every_byte_of_utf_8_has_its_letter() -> None:
    """Of 256 bytes, 13 never are in UTF-8: C0, C1 and F5 to FF."""
    letters = _byte_letters()
    assert sorted(letters.values()) == [*range(0xC0), *range(0xC2, 0xF5)]
    assert (letters["a"], letters["Ġ"], letters["Ð"]) == (0x61, 0x20, 0xD0)


@pytest.mark.parametrize(
    ("piece", "name", "expected"),
    [
        ("whole", "Ð", "whole"),
        ("a\ufffd", "aÐ", "a\udcd0"),
        ("\ufffd", "<0xB6>", "\udcb6"),
        ("\ufffd", "▁\ufffd", "\ufffd"),  # a token of that very letter
        ("\ufffd", "a", "\ufffd"),  # a name that spells something else
    ],
)
def test_only_what_the_name_spells_becomes_bytes(piece: str, name: str, expected: str) -> None:
    assert with_bytes(piece, name) == expected
