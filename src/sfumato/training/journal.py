"""The journal of a run: one JSON line for every logged step, validation and sample."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfumato.models.storage.durable import write_text

Entry = dict[str, Any]


class Journal:
    """Appends entries to `journal.jsonl`; every entry has a `kind` and a `step`.

    Example:
        >>> import tempfile
        >>> journal = Journal(Path(tempfile.mkdtemp()))
        >>> journal.write("train", 10, {"loss": 2.5})
        >>> list(journal.read())
        [{'kind': 'train', 'step': 10, 'loss': 2.5}]
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal.jsonl"

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Appends one entry."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(
                json.dumps({"kind": kind, "step": step, **values}, ensure_ascii=False) + "\n"
            )

    def read(self) -> Iterator[Entry]:
        """The entries so far; a last line that was cut off by a crash is left out."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def rewind(self, step: int) -> None:
        """Forgets the entries after `step`, as a run does that resumes from there."""
        kept = [entry for entry in self.read() if entry["step"] <= step]
        if self.path.exists():
            lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept]
            write_text(self.path, "".join(lines))


class JournalCallback(TrainerCallback):
    """Writes what the Trainer logs into the journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One entry a log call."""
        logs: Mapping[str, Any] = kwargs.get("logs") or {}
        if logs and state.is_world_process_zero:
            kind = "valid" if any(key.startswith("eval_") for key in logs) else "train"
            self.journal.write(kind, state.global_step, logs)
