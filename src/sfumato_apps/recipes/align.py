"""`sfumato align`: a model that learns from rankings which text is better."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def align(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
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
    ] = "vrpo",
    beta: float | None = None,
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
    ] = "reverse_kl",
    f_alpha_divergence_coef: float | None = None,
    pairs: Literal["all", "adjacent", "best_vs_rest", "best_vs_worst"] | None = None,
    anchor: float | None = None,
    draws: int | None = None,
    lora: int = 0,
    valid: list[str] | None = None,
    valid_fraction: float = 0.1,
    valid_texts: int = 200,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float = 1.0,
    batch: int = 16,
    accumulation: int = 1,
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    max_length: int = 512,
    slack: int = 0,
    evaluate_every: int = 100,
    bf16: bool = False,
    on_bad_line: Literal["error", "skip"] = "error",
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Teaches a model which of several texts is better, so that it writes more like the better.

    The data are rankings: rows of prompt, completions and their scores or ranks, or of prompt,
    chosen and rejected as TRL has them. The model is one of sfumato's, masked, uniform or latent,
    or an autoregressive one of transformers. Names of options and of what is logged are TRL's.

    $ sfumato align --data rankings.jsonl --out my-aligned-model --steps 50
    $ sfumato align --model my-model --data rankings.jsonl --out out --method pl_dpo --beta 0.2

    Args:
        data: Files of rankings, or hub:owner/name.
        out: Folder for the model.
        model: Folder or hub name of the model to begin with, which is the reference too; the
            package's small one if left out.
        method: The loss and what goes with it; vrpo is dpo with noise that policy and reference
            share, and an anchor.
        beta: How strongly the model is held near its reference; by default the method's.
        f_divergence_type: What holds it there, for methods with a reference.
        f_alpha_divergence_coef: Of alpha_divergence; TRL's, which is 1 − α.
        pairs: Which pairs of a list count, for methods of pairs; all by default.
        anchor: Weight of the likelihood of the best text; by default the method's.
        draws: Noise draws a text, for diffusion models; by default the method's.
        lora: Rank of low-rank adapters; 0 trains all weights and keeps a second copy of the model.
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
        max_length: Most tokens of prompt and text.
        slack: Spare slots behind the longest text of a ranking, for models that end their texts.
        evaluate_every: Steps between validations.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        on_bad_line: Stop at a malformed record, or skip and count it.
        seed: Seed of order and noise.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from sfumato_apps.aligning.plan import AlignPlan
    from sfumato_apps.aligning.walk import follow

    follow(AlignPlan(**options))
