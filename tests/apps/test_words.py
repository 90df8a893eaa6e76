"""Several values behind one flag; commands of two words."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from sfumato_apps.words import TwoWords, spread

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


@pytest.mark.parametrize(
    ("line", "code", "expected"),
    [
        ("align", 0, "text"),
        ("align image", 0, "image"),
        ("align image --n 2", 0, "image 2"),
        ("align --n 2", 0, "text 2"),
        ("judge train", 0, "judged"),
        ("judge", 2, "judge needs a second word: train"),
        ("judge other", 2, "judge needs a second word: train"),
        ("align other", 2, "other"),
        ("other", 2, "No such command"),
    ],
)
def test_commands_of_two_words(line: str, code: int, expected: str) -> None:
    """A command may be the first word of another."""
    app = typer.Typer(cls=TwoWords, rich_markup_mode=None)

    @app.command("align")
    def align(n: int = 1) -> None:
        print("text", n)

    @app.command("align image")
    def image(n: int = 1) -> None:
        print("image", n)

    @app.command("judge train")
    def judge() -> None:
        print("judged")

    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == code
    assert expected in found.output
