"""`sfumato train`: from text files to a model, from scratch or from an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def train(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
    valid: list[str] | None = None,
    valid_fraction: float = 0.05,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float = 10.0,
    batch: int = 32,
    accumulation: int = 1,
    learning_rate: float | None = None,
    optimizer: Literal["muon", "adamw"] | None = None,
    weight_decay: float = 0.1,
    average: float = 0.995,
    noise: Literal["masked", "uniform"] = "masked",
    times: Literal["exact", "stratified", "uniform"] = "exact",
    weighting: Literal["elbo", "plain"] = "elbo",
    max_length: int = 128,
    slack: int = 8,
    holes: float = 0.3,
    vocabulary: int = 2048,
    width: int = 192,
    layers: int = 4,
    heads: int = 4,
    architecture: Literal["modernbert", "bert"] = "modernbert",
    lora: int = 0,
    evaluate_every: int = 250,
    bf16: bool = False,
    on_bad_line: Literal["error", "skip"] = "error",
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Trains a model on your text, from scratch or from an encoder.

    Ctrl-C finishes the step, saves, and prints how to resume. The folder holds the model, the
    journal (`journal.jsonl`) and the settings (`train.yaml`).

    $ sfumato train --data stories.jsonl --out my-model --minutes 15
    $ sfumato train --data chats.jsonl --model answerdotai/ModernBERT-base --out my-model

    Args:
        data: A text file (txt, json, jsonl, csv, parquet) or hub:owner/name; repeat it for a
            mixture, and weigh with FILE@0.7.
        out: Folder for the model; its parent must be writable.
        model: An encoder to convert, by folder or hub name; without it, training starts from
            scratch.
        valid: Files to validate on, instead of a share of the data.
        valid_fraction: Share of the texts kept for validation, if no files are given.
        minutes: Train for about this long: the steps are counted from a short measurement.
        steps: Train for this many optimiser steps.
        epochs: Train for this many passes over the data, if neither minutes nor steps are given.
        batch: Texts a step and device.
        accumulation: Micro-batches a step; the gradient is that of one large batch.
        learning_rate: Peak step size; by default 0.01 from scratch, 0.0001 from an encoder.
        optimizer: Muon (default from scratch) or AdamW (default from an encoder).
        weight_decay: Decoupled decay of matrices and embeddings, a share of the step size.
        average: Decay of the moving average of the weights that is kept; 0 for none.
        noise: Masked noise hides tokens, uniform noise replaces them by others.
        times: How noise levels are drawn; exact counts have the least variance (masked noise).
        weighting: The likelihood bound's own weights, or plain cross-entropy.
        max_length: Longest text in tokens; longer ones are cut.
        slack: Most spare slots after a text or in a hole, so that length is learnt, not leaked.
        holes: Share of texts that are trained as filling one hole.
        vocabulary: Tokens of a vocabulary learnt from the data (from scratch).
        width: Width of a model from scratch.
        layers: Layers of a model from scratch.
        heads: Attention heads of a model from scratch.
        architecture: Architecture of a model from scratch.
        lora: Rank of a low-rank adapter; 0 trains all weights.
        evaluate_every: Steps between validations.
        bf16: Mixed precision, for GPUs.
        on_bad_line: Stop at a malformed record, or skip and count it.
        seed: Seed of weights, order and noise.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from dataclasses import replace

    from sfumato.text.corpora import parse_source
    from sfumato.training.trainer import DiffusionTrainer
    from sfumato_apps import training_run as run
    from sfumato_apps.notes import Notes
    from sfumato_apps.reading import canvas_lengths, encode_all, holds_dialogues, read_splits

    notes = Notes()
    resumed = run.checkpoint_to_resume(out, resume=resume)
    splits = read_splits(
        [parse_source(text) for text in data],
        [parse_source(text) for text in valid or []],
        fraction=valid_fraction,
        skip_bad=on_bad_line == "skip",
        seed=seed,
        notes=notes,
    )
    if resumed is not None or model is not None:
        start = run.existing_model(str(out) if resumed else str(model), noise=noise, lora=lora)
    else:
        sizes = {"width": width, "layers": layers, "heads": heads, "max_length": max_length + slack}
        start = run.new_model(
            splits, noise=noise, size=vocabulary, sizes=sizes, architecture=architecture, seed=seed
        )
    examples = encode_all(splits.train, start.vocabulary, max_length, notes)
    held = encode_all(splits.validation, start.vocabulary, max_length, notes)
    notes.sum_up()
    origin = {
        "data": data,
        "seed": seed,
        "dialogues": holds_dialogues(splits.train),
        "lengths": canvas_lengths(examples, slack),
    }
    start = replace(start, metadata={**start.metadata, **origin})
    lay = run.layout_of(start.vocabulary, slack=slack, holes=holes)
    objective = run.objective_of(start, noise=noise, times=times, weighting=weighting)
    scratch = model is None
    muon = (optimizer or ("muon" if scratch else "adamw")) == "muon"
    if minutes is not None:
        rows = batch * accumulation
        steps = run.steps_for(
            minutes, start.denoiser, objective, lay, examples, rows=rows, muon=muon
        )
    elif steps is None:
        steps = max(1, round(epochs * len(examples) / (batch * accumulation)))
    trainer = DiffusionTrainer(
        start.denoiser,
        objective=objective,
        examples=examples,
        compose=lay,
        args=run.arguments(
            out,
            steps=steps,
            batch=batch,
            accumulation=accumulation,
            learning_rate=learning_rate or (1e-2 if scratch else 1e-4),
            weight_decay=weight_decay,
            evaluate_every=evaluate_every,
            bf16=bf16,
            seed=seed,
            validate=bool(held),
        ),
        muon=muon,
        decay=average,
        validation=run.validation_of(start, held, seed),
    )
    size = sum(parameter.numel() for parameter in start.denoiser.parameters()) / 1e6
    notes.say(f"{size:.1f}M parameters, {len(examples)} texts, {len(held)} held out, {steps} steps")
    if resumed is None:
        run.begin(start, {**options, "steps": steps, "minutes": None}, out)
    run.run(trainer, start, out, resumed=resumed, notes=notes)
