"""`sfumato reward`: a scorer that is learnt from rankings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def reward(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
    valid: list[str] | None = None,
    valid_fraction: float = 0.1,
    valid_texts: int = 200,
    steps: int | None = None,
    epochs: float = 3.0,
    batch: int = 16,
    accumulation: int = 1,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.01,
    max_length: int = 256,
    evaluate_every: int = 100,
    bf16: bool = False,
    on_bad_line: Literal["error", "skip"] = "error",
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Trains an encoder to give better texts higher numbers, and says how often it does.

    The result is an ordinary text classifier of transformers with the one label "reward". With
    `sfumato rank --by reward:FOLDER` it ranks candidates.

    $ sfumato reward --data rankings.jsonl --out my-reward
    $ sfumato rank --data candidates.jsonl --by reward:my-reward --out more-rankings.jsonl

    Args:
        data: Files of rankings, or hub:owner/name, as `sfumato align` takes them.
        out: Folder for the reward.
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
        max_length: Most tokens of prompt and text.
        evaluate_every: Steps between validations.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        on_bad_line: Stop at a malformed record, or skip and count it.
        seed: Seed of the head and the order.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from sfumato_apps.aligning.rewarding import RewardPlan, follow

    follow(RewardPlan(**options))
