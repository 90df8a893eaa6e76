"""Which row is next, and the results in the order of the rows.

    rows ─▶ ▁▆▃█▂▅ ─▶ ▁▂▃▅▆█ ─▶ take ─▶ a batch ─▶ put ─▶ results, in the order of the rows
             a window, by width

Rows of like width waste little padding. The next window is sorted the other way round, so that
widths meet where one window follows the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Generic, TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")


class Queue(Generic[Row, Result]):
    """Rows on their way through a batch, numbered from 0.

    However many there are, at most `2 * ahead` of them are read and not given back: where an old
    row takes long, no others are read until it is done.

    Args:
        rows: read a window at a time, when one is asked for.
        width: of a row; a row without neighbours to care for has any.
        ahead: rows of a window.

    Example:
        >>> queue = Queue(["aaa", "a", "aa"], width=len, ahead=2)
        >>> queue.take(2)
        [(1, 'a'), (0, 'aaa')]
        >>> queue.put(1, "A"), queue.put(0, "AAA")
        ([], ['AAA', 'A'])
    """

    def __init__(self, rows: Iterable[Row], *, width: Callable[[Row], int], ahead: int) -> None:
        self._rows = enumerate(rows)
        self._width = width
        self._ahead = ahead
        self._waiting: deque[tuple[int, Row]] = deque()
        self._found: dict[int, Result] = {}
        self._read = self._given = 0
        self._widest_first = False

    @property
    def live(self) -> int:
        """Rows that are read and whose results are not given back."""
        return self._read - self._given

    def take(self, count: int) -> list[tuple[int, Row]]:
        """The next rows with their numbers; fewer than `count` if no others may be read now."""
        taken: list[tuple[int, Row]] = []
        while len(taken) < count and (self._waiting or self._look_ahead()):
            taken.append(self._waiting.popleft())
        return taken

    def put(self, number: int, result: Result) -> list[Result]:
        """Hands in the result of a row; those whose turn it is now come back."""
        self._found[number] = result
        ready = []
        while self._given in self._found:
            ready.append(self._found.pop(self._given))
            self._given += 1
        return ready

    def _look_ahead(self) -> bool:
        """Reads a window, if there are rows and room."""
        if self.live > self._ahead:
            return False
        window = list(islice(self._rows, self._ahead))
        by_width = sorted(window, key=lambda one: self._width(one[1]), reverse=self._widest_first)
        self._waiting.extend(by_width)
        self._read += len(window)
        self._widest_first = not self._widest_first
        return bool(window)
