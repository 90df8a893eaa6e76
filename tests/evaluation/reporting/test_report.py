from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.records import Metric, mean_metric, metric_from_json
from sfumato.evaluation.reporting.report import Figure, Report, html, markdown
from sfumato.evaluation.reporting.runs import Run, differences
from sfumato.evaluation.reporting.stored import as_json, is_report, read_report, write_report
from sfumato.evaluation.reporting.svg import heat_strip

DIV = Metric(name="div", value=0.41, n=100, seed=3, settings={"tokens": "words"}, stderr=0.02)
REAL = Metric(name="div", value=0.55, n=5000, settings={"tokens": "words"})
LOOPS = Metric(name="loop_rate", value=0.0, n=100, seed=3, stderr=0.0)
PAYLOAD = "</blockquote><script>xss=1</script><img src=x onerror=xss=1>|`*[a](javascript:b)"


def report(sample: str = "A pub ```by``` the river.\nIt is cheap.", label: str = "ours") -> Report:
    return Report(
        title="E2E",
        runs=(
            Run(label=label, metrics=(DIV, LOOPS), samples=(sample,)),
            Run(label="real text", metrics=(REAL,)),
        ),
        figures=(Figure(plot=heat_strip([0.0, 1.0], title="t", ends=("a", "b")), caption="Where"),),
        note="One hundred texts.",
    )


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_markdown_puts_runs_side_by_side() -> None:
    lines = markdown(report()).split("\n")
    assert lines[0] == "# E2E"
    assert "| metric | ours | real text |" in lines
    assert "| div | 0.410 ± 0.020 | 0.55 † |" in lines  # 5,000 texts against 100
    assert "| loop\\_rate | 0 ± 0 | – |" in lines
    assert any(line.startswith("† n, reference or settings differ") for line in lines)
    assert "| div | ours | 0.410 ± 0.020 | 100 | 3 | – | tokens words |" in lines


def test_comparable_runs_carry_no_mark() -> None:
    runs = (Run(label="a", metrics=(DIV,)), Run(label="b", metrics=(DIV,)))
    same = Report(title="t", runs=runs)
    assert "†" not in markdown(same) + html(same)


def test_markdown_cannot_be_broken_by_a_text() -> None:
    text = markdown(report(sample=PAYLOAD, label=PAYLOAD))
    assert "````text\nA pub ```by``` the river.\nIt is cheap.\n````" in markdown(report())
    table = [line for line in text.split("\n") if line.startswith("| metric |")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (4, 8) for line in table)
    assert "\\<script\\>" in text


def test_json_brings_every_record_back() -> None:
    read = json.loads(as_json(report()))
    metrics = [metric_from_json(m) for run in read["runs"] for m in run["metrics"]]
    assert metrics == [DIV, LOOPS, REAL]
    assert read["runs"][0]["samples"] == ["A pub ```by``` the river.\nIt is cheap."]


def test_the_page_needs_nothing_and_admits_nothing() -> None:
    source = html(report())
    page = Page(source)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "style", "onload"} & {name for name, _ in page.attributes}
    assert page.tags.count("svg") == 3  # the figure and one bar plot a metric
    found = re.search(r'Content-Security-Policy" content="([^"]+)"', source)
    style = re.search(r"<style>(.*?)</style>", source, re.S)
    assert found is not None
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert found[1].startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_the_page_shows_model_text_as_text() -> None:
    page = Page(html(report(sample=PAYLOAD, label=PAYLOAD)))
    assert not {"script", "img"} & set(page.tags)
    assert PAYLOAD in page.text
    assert {"onerror"}.isdisjoint(name for name, _ in page.attributes)


def test_three_files_are_written(tmp_path: Path) -> None:
    paths = write_report(report(), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["report.md", "report.json", "report.html"]
    assert [path.read_text(encoding="utf-8") for path in paths] == [
        markdown(report()),
        as_json(report()),
        html(report()),
    ]


def test_reports_that_mean_nothing_are_refused() -> None:
    run = Run(label="a", metrics=(DIV,))
    with pytest.raises(UsageError, match="labels of their own"):
        Report(title="t", runs=(run, run))
    with pytest.raises(UsageError, match="labels of their own"):
        Report(title="t", runs=())
    with pytest.raises(UsageError, match="metric twice"):
        Report(title="t", runs=(Run(label="a", metrics=(DIV, DIV)),))


def scored(values: list[float], label: str) -> Run:
    """A run with a metric of which each text's part is known, and one without."""
    score = mean_metric("score", values, seed=None, reference=None, settings={})
    return Run(label=label, metrics=(score, DIV))


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    """With what each text adds, so that later runs can be compared text by text."""
    old = scored([0.1, 1 / 3, 0.7, 2.0], "old")
    _, path, _ = write_report(Report(title="t", runs=(old,), note="n"), tmp_path)
    read = read_report(path)
    assert (read.title, read.note, read.runs) == ("t", "n", (old,))
    parts = read.runs[0].metrics[0].parts
    assert parts is not None
    assert parts.pool == "mean"
    assert parts.columns[0] == pytest.approx([0.1, 1 / 3, 0.7, 2.0], rel=1e-6)
    assert read.runs[0].metrics[1].parts is None
    assert is_report(path)


def test_differences_stand_in_all_three_forms() -> None:
    new, old = scored([1.0, 2.0, 4.0], "new"), scored([0.5, 1.5, 3.5], "old|1")
    found = differences(new, old, draws=50, seed=3)
    both = Report(title="t", runs=(old, new), differences=found)
    assert "## new against old\\|1" in markdown(both)
    row = "| score | +0.5 | 0.5 … 0.5 (95 %) | +27.27 % | paired bootstrap, 50 draws, seed 3 |"
    assert row in markdown(both)
    assert "<h2>new against old|1</h2>" in html(both)
    read = json.loads(as_json(both))["differences"]
    assert read["found"][0]["difference"] == pytest.approx(0.5)
    assert (read["new"], read["old"], read["refused"]) == ("new", "old|1", [])


def test_what_cannot_be_compared_is_said() -> None:
    new = scored([1.0, 2.0, 4.0], "new")
    other = Run(label="real", metrics=(REAL, *scored([1.0, 2.0, 3.0], "").metrics[:1]))
    found = differences(new, other)
    assert [one.new.name for one in found.found] == ["score"]
    assert "n 100 against 5000" in found.rows[-1][-1]
    with pytest.raises(UsageError, match="'new' cannot be compared with 'real': .*n 100 against"):
        differences(new, Run(label="real", metrics=(REAL,)))
    with pytest.raises(UsageError, match="no metric in common"):
        differences(Run(label="new", metrics=(LOOPS,)), Run(label="old", metrics=(DIV,)))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": "sfumato-report/9"}', '{"format": "sfumato-report/1"}']
)
def test_what_is_no_report_is_an_error_of_the_data(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"other\.json: expected"):
        read_report(path)
    assert is_report(path) is ("/1" in content)
    assert not is_report(tmp_path / "missing.json")
