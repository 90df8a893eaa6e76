from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sfumato.errors import UsageError
from sfumato.evaluation.records import Metric, metric_from_json
from sfumato.evaluation.reporting.report import (
    Figure,
    Report,
    Run,
    as_json,
    html,
    markdown,
    write_report,
)
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
