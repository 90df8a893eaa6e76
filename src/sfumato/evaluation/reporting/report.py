"""A report of runs side by side: Markdown, and one HTML page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from sfumato.errors import UsageError
from sfumato.evaluation.records import Metric, difference, measured
from sfumato.evaluation.reporting import svg
from sfumato.evaluation.reporting.runs import DIFFERENCE_COLUMNS, Differences, Run

_UNLIKE = "n, reference or settings differ from the first run's: not comparable."


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot of `sfumato.evaluation.reporting.svg` and what it shows."""

    plot: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `markdown` and `html` render and `stored.as_json` keeps.

    Attributes:
        title: heading.
        runs: at least one; differences are judged against the first.
        figures: plots for the page, beside the bars that it draws itself.
        note: a paragraph under the heading.
        differences: of one run to another, with intervals.

    Raises:
        UsageError: no runs, two of one label, or a metric twice in a run.
    """

    title: str
    runs: tuple[Run, ...]
    figures: tuple[Figure, ...] = ()
    note: str = ""
    differences: Differences | None = None

    def __post_init__(self) -> None:
        labels = [run.label for run in self.runs]
        if not labels or len(set(labels)) < len(labels):
            raise UsageError(f"a report needs runs with labels of their own, got {labels}")
        for run in self.runs:
            names = [metric.name for metric in run.metrics]
            if len(set(names)) < len(names):
                raise UsageError(f"run {run.label!r} holds a metric twice: {names}")

    @property
    def names(self) -> list[str]:
        """Names of the metrics, in the order of their first appearance."""
        return list(dict.fromkeys(metric.name for run in self.runs for metric in run.metrics))


def _found(run: Run, name: str) -> Metric | None:
    return next((metric for metric in run.metrics if metric.name == name), None)


def _unlike(report: Report, metric: Metric) -> bool:
    """Whether a record cannot be compared with the first run's of the same name."""
    first = next(m for run in report.runs for m in run.metrics if m.name == metric.name)
    try:
        difference(metric, first)
    except UsageError:
        return True
    return False


def _value(metric: Metric) -> str:
    return measured(metric.value, metric.stderr)


def _cells(report: Report, name: str) -> list[str]:
    """One cell a run: value, standard error, † where it is not comparable."""
    found = [_found(run, name) for run in report.runs]
    return [
        "–" if metric is None else _value(metric) + (" †" if _unlike(report, metric) else "")
        for metric in found
    ]


def _details(report: Report) -> list[tuple[str, ...]]:
    """Every record as a row of text, under `_COLUMNS`."""
    return [
        (
            metric.name,
            run.label,
            _value(metric),
            str(metric.n),
            "–" if metric.seed is None else str(metric.seed),
            metric.reference or "–",
            ", ".join(f"{key} {value}" for key, value in metric.settings.items()) or "–",
        )
        for run in report.runs
        for metric in run.metrics
    ]


_COLUMNS = ("metric", "run", "value", "n", "seed", "reference", "settings")


def markdown(report: Report) -> str:
    """Tables and samples as GitHub Markdown.

    Example:
        >>> run = Run(label="ours", metrics=(Metric(name="div", value=0.4, n=100),))
        >>> print(markdown(Report(title="E2E", runs=(run,))).splitlines()[4])
        | div | 0.4 |
    """
    cells = {name: _cells(report, name) for name in report.names}
    head = ("metric", *(run.label for run in report.runs))
    parts = [f"# {_inline(report.title)}", *([report.note] if report.note else [])]
    parts.append(_table(head, [(name, *row) for name, row in cells.items()]))
    if any("†" in cell for row in cells.values() for cell in row):
        parts.append(f"† {_UNLIKE}")
    if report.differences is not None:
        parts.append(f"## {_inline(report.differences.title)}")
        parts.append(_table(DIFFERENCE_COLUMNS, report.differences.rows))
    parts.append("± is one standard error. Every record in full:")
    parts.append(_table(_COLUMNS, _details(report)))
    for run in report.runs:
        if run.samples:
            parts.append(f"## Samples: {_inline(run.label)}")
            parts += [_fenced(sample) for sample in run.samples]
    return "\n\n".join(parts) + "\n"


def _inline(raw: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(raw.split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[*map(_inline, row)] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fenced(raw: str) -> str:
    """A block that no run of backticks inside the text can close."""
    longest = max((len(run) for run in re.findall("`+", raw)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{raw}\n{fence}"


def html(report: Report) -> str:
    """One self-contained page: no script, no request, light and dark.

    Example:
        >>> run = Run(label="ours", metrics=(Metric(name="div", value=0.4, n=100),))
        >>> page = html(Report(title="<b>", runs=(run,)))
        >>> "<script" in page, "<title>&lt;b&gt;</title>" in page
        (False, True)
    """
    style = (files("sfumato.evaluation.reporting") / "assets" / "report.css").read_text(
        encoding="utf-8"
    )
    style += svg.style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = svg.text_of(report.title)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        + "\n".join(_sections(report))
        + "\n</main>\n</body>\n</html>\n"
    )


def _sections(report: Report) -> list[str]:
    cells = {name: _cells(report, name) for name in report.names}
    head = ("metric", *(run.label for run in report.runs))
    parts = [f"<p>{svg.text_of(report.note)}</p>"] if report.note else []
    parts.append(_html_table(head, [(name, *row) for name, row in cells.items()]))
    unlike = f"† {_UNLIKE} " if any("†" in c for row in cells.values() for c in row) else ""
    parts.append(f'<p class="faint">{unlike}± is one standard error.</p>')
    if report.differences is not None:
        parts.append(f"<h2>{svg.text_of(report.differences.title)}</h2>")
        parts.append(_html_table(DIFFERENCE_COLUMNS, report.differences.rows))
    plots = [_figure(figure.plot, figure.caption) for figure in report.figures]
    if len(report.runs) > 1:
        plots += [_figure(_bars(report, name), "") for name in report.names]
    parts.append(f'<div class="plots">{"".join(plots)}</div>' if plots else "")
    for run in report.runs:
        if run.samples:
            quotes = "".join(f"<blockquote>{svg.text_of(s)}</blockquote>" for s in run.samples)
            parts.append(f"<h2>{svg.text_of(run.label)}</h2>{quotes}")
    parts.append(f"<h2>Records</h2>{_html_table(_COLUMNS, _details(report))}")
    return parts


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{svg.text_of(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{svg.text_of(row[0])}</th>'
        + "".join(f"<td>{svg.text_of(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0">{table}</div>'


def _figure(plot: str, caption: str) -> str:
    below = f"<figcaption>{svg.text_of(caption)}</figcaption>" if caption else ""
    return f"<figure>{plot}{below}</figure>"


def _bars(report: Report, name: str) -> str:
    found = [(run.label, _found(run, name)) for run in report.runs]
    return svg.bars(
        [
            svg.Bar(
                label=label + (" †" if _unlike(report, metric) else ""),
                value=metric.value,
                error=metric.stderr,
                hue=index,
            )
            for index, (label, metric) in enumerate(found)
            if metric is not None
        ],
        title=name,
    )
