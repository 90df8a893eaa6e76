"""`sfumato classifier`: what noisy vectors of a latent model are about, for guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def classifier(
    *,
    model: str,
    data: list[str],
    out: Path,
    label: str | None = None,
    field: str = "text",
    valid: list[str] | None = None,
    valid_fraction: float = 0.1,
    valid_texts: int = 500,
    strategy: Literal[
        "log-snr", "time", "falling", "falling-normalised", "curriculum", "difficulty"
    ] = "log-snr",
    loss: Literal["binary", "contrast"] = "binary",
    shuffled: int = 1,
    hard: int = 0,
    guess: float = 1.0,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float = 20.0,
    batch: int = 64,
    accumulation: int = 1,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    average: float = 0.99,
    given: int = 64,
    reading: Literal["cross", "beside"] = "cross",
    linear: bool = True,
    hidden: int = 128,
    layers: int = 3,
    heads: int = 4,
    dropout: float = 0.0,
    evaluate_every: int = 500,
    draws: int = 4,
    bf16: bool = False,
    cache: float = 2.0,
    on_bad_line: str = "error",
    max_line_bytes: int = 2**26,
    max_nonfinite: int = 3,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Trains a classifier of a latent model's noisy vectors, which can guide what it writes.

    With --label FIELD it tells the values of that field. Without, the data are pairs of prompt and
    answer, and it tells whether a noisy text answers a prompt. Prints one JSON line a number:
    accuracy overall and by level of noise, loss, calibration.

    $ sfumato classifier --model my-latent --data reviews.jsonl --label stars --out my-judge
    $ sfumato classifier --model my-latent --data stories.jsonl --out my-judge --minutes 10

    Args:
        model: The latent model, by folder or hub name.
        data: Files or hub:owner/name; pairs, or rows with a text and a label.
        out: Folder for the classifier.
        label: Field of the label; without it the data are pairs.
        field: Field of the text, where there are labels.
        valid: Files to validate on, instead of a share of the data.
        valid_fraction: Share of the texts kept for validation, if no files are given.
        valid_texts: Most texts to validate on.
        strategy: Levels of noise: even in log-SNR; even in time, perhaps with weights 1 − t, plain
            or normalised; a curriculum from clean to noise; or by difficulty.
        loss: For pairs: each text by itself, or which of the candidates belongs (InfoNCE).
        shuffled: Wrong answers a prompt, taken at random from the batch.
        hard: Wrong answers a prompt that are most like the right one.
        guess: Weight of predicting the answer's vectors from the prompt alone.
        minutes: Train for about this long.
        steps: Train for this many steps.
        epochs: Train for this many passes over the data, if neither is given.
        batch: Texts a step and device.
        accumulation: Micro-batches a step.
        learning_rate: Peak step size of AdamW.
        weight_decay: Decoupled decay, a share of the step size.
        average: Decay of the moving average of the weights that is kept; 0 for none.
        given: Most tokens of a prompt that are read.
        reading: How prompts are read: by cross-attention, or beside the text.
        linear: Add what is linear in the noisy vectors, for levels with much noise.
        hidden: Width of the network.
        layers: Its layers.
        heads: Its attention heads.
        dropout: Chance to drop a unit of it.
        evaluate_every: Steps between validations.
        draws: Levels of noise at which each held-out text is judged at the end.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        cache: GiB of memory for vectors of the encoder, so that each text is encoded once.
        on_bad_line: error stops at a malformed record, skip counts it and goes on, skip:9 does so
            nine times.
        max_line_bytes: A longer line is a malformed record.
        max_nonfinite: Steps whose loss or gradient is not finite that are left out before the run
            stops.
        seed: Seed of weights, order and noise.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from sfumato_apps.classifying.plan import ClassifierPlan
    from sfumato_apps.classifying.walk import follow
    from sfumato_apps.owning import owned

    with owned(out):
        follow(ClassifierPlan(**options))
