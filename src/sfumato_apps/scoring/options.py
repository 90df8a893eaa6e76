"""How an encoder becomes a scorer, as options of the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How a scorer is trained.

    Attributes:
        model: Folder or hub name of the encoder to begin with; the package's small one if left out.
        valid: Files of rankings to validate on, instead of a share of the data.
        valid_fraction: Share of the prompts kept for validation, if no files are given.
        valid_texts: Most rankings to validate on.
        steps: Train for this many steps.
        epochs: Train for this many passes over the data, if steps are not given.
        batch: Rankings a step and device.
        accumulation: Micro-batches a step.
        learning_rate: Peak step size of AdamW.
        weight_decay: Decoupled decay, a share of the step size.
        max_length: Most tokens of prompt and text; no more than the encoder reads.
        evaluate_every: Steps between validations.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        on_bad_line: error stops at a malformed record, skip counts it and goes on, skip:9 does so
            nine times.
        max_nonfinite: Steps whose loss or gradient is not finite that are left out before the run
            stops.
        seed: Seed of the head and the order.
        resume: Go on from the last checkpoint in `out`.
    """

    model: str | None = None
    valid: list[str] | None = None
    valid_fraction: float = 0.1
    valid_texts: int = 200
    steps: int | None = None
    epochs: float = 3.0
    batch: int = 16
    accumulation: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    max_length: int = 256
    evaluate_every: int = 100
    bf16: bool = False
    on_bad_line: str = "error"
    max_nonfinite: int = 3
    seed: int = 0
    resume: bool = False
