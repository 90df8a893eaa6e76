"""Losses of pairs and lists: closed forms, identities, and what must not matter."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sfumato.alignment.learning.losses import (
    Hinge,
    Ipo,
    Pairs,
    Pairwise,
    PlackettLuce,
    PreferenceLoss,
    Robust,
    Sigmoid,
)
from sfumato.errors import UsageError

EVERY: list[PreferenceLoss] = [
    Pairwise(loss=Sigmoid(beta=0.5)),
    Pairwise(loss=Sigmoid(beta=0.5, label_smoothing=0.1, margin=0.3), pairs="best_vs_rest"),
    Pairwise(loss=Robust(beta=2.0, label_smoothing=0.2), pairs="adjacent"),
    Pairwise(loss=Hinge(beta=0.5), pairs="best_vs_worst"),
    Pairwise(loss=Ipo(beta=0.5), by_place=True),
    PlackettLuce(beta=0.5),
    PlackettLuce(beta=0.5, top=1),
]


def float64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_zero_margin() -> None:
    """log 2 for the sigmoid, 1 for the hinge, 1 / 4β² for IPO."""
    zero = float64(0.0)
    assert float(Sigmoid(beta=0.3)(zero)) == pytest.approx(math.log(2))
    assert float(Robust(beta=0.3, label_smoothing=0.2)(zero)) == pytest.approx(math.log(2))
    assert float(Hinge(beta=0.3)(zero)) == 1
    assert float(Ipo(beta=0.5)(zero)) == pytest.approx(1.0)


def test_smoothing_stops_at_a_margin() -> None:
    """cDPO's stationary point: βm = log((1 − ε) / ε)."""
    beta, smooth = 0.4, 0.1
    m = float64(math.log((1 - smooth) / smooth) / beta).requires_grad_()
    loss = Sigmoid(beta=beta, label_smoothing=smooth)(m).sum()
    (gradient,) = torch.autograd.grad(loss, m)
    assert float(gradient) == pytest.approx(0, abs=1e-12)


def test_robust_is_unbiased_under_flips() -> None:
    """(1 − ε)·L(m) + ε·L(−m) = −log σ(βm)."""
    m, flips = torch.linspace(-3, 3, 7, dtype=torch.float64), 0.3
    loss = Robust(beta=0.7, label_smoothing=flips)
    expected = Sigmoid(beta=0.7)(m)
    torch.testing.assert_close((1 - flips) * loss(m) + flips * loss(-m), expected)


def test_plackett_luce_of_two_is_the_sigmoid() -> None:
    scores, ranks = torch.randn(5, 2, dtype=torch.float64), torch.tensor([[1, 2]]).expand(5, 2)
    pair = Pairwise(loss=Sigmoid(beta=0.3))
    torch.testing.assert_close(PlackettLuce(beta=0.3)(scores, ranks), pair(scores, ranks))


def test_plackett_luce_is_a_law_of_rankings() -> None:
    """e^−loss sums to 1 over the 24 rankings of four; each is a product of picks."""
    scores = float64(0.5, -1.0, 2.0, 0.1)
    loss, total = PlackettLuce(beta=1.5), 0.0
    for order in itertools.permutations(range(4)):
        ranks = torch.tensor([[order.index(i) + 1 for i in range(4)]])
        p = math.exp(-float(loss(scores[None], ranks)))
        weights = [math.exp(1.5 * float(scores[i])) for i in order]
        by_hand = math.prod(w / sum(weights[k:]) for k, w in enumerate(weights))
        assert p == pytest.approx(by_hand)
        total += p
    assert total == pytest.approx(1)


def test_the_first_place_is_cross_entropy() -> None:
    scores = torch.randn(3, 5, dtype=torch.float64)
    ranks = torch.tensor([[2, 1, 3, 4, 5]]).expand(3, 5)
    expected = torch.nn.functional.cross_entropy(
        scores, torch.ones(3, dtype=torch.long), reduction="none"
    )
    torch.testing.assert_close(PlackettLuce(beta=1.0, top=1)(scores, ranks), expected)


