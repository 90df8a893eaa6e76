"""The benchmark of the engine runs, agrees with itself and becomes a page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import editing
import engine
import limits
import pytest
import render
import torch
from growth import exponent, problem, sweeps
from networks import modernbert
from samplers import BY_ROW, CAUSAL, LLADA, OURS, samplers
from tasks import Stage, draw, together

ROOT = Path(__file__).parents[2]
PAGE = "# A page\n\n<!-- engine -->\nold\n<!-- /engine -->\n\n<!-- editing -->\n<!-- /editing -->\n"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one quick run of the command, without memory, which takes a process a sampler."""
    out = tmp_path_factory.mktemp("engine") / "out.json"
    command = [sys.executable, "benchmarks/engine.py", "--quick", "--no-memory", "--repeats", "1"]
    command += ["--turns", "2", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert not done.returncode, done.stdout + done.stderr
    assert "| sfumato" in done.stdout
    return json.loads(out.read_text())


def rows(figures: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    yield from figures[part]["rows"]


def test_all_samplers_take_part_and_agree(figures: dict[str, Any]) -> None:
    for part in engine.PROBLEMS:
        passes = {row["passes"] for row in rows(figures, part) if row["sampler"] != BY_ROW}
        assert passes == {8}
        exact = [row for row in rows(figures, part) if row["exact"]]
        assert len(exact) >= 5
        assert {row["agreement"] for row in exact} == {1.0}
    assert all(row["tokens per second"] > 0 for row in rows(figures, "one"))
    assert not engine.different(figures)


def test_one_length_for_all_is_not_said_to_be_the_same_law(figures: dict[str, Any]) -> None:
    laws = {row["sampler"]: row["law"] for row in rows(figures, "batch")}
    assert laws[LLADA] == "one length for all"
    assert laws[CAUSAL] == "autoregressive, one length for all"
    assert {row["law"] for row in rows(figures, "one") if row["sampler"] == LLADA} == {"same"}


def test_growth_and_limits_are_there(figures: dict[str, Any]) -> None:
    assert [len(one[f"{OURS}, T = 0"]["x"]) for one in figures["growth"].values()] == [2] * 4
    (size,) = figures["limit"]["sizes"].values()
    assert 0 < size["seconds"]["sfumato floor"] < size["seconds"]["sfumato"]
    assert sum(size["shares"].values()) == pytest.approx(1)


def test_figures_become_a_page(figures: dict[str, Any], tmp_path: Path) -> None:
    page, source = tmp_path / "page.md", tmp_path / "engine.json"
    page.write_text(PAGE)
    source.write_text(json.dumps(figures))
    render.main(["--engine", str(source), "--page", str(page)])
    text = page.read_text()
    assert "\nold\n" not in text
    assert "| 0   | sfumato " in text
    plots = [line.split("(")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(plots) == 8
    assert all((tmp_path / plot).read_text().startswith("<svg") for plot in plots)
    with pytest.raises(SystemExit, match="needs the lines <!-- x -->"):
        render.replaced(text, "x", "")


def test_a_batch_has_lengths_from_an_eighth_to_the_longest() -> None:
    found = together(engine.TINY, rows=16, longest=64)
    assert sorted(found.answers)[:2] == [8, 12]
    assert max(found.answers) == found.steps == 64
    assert (min(found.prompts), max(found.prompts)) == (16, 64)


def test_the_power_of_a_growth_is_found() -> None:
    assert exponent({1.0: 3.0, 2.0: 12.0, 4.0: 48.0}) == pytest.approx(2.0)


def test_every_sweep_varies_one_thing() -> None:
    for what, places in sweeps(None).items():
        sizes = {one.size for one in places.values()}
        shapes = {(one.prompts, one.answers) for one in places.values()}
        assert (len(sizes), len(shapes)).count(1) == 1, what


def test_the_floor_counts_what_is_predicted_only() -> None:
    """Two layers of 4·32² + 3·32·48 weights; of the last, Wqkv reads all and the rest 2 rows."""
    body = modernbert(engine.TINY).base_model
    whole = sum(work.rows * work.weight for work in limits.body(body, 10, None))
    assert whole == 10 * 2 * (4 * 32**2 + 3 * 32 * 48)
    late = 32**2 + 3 * 32 * 48
    assert sum(work.rows * work.weight for work in limits.body(body, 10, 2)) == whole - 8 * late
    slow = limits.Machine(product=1e3, kernel="", bandwidth=1e9)
    narrow = limits.Machine(product=1e12, kernel="", bandwidth=1.0)
    one = limits.Work(rows=2, weight=100, width=4)
    assert (one.floor(slow), one.floor(narrow)) == (0.4, 400)


def test_memory_is_that_of_two_passes() -> None:
    given = problem(engine.TINY, canvas=16)
    whole, added = engine.peak(Stage(size=engine.TINY), given, OURS, 0.0)
    assert whole > added >= 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_sampler_has_a_peak_in_a_process_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "benchmarks/engine.py", "--quick", "--parts", "batch"]
    command += ["--repeats", "1", "--json", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = json.loads(out.read_text())["batch"]["rows"]
    assert all(row["peak"] > row["added"] > 0 for row in found)


def test_in_bfloat16_no_sampler_is_there_twice() -> None:
    stage = Stage(size=engine.TINY, dtype=torch.bfloat16)
    task = draw(stage, problem(engine.TINY, canvas=16), temperature=0.0, seed=0)
    names = [sampler.name for sampler in samplers(task)]
    assert "dLLM, restated, bfloat16" not in names, "all are in bfloat16 already"


def test_the_benchmark_of_edits_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "editing.json", tmp_path / "page.md"
    assert editing.main(["--quick", "--repeats", "2", "--json", str(out)]) == 0
    assert "frozen, never anew, reach 64" in capsys.readouterr().out
    page.write_text(PAGE)
    render.main(["--editing", str(out), "--page", str(page)])
    assert "4 of 32 tokens" in page.read_text()
