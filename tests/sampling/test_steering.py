"""Steering by a classifier: exact laws on a tiny world, and the first order where it is exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.worlds import dirichlet_world, states
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Specials
from sfumato.sampling.loop import finish
from sfumato.sampling.parts.planners import Order, random
from sfumato.sampling.parts.steering import FirstOrder, OneByOne
from sfumato.text.canvas import Canvas, Hole, lay_out, stack

MASK, PAD, EOS = 3, 4, 5
SPECIALS = Specials(mask=MASK, pad=PAD, eos=EOS)
WORLD = dirichlet_world()
ALL = states(3, 3)
WANTED = (ALL == 2).sum(1) >= 2
LAW = WORLD.law.flatten() * WANTED / (WORLD.law.flatten() * WANTED).sum()


def consistent(x_t: Tensor) -> Tensor:
    """Which outcomes a row with masks may still become, *shape* `B S`."""
    return ((x_t[:, None] == ALL) | (x_t[:, None] == MASK)).all(2)


def log_p(x_t: Tensor) -> Tensor:
    """log p(at least two of token 2 | x_t), exact."""
    possible = consistent(x_t) * WORLD.law.flatten()
    return ((possible * WANTED).sum(1) / possible.sum(1).clamp(min=1e-300)).log().float()


def exact(x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None):
    """The true conditionals of the masked positions; pad and eos are never written."""
    possible = consistent(x_t) * WORLD.law.flatten()
    table = torch.stack([(possible[:, None] * (v == ALL.T)).sum(2) for v in range(3)], 2)
    logits = torch.full((*x_t.shape, 6), -torch.inf)
    logits[..., :3] = (table / possible.sum(1)[:, None, None]).log().float()
    return logits[where]


def canvas(rows: int) -> Canvas:
    return stack([lay_out([Hole(slots=3)], mask=MASK)] * rows, pad=PAD)


def shares(policy: DecodingPolicy, rows: int = 6000) -> Tensor:
    ids = finish(exact, canvas(rows), policy, SPECIALS, seeds=5).ids
    flat = ids @ torch.tensor([9, 3, 1])
    return torch.bincount(flat, minlength=27) / rows


@pytest.mark.parametrize("order", [Order(), Order(by=random)], ids=["surest", "random"])
def test_the_exact_classifier_draws_the_conditional_law(order: Order) -> None:
    policy = DecodingPolicy(order=order, steering=(OneByOne(log_p=log_p, top=None),))
    found = shares(policy)
    assert not found[~WANTED].any()
    assert 0.5 * float((found - LAW).abs().sum()) < 0.03


def test_without_steering_the_law_is_another() -> None:
    found = shares(DecodingPolicy())
    assert 0.5 * float((found - LAW).abs().sum()) > 0.2


def test_fewer_candidates_are_those_that_the_model_likes() -> None:
    policy = DecodingPolicy(steering=(OneByOne(log_p=log_p, scale=0.0, top=1),))
    ids = finish(exact, canvas(50), policy, SPECIALS, seeds=1).ids
    assert bool((ids == ids[0]).all())


def linear(onehot: Tensor) -> Tensor:
    """A classifier that is linear in the tokens."""
    weights = torch.arange(18, dtype=torch.float32).view(3, 6).cos()
    return (onehot * weights).sum((1, 2))


def test_the_first_order_is_exact_for_a_linear_classifier() -> None:
    def by_ids(ids: Tensor) -> Tensor:
        return linear(torch.nn.functional.one_hot(ids, 6).float())

    one, other = (
        shares(DecodingPolicy(steering=(steer,)), rows=400)
        for steer in (
            OneByOne(log_p=by_ids, scale=1.5, top=None),
            FirstOrder(log_p=linear, scale=1.5),
        )
    )
    assert torch.equal(one, other)


def test_several_steers_add_up() -> None:
    half = FirstOrder(log_p=linear, scale=0.5)
    twice = shares(DecodingPolicy(steering=(half, half)), rows=300)
    once = shares(DecodingPolicy(steering=(replace(half, scale=1.0),)), rows=300)
    assert torch.equal(once, twice)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="top ≥ 1"):
        OneByOne(log_p=log_p, top=0)
    with pytest.raises(UsageError, match="finite scale"):
        FirstOrder(log_p=linear, scale=float("inf"))
    broken = FirstOrder(log_p=lambda onehot: onehot.sum((1, 2)) * torch.nan)
    with pytest.raises(ModelError, match="not a number"):
        finish(exact, canvas(1), DecodingPolicy(steering=(broken,)), SPECIALS)
