"""What a long run tells its user: lines on stderr, samples, what was skipped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfumato.errors import DataError, UnusableError, UsageError
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.sampling.tasks import write
from sfumato.text.dialogue import Message
from sfumato.training.journal import Journal
from sfumato_apps import ranks

Prompt = str | Sequence[Message] | None
_SHOWN = {"loss", "learning_rate", "rewards/accuracies", "rewards/margins"}


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Records that were left out for one reason.

    Attributes:
        records: how many.
        first: where the first one stands; for one that cannot be read, with what is wrong.
    """

    records: int
    first: str


class Notes:
    """Says things on stderr, in the first process only, and counts what was skipped."""

    def __init__(self, *, silent: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.silent = silent or not ranks.is_first()
        self.skipped: dict[str, Skipped] = {}
        self._most: int | None = None

    def say(self, text: str) -> None:
        """One line."""
        if not self.silent:
            self.console.print(text, markup=False)

    def skips(self, on_bad_line: str) -> bool:
        """Whether records that cannot be read are left out: skip, or skip:N for at most N.

        Raises:
            UsageError: another word.

        Example:
            >>> Notes().skips("skip:3"), Notes().skips("error")
            (True, False)
        """
        kind, _, most = on_bad_line.partition(":")
        known = on_bad_line in ("error", "skip") or (kind == "skip" and most.isdecimal())
        if not known:
            raise UsageError(
                f"--on-bad-line: expected error, skip, or skip:N for at most N, got {on_bad_line!r}"
            )
        self._most = int(most) if most else None
        return kind == "skip"

    def skip(self, error: DataError) -> None:
        """Notes a record that is left out; the first one of each reason in full.

        Raises:
            DataError: more records cannot be read than may be left out.
        """
        reason, place = "cannot be read", str(error)
        if isinstance(error, UnusableError):
            reason, place = error.reason, error.place
        if reason not in self.skipped:
            self.say(f"skipped: {error}")
        before = self.skipped.get(reason, Skipped(records=0, first=place))
        self.skipped[reason] = Skipped(records=before.records + 1, first=before.first)
        unusable = isinstance(error, UnusableError)
        if self._most is not None and not unusable and before.records >= self._most:
            raise DataError(
                f"{error}; {before.records} such records were skipped before, and no more may be "
                "(--on-bad-line)"
            ) from error

    def skip_unusable(self, error: DataError) -> None:
        """Notes a record that is of no use; one that cannot be read is an error."""
        if not isinstance(error, UnusableError):
            raise error
        self.skip(error)

    def sum_up(self) -> None:
        """How many records were left out, and why."""
        for reason, found in self.skipped.items():
            if found.records > 1:
                self.say(f"skipped {found.records} in all: {reason}; the first: {found.first}")

    def as_json(self) -> dict[str, dict[str, int | str]]:
        """What was skipped, by reason."""
        return {reason: asdict(found) for reason, found in self.skipped.items()}


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
            if name in _SHOWN or name.startswith("eval_")
        )
        where = f"step {state.global_step}/{state.max_steps}"
        self.notes.say(f"{where}  {shown}  ({left:.0f} min left)")


class Samples(TrainerCallback):
    """Writes a text for each prompt at each validation into the journal and shows it.

    Args:
        checkpoint: the model that is trained.
        journal: where the texts go.
        notes: where they are shown.
        prompts: beginnings of texts, or dialogues to be answered; None is a text from noise.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | LatentCheckpoint,
        journal: Journal,
        notes: Notes,
        prompts: Sequence[Prompt] = (None,),
    ) -> None:
        self.checkpoint = checkpoint
        self.journal = journal
        self.notes = notes
        self.prompts = prompts

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Texts with the weights as they are, always from the same seed."""
        if not state.is_world_process_zero:
            return
        denoiser = self.checkpoint.denoiser
        training = denoiser.training
        denoiser.eval()
        for prompt in self.prompts:
            text = write(self.checkpoint, prompt=prompt, n=1, seed=0)[0].text
            asked = {} if prompt is None else {"prompt": _spoken(prompt)}
            entry = {**asked, "text": text, "seed": 0}
            self.journal.write("sample", state.global_step, entry)
            for line in (*asked.values(), f"→ {text.strip()}" if asked else text):
                self.notes.say("  " + line.replace("\n", "\n    "))
        denoiser.train(training)


def _spoken(prompt: str | Sequence[Message]) -> str:
    """A prompt as a person reads it."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{turn.role}: {turn.content}" for turn in prompt)
