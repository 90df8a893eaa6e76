"""Blocks, orders and quotas, by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.sampling.fakes import SPECIALS, Whim, canvas, prompted

from sfumato.errors import UsageError
from sfumato.noise.schedules import Cosine
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame
from sfumato.sampling.loop import finish, sample
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.logits import Rows
from sfumato.sampling.parts.planners import Blocks, Order, Progress, Ranking
from sfumato.sampling.parts.quotas import (
    EntropyBound,
    Even,
    Factor,
    FirstHitting,
    Fixed,
    Quota,
    Scheduled,
    Threshold,
)
from sfumato.text.canvas import Hole, Locked


def start(rows: int = 1, slots: int = 6) -> Frame:
    policy = DecodingPolicy()
    return policy.start(canvas(Hole(slots=slots), rows=rows), 0, SPECIALS)


def ranked(probabilities: list[list[float]]) -> tuple[Ranking, Progress]:
    """Positions of each row whose likeliest of three tokens has the given probability."""
    top = torch.tensor(probabilities)
    frame = start(*top.shape)
    rest = (1 - top) / 2
    batch, position = frame.pending.nonzero(as_tuple=True)
    logits = torch.stack([top, rest, rest], -1).log().flatten(0, 1)
    rows = Rows(logits=logits, batch=batch, position=position)
    ranking = Order(by=planners.max_prob).rank(frame, frame.pending, rows)
    left = frame.pending.sum(1)
    progress = Progress(
        frame=frame,
        active=frame.pending,
        left=left,
        total=left,
        blocks=torch.ones_like(left),
        sigma=torch.zeros(top.shape, dtype=torch.float64),
    )
    return ranking, progress


def test_blocks_count_editable_positions() -> None:
    editable = torch.tensor([[False, True, True, False, True, True, True]])
    assert Blocks(size=2).number(editable).tolist() == [[0, 0, 0, 0, 1, 1, 2]]
    assert Blocks(size=2).count(editable).tolist() == [3]
    assert Blocks().count(editable).tolist() == [1]


def test_blocks_are_finished_from_left_to_right() -> None:
    policy = DecodingPolicy(blocks=Blocks(size=3))
    frame = finish(Whim(), prompted(7), policy, SPECIALS)
    steps = frame.committed[0, 4:]
    assert steps[:3].max() < steps[3:6].min()
    assert steps[3:6].max() < steps[6]


def test_a_sliding_block_moves_with_every_token() -> None:
    """It may write position i only when at most size − 1 pending ones lie to its left."""
    policy = DecodingPolicy(blocks=Blocks(size=3, sliding=True))
    steps = finish(Whim(), prompted(9), policy, SPECIALS).committed[0, 4:]
    later_left = (steps[:, None] > steps[None, :]).triu(1).sum(0)
    assert int(later_left.max()) <= 2
    fixed = finish(Whim(), prompted(9), DecodingPolicy(blocks=Blocks(size=3)), SPECIALS)
    assert not torch.equal(steps, fixed.committed[0, 4:])


@pytest.mark.parametrize("options", [{"size": 0}, {"sliding": True}])
def test_a_bad_block_says_why(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="block"):
        Blocks(**options)


def test_ranks_go_from_sure_to_unsure_and_ties_from_the_left() -> None:
    ranking, _ = ranked([[0.5, 0.9, 0.5, 0.7]])
    assert ranking.rank.tolist() == [[2, 0, 3, 1]]
    assert ranking.in_order(ranking.rows.max_prob, rest=0.0).tolist() == [
        pytest.approx([0.9, 0.7, 0.5, 0.5])
    ]


@given(seed=st.integers(0, 99), spacing=st.integers(2, 5), count=st.integers(1, 12))
def test_spaced_positions_keep_their_distance(seed: int, spacing: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ranking, _ = ranked((0.34 + 0.6 * torch.rand(2, 12, generator=generator)).tolist())
    order = Order(by=planners.max_prob, spacing=spacing)
    chosen = order.cut(ranking, torch.full((2,), count))
    assert (chosen <= (ranking.rank < count)).all()
    assert chosen[ranking.rank == 0].all(), "the best position always goes"
    for row in chosen:
        places = row.nonzero()[:, 0]
        assert (places.diff() >= spacing).all()


@given(seed=st.integers(0, 99), count=st.integers(1, 12))
def test_distinct_positions_want_different_tokens(seed: int, count: int) -> None:
    """Of the first `count`, those stay whose likeliest token no better ranked one has."""
    frame = start(2, 12)
    batch, position = frame.pending.nonzero(as_tuple=True)
    logits = torch.randn(24, 5, generator=torch.Generator().manual_seed(seed))
    rows = Rows(logits=logits, batch=batch, position=position)
    order = Order(by=planners.margin, distinct=True)
    ranking = order.rank(frame, frame.pending, rows)
    chosen = order.cut(ranking, torch.full((2,), count))
    likeliest = logits.argmax(1).view(2, 12)
    for row in range(2):
        seen: set[int] = set()
        for place in ranking.best_first[row, :count].tolist():
            token = int(likeliest[row, place])
            assert bool(chosen[row, place]) == (token not in seen)
            seen.add(token)
        assert int(chosen[row].sum()) == len(seen)


def test_an_order_temperature_draws_ranks_without_replacement() -> None:
    """P(first) = softmax(score / τ): for scores ½ and ½ + τ·log 3 it is ¼ against ¾."""
    tau = 0.1
    scores = [0.5, 0.5 + tau * torch.log(torch.tensor(3.0)).item()]
    ranking, progress = ranked([scores] * 4_000)
    again = Order(by=planners.max_prob, temperature=tau).rank(
        progress.frame, progress.active, ranking.rows
    )
    assert (again.rank[:, 1] == 0).double().mean() == pytest.approx(0.75, abs=0.03)


def test_random_order_is_uniform() -> None:
    frame = start(3_000, 3)
    order = Order(by=planners.random)
    ranks = order.rank(frame, frame.pending, planners.unread(frame.pending)).rank
    shares = torch.stack([(ranks == r).double().mean(0) for r in range(3)])
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 3), atol=0.04, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"by": planners.random, "temperature": 1.0},
        {"spacing": 1},
        {"by": planners.random, "distinct": True},
    ],
)
def test_a_bad_order_says_why(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="temperature|spacing|distinct"):
        Order(**options)


ROWS = [[0.95, 0.40, 0.92, 0.60], [0.50, 0.45, 0.40, 0.35]]


@pytest.mark.parametrize(
    ("quota", "counts"),
    [
        (Threshold(probability=0.9), [2, 1]),
        (Threshold(probability=0.45), [3, 2]),
        # (n+1)(1−c_n): row 1: 2·.05, 3·.08, 4·.40, 5·.60 = .1, .24, 1.6, 3; row 2: 1.0, 1.65, …
        (Factor(factor=0.5), [2, 1]),
        (Factor(factor=1.7), [3, 2]),
        (Fixed(size=3), [3, 3]),
        (Fixed(size=9), [4, 4]),
        (FirstHitting(), [1, 1]),
    ],
)
def test_quotas_by_hand(quota: Quota, counts: list[int]) -> None:
    ranking, progress = ranked(ROWS)
    assert quota.count(progress, ranking).tolist() == counts


@pytest.mark.parametrize("gamma", [0.0, 0.2, 0.6, 1.5, 9.0])
def test_the_entropy_bound_is_each_row_s_own(gamma: float) -> None:
    """Σ_{i≤k} H_i − max_{i≤k} H_i ≤ γ over the k surest, by a loop."""
    ranking, progress = ranked(ROWS)
    expected = []
    for row in ROWS:
        entropies = []
        for p in sorted(row, reverse=True):
            law = torch.tensor([p, (1 - p) / 2, (1 - p) / 2])
            entropies.append(float(-(law * law.log()).sum()))
        fits = [k for k in range(1, 5) if sum(entropies[:k]) - max(entropies[:k]) <= gamma]
        expected.append(max(fits))
    assert EntropyBound(gamma=gamma).count(progress, ranking).tolist() == expected


def counts(quota: Quota, slots: int, rows: int = 1, blocks: Blocks | None = None) -> list[int]:
    """How many positions each step of a run writes, in its first row."""
    policy = DecodingPolicy(quota=quota, blocks=blocks or Blocks())
    frames = list(sample(Whim(), canvas(Hole(slots=slots), rows=rows), policy, SPECIALS))
    left = [int(frame.pending[0].sum()) for frame in frames]
    return [before - after for before, after in pairwise(left)]


def test_even_puts_the_remainder_first() -> None:
    assert counts(Even(steps=5), 12) == [3, 3, 2, 2, 2]
    assert counts(Even(steps=4), 8, blocks=Blocks(size=4)) == [2, 2, 2, 2]
    assert counts(Even(steps=20), 3) == [1, 1, 1]


def test_a_schedule_takes_its_mean_rounded_down() -> None:
    """Linear, N = 4, n = 10: ⌊10/4⌋ = 2, ⌊8/3⌋ = 2, ⌊6/2⌋ = 3, the rest 3.

    Cosine, N = 3, n = 10: masks left are n·cos(π/2·(1−s)) in the mean: 1 − cos(30°) = .134 of
    10, then (cos 30° − cos 60°)/cos 30° = .423 of 9, then all.
    """
    assert counts(Scheduled(steps=4), 10) == [2, 2, 3, 3]
    assert counts(Scheduled(steps=3, schedule=Cosine()), 10) == [1, 3, 6]


def test_a_grid_that_divides_the_positions_is_even() -> None:
    assert counts(Scheduled(steps=16), 32) == [2] * 16


def test_a_binomial_schedule_has_the_mean_of_its_process() -> None:
    """After step i of N masks are left with probability 1 − i/N: mean and variance over rows."""
    policy = DecodingPolicy(
        order=Order(by=planners.random), quota=Scheduled(steps=4, binomial=True)
    )
    frames = list(sample(Whim(), canvas(Hole(slots=8), rows=1_500), policy, SPECIALS))
    for step, frame in enumerate(frames):
        left = frame.pending.sum(1).double()
        share = 1 - step / 4
        assert left.mean() == pytest.approx(8 * share, abs=0.2)
        assert left.var() == pytest.approx(8 * share * (1 - share), abs=0.25)


def test_hitting_times_are_those_of_ordered_uniform_numbers() -> None:
    """The k-th of n hits, downward in time, is the k-th largest: mean (n − k + 1)/(n + 1)."""
    policy = DecodingPolicy(order=Order(by=planners.random), quota=FirstHitting())
    frames = list(sample(Whim(), canvas(Hole(slots=4), rows=2_000), policy, SPECIALS))
    means = [float(frame.time.mean()) for frame in frames[1:-1]]
    assert means == pytest.approx([4 / 5, 3 / 5, 2 / 5], abs=0.02)


def test_time_falls_from_one_to_zero_in_every_block() -> None:
    policy = DecodingPolicy(blocks=Blocks(size=3), quota=Even(steps=6))
    frames = list(sample(Whim(), prompted(6), policy, SPECIALS))
    times = [round(float(frame.time[0]), 6) for frame in frames]
    assert times == [1.0, 0.666667, 0.333333, 1.0, 0.666667, 0.333333, 0.0]


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (Even, {"steps": 0}),
        (Scheduled, {"steps": 0}),
        (Scheduled, {"steps": 4, "end": 1.0}),
        (Fixed, {"size": 0}),
        (Threshold, {"probability": 0.0}),
        (Factor, {"factor": 0.0}),
        (EntropyBound, {"gamma": -1.0}),
    ],
)
def test_a_bad_quota_says_why(make: type, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="must"):
        make(**options)


def test_a_quota_counts_locked_text_for_nothing() -> None:
    policy = DecodingPolicy(quota=Even(steps=2))
    board = canvas(Locked(ids=(7,) * 9), Hole(slots=4))
    assert finish(Whim(), board, policy, SPECIALS).passes.tolist() == [2]
