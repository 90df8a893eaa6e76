"""`sfumato evaluate`: a model, or a file of generated texts, against real text, in one report."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import Decoding
from sfumato_apps.measuring.options import Measures


def evaluate(
    *,
    data: list[str] | None = None,
    model: str | None = None,
    texts: Path | None = None,
    against: Path | None = None,
    out: Path | None = None,
    judge: str | None = None,
    n: int | None = None,
    draws: int = 8,
    length: int | None = None,
    max_length: int = 128,
    seed: int = 0,
    measures: Measures = Measures(),
    decoding: Decoding = Decoding(),
) -> None:
    """Measures a model, or texts in a file, beside real text; compares with an earlier report.

    A model is asked for its likelihood bound and for texts; these, or those of --texts, are
    measured: diversity, loops, under a judge perplexity, with an encoder MAUVE, and against
    references ROUGE, BLEU, BERTScore and SARI. Prints one JSON line a number, each with n, seed,
    reference and settings; --against adds a line a difference, and a table on stderr.

    $ sfumato evaluate --model my-model --data held-out.jsonl --out report
    $ sfumato evaluate --texts generated.jsonl --floors --against earlier/report.json

    Args:
        data: Texts that the model was not trained on; repeat the option for several files.
        model: Folder or hub name; the shipped model if left out.
        texts: Measure this file instead of a model: JSON lines with generated, perhaps source
            and target, or plain text with one generated text a line.
        against: The report.json of an earlier run, or a file as for --texts of another system.
        out: Folder for the report as Markdown, JSON and one HTML page.
        judge: Folder or hub name of an autoregressive model that judges fluency.
        n: Texts to write, and to compare with, 100 if left out; of --texts the first ones, or all.
        draws: Noise draws a text for the likelihood bound.
        length: The most tokens to write; by default drawn from the lengths trained on.
        max_length: Longest held-out text in tokens.
        seed: Seed of the texts and of the bound, of MAUVE and of the bootstrap.
        measures: What is measured, and how.
        decoding: How to write.
    """
    import json
    import sys

    from sfumato.evaluation.reporting.stored import write_report
    from sfumato.sampling.tasks.writing import BLOCK
    from sfumato_apps.measuring import against as other
    from sfumato_apps.measuring.options import check
    from sfumato_apps.measuring.texts import Gauge, measure_file
    from sfumato_apps.measuring.written import measure_model
    from sfumato_apps.policies import open_writer, policy_of

    written = {"--model": model, "--length": length, "decoding": decoding != Decoding() or None}
    check(measures, data=data, texts=texts, n=n, written=written)
    gauge = Gauge(measures=measures, judge=judge, data=tuple(data or ()), seed=seed)
    if texts is not None:
        report = measure_file(texts, gauge, n=n)
    else:
        opened = open_writer(model)
        report = measure_model(
            opened,
            gauge,
            policy=policy_of(opened, decoding, name=model, block=BLOCK),
            n=n or 100,
            draws=draws,
            length=length,
            max_length=max_length,
        )
    report = report if against is None else other.with_differences(report, against, gauge)
    lines = [{"run": r.label, **metric.as_json()} for r in report.runs for metric in r.metrics]
    if report.differences is not None:
        lines += other.difference_lines(report.differences)
        print(other.difference_table(report.differences), file=sys.stderr)
    for line in lines:
        print(json.dumps(line, ensure_ascii=False))
    if out is not None:
        write_report(report, out)
