"""The benchmark of whole lists: what it makes of answers, how it judges, and a short run."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.apps.test_cli import call

from sfumato.alignment.rankings.sets import RankedRecord

MODELS, LONG = ("a", "b", "c", "d", "e"), "предложение"


@pytest.fixture(scope="module")
def arena() -> Iterator[ModuleType]:
    """The benchmark, which imports others as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("arena")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five models and six prompts; the models differ in how many long words they begin with."""
    path = tmp_path / "arena.jsonl"
    rows = []
    for place, name in enumerate(MODELS):
        for number in range(6):
            text = f"{f'{LONG} ' * place}{'да ' * (9 - place)}**{number}** " + "и ещё слово. " * 9
            said = [("user", f"Что такое {number}?"), ("assistant", text)]
            turns = [{"role": role, "content": content} for role, content in said]
            rows.append({"model": name, "question_id": number, "messages": turns})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_text_is_its_opening_and_the_rest(arena: ModuleType) -> None:
    text = "One two\nthree, four five and twelveletters."
    pieces = [arena.opening(text, 9), *arena.rest(text, 9)]
    assert pieces[:3] == ["One two", "three,", "four five"]
    assert all(0 < len(piece) <= 9 for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert [arena.opening(" short ", 9), *arena.rest(" short ", 9)] == ["short"]


def test_agreement_by_hand(arena: ModuleType) -> None:
    """1 > 2 and 1 > 3 are right, 2 > 3 is not; with a tie for the first place two pairs remain."""
    three = RankedRecord(prompt="", completions=("x", "y", "z"), ranks=(2, 3, 1))
    assert arena.agreement([[0.0, 1.0, 2.0]], [three]) == [pytest.approx(2 / 3), 0.5, 1.0, 1.0]
    tied = RankedRecord(prompt="", completions=("x", "y", "z"), ranks=(1, 1, 2))
    assert arena.agreement([[0.0, 1.0, 0.5]], [tied]) == [0.5, 0.5, 0.5, 1.0]
    assert arena.agreement([[0.0] * 3], [three])[:3] == [0.0, 0.0, 0.0]


def test_prompts_are_on_one_side_and_the_plainest_answer_is_best(
    arena: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.contestants, "command", call)
    options = {"data": data, "out": tmp_path, "held": 2, "asked": 99, "answered": 80}
    arena.prepare(Namespace(**options, by=arena.RULE))
    learnt, held = (
        [*map(json.loads, arena.lines_of(tmp_path / f"{side}.ranked.jsonl"))]
        for side in ("learnt", "held")
    )
    assert (len(learnt), len(held)) == (4, 2)
    assert not {row["prompt"] for row in learnt} & {row["prompt"] for row in held}
    for row in learnt + held:
        assert [text.count(LONG) for text in row["completions"]] == [0, 1, 2, 3, 4]
        assert row["ranks"] == [1, 2, 3, 4, 5]
    more = (tmp_path / "more.jsonl").read_text(encoding="utf-8")
    assert not any(row["prompt"] in more for row in held)
    assert json.loads(more.split("\n")[0])["text"].startswith("слово.")


@pytest.mark.slow
def test_a_short_run(
    arena: ModuleType,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its commands run in this process; every loss sees as many texts a step."""

    def trained(folder: Path, command: str, *options: str) -> None:
        passed.append(options)
        assert call(command, "--out", folder, *options) == 0
        (folder / "cpu_seconds").write_text("1")

    passed: list[tuple[str, ...]] = []
    monkeypatch.setattr(arena.contestants, "trained", trained)
    monkeypatch.setattr(arena.contestants, "command", call)
    tiny = ["--held", "2", "--answered", "80", "--length", "48", "--vocabulary", "300"]
    short = ["--learn", "1", "--steps", "2", "--batch", "2", "--draws", "2", "--seeds", "1"]
    arena.main([str(data), "--out", str(tmp_path), *tiny, *short])
    assert [run[run.index("--batch") + 1] for run in passed[1:]] == ["2", "2", "5"]
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[-4:]]
    names = ["likelihood before", "Plackett–Luce", "all pairs", "best against worst"]
    assert [line[0].strip() for line in lines] == names
    assert all(0 <= float(share) <= 1 for line in lines for share in line[2:6])
