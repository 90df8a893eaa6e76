"""Reports as files: written in three forms, and read back from the one in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.records import Number, Parts, metric_from_json
from sfumato.evaluation.reporting.report import Report, html, markdown
from sfumato.evaluation.reporting.runs import Run

FORMAT = "sfumato-report/1"


def as_json(report: Report) -> str:
    """Title, note and every record, with what each text adds to it; `read_report` reads it back.

    What a text adds is kept with seven digits.

    Example:
        >>> from sfumato.evaluation.records import Metric
        >>> run = Run(label="ours", metrics=(Metric(name="div", value=0.4, n=100),))
        >>> json.loads(as_json(Report(title="E2E", runs=(run,))))["format"]
        'sfumato-report/1'
    """
    whole: dict[str, object] = {"format": FORMAT, "title": report.title, "note": report.note}
    if report.differences is not None:
        found = report.differences
        whole["differences"] = {
            "new": found.new,
            "old": found.old,
            "found": [one.as_json() for one in found.found],
            "refused": list(found.refused),
        }
    whole["runs"] = [
        {
            "label": run.label,
            "metrics": [metric.as_json() for metric in run.metrics],
            "samples": list(run.samples),
        }
        for run in report.runs
    ]
    text = json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False)
    # One line a metric: numbers by the thousand are no reading matter.
    lines = [
        json.dumps({"run": run.label, "name": metric.name, **_short(metric.parts)})
        for run in report.runs
        for metric in run.metrics
        if metric.parts is not None
    ]
    if not lines:
        return text + "\n"
    parts = ",\n  ".join(lines)
    return text.removesuffix("\n}") + f',\n "parts": [\n  {parts}\n ]\n}}\n'


def _short(parts: Parts) -> dict[str, object]:
    columns = [[_digits(value) for value in column] for column in parts.columns]
    return {"pool": parts.pool, "columns": columns}


def _digits(value: Number) -> Number:
    return value if isinstance(value, int) else float(f"{value:.7g}")


def is_report(path: str | Path) -> bool:
    """Whether a file is a report in JSON; False where it cannot be read."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def read_report(path: str | Path) -> Report:
    """Reads back what `as_json` wrote; figures and differences are not kept.

    Raises:
        DataError: it cannot be read, or is no report.

    Example:
        >>> import tempfile
        >>> from sfumato.evaluation.records import Metric
        >>> run = Run(label="ours", metrics=(Metric(name="div", value=0.4, n=100),))
        >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        ...     _ = file.write(as_json(Report(title="E2E", runs=(run,))))
        ...     file.flush()
        ...     read_report(file.name).runs == (run,)
        True
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise DataError(
                f"{path}: expected a report of format {FORMAT}, got {content['format']}"
            )
        kept = {(one["run"], one["name"]): _parts(one) for one in content.get("parts", [])}
        runs = tuple(_run(run, kept) for run in content["runs"])
        return Report(title=content["title"], note=content["note"], runs=runs)
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise DataError(
            f"{path}: expected the report.json that `sfumato evaluate --out FOLDER` writes: {error}"
        ) from error


def _parts(one: Mapping[str, Any]) -> Parts:
    return Parts(pool=one["pool"], columns=tuple(tuple(column) for column in one["columns"]))


def _run(run: Mapping[str, Any], kept: Mapping[tuple[str, str], Parts]) -> Run:
    metrics = [
        metric_from_json(record, parts=kept.get((run["label"], record["name"])))
        for record in run["metrics"]
    ]
    return Run(label=run["label"], metrics=tuple(metrics), samples=tuple(run["samples"]))


def write_report(report: Report, folder: str | Path) -> tuple[Path, Path, Path]:
    """Writes `report.md`, `report.json` and `report.html` into a folder, made if missing.

    Returns:
        The three paths, in this order.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    texts = {"md": markdown(report), "json": as_json(report), "html": html(report)}
    for suffix, text in texts.items():
        (target / f"report.{suffix}").write_text(text, encoding="utf-8")
    return (target / "report.md", target / "report.json", target / "report.html")
