"""The last run of a report against an earlier report, or against another system's texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.evaluation.reporting.report import Report
from sfumato.evaluation.reporting.runs import DIFFERENCE_COLUMNS, Differences, Run, differences
from sfumato.evaluation.reporting.stored import is_report, read_report
from sfumato_apps.measuring.answers import read_answers
from sfumato_apps.measuring.texts import Gauge


def with_differences(report: Report, other: Path, gauge: Gauge) -> Report:
    """The report with the other run before its last one, and the differences of the two.

    Args:
        report: what was measured; its last run is what is judged.
        other: the report.json of an earlier run, whose last run is taken, or a file of texts
            that another system generated, measured here in the same way.
        gauge: what measures them.

    Raises:
        DataError: the other file can be read as neither.
        UsageError: not a single metric can be compared.
    """
    *before, new = report.runs
    old = read_report(other).runs[-1] if is_report(other) else _measured(other, report, gauge)
    while old.label in {run.label for run in report.runs}:
        old = replace(old, label=f"{old.label} (against)")
    found = differences(new, old, draws=gauge.measures.resamples, seed=gauge.seed)
    return replace(report, runs=(*before, old, new), differences=found)


def _measured(other: Path, report: Report, gauge: Gauge) -> Run:
    """Another system's texts, as many as the judged ones."""
    return gauge.run(read_answers(other).first(max(m.n for m in report.runs[-1].metrics)))


def difference_lines(found: Differences) -> list[dict[str, object]]:
    """One JSON line a difference."""
    named = {"run": found.new, "against": found.old}
    return [{**named, **one.as_json()} for one in found.found]


def difference_table(found: Differences) -> str:
    """The differences as a table for the eye, aligned, with what was refused below."""
    compared = [row for row in found.rows if row[0] != "–"]
    lines = [found.title, *_aligned([DIFFERENCE_COLUMNS, *compared])]
    return "\n".join([*lines, *found.refused])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
