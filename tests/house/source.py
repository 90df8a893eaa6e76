"""The source tree as the house tests read it: modules and functions with their sizes."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_PLAIN = {"bool", "float", "int", "str", "Path", "None"}
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


@dataclass(frozen=True, kw_only=True)
class Module:
    """One file of the packages."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Dotted name, `sfumato.noise.masked`."""
        parts = self.path.relative_to(SRC).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        """Dotted name of the folder."""
        return ".".join(self.path.relative_to(SRC).parts[:-1])


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function or method; a function inside another counts towards the outer one too."""

    name: str
    node: FunctionNode
    lines: int
    parameters: int
    nesting: int
    silenced: bool


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of src, in the order of their paths."""
    files = sorted(SRC.rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    return tuple(
        Module(path=path, text=text, tree=ast.parse(text, filename=str(path)))
        for path, text in zip(files, texts, strict=True)
    )


@cache
def functions() -> tuple[Function, ...]:
    """Every function of src with its measures."""
    return tuple(
        function
        for module in modules()
        for function in _functions(module.tree, module.name, module.text)
    )


def _functions(node: ast.AST, prefix: str, text: str) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, FunctionNode | ast.ClassDef)
        name = f"{prefix}.{child.name}" if named else prefix
        if isinstance(child, FunctionNode):
            yield Function(
                name=name,
                node=child,
                lines=lines(child, code_lines(text)),
                parameters=parameters(child),
                nesting=nesting(child),
                silenced=_silenced(text.splitlines()[child.lineno - 1]),
            )
        yield from _functions(child, name, text)


def _silenced(line: str) -> bool:
    """Whether a definition switches off one of ruff's limits of size."""
    return "noqa" in line and any(rule in line for rule in ("C901", "PLR09"))


@cache
def code_lines(text: str) -> frozenset[int]:
    """Lines that hold code: no blank line, no comment."""
    empty = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in empty:
            found.update(range(token.start[0], token.end[0] + 1))
    return frozenset(found)


def lines(node: FunctionNode, code: frozenset[int]) -> int:
    """Lines of code of a body, without its docstring."""
    start = node.body[0].lineno
    if ast.get_docstring(node) is not None:
        start = (node.body[0].end_lineno or start) + 1
    return sum(1 for line in range(start, (node.end_lineno or start) + 1) if line in code)


def parameters(node: FunctionNode) -> int:
    """Parameters that a caller must understand: all but self, cls and options.

    An option is a keyword-only parameter with a default or of a plain type.
    """
    positional = [*node.args.posonlyargs, *node.args.args]
    bound = bool(positional) and positional[0].arg in {"self", "cls"}
    required = [
        argument
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if default is None and not _is_plain(argument.annotation)
    ]
    return len(positional) - bound + len(required)


def _is_plain(annotation: ast.expr | None) -> bool:
    words = re.findall(r"\w+", ast.unparse(annotation)) if annotation else ["object"]
    return words[0] == "Literal" or set(words) <= _PLAIN


def nesting(node: ast.AST) -> int:
    """Depth of blocks inside blocks; an `elif` is no deeper than its `if`."""
    depth = 0
    for child in ast.iter_child_nodes(node):
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        step = isinstance(child, _BLOCKS) and not chained
        depth = max(depth, nesting(child) + step)
    return depth


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of what a tree imports, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
