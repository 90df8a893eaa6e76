"""Exponential moving average of the weights, kept beside training and saved with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import safetensors.torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfumato.errors import UsageError
from sfumato.training.sharing.weights import Whole

AVERAGE_FILE = "average.safetensors"


class WeightAverage(TrainerCallback):
    """Averages the denoiser's weights after each optimiser step, whole in every process.

    Args:
        model: the denoiser that is trained.
        decay: share of the average kept at each step, in (0, 1). During the first steps the
            decay is lower, (1 + n) / (10 + n), so that the start is forgotten.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        if not 0 < decay < 1:
            raise UsageError(f"the averaging decay must lie strictly between 0 and 1, got {decay}")
        self.decay = decay
        self.average = AveragedModel(model, multi_avg_fn=_average(decay))
        self.average.eval()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Folds the new weights into the average."""
        steps = state.global_step
        self.average.multi_avg_fn = _average(min(self.decay, (1 + steps) / (10 + steps)))
        self.average.update_parameters(cast(nn.Module, Whole(network=kwargs["model"])))

    def save(self, folder: Path) -> None:
        """Writes the average into a checkpoint."""
        safetensors.torch.save_model(self.average, str(folder / AVERAGE_FILE))

    def load(self, checkpoint: Path) -> None:
        """Restores the average of a checkpoint."""
        safetensors.torch.load_model(self.average, str(checkpoint / AVERAGE_FILE))


def _average(decay: float) -> Callable[..., None]:
    return cast(Callable[..., None], get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