def test_ties_at_the_end_are_a_partial_ranking() -> None:
    """Of ranks 1, 2, 3, 3 the last two need no order: the stages of the first two are left."""
    scores = float64(0.3, -0.2, 1.0, 0.4)[None]
    tied = PlackettLuce(beta=1.0)(scores, torch.tensor([[1, 2, 3, 3]]))
    strict = PlackettLuce(beta=1.0, top=2)(scores, torch.tensor([[1, 2, 3, 4]]))
    torch.testing.assert_close(tied, strict)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ("all", {(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)}),
        ("adjacent", {(0, 1), (0, 2), (1, 3), (2, 3)}),
        ("best_vs_rest", {(0, 1), (0, 2), (0, 3)}),
        ("best_vs_worst", {(0, 3)}),
    ],
)
def test_pairs_of_ranks_with_a_tie(pairs: Pairs, expected: set[tuple[int, int]]) -> None:
    """Ranks 1, 2, 2, 3 and an absent one: ∂²/∂s_i∂s_j of squares shows which pairs count."""
    ranks, loss = torch.tensor([[1, 2, 2, 3, 0]]), Pairwise(loss=Ipo(beta=0.25), pairs=pairs)
    hessian = torch.autograd.functional.hessian(
        lambda scores: loss(scores, ranks).sum(), torch.zeros(1, 5, dtype=torch.float64)
    )
    mixed = hessian[0, :, 0].triu(1)
    assert {tuple(pair) for pair in mixed.nonzero().tolist()} == expected
    torch.testing.assert_close(
        mixed[mixed != 0], torch.full_like(mixed[mixed != 0], -2 / len(expected))
    )


def test_places_weigh_by_hand() -> None:
    """Ranks 1, 2, 3: gains 1, √2 − 1, 0 and discounts 1, 1/log₂3, 1/2."""
    scores, ranks = float64(1.0, 0.0, -2.0)[None], torch.tensor([[1, 2, 3]])
    gain, discount = [1, math.sqrt(2) - 1, 0.0], [1, 1 / math.log2(3), 0.5]
    weights = {
        (i, j): abs(gain[i] - gain[j]) * abs(discount[i] - discount[j])
        for i, j in itertools.combinations(range(3), 2)
    }
    loss = Sigmoid(beta=1.0)
    total = sum(w * float(loss(scores[0, i] - scores[0, j])) for (i, j), w in weights.items())
    found = Pairwise(loss=loss, by_place=True)(scores, ranks)
    assert float(found) == pytest.approx(total / sum(weights.values()))


@settings(max_examples=40)
@given(
    ranks=st.lists(st.integers(1, 4), min_size=2, max_size=6),
    seed=st.integers(0, 999),
    which=st.integers(0, len(EVERY) - 1),
)
def test_order_and_absent_candidates_do_not_matter(ranks: list[int], seed: int, which: int) -> None:
    """A set laid out otherwise, among more that are not there, has the same loss and gradient."""
    source = torch.Generator().manual_seed(seed)
    n, loss = len(ranks), EVERY[which]
    scores = torch.randn(1, n, dtype=torch.float64, generator=source).requires_grad_()
    order = torch.randperm(n, generator=source)
    given_ranks = torch.tensor([ranks])
    more = torch.full((1, 2), 1e4, dtype=torch.float64)
    wider = torch.cat([scores[:, order], more], 1)
    plain = loss(scores, given_ranks)
    same = loss(wider, torch.cat([given_ranks[:, order], torch.zeros(1, 2).long()], 1))
    torch.testing.assert_close(plain, same)
    (a,) = torch.autograd.grad(plain.sum(), scores)
    (b,) = torch.autograd.grad(same.sum(), scores)
    torch.testing.assert_close(a, b)
    assert bool(a.isfinite().all())


@pytest.mark.parametrize("loss", EVERY)
def test_nothing_to_prefer_costs_nothing(loss: PreferenceLoss) -> None:
    """A set whose candidates are all tied, or that is empty, adds nothing."""
    scores = torch.randn(2, 3)
    assert loss(scores, torch.tensor([[2, 2, 2], [0, 0, 0]])).tolist() == [0, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sigmoid(beta=0.0),
        lambda: Sigmoid(beta=1.0, label_smoothing=0.5),
        lambda: Robust(beta=1.0, label_smoothing=-0.1),
        lambda: Hinge(beta=math.inf),
        lambda: Ipo(beta=-1.0),
        lambda: PlackettLuce(beta=1.0, top=0),
    ],
)
def test_wrong_numbers_are_refused(make: object) -> None:
    with pytest.raises(UsageError, match="expected"):
        make()  # type: ignore[operator]
