"""The engine loses no request, whatever fails."""

from __future__ import annotations

import time

import pytest
import torch
from tests.apps.serve.engine.reading import (
    PLAIN,
    SINGLE,
    WAIT,
    WHIM,
    Reader,
    asked,
    gated,
    running,
    speaking,
    spelled,
)
from tests.sampling.told import WORDS, Model, whimsical
from torch import Tensor

from sfumato.errors import ModelError, ResourceError
from sfumato.sampling.tasks import write
from sfumato_apps.serve.engine.engine import EndingError
from sfumato_apps.serve.engine.job import Look


def poisoned(prompt: str, wrong: float = torch.nan) -> Model:
    """A model whose logits are not numbers where a word stands in the prompt."""
    word = WORDS.encode(prompt)[-1]

    def denoiser(x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        logits = WHIM(x_t, where, **more)
        bad = (x_t == word).any(1).nonzero()[:, 0]
        rows = where.nonzero()[:, 0]
        logits[torch.isin(rows, bad)] = wrong
        return logits

    return speaking(denoiser)


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
    dog = WORDS.encode("the dog")[-1]

    def denoiser(x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        steps[0] += 1
        if steps[0] > 2 and bool((x_t == dog).any()):
            raise RuntimeError("out of luck")
        return WHIM(x_t, where, **more)

    model = speaking(denoiser)
    with running(model, batch=8) as engine:
        good = Reader(asked("the cat", 2, 0, SINGLE, model), look=Look.STEPS)
        bad = Reader(asked("the dog", 1, 5, SINGLE, model))
        engine.call(lambda: (engine.submit(good.job), engine.submit(bad.job))).result(WAIT)
        with pytest.raises(ModelError, match="the model failed: RuntimeError"):
            bad.outcomes()
        alone = write(whimsical(), prompt="the cat", n=2, length=9, seed=0, policy=SINGLE)
        assert spelled([one.sample for one in good.outcomes()]) == spelled(alone)
        headers = [update.header for _, update in good.seen if update.header is not None]
        assert len(headers) == 2


def test_time_runs_out_for_a_request() -> None:
    gate, model = gated()
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_fails_who_is_there_and_the_engine_goes_on() -> None:
    wrong = [True]

    def denoiser(x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        if wrong[0]:
            raise KeyError("a mistake")
        return WHIM(x_t, where, **more)

    model = speaking(denoiser)
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
    gate, model = gated()
    with running(model, batch=1) as engine:
        readers = [Reader(asked("the cat", 1, seed, PLAIN, model)) for seed in range(3)]
        for reader in readers:
            engine.submit(reader.job)
        assert gate.here.acquire(timeout=WAIT)
    for reader in readers:
        with pytest.raises(EndingError, match="shutting down before the text is written"):
            reader.outcomes()
