"""`sfumato sweep`: what guidance by the prompt is worth, scale by scale."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import Decoding
from sfumato_apps.measuring.options import Measures


def sweep(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
    scales: list[float] | None = None,
    n: int = 100,
    judge: str | None = None,
    seed: int = 0,
    measures: Measures = Measures(),
    decoding: Decoding = Decoding(),
) -> None:
    """Answers held-out prompts at several strengths of guidance, and draws the curves.

    Every scale answers the same prompts from the same seeds. Prints one JSON line a scale and
    number; the folder gets the texts, the report and a plot of every metric over the scale.

    $ sfumato sweep --model my-latent --data held-out-pairs.jsonl --scales 0 0.5 1 2 --out curves

    Args:
        data: Pairs of a prompt and what should be written, which the model was not trained on.
        out: Folder for the texts and the report.
        model: Folder or hub name; the shipped model if left out.
        scales: Strengths of classifier-free guidance, 0 for none; by default 0, 0.5, 1, 2 and 4.
        n: Prompts to answer.
        judge: Folder or hub name of an autoregressive model that judges fluency.
        seed: Seed of the choice of prompts and of the first text.
        measures: What is measured, and how.
        decoding: How to write.
    """
    import json

    from sfumato.evaluation.reporting.stored import write_report
    from sfumato_apps.measuring.sweeping import pairs_of, swept
    from sfumato_apps.measuring.texts import Gauge
    from sfumato_apps.policies import open_writer

    gauge = Gauge(measures=measures, judge=judge, data=(), seed=seed)
    pairs = pairs_of(data, n=n, seed=seed)
    chosen = sorted(set(scales or [0.0, 0.5, 1.0, 2.0, 4.0]))
    opened = open_writer(model)
    report = swept(opened, pairs, chosen, gauge, name=model, decoding=decoding, out=out)
    for run in report.runs:
        for metric in run.metrics:
            print(json.dumps({"run": run.label, **metric.as_json()}, ensure_ascii=False))
    write_report(report, out)
