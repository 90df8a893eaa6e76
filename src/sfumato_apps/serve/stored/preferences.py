"""Rankings that people made, kept in the form that `sfumato align` reads.

    {"prompt", "completions": ["…", …], "ranks"}              texts: `sfumato align --data`
    {"prompt", "completions": [{"path"}, …], "ranks"}         images: `sfumato align image --data`

Of an image only its name is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sfumato.alignment.images.records import read_images
from sfumato.alignment.rankings.formats import read_ranking
from sfumato.errors import DataError
from sfumato_apps.serve.stored.database import Database

Row = dict[str, Any]
Kind = Literal["texts", "images"]
_NAMES = ("prompt", "completions", "ranks")
# A list of names begins so in JSON, and a list of texts never does.
_OF_KIND = "FROM preferences WHERE (substr(completions, 1, 2) = '[{') = ? "


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Rankings in a database.

    Attributes:
        database: holds them.
    """

    database: Database

    def add(self, row: Row) -> Row:
        """Keeps a ranking.

        Args:
            row: `prompt` (a text, or turns of `role` and `content`), `completions` (texts, or
                names of images) and `ranks`, 1 for the best; ties are allowed.

        Raises:
            DataError: it is no ranking that alignment could read.
            ResourceError: it cannot be kept.
        """
        _check(row)
        created = int(time.time())
        number = self.database.insert(
            "INSERT INTO preferences (created, prompt, completions, ranks) VALUES (?, ?, ?, ?)",
            (created, *(json.dumps(row[name]) for name in _NAMES)),
        )
        return {"id": number, "created": created, **row}

    def newest(self, kind: Kind, count: int) -> list[Row]:
        """The last rankings of a kind, the newest first."""
        found = self.database.rows(
            "SELECT id, created, prompt, completions, ranks " + _OF_KIND + "ORDER BY id DESC "
            "LIMIT ?",
            (kind == "images", count),
        )
        return [{"id": row[0], "created": row[1], **_ranking(row[2:])} for row in found]

    def total(self, kind: Kind) -> int:
        """How many there are of a kind."""
        found = self.database.rows("SELECT COUNT(*) " + _OF_KIND, (kind == "images",))
        return next((row[0] for row in found), 0)

    def lines(self, kind: Kind) -> Iterator[str]:
        """All of a kind as JSON lines, the oldest first."""
        for row in self.database.rows(
            "SELECT prompt, completions, ranks " + _OF_KIND + "ORDER BY id", (kind == "images",)
        ):
            yield json.dumps(_ranking(row)) + "\n"


def _check(row: Row) -> None:
    """Reads a ranking as alignment will.

    Raises:
        DataError: alignment could not.
    """
    if isinstance(row["completions"][0], str):
        read_ranking(row, "the ranking")
    elif not read_images(row, "the ranking", Path()).ranked:
        raise DataError("the ranking: expected an image that is better than another, got one place")


def _ranking(row: Sequence[str]) -> Row:
    return dict(zip(_NAMES, map(json.loads, row), strict=True))
