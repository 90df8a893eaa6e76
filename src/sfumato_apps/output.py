"""How results reach a person: lines on stdout, a diff on stderr, a trace file, a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sfumato.sampling.tasks import Edit, Infill, Sample
from sfumato.text.words import Segment
from sfumato_apps.choices import Delivery
from sfumato_apps.player import player_page

Result = Sample | Infill | Edit
_MARKS = {"removed": ("[-", "-]", "31"), "written": ("{+", "+}", "32")}


def deliver(results: Sequence[Result], delivery: Delivery) -> None:
    """Prints the results on stdout and writes the files that were asked for."""
    for result in results:
        print(json.dumps(as_record(result), ensure_ascii=False) if delivery.json else result.text)
    traces = [result.trace for result in results if result.trace is not None]
    if delivery.trace is not None and traces:
        delivery.trace.write_text(traces[0].to_jsonl(), encoding="utf-8")
        print(f"trace: {delivery.trace}", file=sys.stderr)
    if delivery.page is not None:
        delivery.page.write_text(player_page(traces, title="sfumato"), encoding="utf-8")
        print(f"page: {delivery.page}", file=sys.stderr)


def as_record(result: Result) -> dict[str, Any]:
    """What a JSON line says: text, seed, forward passes, and what the task has to add."""
    record: dict[str, Any] = {"text": result.text}
    if isinstance(result, Infill):
        record["middle"] = result.middle
    record |= {"seed": result.seed, "passes": result.passes}
    if isinstance(result, Edit):
        record |= {"source": result.source, "kept": round(result.kept, 4)}
        record |= {"diff": [[one.kind, one.text] for one in result.segments]}
    else:
        record["tokens_per_pass"] = round(result.trajectory.tokens_per_forward, 3)
    if isinstance(result, Edit) and result.verdict is not None:
        record |= {name: _short(value) for name, value in vars(result.verdict).items()}
    if result.score is not None:
        record["score"] = _short(result.score)
    return record


def best_records(
    rewrite: Callable[[list[str]], list[list[Edit]]], texts: list[str]
) -> list[dict[str, Any]]:
    """For each text the record of its best form, with the texts of the others."""
    found = []
    for best, *others in rewrite(texts):
        more = {"others": [one.text for one in others]} if others else {}
        found.append(as_record(best) | more)
    return found


def show_diff(edits: Iterable[Edit]) -> None:
    """Prints what changed on stderr, one line an edit; in colour on a terminal."""
    for one in edits:
        words = word_diff(one.segments, colour=sys.stderr.isatty())
        print(f"{words}  ({one.kept:.0%} of the words kept)", file=sys.stderr)


def word_diff(segments: Iterable[Segment], *, colour: bool = False) -> str:
    """Kept text as it is, [-removed-] and {+written+} text in the brackets of wdiff.

    Example:
        >>> from sfumato.text.words import diff
        >>> word_diff(diff("a bad cat", "a good cat"))
        'a [-bad-]{+good+} cat'
    """
    shown = ""
    for segment in segments:
        left, right, code = _MARKS.get(segment.kind, ("", "", ""))
        marked = f"{left}{segment.text}{right}"
        shown += f"\x1b[{code}m{marked}\x1b[0m" if colour and code else marked
    return shown


def _short(value: float | bool) -> float | bool:
    return value if isinstance(value, bool) else round(value, 6)
