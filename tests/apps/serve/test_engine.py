"""The engine writes what the tasks write, for many readers, and loses none of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.sampling.fakes import Whim
from tests.sampling.test_tasks import WORDS, Model, whimsical
from tests.sampling.test_travelling import MODEL as LATENT
from tests.sampling.test_travelling import POLICY as DESCENT
from torch import Tensor

from sfumato.errors import ModelError, ResourceError, SfumatoError, UsageError
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import FrozenContext
from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.parts.revision import EditByThreshold
from sfumato.sampling.tasks import Sample, Writer, fill, write
from sfumato.sampling.tasks.filling import filling
from sfumato.sampling.tasks.jobs import Policy, Work
from sfumato.sampling.tasks.writing import writing
from sfumato.sampling.trace import Event, Trace
from sfumato_apps.serve.engine.engine import LANES, BusyError, Engine
from sfumato_apps.serve.engine.job import Job, Look, Outcome
from sfumato_apps.serve.engine.mailbox import Mailbox, Update, joined

PLAIN = DecodingPolicy(quota=Fixed(size=2))
WAIT = 20.0


class Reader:
    """Takes news from a mailbox as they come, and keeps them."""

    def __init__(self, work: Work, **more: object) -> None:
        self.news = threading.Event()
        self.box = Mailbox(self.news.set)
        self.job = Job(work=work, mailbox=self.box, **more)
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


def test_every_text_is_the_task_s_whatever_is_beside_it() -> None:
    """Several policies, prompts and tasks at once, more rows than fit."""
    model = whimsical()
    with running(model, batch=3) as engine:
        cases = []
        for seed, (prompt, n) in enumerate([("the cat", 5), ("", 2), ("the dog ran", 1), ("a", 4)]):
            for policy in POLICIES.values():
                reader = Reader(asked(prompt, n, 10 * seed, policy))
                alone = write(model, prompt=prompt, n=n, length=9, seed=10 * seed, policy=policy)
                cases.append((reader, alone))
        holes = Reader(filling(model, "the {} sat {3}.", seeds=(7, 8), policy=PLAIN))
        cases.append((holes, fill(model, "the {} sat {3}.", n=2, seed=7, policy=PLAIN)))
        for reader, _ in cases:
            engine.submit(reader.job)
        for reader, alone in cases:
            assert spelled([one.sample for one in reader.outcomes()]) == spelled(alone)
        assert engine.meters.failed == engine.meters.cancelled == 0
        assert engine.meters.passes == sum(one.passes for _, alone in cases for one in alone)


def test_required_phrases_and_other_kinds_of_models() -> None:
    model = whimsical()
    uniform = whimsical(UniformProcess(size=WORDS.size, excluded=tuple(sorted(WORDS.unwritable))))
    steps = Ancestral(process=uniform.process, steps=5)
    latent = replace(DESCENT, steps=3)
    cases = [
        (model, {"length": 9, "require": ["cat"], "policy": PLAIN}),
        (uniform, {"length": 6, "policy": steps}),
        (LATENT, {"policy": latent}),
    ]
    for one, options in cases:
        with running(one, batch=2) as engine:
            reader = Reader(writing(one, "a", seeds=range(3), **options))
            engine.submit(reader.job)
            texts = [each.sample.text for each in reader.outcomes()]
        assert texts == [each.text for each in write(one, prompt="a", n=3, **options)]


def test_the_steps_are_those_of_the_trace() -> None:
    """What a reader put together from header, merged steps and end replays to the same text."""
    with running(whimsical(), batch=3) as engine:
        readers = [Reader(asked("the cat", 2, seed, PLAIN), look=Look.STEPS) for seed in (0, 50)]
        for reader in readers:
            engine.submit(reader.job)
        for reader in readers:
            for index, outcome in enumerate(reader.outcomes()):
                mine = [update for i, update in reader.seen if i == index]
                trace = outcome.sample.trace
                assert mine[0].header is not None
                assert mine[0].header["tokens"] == [vars(slot) for slot in trace.slots]
                events = tuple(one.event for one in mine if one.event is not None)
                assert all(isinstance(event, Event) for event in events)
                told = replace(trace, events=events)
                assert list(told.states())[-1] == outcome.sample.trajectory.ids


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_committed_never_changes(name: str) -> None:
    """Each part begins with the last; the whole begins with all of them; revised text waits."""
    gate = Gate(Whim(size=WORDS.size))
    model = replace(whimsical(), denoiser=gate)
    policy = POLICIES["plain" if name == "frozen" else name]
    with running(model) as engine:
        reader = Reader(asked("the cat", 1, 3, policy, model), look=Look.COMMITTED, head=7)
        engine.submit(reader.job)
        gate.open()
        (outcome,) = reader.outcomes()
    texts = [update.text or "" for _, update in reader.seen] + [outcome.text]
    for one, other in pairwise(texts):
        assert other.startswith(one)
    assert outcome.sample.text == "the cat" + outcome.text
    if name == "revised":
        assert not any(texts[:-1])


def test_a_stop_ends_a_text_and_its_work() -> None:
    """The text is that of the whole run up to the stop, for fewer passes."""
    model = whimsical()
    policy = replace(PLAIN, quota=Fixed(size=1), blocks=replace(PLAIN.blocks, size=1))
    (whole,) = write(model, prompt="the", length=24, seed=1, policy=policy)
    stop = whole.text[3:][5:8]
    with running(model) as engine:
        work = writing(model, "the", length=24, seeds=[1], policy=policy)
        reader = Reader(work, stop=(stop, "never there"), head=3, look=Look.COMMITTED)
        engine.submit(reader.job)
        (outcome,) = reader.outcomes()
    assert outcome.text == whole.text[3:].partition(stop)[0]
    assert outcome.ended
    assert outcome.sample.passes < whole.passes
    assert all(stop not in (update.text or "") for _, update in reader.seen)


def test_a_reader_that_goes_away_stops_its_rows_within_a_step() -> None:
    gate = Gate(Whim(size=WORDS.size))
    model = replace(whimsical(), denoiser=gate)
    policy = replace(PLAIN, quota=Fixed(size=1))
    with running(model) as engine:
        reader = Reader(asked("the cat", 2, 0, policy, model))
        engine.submit(reader.job)
        gate.leave.release(2)
        for _ in range(3):
            assert gate.here.acquire(timeout=WAIT)
        reader.box.close()  # in the middle of the third step
        gate.open()
        until = time.monotonic() + WAIT
        while engine.running and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.05)
        assert gate.calls == 3
        other = Reader(asked("the cat", 1, 0, policy, model))
        engine.submit(other.job)
        assert len(other.outcomes()) == 1


def test_a_reader_that_takes_nothing_holds_bounded_memory() -> None:
    """After any number of steps: one update a choice, with no more commits than positions."""
    model = whimsical()
    with running(model) as engine:
        reader = Reader(
            asked("the cat", 3, 0, replace(PLAIN, quota=Fixed(size=1))), look=Look.STEPS
        )
        engine.submit(reader.job)
        until = time.monotonic() + WAIT
        while engine.running or engine.waiting:
            assert time.monotonic() < until
            time.sleep(0.005)
        news = reader.box.take()
    assert sorted(news) == [0, 1, 2]
    for update in news.values():
        assert update.event is not None
        assert update.outcome is not None
        width = len(update.outcome.sample.trace.slots)
        assert len(update.event.commits) + len(update.event.remasked) <= width
        whole = Trace(**{**vars(update.outcome.sample.trace), "events": (update.event,)})
        assert list(whole.states())[-1] == update.outcome.sample.trajectory.ids


def poisoned(prompt: str, wrong: float = torch.nan) -> Model:
    """A model whose logits are not numbers where a word stands in the prompt."""
    word = WORDS.encode(prompt)[-1]
    whim = Whim(size=WORDS.size)

    def denoiser(x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        logits = whim(x_t, where, **more)
        bad = (x_t == word).any(1).nonzero()[:, 0]
        rows = where.nonzero()[:, 0]
        logits[torch.isin(rows, bad)] = wrong
        return logits

    return replace(whimsical(), denoiser=denoiser)


def test_logits_that_are_not_numbers_are_an_error_of_their_request_alone() -> None:
    model = poisoned("the dog")
    with running(model, batch=8) as engine:
        good = [Reader(asked("the cat", 2, seed, PLAIN, model)) for seed in (0, 10)]
        bad = Reader(asked("the dog", 2, 5, PLAIN, model))
        for reader in (good[0], bad, good[1]):
            engine.submit(reader.job)
        with pytest.raises(ModelError, match="not finite"):
            bad.outcomes()
        for reader, seed in zip(good, (0, 10), strict=True):
            alone = write(model, prompt="the cat", n=2, length=9, seed=seed, policy=PLAIN)
            assert spelled([one.sample for one in reader.outcomes()]) == spelled(alone)
        assert engine.meters.failed == 1
        assert engine.alive


def test_a_request_that_fails_midway_leaves_the_others_on_their_way() -> None:
    """The others keep the steps that they have made, and their traces are whole."""
    steps = [0]
    whim = Whim(size=WORDS.size)
    dog = WORDS.encode("the dog")[-1]

    def denoiser(x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        steps[0] += 1
        if steps[0] > 2 and bool((x_t == dog).any()):
            raise RuntimeError("out of luck")
        return whim(x_t, where, **more)

    model = replace(whimsical(), denoiser=denoiser)
    policy = replace(PLAIN, quota=Fixed(size=1))
    with running(model, batch=8) as engine:
        good = Reader(asked("the cat", 2, 0, policy, model), look=Look.STEPS)
        bad = Reader(asked("the dog", 1, 5, policy, model))
        engine.call(lambda: (engine.submit(good.job), engine.submit(bad.job))).result(WAIT)
        with pytest.raises(ModelError, match="the model failed: RuntimeError"):
            bad.outcomes()
        alone = write(whimsical(), prompt="the cat", n=2, length=9, seed=0, policy=policy)
        assert spelled([one.sample for one in good.outcomes()]) == spelled(alone)
        headers = [update.header for _, update in good.seen if update.header is not None]
        assert len(headers) == 2


def test_a_full_queue_says_so_and_drains() -> None:
    gate = Gate(Whim(size=WORDS.size))
    model = replace(whimsical(), denoiser=gate)
    with running(model, batch=1, queue=3) as engine:
        readers = [Reader(asked("the cat", 1, seed, PLAIN, model)) for seed in range(4)]
        engine.submit(readers[0].job)
        assert gate.here.acquire(timeout=WAIT)
        for reader in readers[1:]:
            engine.submit(reader.job)
        assert [engine.position(one.job) for one in readers] == [0, 1, 2, 3]
        with pytest.raises(BusyError, match="3 requests are waiting"):
            engine.submit(Reader(asked("the cat", 1, 9, PLAIN, model)).job)
        with pytest.raises(BusyError):
            engine.call(lambda: None)
        readers[2].box.close()
        engine.submit(Reader(asked("the cat", 1, 9, PLAIN, model)).job)
        gate.open()
        assert all(len(readers[i].outcomes()) == 1 for i in (0, 1, 3))
        assert engine.meters.refused == 2


def test_policies_take_turns_and_none_is_starved() -> None:
    """More policies than lanes: the oldest goes before younger ones of a lane that is there."""
    gate = Gate(Whim(size=WORDS.size))
    model = replace(whimsical(), denoiser=gate)
    order: list[str] = []
    with running(model, batch=1) as engine:
        kinds = [replace(PLAIN, quota=Fixed(size=1 + i)) for i in range(LANES + 1)]
        readers = [Reader(asked("the cat", 1, i, policy, model)) for i, policy in enumerate(kinds)]
        late = [Reader(asked("the cat", 1, 40 + i, kinds[0], model)) for i in range(3)]
        threads = []
        for name, reader in [*zip("abcde", readers, strict=True), *zip("xyz", late, strict=True)]:
            engine.submit(reader.job)
            thread = threading.Thread(
                target=lambda r=reader, n=name: (r.outcomes(), order.append(n))
            )
            thread.start()
            threads.append(thread)
        gate.open()
        for thread in threads:
            thread.join(WAIT)
    assert sorted(order) == sorted("abcdexyz")
    assert order.index("e") < order.index("z")


def test_time_runs_out_for_a_request() -> None:
    gate = Gate(Whim(size=WORDS.size))
    model = replace(whimsical(), denoiser=gate)
    with running(model, batch=1) as engine:
        slow = Reader(asked("the cat", 2, 0, PLAIN, model), deadline=time.monotonic() + 0.05)
        engine.submit(slow.job)
        time.sleep(0.1)
        gate.open()
        with pytest.raises(ResourceError, match="time limit"):
            slow.outcomes()
        late = Reader(asked("the cat", 1, 0, PLAIN, model), deadline=time.monotonic() - 1)
        engine.submit(late.job)
        with pytest.raises(ResourceError, match="waited longer|time limit"):
            late.outcomes()


def test_calls_run_between_steps_and_their_errors_come_back() -> None:
    with running(whimsical()) as engine:
        assert engine.call(lambda: 6 * 7).result(WAIT) == 42
        with pytest.raises(UsageError, match="no"):
            engine.call(lambda: (_ for _ in ()).throw(UsageError("no"))).result(WAIT)
        with pytest.raises(ModelError, match="ValueError"):
            engine.call(lambda: int("x")).result(WAIT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_fails_who_is_there_and_the_engine_goes_on() -> None:
    wrong = [True]
    whim = Whim(size=WORDS.size)

    def denoiser(x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        if wrong[0]:
            raise KeyError("a mistake")
        return whim(x_t, where, **more)

    model = replace(whimsical(), denoiser=denoiser)
    with running(model) as engine:
        reader = Reader(asked("the cat", 1, 0, PLAIN, model))
        engine.submit(reader.job)
        with pytest.raises(ResourceError, match="engine stopped"):
            reader.outcomes()
        wrong[0] = False
        until = time.monotonic() + WAIT
        while engine.meters.restarts == 0 or not engine.alive:
            assert time.monotonic() < until
            time.sleep(0.005)
        again = Reader(asked("the cat", 1, 0, PLAIN, model))
        engine.submit(again.job)
        assert len(again.outcomes()) == 1
    assert not engine.alive
    with pytest.raises(ResourceError, match="has stopped"):
        engine.submit(again.job)


def test_who_waits_when_it_stops_is_told() -> None:
    gate = Gate(Whim(size=WORDS.size))
    model = replace(whimsical(), denoiser=gate)
    with running(model, batch=1) as engine:
        readers = [Reader(asked("the cat", 1, seed, PLAIN, model)) for seed in range(3)]
        for reader in readers:
            engine.submit(reader.job)
        assert gate.here.acquire(timeout=WAIT)
    for reader in readers:
        with pytest.raises(SfumatoError, match="stopped before"):
            reader.outcomes()


def test_updates_join() -> None:
    one = Update(header={"seed": 0}, text="a", progress=0.1)
    two = Update(text="a b", progress=0.5, event=Event(step=2, time=0.5, commits=(), remasked=(1,)))
    both = joined(one, two)
    assert (both.header, both.text, both.progress) == ({"seed": 0}, "a b", 0.5)
    assert both.event is two.event
