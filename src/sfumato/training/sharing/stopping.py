"""A clean stop: the step is finished, a checkpoint saved, by all processes alike."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StopOnSignal(TrainerCallback):
    """Ctrl-C and SIGTERM finish the step, save a checkpoint and stop; a second one stops at once.

    Use as a context manager around `Trainer.train`; `stopped` tells what happened.
    """

    def __init__(self) -> None:
        self.stopped: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self.stopped is not None:
            raise KeyboardInterrupt
        self.stopped = number

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Asks the Trainer to save and stop once a signal has come, to any of the processes."""
        if args.world_size > 1:  # one that stops a step early would leave the others waiting
            number = torch.tensor(self.stopped or 0, device=args.device)
            torch.distributed.all_reduce(number, op=torch.distributed.ReduceOp.MAX)
            self.stopped = int(number) or None
        if self.stopped is not None:
            control.should_save = True
            control.should_training_stop = True
