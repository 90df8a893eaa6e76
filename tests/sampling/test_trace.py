"""The record of a run: it replays to the same tokens and survives a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sampling.fakes import SIZE, SPECIALS, Lover, Whim, mixed, prompted

from sfumato.errors import DataError
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling import policies, trace
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame, trajectories
from sfumato.sampling.loop import Policy, sample
from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.running import recording

POLICIES: dict[str, Policy] = {
    "plain": DecodingPolicy(quota=Fixed(size=2)),
    "remasked": policies.remdm(steps=9, eta=0.5),
    "uniform": Ancestral(process=UniformProcess(size=SIZE), steps=6),
}


def pieces(ids: Sequence[int]) -> list[str]:
    return [f" w{token}" for token in ids]


def record(frames: list[Frame], text: str = "") -> list[trace.Trace]:
    reads = [lambda _: text] * len(frames[0].ids)
    return [one.trace for one in recording.record(frames, reads, pieces, SPECIALS)]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("row", range(4))
def test_a_trace_replays_the_run(name: str, row: int) -> None:
    frames = list(sample(Whim(), mixed(), POLICIES[name], SPECIALS, seeds=3))
    found = record(frames, "…")[row]
    states = list(found.states())
    run = trajectories(frames[-1])[row]
    assert states[-1] == run.ids
    exists = frames[0].canvas.attend[row]
    seen = [tuple(frame.ids[row, exists].tolist()) for frame in frames]
    assert [s for s, t in zip(seen, [None, *seen], strict=False) if s != t] == [
        s for s, t in zip(states, [None, *states], strict=False) if s != t
    ]
    assert (found.seed, found.passes) == (3 + row, run.passes)
    assert trace.read_jsonl(found.to_jsonl()) == found


def test_what_the_lines_say() -> None:
    """Two tokens, each sure: e⁵⁰ against 18 others that may be written."""
    policy = DecodingPolicy(quota=Fixed(size=2))
    frames = list(sample(Lover(token=7), prompted(2), policy, SPECIALS))
    header, step, end = record(frames, "hi")[0].to_jsonl().splitlines()
    assert json.loads(header) == {
        "format": "sfumato-trace/2",
        "seed": 0,
        "mask": 0,
        "tokens": [
            *({"id": i, "piece": f" w{i}", "locked": True} for i in (4, 7, 8, 9)),
            *({"id": 0, "piece": None, "locked": False} for _ in range(2)),
        ],
    }
    assert json.loads(step) == {
        "step": 1,
        "time": 0.0,
        "set": [[4, 7, " w7", 1.0], [5, 7, " w7", 1.0]],
        "remask": [],
    }
    assert json.loads(end) == {"text": "hi", "passes": 1}


@settings(max_examples=60)
@given(data=st.data())
def test_two_steps_merge_into_one(data: st.DataObject) -> None:
    """Merged anyhow, in pairs from the left, the steps lead to the same ids and confidences."""
    size = 5
    place = st.integers(0, size - 1)

    def event(step: int) -> trace.Event:
        remasked = data.draw(st.sets(place, max_size=size))
        free = sorted({*range(size)} - remasked)
        chosen = data.draw(st.sets(st.sampled_from(free), max_size=size)) if free else set()
        return trace.Event(
            step=step,
            time=1 / step,
            commits=tuple(
                trace.Commit(position=p, id=10 * step + p, piece=f" {step}", confidence=1 / step)
                for p in sorted(chosen)
            ),
            remasked=tuple(sorted(remasked)),
        )

    steps = [event(step) for step in range(1, data.draw(st.integers(2, 6)))]
    slots = tuple(trace.Slot(id=p, piece=None, locked=False) for p in range(size))

    def end(events: Sequence[trace.Event]) -> tuple[int, ...]:
        run = trace.Trace(text="", seed=0, passes=1, mask=0, slots=slots, events=tuple(events))
        assert trace.read_jsonl(run.to_jsonl()) == run
        return list(run.states())[-1]

    one = reduce(trace.merge, steps)
    assert end([one]) == end(steps)
    assert (one.step, one.time) == (steps[-1].step, steps[-1].time)
    written = {commit.position for commit in one.commits}
    assert not written & {*one.remasked}
    half = len(steps) // 2
    assert end([*steps[:half], reduce(trace.merge, steps[half:])]) == end(steps)


def test_slots_that_become_nothing_have_an_empty_piece() -> None:
    board = prompted(3, optional=True)
    frames = list(sample(Lover(token=SPECIALS.eos), board, DecodingPolicy(), SPECIALS))
    found = record(frames)[0]
    commits = [commit for step in found.events for commit in step.commits]
    assert {commit.piece for commit in commits} == {""}
    assert {commit.id for commit in commits} <= {SPECIALS.eos, SPECIALS.pad}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected a header"),
        ('{"format": "other"}', "line 1: expected a header"),
        ('{"format": ', "line 1:12"),
        ("[]", "expected a JSON object, got list"),
        ('{"format": "sfumato-trace/1", "text": ""}', "line 1: expected a header"),
        ('{"format": "sfumato-trace/2"}', "the trace has no end"),
        ('{"format": "sfumato-trace/2"}\n{"step": 1}', "no end.* after line 2"),
        ('{"format": "sfumato-trace/2"}\n{"text": ""}', "not a trace .*'seed'"),
    ],
)
def test_what_is_no_trace_says_why(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        trace.read_jsonl(text)


def test_a_step_outside_the_row_says_so() -> None:
    slot = trace.Slot(id=0, piece=None, locked=False)
    step = trace.Event(step=1, time=0.0, commits=(), remasked=(1,))
    broken = trace.Trace(text="", seed=0, passes=1, mask=0, slots=(slot,), events=(step,))
    with pytest.raises(DataError, match="position 1 of 1"):
        trace.read_jsonl(broken.to_jsonl())
    before = replace(broken, events=(replace(step, remasked=(-1,)),))
    with pytest.raises(DataError, match="position -1 of 1"):
        trace.read_jsonl(before.to_jsonl())


def test_whole_numbers_are_read_as_other_programs_write_them() -> None:
    """JavaScript spells 1.0 as 1."""
    policy = DecodingPolicy(quota=Fixed(size=2))
    run = record(list(sample(Lover(token=7), prompted(2), policy, SPECIALS)))[0]
    assert trace.read_jsonl(run.to_jsonl().replace(".0", "")) == run
