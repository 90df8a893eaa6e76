"""`sfumato distill`: a model that writes in a few passes, from one that takes many."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def distill(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
    steps: int = 500,
    levels: int = 20,
    guidance: float | None = None,
    batch: int = 32,
    learning_rate: float = 1e-3,
    optimizer: Literal["muon", "adamw"] = "muon",
    average: float = 0.99,
    max_length: int = 128,
    bf16: bool = False,
    on_bad_line: str = "error",
    max_line_bytes: int = 2**26,
    max_nonfinite: int = 3,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Teaches a copy of a model to say in one step what the model says in several.

    A latent model becomes a consistency model, to be written with --solver renoise in 1 to 4 steps;
    a masked one learns to say at once what its teacher says in two steps, and a student of its own
    halves them again. With --guidance the student learns what its teacher says under
    classifier-free guidance: it is then asked without, at half the cost of a pass. Ctrl-C finishes
    the step, saves, and prints how to resume.

    $ sfumato distill --model my-latent --data stories.jsonl --out my-fast-latent
    $ sfumato write --model my-fast-latent --steps 2 --solver renoise
    $ sfumato distill --model my-answers --data pairs.jsonl --guidance 1 --out my-guided-answers

    Args:
        data: The texts that the teacher was trained on, or others of their kind.
        out: Folder for the student.
        model: Folder or hub name of the teacher; the package's own if left out.
        steps: Optimiser steps.
        levels: For latent models: points of the grid of noise levels.
        guidance: Strength of the teacher's guidance, as in `sfumato write --guidance`. A masked
            student then takes as many steps as its teacher.
        batch: Texts a step and device.
        learning_rate: Peak step size.
        optimizer: Muon or AdamW.
        average: Decay of the moving average of the weights that is kept.
        max_length: Longest text in tokens, for masked models; longer ones are cut.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        on_bad_line: error stops at a malformed record, skip counts it and goes on, skip:9 does so
            nine times.
        max_line_bytes: A longer line is a malformed record.
        max_nonfinite: Steps whose loss or gradient is not finite that are left out before the run
            stops.
        seed: Seed of order and noise.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from sfumato_apps.distilling import Distillation, follow
    from sfumato_apps.owning import owned

    with owned(out):
        follow(Distillation(**options))
