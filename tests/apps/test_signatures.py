"""One signature is the API, the command line and the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import typer
from typer.testing import CliRunner

from sfumato.errors import UsageError
from sfumato_apps.signatures import as_command, describe, did_you_mean, options, read_preset


def recipe(
    model: str,
    *,
    out: Path | None = None,
    n: int = 1,
    kind: Literal["a", "b"] = "a",
    data: list[str] | None = None,
    fast: bool = False,
) -> None:
    """Does a thing.

    More about it.

    Args:
        model: What to use.
        out: Where to
            put it.
        n: How many.
        kind: Which kind.
        data: From where.
        fast: Hurry.
    """
    print(model, out, n, kind, data, fast)


@pytest.fixture
def run():
    """Runs the recipe as a command of an application with two commands."""
    app = typer.Typer()
    app.command("recipe")(as_command(recipe))
    app.command("other")(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, ["recipe", *arguments])


def test_docstring_is_split() -> None:
    """Summary and paragraphs; one help text an argument, continuation lines joined."""
    summary, helps = describe(recipe)
    assert summary == "Does a thing.\n\nMore about it."
    assert helps["out"] == "Where to put it."
    assert set(helps) == set(options(recipe))


def test_arguments_and_options_reach_the_recipe(run) -> None:
    """Positional by place, keyword-only by flag, lists by repetition."""
    result = run("m", "--n", "3", "--kind", "b", "--data", "x", "--data", "y", "--fast", "-o", "d")
    assert result.exit_code == 0, result.output
    assert result.output.strip() == "m d 3 b ['x', 'y'] True"


def test_help_is_the_docstring(run) -> None:
    """Each argument's help text stands in --help."""
    text = " ".join(run("--help").output.replace("│", " ").split())
    for words in describe(recipe)[1].values():
        assert words in text


def test_unknown_option_and_bad_value_are_usage_errors(run) -> None:
    """Exit code 2, nothing run."""
    assert run("m", "--nn", "3").exit_code == 2
    assert run("m", "--kind", "c").exit_code == 2
    assert run("m", "--n", "x").exit_code == 2


def test_preset_fills_in_and_the_command_line_wins(run, tmp_path: Path) -> None:
    """Values of the file, except where the flag was given, even with the default's value."""
    path = tmp_path / "p.yaml"
    path.write_text("recipe: recipe\nn: 5\nkind: b\n")
    assert run("m", "--preset", str(path)).output.strip() == "m None 5 b None False"
    assert run("m", "--n", "1", "--preset", str(path)).output.strip() == "m None 1 b None False"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nn: 3\n", "did you mean 'n'"),
        ("n: many\n", "n: .*integer"),
        ("kind: c\n", "kind: "),
        ("recipe: train\n", "is for `sfumato train`"),
        ("- 1\n", "expected a mapping"),
        ("n: [1\n", "not a readable YAML"),
    ],
)
def test_bad_preset_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    """What is wrong, in which file."""
    path = tmp_path / "p.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_preset(path, recipe)
    assert str(path) in str(caught.value)


def test_missing_preset() -> None:
    """A file that is not there."""
    with pytest.raises(UsageError, match="absent"):
        read_preset(Path("absent.yaml"), recipe)


def test_hint_lists_all_if_none_is_near() -> None:
    """The nearest, or all."""
    assert did_you_mean("lenght", ["length", "seed"]) == "; did you mean 'length'?"
    assert did_you_mean("x", ["length", "seed"]) == "; known are length, seed"
