"""Readers of what an engine writes, and models that wait for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tests.sampling.fakes import Whim
from tests.sampling.told import WORDS, Model, whimsical
from torch import Tensor

from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import FrozenContext
from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.parts.revision import EditByThreshold
from sfumato.sampling.tasks import Sample, Writer
from sfumato.sampling.tasks.jobs import Policy, Work
from sfumato.sampling.tasks.writing import writing
from sfumato_apps.serve.engine.engine import Engine
from sfumato_apps.serve.engine.job import Job, Outcome
from sfumato_apps.serve.engine.mailbox import Mailbox, Update

PLAIN = DecodingPolicy(quota=Fixed(size=2))
SINGLE = replace(PLAIN, quota=Fixed(size=1))
WHIM = Whim(size=WORDS.size)  # what a whimsical model believes
WAIT = 20.0


class Reader:
    """Takes news from a mailbox as they come, and keeps them."""

    def __init__(self, work: Work, **more: object) -> None:
        self.news = threading.Event()
        self.box = Mailbox(self.news.set)
        self.job = Job(work=work, mailbox=self.box, **{"keep": True, **more})
        self.seen: list[tuple[int, Update]] = []

    def outcomes(self) -> list[Outcome]:
        """Waits for all of them.

        Raises:
            SfumatoError: why there are none.
        """
        found: dict[int, Outcome] = {}
        until = time.monotonic() + WAIT
        while len(found) < len(self.job.work.rows):
            assert self.news.wait(until - time.monotonic()), "no news"
            self.news.clear()
            news = self.box.take()
            self.seen += news.items()
            found |= {i: one.outcome for i, one in news.items() if one.outcome is not None}
            if self.box.error is not None and len(found) < len(self.job.work.rows):
                raise self.box.error
        return [found[i] for i in sorted(found)]


class Gate:
    """A denoiser that makes a step when it is let."""

    def __init__(self, denoiser: Callable[..., Tensor], steps: int = 0) -> None:
        self.denoiser = denoiser
        self.calls = 0
        self.leave = threading.Semaphore(steps)
        self.here = threading.Semaphore(0)

    def __call__(self, x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        self.here.release()
        assert self.leave.acquire(timeout=WAIT)
        self.calls += 1
        return self.denoiser(x_t, where, **more)

    def open(self) -> None:
        self.leave.release(10_000)


def speaking(denoiser: Callable[..., Tensor]) -> Model:
    """A model that believes what a denoiser says."""
    return replace(whimsical(), denoiser=denoiser)


def gated() -> tuple[Gate, Model]:
    """A whimsical model, and the gate that it waits at before each step."""
    gate = Gate(WHIM)
    return gate, speaking(gate)


@contextmanager
def running(model: Writer, **options: int) -> Iterator[Engine]:
    engine = Engine(model, **options)
    engine.start()
    try:
        yield engine
    finally:
        if isinstance(getattr(model, "denoiser", None), Gate):
            model.denoiser.open()
        engine.stop()


def asked(prompt: str, n: int, seed: int, policy: Policy = PLAIN, model: Writer | None = None):
    model = model or whimsical()
    return writing(model, prompt, length=9, seeds=range(seed, seed + n), policy=policy)


def spelled(samples: Sequence[Sample]) -> list[str]:
    return [repr(one) for one in samples]


POLICIES: dict[str, Policy] = {
    "plain": PLAIN,
    "revised": DecodingPolicy(revision=EditByThreshold(probability=0.3), quota=Fixed(size=2)),
    "frozen": DecodingPolicy(context=FrozenContext(refresh=2)),
}
