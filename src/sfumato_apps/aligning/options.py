"""How a model learns from rankings, as options of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Preferring:
    """How a model learns from rankings, of texts or of images.

    Attributes:
        method: The loss and what goes with it; vrpo is dpo with noise that policy and reference
            share, and an anchor.
        beta: How strongly the model is held near its reference; by default the method's.
        f_divergence_type: What holds it there, for methods with a reference.
        f_alpha_divergence_coef: Of alpha_divergence; TRL's, which is 1 − α.
        pairs: Which pairs of a list count, for methods of pairs; all by default.
        anchor: Weight of the likelihood of the best candidate; by default the method's.
        draws: Noise draws a candidate, for diffusion models; by default the method's.
        lora: Rank of low-rank adapters; 0 trains all weights beside a second copy of the model.
        valid: Files of rankings to validate on, instead of a share of the data.
        valid_fraction: Share of the prompts kept for validation, if no files are given.
        valid_texts: Most rankings to validate on.
        minutes: Train for about this long.
        steps: Train for this many steps.
        epochs: Train for this many passes over the data, if neither is given.
        batch: Rankings a step and device.
        accumulation: Micro-batches a step.
        learning_rate: Peak step size of AdamW; by default 1e-5, and 1e-4 with adapters.
        weight_decay: Decoupled decay, a share of the step size.
        evaluate_every: Steps between validations.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        on_bad_line: error stops at a malformed record, skip counts it and goes on, skip:9 does so
            nine times.
        max_nonfinite: Steps whose loss or gradient is not finite that are left out before the run
            stops.
        seed: Seed of order and noise.
        resume: Go on from the last checkpoint in `out`.
    """

    method: Literal[
        "dpo",
        "f_dpo",
        "ipo",
        "hinge",
        "robust_dpo",
        "cpo",
        "simpo",
        "cpo_simpo",
        "pl_dpo",
        "diffusion_dpo",
        "vrpo",
    ] = "vrpo"
    beta: float | None = None
    f_divergence_type: Literal[
        "reverse_kl",
        "forward_kl",
        "js_divergence",
        "alpha_divergence",
        "gan",
        "hellinger",
        "neyman_chi2",
        "jeffrey",
        "chi_po",
    ] = "reverse_kl"
    f_alpha_divergence_coef: float | None = None
    pairs: Literal["all", "adjacent", "best_vs_rest", "best_vs_worst"] | None = None
    anchor: float | None = None
    draws: int | None = None
    lora: int = 0
    valid: list[str] | None = None
    valid_fraction: float = 0.1
    valid_texts: int = 200
    minutes: float | None = None
    steps: int | None = None
    epochs: float = 1.0
    batch: int = 16
    accumulation: int = 1
    learning_rate: float | None = None
    weight_decay: float = 0.0
    evaluate_every: int = 100
    bf16: bool = False
    on_bad_line: str = "error"
    max_nonfinite: int = 3
    seed: int = 0
    resume: bool = False
