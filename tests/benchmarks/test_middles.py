"""What the benchmark of middles makes of the standard library, and how it judges."""

from __future__ import annotations

import ast
import importlib
import random
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sfumato.text.records import InfillRecord
from sfumato.text.vocabulary import learn_vocabulary

SOURCE = Path(textwrap.__file__).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The benchmarks, which import each other as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        modules: list[ModuleType] = [
            importlib.import_module(n) for n in ("library", "psm", "middles")
        ]
        yield SimpleNamespace(**{module.__name__: module for module in modules})


def test_pieces_are_runs_of_lines(scripts: SimpleNamespace) -> None:
    library = scripts.library
    found = [*library.pieces(SOURCE)]
    assert len(found) > 10
    assert all(piece in SOURCE + "\n" for piece in found)
    assert all(library.LEAST <= len(piece.rstrip("\n")) <= library.MOST for piece in found)
    assert any(piece.startswith("    def ") for piece in found), "methods keep their indentation"
    assert [*library.pieces("def f(:")] == []


def test_a_gap_is_in_the_code_of_a_function(scripts: SimpleNamespace) -> None:
    library = scripts.library
    spans = random.Random(0)
    for piece in library.pieces(SOURCE):
        code = library.body(piece)
        gap = library.gap(piece, spans)
        if gap is None:
            continue
        assert gap.prefix + gap.middle + gap.suffix == piece
        assert 0 < len(gap.middle) <= library.BODY
        if code is not None:
            start, stop = code
            assert start <= len(gap.prefix)
            assert len(gap.prefix) + len(gap.middle) <= stop
            ast.parse(textwrap.dedent(piece[start:stop]))


def test_the_rival_reads_both_sides_and_then_the_middle(scripts: SimpleNamespace) -> None:
    words = learn_vocabulary(["x = 1"], size=300)
    gap = InfillRecord(prefix="a ", middle="b", suffix="c")
    piece = scripts.library.Piece(text="a bc", gap=gap)
    whole, filled = scripts.psm.examples([piece], words, 32)
    assert [words.name(token) for token in filled.ids] == (
        ["[CLS]", "<|system|>", "a", "<|user|>", "c", "[SEP]", "<|assistant|>", "Ġ", "b", "[SEP]"]
    )
    assert sum(filled.trained) == len(filled.ids) - 1
    assert words.decode(whole.ids) == "a bc"
    rival = scripts.psm.Rival(llama=None, words=words, length=32)
    assert rival._asked(gap) == list(filled.ids[:7])


def test_closeness_by_hand(scripts: SimpleNamespace) -> None:
    """kitten → sitting takes 3 edits of 7; nothing is as far as can be; an exact one is 1."""
    middles = scripts.middles
    assert middles.similarity("kitten", "sitting") == pytest.approx(4 / 7)
    assert middles.similarity("", "abc") == 0.0
    assert middles.similarity("", "") == 1.0
    gaps = [InfillRecord(prefix="", middle=m, suffix="") for m in ("a \n", "kitten")]
    assert middles.closeness(gaps, ["a", "sitting"]) == (0.5, pytest.approx((1 / 3 + 4 / 7) / 2))


def test_a_true_middle_passes(scripts: SimpleNamespace) -> None:
    gap = InfillRecord(prefix="def f(x):\n", middle="    return x", suffix=" + 1\n")
    task = scripts.middles.Task(gap=gap, tests="def check(f):\n    assert f(1) == 2\ncheck(f)\n")
    run = scripts.middles.sandbox.run
    assert run(task.program(gap.middle)).passed
    assert not run(task.program("    return 1 + x")).passed
