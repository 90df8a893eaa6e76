"""What a long run tells its user: lines on stderr, samples, what was skipped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfumato.errors import DataError
from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.tasks import write
from sfumato.training.journal import Journal

_SHOWN = 3


class Notes:
    """Says things on stderr, and counts what was skipped."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.skipped = 0

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    def skip(self, error: DataError) -> None:
        """Notes a record that is left out; the first few in full."""
        self.skipped += 1
        if self.skipped <= _SHOWN:
            self.say(f"skipped: {error}")

    def sum_up(self) -> None:
        """How many records were left out."""
        if self.skipped > _SHOWN:
            self.say(f"skipped: {self.skipped} records in all")


class ProgressLines(TrainerCallback):
    """One line a log on stderr, with the time left."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.began: tuple[float, int] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remembers when it began."""
        self.began = (time.monotonic(), state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Prints what was logged."""
        logs: Mapping[str, Any] = kwargs.get("logs") or {}
        if not logs or self.began is None or "train_runtime" in logs:
            return
        start, first = self.began
        rate = (state.global_step - first) / max(1e-9, time.monotonic() - start)
        left = (state.max_steps - state.global_step) / rate / 60 if rate else 0.0
        shown = "  ".join(
            f"{name.removeprefix('eval_')} {float(value):.4g}"
            for name, value in logs.items()
            if name in {"loss", "learning_rate"} or name.startswith("eval_")
        )
        where = f"step {state.global_step}/{state.max_steps}"
        self.notes.say(f"{where}  {shown}  ({left:.0f} min left)")


class Samples(TrainerCallback):
    """Writes one text at each validation into the journal and shows it."""

    def __init__(self, checkpoint: Checkpoint, journal: Journal, notes: Notes) -> None:
        self.checkpoint = checkpoint
        self.journal = journal
        self.notes = notes

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One text with the weights as they are, always from the same seed."""
        denoiser = self.checkpoint.denoiser
        training = denoiser.training
        denoiser.eval()
        sample = write(self.checkpoint, n=1, seed=0)[0]
        denoiser.train(training)
        self.journal.write("sample", state.global_step, {"text": sample.text, "seed": 0})
        self.notes.say(f"  {sample.text}")
