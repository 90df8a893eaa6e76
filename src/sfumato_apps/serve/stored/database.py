"""One SQLite file in a folder; several processes may write to it (WAL)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sfumato.errors import ResourceError

NAME = "sfumato.sqlite"
_PATIENCE = 5.0  # seconds to wait for another process
_MOMENT = 0.01  # seconds
_TABLES = """
CREATE TABLE IF NOT EXISTS preferences (
    id INTEGER PRIMARY KEY, created INTEGER NOT NULL, prompt TEXT NOT NULL,
    completions TEXT NOT NULL, ranks TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS judgements (
    id INTEGER PRIMARY KEY, created INTEGER NOT NULL, prompt TEXT NOT NULL, a TEXT NOT NULL,
    b TEXT NOT NULL, text_a TEXT NOT NULL, text_b TEXT NOT NULL, winner TEXT NOT NULL);
"""


@dataclass(frozen=True, kw_only=True)
class Database:
    """The file; nothing is made before something is written.

    Attributes:
        folder: that holds it.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """Where the file is, or will be."""
        return self.folder / NAME

    def insert(self, statement: str, values: Sequence[Any]) -> int:
        """Writes a row and returns its number.

        Raises:
            ResourceError: the folder cannot be written to, or the disk is full.
        """
        until = monotonic() + _PATIENCE
        while True:
            try:
                return self._insert(statement, values)
            except (OSError, sqlite3.Error) as error:
                if not _is_busy(error) or monotonic() > until:
                    raise ResourceError(f"{self.path} cannot be written: {error}") from None
            sleep(_MOMENT)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """What a query finds; nothing where nothing was ever written.

        Raises:
            ResourceError: the file cannot be read.
        """
        if not self.path.is_file():
            return
        try:
            with closing(self._open()) as file:
                yield from file.execute(statement, values)
        except sqlite3.Error as error:
            raise ResourceError(f"{self.path} cannot be read: {error}") from None

    def _insert(self, statement: str, values: Sequence[Any]) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as file, file:
            file.execute("PRAGMA journal_mode=WAL")
            file.executescript(_TABLES)
            found = file.execute(statement, values).lastrowid
        assert found is not None
        return found

    def _open(self) -> sqlite3.Connection:
        # A stream of rows may be read by more than one thread, one after the other.
        return sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False)


def _is_busy(error: Exception) -> bool:
    """Whether SQLite gave up at once, as two that make the file at the same time would block."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY
