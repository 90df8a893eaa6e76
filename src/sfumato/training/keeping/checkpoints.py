"""Checkpoints of a run: each is whole or not there, and the last sound one is gone on from.

run/checkpoint-250   model.safetensors  average.safetensors  states.json  states.safetensors
                     random.safetensors  trainer_state.json  manifest.json (their SHA-256)
run/checkpoint-500   the same, later; an older one goes when this one has been read back
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from sfumato.errors import ModelError, ResourceError
from sfumato.models.storage.durable import check_folder, remove_folder, write_folder
from sfumato.training.keeping.states import TENSORS_FILE, TREE_FILE

WEIGHTS_FILE, STATE_FILE, RANDOM_FILE = (
    "model.safetensors",
    "trainer_state.json",
    "random.safetensors",
)
_PREFIX = "checkpoint-"
_NEEDED = (WEIGHTS_FILE, STATE_FILE, RANDOM_FILE, TREE_FILE, TENSORS_FILE)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, sound or not, the newest first."""
    found = [path for path in run.glob(f"{_PREFIX}*") if path.name[len(_PREFIX) :].isdigit()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written.

    Example:
        >>> step_of(Path("run/checkpoint-250"))
        250
    """
    return int(checkpoint.name[len(_PREFIX) :])


def check(checkpoint: Path) -> None:
    """Reads a checkpoint as far as it must be read to know that it is what was written.

    Raises:
        ModelError: it is not, or it is of an older version, which wrote no manifest.
    """
    check_folder(checkpoint, _NEEDED)


def last_checkpoint(run: Path, *, say: Callable[[str], None] = lambda _: None) -> Path | None:
    """The newest sound checkpoint of a run, None if there is none.

    Args:
        run: its folder.
        say: is told of every newer one that is not sound.
    """
    bad: list[str] = []
    for path in checkpoints(run):
        try:
            check(path)
        except ModelError as error:
            bad.append(str(error))
            continue
        if bad:
            say(f"{'; '.join(bad)}: going on from {path}, the last good checkpoint")
        return path
    if bad:
        say(f"{'; '.join(bad)}: there is no good checkpoint")
    return None


def write_checkpoint(
    run: Path, step: int, write: Callable[[Path], None], *, most: int | None = None
) -> Path:
    """Writes a checkpoint, reads it back, and only then removes old ones.

    Args:
        run: the run's folder.
        step: the steps that have been taken.
        write: fills the folder.
        most: how many checkpoints stay; None for all.

    Returns:
        its folder.

    Raises:
        ResourceError: it cannot be written; the checkpoints before it are untouched.
    """
    made = run / f"{_PREFIX}{step}"
    try:
        write_folder(made, write)
        check(made)
    except (OSError, SafetensorError, ModelError) as error:
        raise ResourceError(
            f"cannot write {made}: {error}; the checkpoints before it are untouched"
        ) from error
    for path in _outdated(run, made, most):
        with suppress(OSError):  # one too many is no reason to end a training
            remove_folder(path)
    return made


def _outdated(run: Path, made: Path, most: int | None) -> list[Path]:
    """Checkpoints that are too many, and those ahead: bad ones, or of a way not taken."""
    others = [path for path in checkpoints(run) if path != made]
    ahead = [path for path in others if step_of(path) > step_of(made)]
    older = others[len(ahead) :]
    return ahead + (older[max(0, most - 1) :] if most else [])
