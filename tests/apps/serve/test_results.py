"""Frontiers and sweeps are shown, whole and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.apps.serve.living import Live, serving, tiny
from tests.apps.serve.test_refusals import check

from sfumato.evaluation.records import Metric, Parts
from sfumato.evaluation.reporting.report import Report
from sfumato.evaluation.reporting.runs import Run
from sfumato.evaluation.reporting.stored import as_json

FRONTIER: dict[str, Any] = {
    "format": "sfumato-frontier/1",
    "x_label": "reward",
    "models": [{"model": "a", "reward": 1.0, "kl": float("nan")}],
}
PARTS = Parts(pool="mean", columns=((1.0, 3.0),))
METRIC = Metric(name="div", value=2.0, n=2, stderr=1.0, parts=PARTS)
REPORT = as_json(Report(title="Guidance", runs=(Run(label="guidance 0", metrics=(METRIC,)),)))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two results, and files beside them that are none."""
    folder = tmp_path / "runs"
    for name in ("sweep", "wrong name", ".hidden"):
        (folder / name).mkdir(parents=True)
    text = json.dumps(FRONTIER)
    (folder / "sweep" / "frontier.json").write_text(text)
    (folder / "guidance.json").write_text(REPORT)
    os.utime(folder / "sweep" / "frontier.json", (1, 1))
    (folder / "wrong name" / "frontier.json").write_text(text)
    (folder / ".hidden" / "frontier.json").write_text(text)
    (folder / "sweep" / "config.json").write_text('{"secret": 1}')
    (folder / "sweep" / "other.json").write_text('{"format": "other/1", "secret": 1}')
    (folder / "sweep" / "late.json").write_text(f'{{"secret": 1,{" " * 300}{text[1:]}')
    (folder / "sweep" / "large.json").write_text(text[:-1] + " " * 2**23 + "}")
    (folder / "sweep" / "deep.json").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "frontier.json").write_text(text.replace("reward", "secret"))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "link.json").symlink_to(tmp_path / "secret" / "frontier.json")
    return folder


def test_results_are_listed_and_read(tmp_path: Path, runs: Path) -> None:
    with serving(tiny(), tmp_path, runs=runs) as live:
        newest, oldest = live.get("/v1/results").json()["data"]
        assert (newest["run"], newest["file"]) == (None, "guidance.json")
        assert oldest == {
            "run": "sweep",
            "file": "frontier.json",
            "format": "sfumato-frontier/1",
            "changed": 1000,
        }
        found = live.get("/v1/results/frontier.json?run=sweep").json()
        assert found == {**FRONTIER, "models": [{"model": "a", "reward": 1.0, "kl": None}]}
        report = live.get("/v1/results/guidance.json").json()
        assert report["runs"][0]["metrics"] == [METRIC.as_json()]
        assert "parts" not in report
        assert live.get("/v1/runs").json()["data"] == []


@pytest.mark.parametrize(
    ("file", "run"),
    [
        *[(name, "sweep") for name in ("config", "other", "late", "large", "deep", "nobody")],
        *[("frontier", name) for name in ("..", ".", "link", "wrong name", ".hidden", "../secret")],
        *[("frontier", name) for name in ("%2e%2e%2fsecret", "", "a%00", "sweep/", "nobody")],
        *[(name, None) for name in ("link", "frontier", "..%2fsecret%2ffrontier", "%5C", ".a")],
        ("x" * 65, None),
        ("frontier", "x" * 65),
    ],
)
def test_nothing_else_is_shown(live_runs: Live, file: str, run: str | None) -> None:
    where = "" if run is None else f"?run={run}"
    answer = live_runs.get(f"/v1/results/{file}.json{where}")
    assert answer.status_code in (400, 404)
    check(answer, answer.status_code)
    assert "secret" not in answer.text
    assert "/tmp" not in answer.text


@pytest.fixture
def live_runs(tmp_path: Path, runs: Path) -> Any:
    with serving(tiny(), tmp_path, runs=runs) as live:
        yield live


@pytest.mark.parametrize("torn", ["", "[" * 100_000, ' "\ud800" nonsense'])
def test_a_result_that_is_not_whole_says_so(live_runs: Live, runs: Path, torn: str) -> None:
    head = '{"format": "sfumato-report/1", "runs": '
    (runs / "torn.json").write_bytes((head + torn).encode("utf-8", "surrogatepass"))
    check(live_runs.get("/v1/results/torn.json"), 400)


def test_without_a_folder_there_are_no_results(live: Live) -> None:
    assert live.get("/v1/results").json()["data"] == []
    check(live.get("/v1/results/frontier.json"), 404, "not_found")
