"""The standard library as training text: pieces of modules, whole and with a middle."""

from __future__ import annotations

import ast
import json
import random
import sysconfig
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import contestants

from sfumato.models.checkpoints import Checkpoint
from sfumato.text.records import InfillRecord

SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
SKIPPED |= {"encodings", "pydoc_data", "_bundled"}  # tables, and not code
LEAST, MOST, BODY, HELD = 120, 800, 240, 20
LENGTH, SLACK, VOCABULARY, HOLES = 256, 48, 4096, 0.5


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of a module, and the same with a gap."""

    text: str
    gap: InfillRecord | None


def parts(*, seed: int, most: int | None = None) -> tuple[list[Piece], list[Piece]]:
    """Pieces to learn from, at most `most`, and those of every `HELD`-th module; none is in both.

    The modules are in random order.
    """
    paths = modules(Path(sysconfig.get_path("stdlib")))
    random.Random(seed).shuffle(paths)
    spans = random.Random(seed)
    held = dict.fromkeys(text for path in paths[::HELD] for text in pieces(_source(path)))
    learnt = dict.fromkeys(
        text
        for number, path in enumerate(paths)
        if number % HELD
        for text in pieces(_source(path))
        if text not in held
    )
    chosen = ([*learnt][:most], spans.sample([*held], len(held)))
    found = [[Piece(text=text, gap=gap(text, spans)) for text in part] for part in chosen]
    return found[0], found[1]


def modules(folder: Path) -> list[Path]:
    """The Python files of a library, without its tests and what others have installed."""
    return sorted(
        path
        for path in folder.rglob("*.py")
        if not SKIPPED & set(path.relative_to(folder).parts[:-1])
    )


def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="ignore").replace("\r\n", "\n")


def pieces(source: str) -> Iterator[str]:
    r"""Cuts a module into texts of `LEAST` to `MOST` characters, with their indentation.

    Cuts are before functions and classes; in what is still too long, before lines.

    Example:
        >>> body = "".join(f"    x = {n}\n" for n in range(40))
        >>> [text[:8] for text in pieces(f"def f():\n{body}def g():\n{body}")]
        ['def f():', 'def g():']
    """
    lines = source.splitlines(keepends=True)
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    text = ""
    starts = _starts(tree, lines)
    for number, line in enumerate(lines):
        room = len(text) + len(line) <= MOST
        if (number in starts and len(text) >= LEAST) or not room:
            yield from _kept(text)
            text = ""
        text += line
    yield from _kept(text)


def _kept(text: str) -> Iterator[str]:
    text = text.strip("\n")
    if LEAST <= len(text) <= MOST:
        yield text + "\n"


def _starts(tree: ast.Module, lines: Sequence[str]) -> set[int]:
    """Lines, from 0, at which a function or a class begins, with its decorators and comments."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
            while first and lines[first - 1].lstrip().startswith("#"):
                first -= 1
            found.add(first)
    return found


def gap(text: str, spans: random.Random) -> InfillRecord | None:
    """A text with a random span of `BODY` characters or fewer as its middle.

    As in the benchmark: two characters of the code of a function, each as likely as any other,
    and what is between them; so a span begins and ends anywhere, also within a word.
    """
    first, last = body(text) or (0, len(text))
    first = spans.randrange(first, max(first, last - BODY) + 1)
    start, stop = sorted(spans.sample(range(first, min(last, first + BODY) + 1), 2))
    if not text[start:stop].strip():
        return None
    return InfillRecord(prefix=text[:start], middle=text[start:stop], suffix=text[stop:])


def body(text: str) -> tuple[int, int] | None:
    r"""Where the code of a function is, without its docstring; None if there is no function.

    Example:
        >>> text = '    def f(self):\n        "Docs."\n        return 1\n'
        >>> text[slice(*body(text))]
        '        return 1'
    """
    try:
        first = ast.parse(textwrap.dedent(text)).body[0]
    except (SyntaxError, IndexError):
        return None
    if not isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    code = first.body[ast.get_docstring(first) is not None :]
    if not code:
        return None
    lines = text.splitlines(keepends=True)
    start = len("".join(lines[: code[0].lineno - 1]))
    stop = len("".join(lines[: code[-1].end_lineno]).rstrip("\n"))
    return start, stop


def train(
    out: Path, learnt: Sequence[Piece], held: Sequence[Piece], *, minutes: float
) -> Checkpoint:
    """`sfumato train` on pieces, whole and with a gap; or what an earlier run left there."""
    out.mkdir(parents=True, exist_ok=True)
    options = ["--data", *_files(learnt, out, "train"), "--valid", *_files(held, out, "valid")]
    options += ["--vocabulary", str(VOCABULARY), "--slack", str(SLACK)]
    options += ["--holes", str(HOLES), "--max-length", str(LENGTH)]
    options += ["--minutes", str(minutes), "--evaluate-every", "1000", "--valid-texts", "200"]
    return contestants.diffusion(out / "diffusion", *options)


def _files(pieces: Sequence[Piece], out: Path, name: str) -> list[str]:
    whole, gaps = out / f"{name}-whole.jsonl", out / f"{name}-gaps.jsonl"
    whole.write_text("".join(json.dumps({"text": piece.text}) + "\n" for piece in pieces))
    rows = [piece.gap for piece in pieces if piece.gap is not None]
    fields = ("prefix", "middle", "suffix")
    lines = (json.dumps({name: getattr(row, name) for name in fields}) for row in rows)
    gaps.write_text("".join(line + "\n" for line in lines))
    return [str(whole), str(gaps)]
