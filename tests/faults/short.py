"""`sfumato` whose second process lacks memory for more than two rows from the eighth step on.

python -m tests.faults.short train …     with RANK, WORLD_SIZE … as `torchrun` sets them
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps.cli import main

LAST, MOST = 7, 2  # steps that work, rows that fit
_plain = DiffusionTrainer.compute_loss


def compute_loss(self: DiffusionTrainer, *given: Any, **more: Any) -> Tensor:
    """The loss, whose gradient does not fit."""
    loss = _plain(self, *given, **more)
    full = self.state.global_step >= LAST and self.args.train_batch_size > MOST
    if full and os.environ["RANK"] == "1":
        loss.register_hook(_fail)
    return loss


def _fail(_: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


if __name__ == "__main__":
    DiffusionTrainer.compute_loss = compute_loss  # type: ignore[method-assign]
    main()
