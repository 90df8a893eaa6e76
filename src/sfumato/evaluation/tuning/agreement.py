"""What a pace would write along a careful run: agreement without the chain of differences.

Two free runs that differ in one early token differ in all that follow from it. So the states are
those of the careful run, and a pace walks along them:

    careful run    state 0 ─▶ 1 ─▶ 2 ─▶ 3 ─▶ 4 ─▶ 5 ─▶ … ─▶ final text
    a pace         writes 3 at state 0 ──▶ writes 2 at 3 ─▶ …

At a state it chooses its positions, and their likeliest tokens are compared with the final text.
Then it goes on at the state that has as little left to write. Every pace is judged by one run,
which asks the network twice a state.

Legend of shapes: `B` batch, `L` positions, `P` paces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.evaluation.tuning.paces import Pace
from sfumato.sampling.decoding import DecodingPolicy, progress_of
from sfumato.sampling.frames import Frame
from sfumato.sampling.loop import sample
from sfumato.sampling.parts.guidance import predict
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.tasks.jobs import Model, Row, device_of, specials_of
from sfumato.text.canvas import stack


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A pace along one row's careful run.

    Attributes:
        agreed: tokens that are those of the careful text.
        written: tokens that it would write; slots that an end empties are not counted.
        steps: states that it stops at.
    """

    agreed: int
    written: int
    steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _State:
    """What every pace would write at one state."""

    left: Int[Tensor, "B"]
    likeliest: Int[Tensor, "B L"]
    chosen: Bool[Tensor, "P B L"]


def walks(
    model: Model,
    rows: Sequence[Row],
    policy: DecodingPolicy,
    paces: Sequence[Pace],
    *,
    batch_size: int = 16,
) -> list[list[Walk]]:
    """For each pace its walk along every row.

    All tokens are the likeliest, whatever the policy's temperature: where dice are thrown, two
    careful runs differ too.

    Args:
        model: a checkpoint of masked noise.
        rows: what to write.
        policy: how, but for its quota and temperature.
        paces: what to judge.
        batch_size: rows written side by side.
    """
    careful = replace(policy, quota=Fixed(), tokens=TokenSampler(temperature=0.0))
    found: list[list[Walk]] = [[] for _ in paces]
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        for several, new in zip(found, _batch(model, batch, careful, paces), strict=True):
            several += new
    return found


@torch.no_grad()
def _batch(
    model: Model, rows: Sequence[Row], careful: DecodingPolicy, paces: Sequence[Pace]
) -> Iterator[list[Walk]]:
    specials = specials_of(model.vocabulary)
    canvas = stack([row.canvas for row in rows], pad=model.vocabulary.pad)
    canvas = canvas.to(device_of(model.denoiser))
    seeds = [row.seed for row in rows]
    states = []
    for frame in sample(model.denoiser, canvas, careful, specials, seeds=seeds):
        if not bool(frame.done.all()):
            states.append(_state(model, frame, careful, paces))
    left = torch.stack([*(state.left for state in states), torch.zeros_like(frame.block)])
    chosen = torch.stack([state.chosen for state in states], 1)
    right = torch.stack([state.likeliest == frame.ids for state in states])
    sizes, hits = chosen.sum(-1), (chosen & right).sum(-1)
    for pace in range(len(paces)):
        yield [
            _walk(left[:, row].tolist(), sizes[pace, :, row].tolist(), hits[pace, :, row].tolist())
            for row in range(len(rows))
        ]


def _state(model: Model, frame: Frame, careful: DecodingPolicy, paces: Sequence[Pace]) -> _State:
    progress = progress_of(frame, careful)
    rows = predict(
        frame,
        progress.active,
        model.denoiser,
        specials_of(model.vocabulary),
        guidance=careful.guidance,
        steering=careful.steering,
        constraints=careful.constraints,
        closing=careful.stopping,
    )
    chosen = []
    for pace in paces:
        ranking = pace.order.rank(frame, progress.active, rows)
        chosen.append(pace.order.cut(ranking, pace.quota.count(progress, ranking)))
    likeliest = frame.ids.index_put((rows.batch, rows.position), rows.logits.argmax(1))
    return _State(left=frame.pending.sum(1), likeliest=likeliest, chosen=torch.stack(chosen))


def _walk(left: Sequence[int], sizes: Sequence[int], hits: Sequence[int]) -> Walk:
    """From state to state of one row, each with what is left, written and right there."""
    state = agreed = written = steps = 0
    while left[state]:
        agreed, written, steps = agreed + hits[state], written + sizes[state], steps + 1
        rest = left[state] - sizes[state]
        while left[state] > rest:
            state += 1
    return Walk(agreed=agreed, written=written, steps=steps)
