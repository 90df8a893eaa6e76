"""The engine writes what the tasks write, for many readers, and is fair to them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from tests.apps.serve.engine.reading import (
    PLAIN,
    POLICIES,
    SINGLE,
    WAIT,
    Reader,
    asked,
    gated,
    running,
    spelled,
)
from tests.sampling.test_travelling import MODEL as LATENT
from tests.sampling.test_travelling import POLICY as DESCENT
from tests.sampling.told import WORDS, whimsical

from sfumato.errors import ModelError, UsageError
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.tasks import fill, write
from sfumato.sampling.tasks.filling import filling
from sfumato.sampling.tasks.writing import writing
from sfumato_apps.serve.engine.engine import LANES, BusyError


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
    noise = UniformProcess(size=WORDS.size, excluded=tuple(sorted(WORDS.unwritable)))
    uniform = replace(whimsical(), process=noise)
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


def test_a_reader_that_goes_away_stops_its_rows_within_a_step() -> None:
    gate, model = gated()
    with running(model) as engine:
        reader = Reader(asked("the cat", 2, 0, SINGLE, model))
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
        other = Reader(asked("the cat", 1, 0, SINGLE, model))
        engine.submit(other.job)
        assert len(other.outcomes()) == 1


def test_a_full_queue_says_so_and_drains() -> None:
    gate, model = gated()
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
    gate, model = gated()
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


def test_calls_run_between_steps_and_their_errors_come_back() -> None:
    with running(whimsical()) as engine:
        assert engine.call(lambda: 6 * 7).result(WAIT) == 42
        with pytest.raises(UsageError, match="no"):
            engine.call(lambda: (_ for _ in ()).throw(UsageError("no"))).result(WAIT)
        with pytest.raises(ModelError, match="ValueError"):
            engine.call(lambda: int("x")).result(WAIT)
