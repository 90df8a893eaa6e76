"""Files of generated texts, with what they answer and what they should be like.

    field                                 what it is
    generated, or text                    the generated text; may be empty
    source, src or prompt                 what it was generated from
    target, trg, targets or refs          what it should be like: a text or a list of texts

A plain text file holds one generated text a line.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sfumato.errors import DataError, UsageError
from sfumato.text.files import in_json, rows
from sfumato.text.words import sentences

_GENERATED = ("generated", "text")
_SOURCES = ("source", "src", "prompt")
_REFERENCES = ("target", "trg", "targets", "refs")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Texts of one system, row by row.

    Attributes:
        label: what tables call the system.
        texts: what it generated.
        sources: what it generated from; None if the file does not say.
        references: what the texts should be like, one or several each; None likewise.
    """

    label: str
    texts: tuple[str, ...]
    sources: tuple[str, ...] | None = None
    references: tuple[tuple[str, ...], ...] | None = None

    def first(self, n: int) -> Answers:
        """The first n rows, all if there are fewer."""
        return replace(
            self,
            texts=self.texts[:n],
            sources=None if self.sources is None else self.sources[:n],
            references=None if self.references is None else self.references[:n],
        )


def read_answers(path: Path) -> Answers:
    r"""Reads a file of generated texts; every row has the fields of the first.

    Raises:
        DataError: it cannot be read, is empty, or a field is missing or no text.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"src": "A", "refs": ["b", "c"], "generated": "B"}\n')
        ...     file.flush()
        ...     found = read_answers(Path(file.name))
        >>> found.texts, found.sources, found.references
        (('B',), ('A',), (('b', 'c'),))
    """
    loaded = [(origin, load()) for origin, load in rows(str(path))]
    if not loaded:
        raise DataError(f"{path}: the file is empty: expected one generated text a row")
    origin, first = loaded[0]
    text, source, reference = (
        _field(first, names) for names in (_GENERATED, _SOURCES, _REFERENCES)
    )
    if text is None:
        raise DataError(
            f"{origin}: expected the generated text in a field {' or '.join(_GENERATED)}, found "
            f"the fields {', '.join(map(str, first)) or '(none)'}"
        )
    return Answers(
        label=path.name.removesuffix(".gz").rpartition(".")[0],
        texts=tuple(_text(row, text, where) for where, row in loaded),
        sources=None if source is None else tuple(_text(row, source, at) for at, row in loaded),
        references=None
        if reference is None
        else tuple(_several(row, reference, where) for where, row in loaded),
    )


def floors(answers: Answers, seed: int) -> list[Answers]:
    """What needs no model: another row's reference, the source, its last sentence.

    Args:
        answers: texts with references; without sources there is only the first floor.
        seed: which other row each takes.

    Raises:
        UsageError: no references, or fewer than two rows.

    Example:
        >>> rows = Answers(
        ...     label="x", texts=("", ""), sources=("A. B.", "C."), references=(("a",), ("b",))
        ... )
        >>> [floor.texts for floor in floors(rows, seed=0)]
        [('b', 'a'), ('A. B.', 'C.'), ('B.', 'C.')]
    """
    if answers.references is None or len(answers.texts) < 2:
        raise UsageError(
            f"--floors needs references and at least two rows: {answers.label} has "
            f"{'no references' if answers.references is None else 'one row'}"
        )
    order = random.Random(seed).sample(range(len(answers.texts)), len(answers.texts))
    others = dict(zip(order, [*order[1:], order[0]], strict=True))
    found = {"another reference": [answers.references[others[i]][0] for i in range(len(order))]}
    if answers.sources is not None:
        found["copy of the source"] = list(answers.sources)
        last = [(sentences(source) or [""])[-1] for source in answers.sources]
        found["last sentence of the source"] = last
    return [replace(answers, label=label, texts=tuple(texts)) for label, texts in found.items()]


def _field(row: Mapping[str, object], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _text(row: Mapping[str, object], field: str, origin: str) -> str:
    if field not in row:
        raise DataError(f"{origin}: no field {field!r}, which the first row has")
    value = row[field]
    if not isinstance(value, str):
        raise DataError(f"{origin}: field {field!r} is {in_json(value)}, expected a text")
    return value


def _several(row: Mapping[str, object], field: str, origin: str) -> tuple[str, ...]:
    value = row.get(field)
    if not isinstance(value, list):
        return (_text(row, field, origin),)
    found = tuple(text for text in value if isinstance(text, str))
    if not found or len(found) < len(value):
        raise DataError(f"{origin}: field {field!r} is {in_json(value)}, expected texts in it")
    return found
