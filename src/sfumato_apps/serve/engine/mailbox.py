"""What a reader has not seen yet: for each choice at most one header, one step, one text, one end.

    engine ── post ──▶ [ header │ merged step │ latest text │ outcome ] ── take ──▶ reader

A reader that takes nothing costs no more memory than one choice has positions, however many
steps are made: a later step merges into the earlier one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from sfumato.errors import SfumatoError
from sfumato.sampling.trace import Event, Record, merge
from sfumato_apps.serve.engine.job import Outcome


@dataclass(frozen=True, kw_only=True, eq=False)
class Update:
    """News of one choice.

    Attributes:
        header: the first line of its trace, once.
        event: what was written and taken back since the last update.
        text: the text so far, as the reader looks at it.
        progress: share of the slots that are written.
        outcome: what came of it, at the end.
    """

    header: Record | None = None
    event: Event | None = None
    text: str | None = None
    progress: float | None = None
    outcome: Outcome | None = None


class Mailbox:
    """Between the engine's thread and one reader.

    Args:
        notify: called, from the engine's thread, when there are news after a `take`.

    Example:
        >>> box = Mailbox()
        >>> box.post(0, Update(text="a")), box.post(0, Update(text="a cat"))
        (None, None)
        >>> {index: one.text for index, one in box.take().items()}
        {0: 'a cat'}
    """

    def __init__(self, notify: Callable[[], None] = lambda: None) -> None:
        self._notify = notify
        self._lock = threading.Lock()
        self._news: dict[int, Update] = {}
        self._told = False
        self.error: SfumatoError | None = None
        self.closed = False

    def post(self, index: int, update: Update) -> None:
        """News of a choice."""
        with self._lock:
            if self.closed:
                return
            old = self._news.get(index)
            self._news[index] = update if old is None else joined(old, update)
        self._tell()

    def fail(self, error: SfumatoError) -> None:
        """Nothing else will come: the request is over."""
        with self._lock:
            self.error = self.error or error
            self.closed = True
        self._tell()

    def take(self) -> dict[int, Update]:
        """The news since the last call, by choice."""
        with self._lock:
            news, self._news, self._told = self._news, {}, False
        return news

    def close(self) -> None:
        """The reader is gone: what is still being written for it may stop."""
        with self._lock:
            self.closed = True
            self._news.clear()

    def _tell(self) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._notify()


def joined(old: Update, new: Update) -> Update:
    """Two updates as one."""
    event = old.event or new.event
    if old.event is not None and new.event is not None:
        event = merge(old.event, new.event)
    return replace(
        old,
        header=old.header or new.header,
        event=event,
        text=old.text if new.text is None else new.text,
        progress=old.progress if new.progress is None else new.progress,
        outcome=new.outcome or old.outcome,
    )
