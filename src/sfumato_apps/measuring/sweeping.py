"""The same prompts at several strengths of guidance: the report of `sfumato sweep`."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.reporting import svg
from sfumato.evaluation.reporting.report import Figure, Report
from sfumato.evaluation.reporting.runs import Run
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.sampling.tasks import complete_each
from sfumato.sampling.tasks.writing import BLOCK
from sfumato.text.corpora import mix, parse_source
from sfumato.text.records import PairRecord
from sfumato_apps.choices import Decoding
from sfumato_apps.measuring.answers import Answers
from sfumato_apps.measuring.texts import Gauge
from sfumato_apps.policies import policy_of


def pairs_of(data: Sequence[str], *, n: int, seed: int) -> list[PairRecord]:
    """As many pairs of the data as asked for, by chance; or all.

    Raises:
        DataError: the data hold no pairs.
        UsageError: n is less than 1.
    """
    if n < 1:
        raise UsageError(f"--n must be at least 1, got {n}")
    records = mix([parse_source(text) for text in data], seed)
    pairs = [record for record in records if isinstance(record, PairRecord)]
    if not pairs:
        raise DataError(f"{', '.join(data)}: expected pairs of a prompt and an answer, found none")
    return random.Random(seed).sample(pairs, min(n, len(pairs)))


def swept(
    model: Checkpoint | LatentCheckpoint,
    pairs: Sequence[PairRecord],
    scales: Sequence[float],
    gauge: Gauge,
    *,
    name: str | None,
    decoding: Decoding,
    out: Path,
) -> Report:
    """A run for every scale; its texts are written to the folder as they come.

    Args:
        model: what answers.
        pairs: prompts, with their references.
        scales: strengths of guidance; 0 asks the network once.
        gauge: what measures the texts.
        name: folder or hub name of the model; the shipped one if None.
        decoding: how to write.
        out: folder for `texts-SCALE.jsonl`.
    """
    out.mkdir(parents=True, exist_ok=True)
    prompts = [pair.prompt for pair in pairs]
    runs = []
    for scale in scales:
        print(f"guidance {scale:g}: {len(prompts)} prompts", file=sys.stderr)
        policy = policy_of(model, decoding, name=name, guidance=scale or None, block=BLOCK)
        samples = complete_each(model, prompts, policy=policy, seed=gauge.seed)
        answers = Answers(
            label=f"guidance {scale:g}",
            texts=tuple(sample.text for sample in samples),
            sources=tuple(prompts),
            references=tuple((pair.completion,) for pair in pairs),
        )
        _keep(answers, out / f"texts-{scale:g}.jsonl")
        runs.append(gauge.run(answers))
    return Report(
        title="Guidance by the prompt",
        runs=tuple(runs),
        figures=tuple(_curves(runs, scales)),
        note=f"{len(prompts)} prompts, the same seeds at every scale, from {gauge.seed} on",
    )


def _keep(answers: Answers, path: Path) -> None:
    rows = zip(answers.sources or (), answers.references or (), answers.texts, strict=True)
    lines = [
        json.dumps({"source": s, "target": [*t], "generated": g}, ensure_ascii=False) + "\n"
        for s, t, g in rows
    ]
    path.write_text("".join(lines), encoding="utf-8")


def _curves(runs: Sequence[Run], scales: Sequence[float]) -> Iterator[Figure]:
    """One plot a metric that every scale has; a point is no curve."""
    if len(scales) < 2:
        return
    tables = [{metric.name: metric for metric in run.metrics} for run in runs]
    for name in tables[0]:
        found = [table[name] for table in tables if name in table]
        if len(found) < len(tables):
            continue
        errors = [metric.stderr or 0.0 for metric in found]
        series = svg.Series(
            label=name,
            x=list(scales),
            y=[metric.value for metric in found],
            low=[metric.value - e for metric, e in zip(found, errors, strict=True)],
            high=[metric.value + e for metric, e in zip(found, errors, strict=True)],
        )
        plot = svg.lines([series], title=name, x_label="guidance", y_label=name)
        yield Figure(plot=plot, caption=f"{name} over the scale; the band is one standard error")
