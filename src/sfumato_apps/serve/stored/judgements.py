"""Blind votes between two ways of writing, and how often one of them wins."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from sfumato_apps.serve.stored.database import Database

_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One choice between two texts.

    Attributes:
        prompt: what both begin with.
        a: name of one way of writing.
        b: name of the other.
        text_a: what the first wrote.
        text_b: what the second wrote.
        winner: "a", "b" or "tie".
    """

    prompt: str
    a: str
    b: str
    text_a: str
    text_b: str
    winner: str


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Votes in a database.

    Attributes:
        database: holds them.
    """

    database: Database

    def add(self, vote: Vote) -> int:
        """Keeps a vote and returns its number.

        Raises:
            ResourceError: it cannot be kept.
        """
        return self.database.insert(
            "INSERT INTO judgements (created, prompt, a, b, text_a, text_b, winner) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (int(time.time()), *vars(vote).values()),
        )

    def summary(self, a: str, b: str) -> dict[str, Any]:
        """How often a won against b, whichever was called a; a tie is half a win."""
        counts = {"a": 0, "b": 0, "tie": 0}
        for one, winner, count in self.database.rows(
            "SELECT a, winner, COUNT(*) FROM judgements "
            "WHERE (a = ? AND b = ?) OR (a = ? AND b = ?) GROUP BY a, winner",
            (a, b, b, a),
        ):
            turned = {"a": "b", "b": "a"}.get(winner, winner)
            counts[winner if one == a else turned] += count
        n = sum(counts.values())
        found: dict[str, Any] = {"a": a, "b": b, "n": n, "ties": counts["tie"]}
        if not n:
            return {**found, "win_rate": None, "low": None, "high": None}
        rate = (counts["a"] + counts["tie"] / 2) / n
        low, high = wilson(rate, n)
        return {**found, "win_rate": rate, "low": low, "high": high}


def wilson(rate: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of n votes (Wilson 1927); too wide where many are ties.

    Example:
        >>> [round(end, 3) for end in wilson(0.5, 100)]
        [0.404, 0.596]
    """
    spread = _Z * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    middle, scale = rate + _Z**2 / (2 * n), 1 + _Z**2 / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
