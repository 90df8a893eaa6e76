"""What readers see of a step, and what a mailbox keeps of it for those who are late."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import pairwise

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
)
from tests.sampling.told import whimsical

from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.tasks import write
from sfumato.sampling.tasks.between import middles
from sfumato.sampling.tasks.editing import editing
from sfumato.sampling.tasks.filling import filling
from sfumato.sampling.tasks.jobs import Policy, Work
from sfumato.sampling.tasks.writing import writing
from sfumato.sampling.trace import Event, ending, read_jsonl
from sfumato_apps.serve.engine.job import Look
from sfumato_apps.serve.engine.mailbox import Update, joined


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
                assert mine[0].header["tokens"] == [slot.to_record() for slot in trace.slots]
                events = tuple(one.event for one in mine if one.event is not None)
                assert all(isinstance(event, Event) for event in events)
                told = replace(trace, events=events)
                assert list(told.states())[-1] == outcome.sample.trajectory.ids


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_committed_never_changes(name: str) -> None:
    """Each part begins with the last; the whole begins with all of them; revised text waits."""
    gate, model = gated()
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


def laid(task: str, seeds: range, policy: Policy) -> Work:
    """Two holes, two spans and a middle of a known length."""
    model = whimsical()
    match task:
        case "fill":
            return filling(model, "the {3} sat. The {4} ran {2}.", seeds=seeds, policy=policy)
        case "edit":
            text, spans = "the bad cat sat. The dog ran.", [(4, 7), (17, 20), (28, 29)]
            return editing(model, text, spans, seeds=seeds, policy=policy)
    return middles(model, "the cat", " sat on the mat.", length=9, seeds=seeds, policy=policy).work


@pytest.mark.parametrize("task", ["fill", "edit", "middle"])
@pytest.mark.parametrize("revised", [False, True])
def test_a_text_among_others_is_committed_from_the_left(task: str, revised: bool) -> None:
    """Each part begins with the last; most texts come in several, revised ones at the end only."""
    policy = replace(POLICIES["revised" if revised else "plain"], quota=Fixed(size=1))
    seeds = range(12)
    with running(whimsical()) as engine:
        reader = Reader(laid(task, seeds, policy), look=Look.COMMITTED)
        told: dict[int, list[str]] = {index: [""] for index in seeds}
        post = reader.box.post

        def noted(index: int, update: Update) -> None:
            told[index].append(update.text or told[index][-1])
            post(index, update)

        reader.box.post = noted
        engine.submit(reader.job)
        outcomes = reader.outcomes()
    for texts, outcome in zip(told.values(), outcomes, strict=True):
        assert outcome.text == outcome.sample.text
        for one, other in pairwise([*texts, outcome.text]):
            assert other.startswith(one)
    early = [{*texts} - {"", one.text} for texts, one in zip(told.values(), outcomes, strict=True)]
    assert not any(early) if revised else sum(map(bool, early)) > len(seeds) / 2


def test_a_stop_ends_a_text_and_its_work() -> None:
    """The text is that of the whole run up to the stop, for fewer passes."""
    model = whimsical()
    policy = replace(SINGLE, blocks=replace(PLAIN.blocks, size=1))
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


def test_a_reader_that_takes_nothing_holds_bounded_memory() -> None:
    """After any number of steps: one update a choice, with no more commits than positions.

    What it then reads leads to the text.
    """
    model = whimsical()
    with running(model) as engine:
        reader = Reader(asked("the cat", 3, 0, SINGLE), look=Look.STEPS, keep=False)
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
        assert update.outcome.sample is None
        width = len(update.header["tokens"])
        assert len(update.event.commits) + len(update.event.remasked) <= width
        end = ending(update.outcome.text, update.outcome.passes)
        lines = (update.header, update.event.to_record(), end)
        whole = read_jsonl("\n".join(map(json.dumps, lines)))
        last = list(whole.states())[-1]
        assert last[len(last) - len(update.outcome.ids) :] == update.outcome.ids


def test_updates_join() -> None:
    one = Update(header={"seed": 0}, text="a", progress=0.1)
    two = Update(text="a b", progress=0.5, event=Event(step=2, time=0.5, commits=(), remasked=(1,)))
    both = joined(one, two)
    assert (both.header, both.text, both.progress) == ({"seed": 0}, "a b", 0.5)
    assert both.event is two.event
