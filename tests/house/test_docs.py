"""Every block of README and docs runs, or at least names commands and options that exist."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import typer
import typer.main
from tests.house import blocks
from tests.house.source import ROOT

from sfumato_apps.cli import build, main

# Programs that a reader has or that the page itself installs.
FOREIGN = {"accelerate", "cat", "cd", "cp", "echo", "git", "head", "ls", "mkdir", "pip", "printf"}
FOREIGN |= {"python", "python3", "source", "torchrun", "tr", "uv"}
PAGES = blocks.pages()
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture(scope="module")
def cli() -> object:
    return typer.main.get_command(build())


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks.blocks(page):
        if block.language == "python" and block.marker != "not run":
            _run_python(block, names)
        elif block.language in blocks.SHELLS and block.marker == "run":
            _run_shell(block)


def _run_python(block: blocks.Block, names: dict[str, object]) -> None:
    if ">>>" not in block.text:
        padding = "\n" * block.line  # so that a traceback names the line of the page
        exec(compile(padding + block.text, str(block.page), "exec"), names)
        return
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    example = doctest.DocTestParser().get_doctest(block.text, names, block.place, None, block.line)
    result = doctest.DocTestRunner(optionflags=flags).run(example, clear_globs=False)
    names.update(example.globs)
    assert not result.failed, f"{block.place}: {result.failed} examples failed (see stdout)"


def _run_shell(block: blocks.Block) -> None:
    """Runs the commands in this process: an import of torch each would take longer than they do."""
    for program, *arguments in blocks.commands(block):
        assert program == "sfumato", f"{block.place}: only sfumato's commands run for real"
        try:
            main(arguments)
        except SystemExit as stop:
            if stop.code:
                pytest.fail(f"{block.place}: sfumato {arguments} exits with {stop.code}")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist(page: Path, cli: object) -> None:
    for block in blocks.blocks(page):
        if block.language in blocks.SHELLS and block.marker != "not run":
            for words in blocks.commands(block):
                _check_command(words, block.place, cli)


def _check_command(words: list[str], place: str, cli: object) -> None:
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]  # VARIABLE=value before a command
    if not words:
        return
    program, *arguments = words
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets), place
    elif program.endswith("python") and arguments[:1] and arguments[0].endswith(".py"):
        assert (ROOT / arguments[0]).is_file(), f"{place}: {arguments[0]}"
    elif program == "sfumato":
        _check_sfumato(arguments, place, cli)
    else:
        assert program in FOREIGN or program == ".ci/run", f"{place}: unknown command {program!r}"


def _check_sfumato(arguments: list[str], place: str, cli: object) -> None:
    """Parses the arguments as the program would, and does not run it."""
    if not arguments or arguments[0].startswith("-"):
        return
    refusals = tuple(c for c in typer.BadParameter.__mro__ if hasattr(c, "format_message"))
    try:
        with cli.make_context("sfumato", [*arguments]) as parent:
            name, command, rest = cli.resolve_command(parent, arguments)
            command.make_context(name, rest, parent=parent).close()
    except typer.Exit:
        pass  # --help
    except refusals as error:
        pytest.fail(f"{place}: sfumato {arguments[0]}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`{3,}.*?`{3,}", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|mailto:|#|<)([^)#\s]+)", text)
    links += re.findall(r"(?:src|href)=\"(?!https?:|#)([^\"#]+)\"", text)
    assert not [link for link in links if not (page.parent / link).exists()]


PAGE = """
# A page

```python
a = 1
```

<!-- not run: it needs a GPU -->
```bash
sfumato train
```

````text
```python
not code
```
````

```console
$ A=1 sfumato write --n 2 \\
    --json | head -1 > x.txt
{"text": "…"}
$ cd "a b" && make test  # both
```

```bash
cat > data.jsonl <<'END'
{"text": "it's"}
END
sfumato fill "two
lines"
```
"""


def test_blocks_are_found() -> None:
    found = list(blocks.blocks(ROOT / "README.md", PAGE))
    assert [block.language for block in found] == ["python", "bash", "text", "console", "bash"]
    assert [block.marker for block in found] == ["", "not run", "", "", ""]
    assert found[0].text == "a = 1\n"
    assert found[0].line == 4
    assert list(blocks.commands(found[3])) == [
        ["A=1", "sfumato", "write", "--n", "2", "--json"],
        ["head", "-1"],
        ["cd", "a b"],
        ["make", "test"],
    ]
    assert list(blocks.commands(found[4])) == [["cat"], ["sfumato", "fill", "two\nlines"]]
