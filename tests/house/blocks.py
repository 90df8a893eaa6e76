"""Code blocks of README.md and docs/: found, run, or at least checked.

A ```python block runs, in the order of its page and with the names of the blocks before it.
A ```bash or ```console block is parsed and its commands are looked up. A comment on the line
above a block changes that:

    <!-- run -->                     a bash block that is cheap enough to run for real
    <!-- not run: the reason -->     a block that nobody runs or parses here
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house.source import ROOT

SHELLS = {"bash", "console", "sh"}
_MARKER = re.compile(r"^<!-- (run|not run: \S.*) -->$")
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>[\w{}-]*)")
_OPERATORS = {"|", "||", "&&", ";", "&"}
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?.*\n(?:.*\n)*?\1$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block; `marker` is "run", "not run" or empty."""

    page: Path
    line: int
    language: str
    marker: str
    text: str

    @property
    def place(self) -> str:
        """`docs/footguns.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README.md and every page of the manual."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if "_build" not in page.parts]


def blocks(page: Path, text: str | None = None) -> Iterator[Block]:
    """The fenced blocks of a page in their order."""
    rows = (page.read_text(encoding="utf-8") if text is None else text).splitlines()
    start, fence, language, marker = 0, "", "", ""
    for number, row in enumerate(rows, start=1):
        if fence:
            if row.startswith(fence) and not row.strip("`").strip():
                body = "\n".join(rows[start : number - 1]) + "\n"
                yield Block(page=page, line=start, language=language, marker=marker, text=body)
                fence = marker = ""
        elif match := _FENCE.match(row):
            start, fence, language = number, match["fence"], match["language"]
        elif row.strip():
            found = _MARKER.match(row.strip())
            marker = found[1].split(":")[0] if found else ""


def shell_text(block: Block) -> str:
    """What a shell block asks to type; of a console block, the lines after `$ `."""
    rows = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        rows = [row.removeprefix("$ ") for row in rows if row.startswith("$ ")]
    return "\n".join(rows)


def commands(block: Block) -> Iterator[list[str]]:
    """Commands of a shell block as words, without redirections and here-documents."""
    pending = ""
    for row in _HERE_DOCUMENT.sub("", shell_text(block)).splitlines():
        pending = f"{pending}\n{row}" if pending else row
        try:
            lexer = shlex.shlex(pending, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:  # a quote that a later line closes
            continue
        pending = ""
        yield from _split(words)
    assert not pending, f"{block.place}: a quote is not closed"


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    redirected = False
    for word in [*words, ";"]:
        if word in _OPERATORS:
            if command:
                yield command
            command = []
        elif set(word) <= set("<>&"):
            redirected = True
        elif redirected:
            redirected = False
        else:
            command.append(word)
