"""What the engine has done since it began."""

from __future__ import annotations


class Meters:
    """Counts that the engine's thread raises and anyone may read.

    Attributes:
        steps: of batches.
        passes: evaluations of the network, row by row.
        tokens: written and kept.
        requests: that were taken in.
        refused: that found the queue full.
        cancelled: whose reader went away before the end.
        failed: that ended in an error.
        restarts: how often the thread had to be started again.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.passes = 0
        self.tokens = 0
        self.requests = 0
        self.refused = 0
        self.cancelled = 0
        self.failed = 0
        self.restarts = 0
