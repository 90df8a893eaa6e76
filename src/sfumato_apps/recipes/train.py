"""`sfumato train`: from text files to a model, from scratch or from an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def train(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
    mix: str | None = None,
    valid: list[str] | None = None,
    valid_fraction: float = 0.05,
    valid_texts: int = 1000,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float = 10.0,
    batch: int = 32,
    accumulation: int = 1,
    learning_rate: float | None = None,
    optimizer: Literal["muon", "adamw"] | None = None,
    weight_decay: float = 0.1,
    average: float = 0.995,
    noise: Literal["masked", "uniform", "hybrid"] = "masked",
    times: Literal["exact", "stratified", "uniform"] | None = None,
    weighting: Literal["elbo", "plain"] = "elbo",
    max_length: int = 128,
    slack: int = 8,
    holes: float = 0.3,
    answer_holes: float = 0.0,
    vocabulary: int = 2048,
    width: int = 192,
    layers: int = 4,
    heads: int = 4,
    dropout: float = 0.0,
    architecture: Literal["modernbert", "bert"] = "modernbert",
    lora: int = 0,
    evaluate_every: int = 250,
    answers: int = 3,
    bf16: bool = False,
    on_bad_line: str = "error",
    max_line_bytes: int = 2**26,
    max_nonfinite: int = 3,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Trains a model on your text, from scratch or from an encoder.

    Ctrl-C finishes the step, saves, and prints how to resume. The folder holds the model, the
    journal (`journal.jsonl`) and the settings (`train.yaml`).

    $ sfumato train --data stories.jsonl --out my-model --minutes 15
    $ sfumato train --data chats.jsonl --model answerdotai/ModernBERT-base --out my-model

    Args:
        data: Text files (txt, json, jsonl, csv, parquet) or hub:owner/name, a mixture if there are
            several; weigh with FILE@0.7.
        out: Folder for the model; its parent must be writable.
        model: An encoder to convert, by folder or hub name; without it, training starts from
            scratch.
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
        learning_rate: Peak step size; by default 0.01 from scratch, 0.0001 from an encoder.
        optimizer: Muon (default from scratch) or AdamW (default from an encoder).
        weight_decay: Decoupled decay of matrices and embeddings, a share of the step size.
        average: Decay of the moving average of the weights that is kept; 0 for none.
        noise: Masked noise hides tokens, uniform noise replaces them by others, hybrid noise hides
            four of five and replaces one.
        times: How noise levels are drawn: by default exact counts, which have the least variance,
            for masked noise, stratified for the others.
        weighting: The likelihood bound's own weights, or plain cross-entropy.
        max_length: Longest text in tokens; longer ones are cut.
        slack: Most spare slots after a text or in a hole, so that length is learnt, not leaked.
        holes: Share of texts that are trained as filling one hole.
        answer_holes: Share of the answers of pairs that are trained so; `edit --from-pairs` needs
            it to shorten and lengthen.
        vocabulary: Tokens of a vocabulary learnt from the data (from scratch).
        width: Width of a model from scratch.
        layers: Layers of a model from scratch.
        heads: Attention heads of a model from scratch.
        dropout: Chance to drop a unit of a model from scratch; helps where the data is little.
        architecture: Architecture of a model from scratch.
        lora: Rank of a low-rank adapter; 0 trains all weights.
        evaluate_every: Steps between validations.
        answers: Held-out prompts that are answered at each validation.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        on_bad_line: error stops at a malformed record, skip counts it and goes on, skip:9 does so
            nine times.
        max_line_bytes: A longer line is a malformed record.
        max_nonfinite: Steps whose loss or gradient is not finite that are left out before the run
            stops.
        seed: Seed of weights, order and noise.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from sfumato_apps.owning import owned
    from sfumato_apps.plan import Plan
    from sfumato_apps.walk import follow

    with owned(out):
        follow(Plan(recipe="train", **options))
