"""`sfumato evaluate`: a model against held-out text, in one report."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import Decoding


def evaluate(
    *,
    data: list[str],
    model: str | None = None,
    out: Path | None = None,
    judge: str | None = None,
    n: int = 100,
    draws: int = 8,
    length: int | None = None,
    max_length: int = 128,
    seed: int = 0,
    decoding: Decoding = Decoding(),
) -> None:
    """Measures likelihood, diversity, loops and, under a judge, perplexity; beside real text.

    Prints one JSON line a number, each with n, seed, reference and settings.

    $ sfumato evaluate --model my-model --data held-out.jsonl --out report

    Args:
        data: Texts that the model was not trained on; repeat the option for several files.
        model: Folder or hub name; the shipped model if left out.
        out: Folder for the report as Markdown, JSON and one HTML page.
        judge: Folder or hub name of an autoregressive model that judges fluency.
        n: Texts to write, and to compare with.
        draws: Noise draws a text for the likelihood bound.
        length: The most tokens to write; by default drawn from the lengths trained on.
        max_length: Longest held-out text in tokens.
        seed: Seed of the texts and of the bound.
        decoding: How to write.
    """
    import json

    from sfumato.evaluation.reporting.stored import write_report
    from sfumato.sampling.tasks.writing import BLOCK
    from sfumato_apps.measuring import compare
    from sfumato_apps.policies import open_model, policy_of

    opened = open_model(model)
    report = compare(
        opened,
        data,
        policy=policy_of(opened, decoding, block=BLOCK),
        judge=judge,
        n=n,
        draws=draws,
        length=length,
        max_length=max_length,
        seed=seed,
    )
    for measured in report.runs:
        for metric in measured.metrics:
            line = {"run": measured.label, **metric.as_json()}
            print(json.dumps(line, ensure_ascii=False))
    if out is not None:
        write_report(report, out)
