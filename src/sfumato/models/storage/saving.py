"""Saving a folder so that what it replaces is whole until the new files are complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from sfumato.errors import ModelError, ResourceError
from sfumato.models.storage import folders
from sfumato.models.storage.durable import synced
from sfumato.models.storage.settings import SETTINGS

_DRAFT, _READY = ".saving-", ".saved"
_NAMES = ("time", "denoiser", "codec", "encoder", "classifier")
_REPLACED = (
    "model*.safetensors",
    "model.safetensors.index.json",
    *(f"{name}.safetensors" for name in _NAMES),
)


def save_files(target: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a new folder and moves its files over those of the target.

    A save that is killed while moving is finished by the next `finish_save` or `save_files`.

    Args:
        target: the folder; weights in it that the new settings do not name are removed, other
            files stay.
        write: fills a folder, `sfumato.json` among its files.

    Raises:
        ResourceError: the folder cannot be written; it opens with what was there before, or with
            the new files if all of them had been written.
    """
    draft = target / f"{_DRAFT}{os.getpid()}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        _move(target)
        for left in target.glob(f"{_DRAFT}*"):
            shutil.rmtree(left)
        draft.mkdir()
        write(draft)
        for path in (*draft.iterdir(), draft):
            synced(path)
        draft.rename(target / _READY)
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"cannot save to {target}: {folders.first_line(error)}; what was there is untouched"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    try:
        synced(target)
        _move(target)
    except OSError as error:
        raise ResourceError(
            f"cannot save to {target}: {folders.first_line(error)}; the new files are whole in "
            f"{_READY}, and are moved when the folder is opened"
        ) from error


def finish_save(folder: Path) -> None:
    """Ends a save that was killed while it moved its files.

    Raises:
        ModelError: it cannot.
    """
    try:
        _move(folder)
    except OSError as error:
        raise ModelError(f"{folder} holds a save that cannot be finished: {error}") from error


def _move(target: Path) -> None:
    """Moves a complete save over the files that it replaces, the settings last."""
    ready = target / _READY
    if not ready.is_dir():
        return
    if (ready / SETTINGS).is_file():
        kept = json.loads((ready / SETTINGS).read_text(encoding="utf-8"))["sha256"]
        for old in (path for kind in _REPLACED for path in target.glob(kind)):
            if old.name not in kept:
                old.unlink()
    for new in sorted(ready.iterdir(), key=lambda path: path.name == SETTINGS):
        new.replace(target / new.name)
    synced(target)
    ready.rmdir()
