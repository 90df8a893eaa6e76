"""How samples reach a person: lines on stdout, a trace file, a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sfumato.sampling.tasks import Sample
from sfumato_apps.player import player_page


def deliver(
    samples: Sequence[Sample], *, json_lines: bool, trace: Path | None, page: Path | None
) -> None:
    """Prints the samples on stdout and writes the files that were asked for."""
    for sample in samples:
        print(as_line(sample) if json_lines else sample.text)
    if trace is not None:
        trace.write_text(samples[0].trace.to_jsonl(), encoding="utf-8")
        print(f"trace: {trace}", file=sys.stderr)
    if page is not None:
        page.write_text(
            player_page([sample.trace for sample in samples], title="sfumato"), encoding="utf-8"
        )
        print(f"page: {page}", file=sys.stderr)


def as_line(sample: Sample) -> str:
    """One JSON line: text, seed, forward passes, tokens a pass."""
    record = {
        "text": sample.text,
        "seed": sample.seed,
        "passes": sample.passes,
        "tokens_per_pass": round(sample.trajectory.tokens_per_forward, 3),
    }
    return json.dumps(record, ensure_ascii=False)
