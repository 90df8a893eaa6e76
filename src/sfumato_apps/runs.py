"""A run's folder: begun once, gone on with, and kept whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from sfumato.errors import ResourceError, SfumatoError, UsageError
from sfumato.models.storage.durable import write_text
from sfumato.models.storage.folders import first_line
from sfumato.training.journal import Journal
from sfumato.training.keeping.checkpoints import checkpoints, last_checkpoint
from sfumato.training.sharing.stopping import StopOnSignal
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks
from sfumato_apps.notes import Notes

_RECIPES = (
    "train",
    "convert",
    "latent",
    "classifier",
    "distill",
    "reward train",
    "discriminator train",
    "align",
    "align image",
)
# How gloo, NCCL and torch's store say that the other end of a connection is gone.
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process")
SETTINGS_FILES = {name: f"{name.replace(' ', '-')}.yaml" for name in _RECIPES}


class Interrupted(SfumatoError):
    """A run was stopped by a signal after it had saved; the exit code names the signal.

    Args:
        message: what was saved, and how to go on.
        by: the signal.
    """

    def __init__(self, message: str, *, by: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + by


def checkpoint_to_resume(out: Path, *, resume: bool, notes: Notes) -> Path | None:
    """The last good checkpoint, None for a run that begins, also for one that died early.

    Args:
        out: the run's folder.
        resume: go on with the run in it.
        notes: is told of newer checkpoints that are broken.

    Raises:
        UsageError: there is nothing to resume, or a new run would overwrite an old one.
    """
    begun = any((out / name).exists() for name in SETTINGS_FILES.values())
    if resume:
        found = last_checkpoint(out, say=notes.say)
        if found is None and (checkpoints(out) or not begun):
            raise UsageError(f"nothing to resume: {out} holds no complete checkpoint")
        if found is None:
            notes.say(f"{out} was stopped before its first checkpoint: beginning again")
            if ranks.is_first():
                Journal(out).rewind(-1)
        return found
    if begun or checkpoints(out):
        raise UsageError(
            f"{out} already holds a run: add --resume to go on with it, or choose another folder"
        )
    return None


def bf16_helps(*, wanted: bool, notes: Notes) -> bool:
    """Whether to train in mixed precision: it was asked for, and the machine multiplies bfloat16.

    GPUs since Ampere do; where there is no GPU, so do CPUs with AMX or AVX-512 BF16.
    """
    helps = is_torch_bf16_gpu_available()
    if not torch.cuda.is_available():
        able = torch.cpu.get_capabilities()
        helps = able.get("amx_bf16", False) or able.get("avx512_bf16", False)
    if wanted and not helps:
        notes.say("no hardware for bfloat16 here: training in float32")
    return wanted and helps


def preset(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a preset holds them: paths as text, without --resume and what was left out."""
    chosen = {n: v for n, v in options.items() if v is not None and n != "resume"}
    return {n: str(v) if isinstance(v, Path) else v for n, v in chosen.items()}


def write_run(recipe: str, options: Mapping[str, Any], out: Path) -> None:
    """Writes the options, so that the run can be resumed from `out`."""
    settings = {"recipe": recipe, **preset(options)}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    path = out / SETTINGS_FILES[recipe]
    write_text(path, f"# sfumato {recipe} --preset {path}\n{text}")


def carry_out(
    trainer: DiffusionTrainer,
    recipe: str,
    out: Path,
    *,
    resumed: Path | None,
    notes: Notes,
    keep: Callable[[dict[str, Any]], None],
    conclude: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Trains, and keeps the model whatever happens, but for a checkpoint that was not read.

    Args:
        trainer: what is trained.
        recipe: the command, for the message.
        out: the run's folder.
        resumed: the checkpoint to go on from.
        notes: is told the end.
        keep: saves the model with what was found of it.
        conclude: measures the finished model.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything was saved.
        ResourceError: memory gave out, or another process of the run is gone.
    """
    found: dict[str, Any] = {}
    with _explained(), StopOnSignal() as stop:
        trainer.add_callback(stop)
        try:
            if resumed is None:
                trainer.train()
            else:
                trainer.resume(resumed)
            if stop.stopped is None:
                found |= conclude()
        finally:
            found["steps"] = trainer.state.global_step
            begun = resumed is None or trainer.state.global_step > 0
            if begun and ranks.is_first():  # else the folder holds more than this process does
                keep(found)
    if stop.stopped is not None:
        path = out / SETTINGS_FILES[recipe]
        raise Interrupted(
            f"stopped at step {trainer.state.global_step} and saved; "
            f"go on with: sfumato {recipe} --preset {path} --resume",
            by=stop.stopped,
        )
    notes.say(f"saved {out}")


@contextmanager
def _explained() -> Iterator[None]:
    """Says what a machine that gives out means."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"out of memory: {first_line(error)}; choose a smaller --batch or --max-length"
        ) from error
    except RuntimeError as error:
        if ranks.count() == 1 or not any(word in str(error) for word in _GONE):
            raise
        raise ResourceError(
            "another process of this run is gone, and none can train without it: go on from the "
            f"last checkpoint with --resume in all of them ({first_line(error)})"
        ) from error
