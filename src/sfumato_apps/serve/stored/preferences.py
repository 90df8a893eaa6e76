"""Rankings that people made, kept in the form that `sfumato align --data` reads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sfumato.alignment.rankings.formats import read_ranking
from sfumato_apps.serve.stored.database import Database

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Rankings in a database.

    Attributes:
        database: holds them.
    """

    database: Database

    def add(self, prompt: Any, completions: Sequence[str], ranks: Sequence[int]) -> Row:  # noqa: ANN401
        """Keeps a ranking.

        Args:
            prompt: a text, or turns of `role` and `content`.
            completions: what was ranked.
            ranks: the place of each, 1 for the best; ties are allowed.

        Raises:
            DataError: it is no ranking that alignment could read.
            ResourceError: it cannot be kept.
        """
        row = {"prompt": prompt, "completions": [*completions], "ranks": [*ranks]}
        read_ranking(row, "the ranking")
        created = int(time.time())
        number = self.database.insert(
            "INSERT INTO preferences (created, prompt, completions, ranks) VALUES (?, ?, ?, ?)",
            (created, *map(json.dumps, row.values())),
        )
        return {"id": number, "created": created, **row}

    def newest(self, count: int) -> list[Row]:
        """The last rankings, the newest first."""
        found = self.database.rows(
            "SELECT id, created, prompt, completions, ranks FROM preferences "
            "ORDER BY id DESC LIMIT ?",
            (count,),
        )
        return [{"id": row[0], "created": row[1], **_ranking(row[2:])} for row in found]

    def total(self) -> int:
        """How many there are."""
        return next((row[0] for row in self.database.rows("SELECT COUNT(*) FROM preferences")), 0)

    def lines(self) -> Iterator[str]:
        """All of them as JSON lines, the oldest first."""
        for row in self.database.rows(
            "SELECT prompt, completions, ranks FROM preferences ORDER BY id"
        ):
            yield json.dumps(_ranking(row)) + "\n"


def _ranking(row: Sequence[str]) -> Row:
    names = ("prompt", "completions", "ranks")
    return dict(zip(names, map(json.loads, row), strict=True))
