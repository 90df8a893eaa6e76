"""Several values behind one flag."""

from __future__ import annotations

import pytest

from sfumato_apps.words import spread

LISTS, SINGLE = {"--data", "--valid"}, {"--out", "-o", "--mix", "--preset"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m --data a b --mix 1:1", "m --data a --data b --mix 1:1"),
        ("m --data a --data b", "m --data a --data b"),
        ("--data a m", "--data a m"),
        ("--data a b m", "--data a b m"),  # b is taken for the argument: m is one too many
        ("--preset p --data a b", "--preset p --data a --data b"),
        (
            "--data a b c --preset p --valid d e",
            "--data a --data b --data c --preset p --valid d --valid e",
        ),
        ("m --data a -o d b", "m --data a -o d b"),
        ("m --data=a b", "m --data=a b"),
        ("m --data a --bf16 b", "m --data a --bf16 b"),
        ("m --data a - b", "m --data a --data - --data b"),
    ],
)
def test_values_behind_a_flag(line: str, expected: str) -> None:
    """With one argument m; a word that is not behind a list option stays where it is."""
    assert " ".join(spread(line.split(), LISTS, SINGLE, 1)) == expected


def test_commands_without_arguments_take_every_word() -> None:
    assert [*spread(["--data", "a", "b"], LISTS, SINGLE, 0)] == ["--data", "a", "--data", "b"]
