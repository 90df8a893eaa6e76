"""The promises of the loop: what never changes, what always ends, what can be resumed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sampling.fakes import (
    POLICIES,
    SIZE,
    SPECIALS,
    Counter,
    Lover,
    Whim,
    canvas,
    mixed,
    prompted,
)
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling import policies
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame, Specials, trajectories
from sfumato.sampling.loop import Policy, finish, resume, sample
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Order
from sfumato.sampling.parts.quotas import Even, Fixed, Scheduled, Threshold
from sfumato.text.canvas import Canvas, Draft, Hole, Locked, lay_out, stack

EVERY: dict[str, Policy] = {
    **POLICIES,
    "ancestral, masked": Ancestral(process=MaskedProcess(mask=SPECIALS.mask), steps=7),
    "ancestral, uniform": Ancestral(process=UniformProcess(size=SIZE), steps=7),
}


SEEDS = [5, 6, 7, 8]


@cache
def run(name: str) -> list[Frame]:
    """All frames of a policy on the mixed canvas."""
    return list(sample(Whim(), mixed(), EVERY[name], SPECIALS, seeds=SEEDS))


def assert_same(one: Frame, other: Frame, row: int | None = None) -> None:
    """Equal in every field; with `row`, `other` is that row alone, without batch padding."""
    for name in ("ids", "pending", "committed", "confidence"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if row is not None:
            mine = mine[row, one.canvas.attend[row]][None]
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
    for name in ("step", "block", "clock", "time", "passes", "done", "seeds"):
        mine = getattr(one, name) if row is None else getattr(one, name)[row : row + 1]
        assert torch.equal(mine, getattr(other, name)), name


@pytest.mark.parametrize("name", EVERY)
def test_a_row_of_a_batch_is_the_batch_of_one(name: str) -> None:
    last = run(name)[-1]
    for row in (1, 3):
        alone = finish(Whim(), mixed().row(row), EVERY[name], SPECIALS, seeds=[SEEDS[row]])
        assert_same(replace(last, clock=last.clock * 0), replace(alone, clock=alone.clock * 0), row)


@pytest.mark.parametrize("name", EVERY)
def test_another_seed_gives_other_tokens_unless_greedy(name: str) -> None:
    policy = EVERY[name]
    ids = finish(Whim(sharpness=3.0), prompted(9, rows=2), policy, SPECIALS, seeds=3).ids
    greedy = policy.tokens.greedy and not policy.order.temperature
    assert torch.equal(ids[0], ids[1]) == greedy


@pytest.mark.parametrize("name", EVERY)
def test_any_frame_can_be_resumed(name: str) -> None:
    frames = run(name)
    middle = frames[len(frames) // 2]
    rest = list(resume(Whim(), middle, EVERY[name], SPECIALS))
    assert len(rest) == len(frames) - 1 - int(middle.step.max())
    assert_same(frames[-1], rest[-1])


@pytest.mark.parametrize("name", EVERY)
def test_every_run_ends_with_nothing_pending(name: str) -> None:
    last, board = run(name)[-1], mixed()
    assert last.done.all()
    assert not last.pending.any()
    assert not (last.ids == SPECIALS.mask).any()
    assert not torch.isin(last.ids[board.editable], SPECIALS.forbidden).any()
    assert (last.time == 0).all()


# Plain tuples, so that no checked constructor runs inside a strategy.
PARTS = st.tuples(st.sampled_from(["locked", "hole", "draft"]), st.integers(1, 4), st.booleans())
ROWS = st.lists(st.lists(PARTS, min_size=1, max_size=5), min_size=1, max_size=3)


def build(rows: list[list[tuple[str, int, bool]]]) -> Canvas:
    makers = {
        "locked": lambda n, _: Locked(ids=tuple(range(3, 3 + n))),
        "hole": lambda n, optional: Hole(slots=n, optional=optional),
        "draft": lambda n, optional: Draft(ids=(9,) * n, optional=optional),
    }
    laid = [lay_out([makers[kind](n, free) for kind, n, free in row], mask=0) for row in rows]
    return stack(laid, pad=SPECIALS.pad)


@settings(max_examples=30, deadline=None)
@given(
    rows=ROWS,
    name=st.sampled_from(sorted(EVERY)),
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0, (1.5, 0.0)]),
    scale=st.sampled_from([None, -1.0, 2.0]),
    seed=st.integers(-(2**40), 2**40),
)
def test_what_is_not_editable_never_changes(
    rows: list[list[tuple[str, int, bool]]],
    name: str,
    temperature: float,
    scale: float | None,
    seed: int,
) -> None:
    board = build(rows)
    policy = EVERY[name]
    biased = isinstance(policy, DecodingPolicy) and policy.order.by is planners.sampled_prob
    if not (biased and temperature == 0):
        policy = replace(policy, tokens=TokenSampler(temperature=temperature))
    if isinstance(policy, DecodingPolicy) and scale is not None:
        policy = replace(policy, guidance=ClassifierFree(scale=scale))
    for frame in sample(Whim(), board, policy, SPECIALS, seeds=seed):
        assert torch.equal(frame.ids[~board.editable], board.ids[~board.editable])
        assert not (frame.pending & ~board.editable).any()
    assert not ((frame.ids == SPECIALS.pad) & board.editable & ~board.optional).any()
    assert not ((frame.ids == SPECIALS.eos) & board.editable & ~board.terminal).any()


@pytest.mark.parametrize("token", [SPECIALS.mask, SPECIALS.eos])
@pytest.mark.parametrize("name", EVERY)
def test_a_model_that_loves_a_control_token_ends_clean(name: str, token: int) -> None:
    board = mixed()
    last = finish(Lover(token=token), board, EVERY[name], SPECIALS)
    assert not (last.ids == SPECIALS.mask).any()
    assert not torch.isin(last.ids[board.editable], SPECIALS.forbidden).any()


@pytest.mark.parametrize("by", [planners.random, planners.max_prob, planners.left_to_right])
@pytest.mark.parametrize("size", [1, 3])
def test_a_hole_is_text_then_an_end_then_nothing(by: planners.Score, size: int) -> None:
    """A model that likes ends as much as text, over many seeds: never text after an end."""
    policy = DecodingPolicy(order=Order(by=by), quota=Fixed(size=size))

    def torn(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
        logits = Whim(sharpness=2.0)(x_t, where)
        logits[:, [SPECIALS.pad, SPECIALS.eos]] = 3.0
        return logits

    board = canvas(Hole(slots=6, optional=True), Locked(ids=(9,)), Hole(slots=6, optional=True))
    board = stack([board] * 60, pad=SPECIALS.pad)
    ids = finish(torn, board, policy, SPECIALS).ids
    ends = SPECIALS.ends(ids)
    for hole in (slice(0, 6), slice(7, 13)):
        assert not (ends[:, hole][:, :-1] & ~ends[:, hole][:, 1:]).any()
        assert (ids[:, hole] == SPECIALS.eos).sum(1).max() <= 1
    assert not (ids[:, :6] == SPECIALS.eos).any(), "text follows the first hole"
    assert ends.sum(1).unique().numel() > 3, "the lengths vary"


def test_an_end_saves_the_passes_of_what_it_closes() -> None:
    def short(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
        logits = torch.zeros(int(where.sum()), SIZE)
        logits[:, SPECIALS.eos] = (where.nonzero()[:, 1] == 7) * 50.0
        return logits

    board = prompted(40, optional=True)
    policy = DecodingPolicy(order=Order(by=planners.left_to_right))
    counter = Counter(short)
    last = finish(counter, board, policy, SPECIALS)
    assert last.passes.tolist() == [4]
    assert counter.calls == 4
    assert last.ids[0, 7:].tolist() == [SPECIALS.eos] + [SPECIALS.pad] * 36
    assert last.confidence[0, 8:].unique().tolist() == [1.0]
    to_the_end = finish(short, board, replace(policy, stopping=False), SPECIALS)
    assert to_the_end.passes.tolist() == [40]


def test_finished_rows_and_idle_steps_cost_no_forward() -> None:
    """Rows of 1, 2 and 6 slots at one a step: 3 + 2 + 4·1 rows; 200 steps for 6: 6 calls."""
    rows = [lay_out([Hole(slots=n)], mask=0) for n in (1, 2, 6)]
    counter = Counter(Whim())
    last = finish(counter, stack(rows, pad=1), DecodingPolicy(), SPECIALS)
    assert last.passes.tolist() == [1, 2, 6]
    assert (counter.calls, counter.rows) == (6, 9)
    counter = Counter(Whim())
    finish(counter, rows[2], policies.mdlm(steps=200), SPECIALS)
    assert counter.calls <= 6


@pytest.mark.parametrize("by", [planners.random, planners.left_to_right])
def test_orders_that_need_no_prediction_ask_for_the_chosen_positions_only(
    by: planners.Score,
) -> None:
    counter = Counter(Whim())
    finish(counter, prompted(12), DecodingPolicy(order=Order(by=by)), SPECIALS)
    assert (counter.calls, counter.positions) == (12, 12)
    counter = Counter(Whim())
    finish(counter, prompted(12), DecodingPolicy(), SPECIALS)
    assert (counter.calls, counter.positions) == (12, 12 * 13 // 2)


@pytest.mark.parametrize("name", EVERY)
def test_passes_are_bounded(name: str) -> None:
    policy, board, last = EVERY[name], mixed(), run(name)[-1]
    positions = board.editable.sum(1)
    most = positions * (2 if getattr(policy, "guidance", None) else 1)
    planned = policy.steps if isinstance(policy, Ancestral) else policy.quota.planned
    revised = isinstance(policy, Ancestral) or policy.revision is not None
    assert (last.passes <= (positions + planned if revised else most)).all()


def test_first_hitting_takes_one_pass_a_token() -> None:
    last = finish(Whim(), prompted(12, rows=3), policies.first_hitting(), SPECIALS)
    assert last.passes.tolist() == [12, 12, 12]


def test_trajectories_leave_the_padding_out() -> None:
    board = mixed()
    last = finish(Whim(), board, DecodingPolicy(quota=Fixed(size=2)), SPECIALS)
    runs = trajectories(last)
    assert [len(run.ids) for run in runs] == board.attend.sum(1).tolist()
    assert runs[2].passes == 0
    assert set(runs[2].commit_step) == {-1}
    written = sum(step >= 0 for step in runs[0].commit_step)
    assert runs[0].tokens_per_forward == written / runs[0].passes


def test_confidence_is_the_probability_at_temperature_one() -> None:
    policy = DecodingPolicy(
        order=Order(by=planners.left_to_right), tokens=TokenSampler(temperature=0.5)
    )
    frames = list(sample(Whim(), prompted(3), policy, SPECIALS))
    for before, after in pairwise(frames):
        here = before.pending & ~after.pending
        logits = Whim()(before.ids, here)
        logits[:, [0, 1, 2, 3, 4]] = -torch.inf  # nothing unwritable, and no end in this hole
        p = logits.softmax(1)[0, after.ids[here]]
        torch.testing.assert_close(after.confidence[here], p)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_an_error(value: float) -> None:
    def broken(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
        return torch.full((int(where.sum()), SIZE), value)

    with pytest.raises(ModelError, match="not finite"):
        finish(broken, prompted(), DecodingPolicy(), SPECIALS)


@pytest.mark.parametrize("shape", [(1, SIZE), (12, 4)])
def test_logits_of_another_shape_are_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="expected logits of 12 rows"):
        finish(lambda *_, **__: torch.zeros(shape), prompted(), DecodingPolicy(), SPECIALS)


@pytest.mark.parametrize(
    "options",
    [
        {"revision": policies.remdm().revision, "quota": Even(steps=4)},
        {"revision": policies.remdm().revision, "quota": Threshold()},
        {"order": Order(by=planners.sampled_prob), "tokens": TokenSampler(temperature=0.0)},
    ],
)
def test_parts_that_do_not_fit_are_an_error(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="Scheduled|max_prob"):
        DecodingPolicy(**options)


def test_specials_must_differ() -> None:
    with pytest.raises(UsageError, match="three different ids"):
        Specials(mask=0, pad=1, eos=1)
    with pytest.raises(UsageError, match="must be writable"):
        Specials(mask=0, pad=1, eos=2, unwritable=frozenset({2}))


def test_the_schedule_ends_even_where_spacing_holds_back() -> None:
    policy = DecodingPolicy(order=Order(spacing=4), quota=Scheduled(steps=2))
    frames = list(sample(Whim(), prompted(9), policy, SPECIALS))
    for before, after in pairwise(frames):
        new = (before.pending & ~after.pending)[0].nonzero()[:, 0]
        assert (new.diff() >= 4).all()
    assert frames[-1].done.all()
