"""Files and folders that are whole or not there, whatever dies: the process, the disk, the power.

    a file     draft ─► fsync ─► rename over the old one ─► fsync of the folder
    a folder   draft ─► files, each fsynced ─► manifest ─► fsync ─► rename ─► fsync of the parent

The manifest holds the SHA-256 of every file, so that a flipped bit is seen before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from sfumato.errors import ModelError

MANIFEST = "manifest.json"
_DRAFT, _OLD = ".draft-", ".old-"


def digest_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def synced(path: Path) -> None:
    """Waits until a file, or the list of names in a folder, is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows has no handle of a folder to wait for
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Writes a small file, which until then is the old one.

    Raises:
        OSError: it cannot be written; the old one is untouched.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_text(path, "{}")
        >>> path.read_text()
        '{}'
    """
    draft = path.with_name(f"{_DRAFT}{path.name}")
    try:
        draft.write_text(text, encoding="utf-8")
        synced(draft)
        draft.replace(path)
        synced(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a draft and puts it in the target's place, with a manifest.

    Args:
        target: a folder; if it is there, it is replaced as a whole.
        write: fills the folder with files.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    tidy(target.parent)
    draft = target.with_name(f"{_DRAFT}{target.name}")
    try:
        draft.mkdir()
        write(draft)
        files = sorted(draft.iterdir())
        for path in files:
            synced(path)
        digests = {path.name: digest_of(path) for path in files}
        write_text(draft / MANIFEST, json.dumps({"folder": target.name, "sha256": digests}))
        _swap(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _swap(draft: Path, target: Path) -> None:
    old = target.with_name(f"{_OLD}{target.name}")
    if target.exists():
        target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    synced(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Removes a folder at once: what is left when the process dies has another name.

    Raises:
        OSError: it cannot be removed.
    """
    draft = folder.with_name(f"{_DRAFT}{folder.name}")
    folder.rename(draft)
    shutil.rmtree(draft, ignore_errors=True)


def tidy(parent: Path) -> None:
    """Removes what killed writers left; a folder that was being replaced comes back.

    Only the one writer of the folders in `parent` may ask for it.
    """
    for old in parent.glob(f"{_OLD}*"):
        target = old.with_name(old.name.removeprefix(_OLD))
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)
    for draft in parent.glob(f"{_DRAFT}*"):
        if draft.is_dir():
            shutil.rmtree(draft)


def check_folder(folder: Path, needed: Sequence[str] = ()) -> None:
    """Reads every file of a folder that `write_folder` wrote.

    Args:
        folder: it may have got further files since; nobody has to read them.
        needed: files that have to be in its manifest.

    Raises:
        ModelError: a file is missing, or is not the one that was written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "checkpoint-1"
        >>> write_folder(folder, lambda draft: None)
        >>> check_folder(folder, ["state.json"])
        Traceback (most recent call last):
        sfumato.errors.ModelError: .../checkpoint-1: manifest.json does not name state.json
    """
    digests = _manifest(folder)
    for name in needed:
        if name not in digests:
            raise ModelError(f"{folder}: {MANIFEST} does not name {name}")
    for name, digest in digests.items():
        try:
            found = digest_of(folder / name)
        except OSError as error:
            raise ModelError(f"{folder}: {name} cannot be read: {error.strerror}") from error
        if found != digest:
            raise ModelError(f"{folder}: {name} is not what was written: its SHA-256 differs")


def _manifest(folder: Path) -> dict[str, str]:
    """The digests by name."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        written, digests = manifest["folder"], dict(manifest["sha256"])
    except OSError as error:
        raise ModelError(f"{folder}: {MANIFEST} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}: {MANIFEST} is broken: {error}") from error
    if written != folder.name:
        raise ModelError(f"{folder}: {MANIFEST} is that of {written!r}")
    return digests
