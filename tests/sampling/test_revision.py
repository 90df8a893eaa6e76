"""Taking tokens back by ReMDM's formulas, and replacing them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from tests.sampling.fakes import SIZE, SPECIALS, Whim, canvas, prompted
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling import policies
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import finish, sample
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Order
from sfumato.sampling.parts.quotas import Fixed, Scheduled
from sfumato.sampling.parts.revision import (
    Cap,
    Confidence,
    EditByThreshold,
    Plateau,
    Remasking,
    ReMDM,
    Rescale,
)
from sfumato.text.canvas import Hole


def sigma(revision: ReMDM, alpha_t: float, alpha_s: float, time: float = 0.5) -> list[float]:
    """σ of a row whose first two tokens were written with probability .9 and .4."""
    confidence = torch.tensor([[0.9, 0.4, torch.nan]])
    written = torch.tensor([[True, True, False]])
    alphas = (torch.tensor([alpha_t]).double(), torch.tensor([alpha_s]).double())
    values = revision.sigma(torch.tensor([time], dtype=torch.float64), alphas, confidence, written)
    return [round(value, 6) for value in values[0].tolist()]


@pytest.mark.parametrize(
    ("remasking", "alpha_t", "alpha_s", "expected"),
    [
        # σ_max = min(1, (1 − α_s)/α_t): .4/.5 = .8, .1/.8 = .125, and 1 at α_t = 0
        (Cap(eta=0.3), 0.5, 0.6, [0.3] * 3),
        (Cap(eta=0.3), 0.8, 0.9, [0.125] * 3),
        (Cap(eta=0.3), 0.0, 0.1, [0.3] * 3),
        (Cap(eta=0.3), 0.9, 1.0, [0.0] * 3),
        (Rescale(eta=0.5), 0.5, 0.6, [0.4] * 3),
        (Rescale(eta=0.5), 0.0, 0.1, [0.5] * 3),
    ],
)
def test_sigma_by_hand(
    remasking: Remasking, alpha_t: float, alpha_s: float, expected: list[float]
) -> None:
    assert sigma(ReMDM(remasking=remasking), alpha_t, alpha_s) == pytest.approx(expected)


def test_sigma_follows_the_doubt() -> None:
    """σ_max · softmax(−.9, −.4), and none at a pending position."""
    share = 1 / (1 + math.exp(0.5))
    expected = [0.8 * share, 0.8 * (1 - share), 0.0]
    assert sigma(ReMDM(remasking=Confidence()), 0.5, 0.6) == pytest.approx(expected, abs=1e-5)


def test_a_window_switches_remasking_on_and_off() -> None:
    revision = ReMDM(remasking=Cap(eta=0.3), window=(0.5, 0.1))
    assert [sigma(revision, 0.5, 0.6, t)[0] for t in (0.6, 0.5, 0.2, 0.1)] == [0, 0.3, 0.3, 0]


def test_the_plateau_is_a_schedule() -> None:
    plateau = Plateau(level=0.8, on=0.6, off=0.2)
    t = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.0], dtype=torch.float64)
    expected = torch.tensor([0, 0.4, 0.8, 0.8, 0.8, 0.9, 1.0], dtype=torch.float64)
    torch.testing.assert_close(plateau.alpha(t), expected)
    slope = (plateau.alpha(t + 1e-6) - plateau.alpha(t - 1e-6)) / 2e-6
    inside = torch.tensor([1, 3, 5])
    torch.testing.assert_close(plateau.derivative(t)[inside], slope[inside])
    away = torch.tensor([0.1, 0.5, 0.8, 0.9, 1.0], dtype=torch.float64)
    torch.testing.assert_close(plateau.alpha(plateau.inverse(away)), away)


@pytest.mark.parametrize("kind", ["cap", "rescale"])
def test_remasking_keeps_the_marginals(kind: str) -> None:
    """E[written at s] = α_s·n whatever σ: unmasking gives back what remasking takes."""
    policy = policies.remdm(steps=5, kind=kind, eta=0.4, top_p=None)
    frames = list(sample(Whim(), canvas(Hole(slots=6), rows=2_000), policy, SPECIALS))
    taken = 0
    for before, after in pairwise(frames):
        share = float((~after.pending).double().mean())
        assert share == pytest.approx(int(after.step[0]) / 5, abs=0.012)
        taken += int((~before.pending & after.pending).sum())
    assert taken > 1_000


def test_a_deterministic_schedule_makes_up_for_what_is_taken_back() -> None:
    policy = DecodingPolicy(
        order=Order(by=planners.random),
        quota=Scheduled(steps=6),
        revision=ReMDM(remasking=Rescale(eta=0.6)),
    )
    frames = list(sample(Whim(), canvas(Hole(slots=30), rows=60), policy, SPECIALS))
    shares = [float((~frame.pending).double().mean()) for frame in frames]
    assert shares == pytest.approx([i / 6 for i in range(7)], abs=0.06)
    assert len(frames) == 7


def test_what_is_taken_back_is_marked() -> None:
    policy = policies.remdm(steps=12, eta=0.5)
    for before, after in _steps(policy):
        back = ~before.pending & after.pending
        assert (after.ids[back] == SPECIALS.mask).all()
        assert after.confidence[back].isnan().all()
        assert (after.committed[back] == -1).all()


def test_ends_are_not_taken_back() -> None:
    policy = policies.remdm(steps=12, eta=0.9)
    for before, after in _steps(policy, optional=True):
        back = ~before.pending & after.pending
        assert not SPECIALS.ends(before.ids[back]).any()


def _steps(policy: DecodingPolicy, *, optional: bool = False) -> list[tuple]:
    frames = list(sample(Whim(), prompted(10, optional=optional, rows=8), policy, SPECIALS))
    return list(pairwise(frames))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cap(eta=0.0),
        lambda: Rescale(eta=1.5),
        lambda: ReMDM(remasking=Cap(), window=(0.1, 0.5)),
        lambda: Plateau(level=1.0),
        lambda: EditByThreshold(probability=0.0),
    ],
)
def test_bad_revision_says_why(make: object) -> None:
    with pytest.raises(UsageError, match="must|needs"):
        make()


def second_thoughts(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
    """Wants 7 first; once the row holds two 7s, wants 9 everywhere, visible positions included."""
    settled = (x_t == 7).sum(1) >= 2
    logits = torch.zeros(int(where.sum()), SIZE)
    batch = where.nonzero()[:, 0]
    logits[torch.arange(len(batch)), torch.where(settled[batch], 9, 7)] = 9.0
    return logits


def test_editing_replaces_what_the_model_no_longer_believes() -> None:
    """Left to right: 7; 7 7; now it wants 9, for the 7s too; now no 7 is left: all 7 again."""
    policy = DecodingPolicy(
        order=Order(by=planners.left_to_right),
        quota=Fixed(size=1),
        tokens=TokenSampler(temperature=0.0),
        revision=EditByThreshold(probability=0.9),
    )
    board = canvas(Hole(slots=4))
    states = [f.ids[0].tolist() for f in sample(second_thoughts, board, policy, SPECIALS)]
    assert states == [[0, 0, 0, 0], [7, 0, 0, 0], [7, 7, 0, 0], [9, 9, 9, 0], [7, 7, 7, 7]]
    timid = DecodingPolicy(
        order=policy.order,
        tokens=policy.tokens,
        revision=EditByThreshold(probability=0.9999),
    )
    assert finish(second_thoughts, board, timid, SPECIALS).ids[0].tolist() == [7, 7, 9, 9]
