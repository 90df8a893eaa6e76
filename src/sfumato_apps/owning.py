"""One folder, one run: a lock that the system takes back when its owner dies, however it dies."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sfumato.errors import ResourceError, UsageError
from sfumato_apps import ranks

# Windows has no flock: there folders and files go unguarded.
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
_FILE = ".owner"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Keeps a run's folder from other runs; of several processes of one run the first owns it.

    Raises:
        UsageError: the folder cannot be made or written into.
        ResourceError: another process owns it.
    """
    if fcntl is None or not ranks.is_first():
        yield
        return
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(folder)
    except OSError as error:
        raise UsageError(
            f"cannot write into {folder}: {error.strerror}; choose another folder"
        ) from error
    try:
        yield
    finally:
        (folder / _FILE).unlink(missing_ok=True)
        file.close()
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _locked(folder: Path) -> IO[str]:
    while True:
        file = (folder / _FILE).open("a+", encoding="utf-8")
        if not locked(file):
            file.seek(0)
            with file:
                owner = file.read().strip()
            raise ResourceError(
                f"process {owner} is at work in {folder}: wait for its end or stop it, or choose "
                "another folder"
            )
        try:
            if os.path.samestat(os.fstat(file.fileno()), (folder / _FILE).stat()):
                break
        except FileNotFoundError:  # the owner before us removed it while we waited
            pass
        file.close()
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def locked(file: IO[Any]) -> bool:
    """Locks an open file until it is closed; False if another process has locked it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
