"""The studio's files: whole, small, and without a way for text to become markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfumato_apps.player.page import _SCRIPTS, _STYLES
from sfumato_apps.studio import static_files

FOLDER = static_files()
SCRIPTS = sorted(FOLDER.rglob("*.js"))
STYLES = sorted(FOLDER.rglob("*.css"))
PAGE = (FOLDER / "index.html").read_text(encoding="utf-8")
IMPORT = re.compile(r'^import .*? from "(\..+?)";$', flags=re.MULTILINE | re.DOTALL)


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(FOLDER).as_posix() for path in paths]


def imported(path: Path) -> set[Path]:
    source = path.read_text(encoding="utf-8")
    return {(path.parent / name).resolve() for name in IMPORT.findall(source)}


@pytest.mark.parametrize("path", SCRIPTS + STYLES, ids=names(SCRIPTS + STYLES))
def test_files_can_be_read_in_one_sitting(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    assert len(lines) <= 300
    if path.suffix == ".js":
        assert max(map(len, lines)) <= 120
        assert lines[0].startswith("/**"), "a module says what it is for"


@pytest.mark.parametrize("path", SCRIPTS, ids=names(SCRIPTS))
def test_modules_never_make_markup_or_code_of_text(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    ways = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function|srcdoc|DOMParser"
    )
    assert not re.findall(ways, source)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", source)
    assert not re.findall(r"setAttribute\(\s*[\"'](?:on|href|src|style)", source)


def test_every_module_is_reached_from_the_page_and_exists() -> None:
    found, todo = set(), {(FOLDER / "main.js").resolve(), (FOLDER / "play" / "page.js").resolve()}
    while todo:
        path = todo.pop()
        found.add(path)
        todo |= imported(path) - found
    assert found == {path.resolve() for path in SCRIPTS}


def test_the_page_asks_for_files_that_are_there_and_has_nothing_inline() -> None:
    asked = re.findall(r'(?:href|src)="([^"#]+)"', PAGE)
    assert all((FOLDER / name).is_file() for name in asked)
    linked = {name for name in asked if name.endswith(".css")}
    assert linked == {name for name in names(STYLES) if name.startswith("css/")}
    assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", PAGE)


def test_the_parts_of_a_page_hold_all_that_they_import() -> None:
    """Joined in this order, what a module imports stands above it, once by its name."""
    parts = [(FOLDER / name).resolve() for name in _SCRIPTS]
    declared: list[str] = []
    for number, path in enumerate(parts):
        assert imported(path) <= set(parts[:number])
        source = path.read_text(encoding="utf-8")
        declared += re.findall(r"^(?:export )?(?:const|let|function) (\w+)", source, re.MULTILINE)
    assert len(declared) == len(set(declared))
    assert all((FOLDER / name).is_file() for name in _STYLES)
