"""What a reader is shown of a step: a line of the trace, the committed text, or a draft.

ids        A   cat  ▒▒  on  ▒▒  mat
committed  A cat                        nothing left of the first gap changes any more
draft      A cat▒ on▒ mat
"""

from __future__ import annotations

from os.path import commonprefix

from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame
from sfumato.sampling.running.recording import Happening
from sfumato.sampling.tasks import Policy, Writer
from sfumato.sampling.trace import Slot, header
from sfumato_apps.serve.engine.job import Entry, Look, cut_at
from sfumato_apps.serve.engine.mailbox import Update

GAP = "▒"
_SPLIT = "\ufffd"  # what half a character decodes to
_LAG = 3  # tokens after which the decoders of word pieces join nothing to a text any more


class View:
    """What the readers of a lane see.

    Args:
        model: its vocabulary turns ids into text.
        policy: whether what it has written may still change.
    """

    def __init__(self, model: Writer, policy: Policy) -> None:
        vocabulary = model.vocabulary
        sample = "a\n  a"
        self._vocabulary = vocabulary
        self._lag = 0 if vocabulary.decode(vocabulary.encode(sample)) == sample else _LAG
        self._settles = isinstance(policy, DecodingPolicy) and policy.revision is None
        self._pieces: dict[Entry, list[str | None]] = {}
        self._slots: dict[Entry, tuple[Slot, ...]] = {}

    def forget(self, entry: Entry) -> None:
        """The entry has left."""
        self._pieces.pop(entry, None)
        self._slots.pop(entry, None)

    def update(self, happening: Happening[Entry], frame: Frame, row: int) -> Update | None:
        """What a step means to the reader of its row; None if nothing."""
        entry = happening.entry
        if happening.opened is None and happening.event is None:
            return None
        match entry.job.look:
            case Look.STEPS:
                first = happening.opened
                seed = entry.row.seed
                top = None if first is None else header(seed, self._vocabulary.mask, first)
                return Update(header=top, event=happening.event)
            case Look.COMMITTED:
                return Update(text=_held(self.committed(entry, frame, row), entry.job.stop))
            case Look.DRAFTS:
                return self._draft(happening)
        return None

    def committed(self, entry: Entry, frame: Frame, row: int) -> str:
        """The part of the text, after the `head`, that will not change any more.

        Nothing of a text whose policy takes tokens back, before it is over. Where locked text
        stands between holes, it is settled up to the first hole that is not.
        """
        if not self._settles:
            return ""
        exists = frame.canvas.attend[row]
        ids = frame.ids[row][exists].tolist()
        pending = [*frame.pending[row][exists].tolist(), True].index(True)
        texts = [
            entry.row.read(ids[:size])
            for size in {pending, max(0, pending - self._lag * (pending < len(ids)))}
        ]
        whole = commonprefix(texts)  # noqa: RUF071  # characters, not paths
        return (whole.rstrip(_SPLIT) if pending < len(ids) else whole)[entry.job.head :]

    def _draft(self, happening: Happening[Entry]) -> Update:
        """The text with its gaps, and the share of slots that are written."""
        entry = happening.entry
        if happening.opened is not None:
            control = self._vocabulary.control
            self._slots[entry] = happening.opened
            self._pieces[entry] = [
                "" if slot.id in control and slot.piece is not None else slot.shown
                for slot in happening.opened
            ]
        slots, pieces = self._slots[entry], self._pieces[entry]
        if happening.event is not None:
            for position in happening.event.remasked:
                pieces[position] = None
            for commit in happening.event.commits:
                pieces[commit.position] = commit.shown
        own = [piece for slot, piece in zip(slots, pieces, strict=True) if not slot.locked]
        shown = pieces if entry.job.whole else own
        text = "".join(GAP if piece is None else piece for piece in shown)
        return Update(text=text, progress=1 - own.count(None) / max(1, len(own)))


def _held(text: str, stops: tuple[str, ...]) -> str:
    """The text up to a stop, without an end that may turn out to be the beginning of one."""
    text, stopped = cut_at(text, stops)
    sizes = [n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])]
    return text if stopped or not sizes else text[: -max(sizes)]
