"""`sfumato convert`: from an encoder and conversations to an assistant."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def convert(
    model: str,
    *,
    data: list[str],
    out: Path,
    mix: str | None = None,
    valid: list[str] | None = None,
    valid_fraction: float = 0.05,
    valid_texts: int = 1000,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float = 3.0,
    batch: int = 16,
    accumulation: int = 1,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.1,
    average: float = 0.995,
    weighting: Literal["elbo", "plain"] = "elbo",
    max_length: int = 512,
    slack: int = 32,
    holes: float = 0.3,
    lora: int = 0,
    evaluate_every: int = 500,
    answers: int = 3,
    probed: int = 64,
    force: bool = False,
    bf16: bool = False,
    on_bad_line: str = "skip",
    max_line_bytes: int = 2**26,
    max_nonfinite: int = 3,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Converts an encoder: probes it, trains it to answer, validates, samples, writes its card.

    Only what the assistant says is noised and learnt. An encoder that the probe refuses is not
    trained. Ctrl-C finishes the step, saves, and prints how to resume. The folder holds the model,
    the journal (`journal.jsonl`) and the settings (`convert.yaml`).

    $ sfumato convert deepvk/RuModernBERT-base --data ru.jsonl en.jsonl --mix 3:1 --out my-assistant
    $ sfumato convert --preset rumodernbert-base --data chats.jsonl --out my-assistant
    $ accelerate launch -m sfumato_apps.cli convert --preset mmbert-base --data c.jsonl --out a

    Args:
        model: The encoder, by folder or hub name.
        data: Conversations, pairs or texts (txt, json, jsonl, csv, parquet) or hub:owner/name, a
            mixture if there are several; weigh with FILE@0.7.
        out: Folder for the model; its parent must be writable.
        mix: Ratio of the records of the sources, such as 3:1, or balanced: as many of each as the
            smallest has.
        valid: Files to validate on, instead of a share of the data.
        valid_fraction: Share of the texts kept for validation, if no files are given.
        valid_texts: Most texts to validate on.
        minutes: Train for about this long: the steps are counted from a short measurement.
        steps: Train for this many optimiser steps.
        epochs: Train for this many passes over the data, if neither minutes nor steps are given.
        batch: Texts a step and device.
        accumulation: Micro-batches a step; the gradient is that of one large batch.
        learning_rate: Peak step size.
        weight_decay: Decoupled decay of matrices and embeddings, a share of the step size.
        average: Decay of the moving average of the weights that is kept; 0 for none.
        weighting: The likelihood bound's own weights, or plain cross-entropy.
        max_length: Longest conversation in tokens; longer ones are cut.
        slack: Most spare slots after an answer or in a hole, so that length is learnt, not leaked.
        holes: Share of plain texts that are trained as filling one hole.
        lora: Rank of a low-rank adapter; 0 trains all weights.
        evaluate_every: Steps between validations.
        answers: Held-out prompts that are answered at each validation.
        probed: Texts to probe the encoder on; 0 does not ask the probe.
        force: Convert the encoder whatever the probe says.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        on_bad_line: error stops at a malformed record, skip counts it and goes on, skip:9 does so
            nine times.
        max_line_bytes: A longer line is a malformed record.
        max_nonfinite: Steps whose loss or gradient is not finite that are left out before the run
            stops.
        seed: Seed of adapters, order and noise.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from sfumato_apps.owning import owned
    from sfumato_apps.plan import Plan
    from sfumato_apps.walk import follow

    with owned(out):
        follow(Plan(recipe="convert", **options))
