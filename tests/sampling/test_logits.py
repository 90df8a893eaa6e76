"""Statistics of predictions, and draws that are exact in law."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.parts.logits import Rows, TokenSampler, inverse_cdf
from sfumato.sampling.parts.randomness import Purpose, uniform

ONE = torch.ones(1, dtype=torch.float64)


def rows(logits: Tensor) -> Rows:
    index = torch.arange(len(logits))
    return Rows(logits=logits, batch=torch.zeros_like(index), position=index)


def numbers(n: int, step: int = 0) -> Tensor:
    return uniform(torch.arange(n), torch.arange(n), step=step, purpose=Purpose.TOKEN)


@given(seed=st.integers(0, 999), size=st.integers(2, 40), banned=st.integers(0, 1))
def test_statistics_are_those_of_the_softmax(seed: int, size: int, banned: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 6 * torch.randn(3, size, generator=generator)
    if banned and size > 2:
        logits[:, 0] = -torch.inf
    p = logits.double().softmax(1)
    seen = rows(logits)
    top = p.sort(1, descending=True).values
    surprise = torch.where(p > 0, -p * p.clamp(min=1e-300).log(), 0).sum(1)
    torch.testing.assert_close(seen.max_prob.double(), top[:, 0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(seen.margin.double(), top[:, 0] - top[:, 1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(seen.entropy.double(), surprise, atol=1e-5, rtol=1e-5)
    token = torch.full((3,), size - 1)
    torch.testing.assert_close(seen.prob(token).double(), p[:, -1], atol=1e-6, rtol=1e-4)


def test_rows_can_be_picked_by_position() -> None:
    seen = Rows(
        logits=torch.arange(6.0).view(3, 2),
        batch=torch.tensor([0, 0, 1]),
        position=torch.tensor([0, 2, 1]),
        drawn=torch.tensor([0, 1, 0]),
    )
    picked = seen.at(torch.tensor([[False, False, True], [False, True, False]]))
    assert picked.logits.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert picked.drawn is not None
    assert picked.drawn.tolist() == [1, 0]
    assert seen.at(torch.ones(2, 3, dtype=torch.bool)) is seen


def test_a_draw_has_the_law_of_the_softmax() -> None:
    law = torch.tensor([0.4, 0.3, 0.2, 0.06, 0.03, 0.01])
    n = 40_000
    logits = law.log().expand(n, -1).contiguous()
    drawn = TokenSampler().draw(logits, numbers(n), ONE.expand(n))
    counts = torch.bincount(drawn, minlength=6)
    assert chisquare(counts, n * law.double() / law.double().sum()).pvalue > 1e-3


def test_every_tail_token_has_its_own_interval_of_numbers() -> None:
    """A head of weight 1 and 10⁵ tail tokens of 10⁻⁹: token j owns the j-th interval after 1.

    u = (1 + (j − ½)·10⁻⁹) / (1 + 10⁻⁴) is the middle of it. In float32 the running sum would
    stay at 1 and the head would take everything.
    """
    tail = 10**5
    weights = torch.cat([torch.ones(1), torch.full((tail,), 1e-9)])[None]
    for j in (1, 2, 777, tail - 1, tail):
        u = (1 + (j - 0.5) * 1e-9) / (1 + tail * 1e-9)
        assert int(inverse_cdf(weights, torch.tensor([u], dtype=torch.float64))) == j


def test_float32_gumbel_numbers_would_never_draw_that_tail() -> None:
    """The control: −log u of a float32 number is 2⁻²⁴ at least and 24·log 2 at most.

    So the best a tail token can score is 10⁻⁹ / 2⁻²⁴ = 0.017, and the worst the head can score
    is 1 / 16.6 = 0.060: mass 10⁻⁴ of the law is lost, whatever the seed.
    """
    grid = torch.tensor([2.0**-24, 1 - 2.0**-24])
    worst, best = -1 / grid.log()
    assert 1e-9 * best < worst


def test_numbers_reach_far_below_the_grid_of_float32() -> None:
    """Of 2·10⁶ numbers about 0.12 lie on multiples of 2⁻²⁴."""
    u = numbers(2_000_000)
    assert int((u * 2**24 % 1 == 0).sum()) <= 3
    assert u.min() < 1e-5


@given(u=st.floats(0, 1, exclude_max=True), zeros=st.integers(0, 3))
def test_a_token_of_weight_zero_is_never_drawn(u: float, zeros: int) -> None:
    weights = torch.tensor([[0.0] * zeros + [1.0, 0.0, 2.0] + [0.0] * zeros])
    drawn = int(inverse_cdf(weights, torch.tensor([u], dtype=torch.float64)))
    assert drawn - zeros in (0, 2)


def test_the_last_number_below_one_draws_the_last_weight() -> None:
    weights = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert int(inverse_cdf(weights, ONE - 2.0**-53)) == 2


@pytest.mark.parametrize(
    ("sampler", "kept"),
    [
        (TokenSampler(top_k=2), {0, 1}),
        (TokenSampler(top_p=0.69), {0, 1}),
        (TokenSampler(top_p=0.71), {0, 1, 2}),
        (TokenSampler(min_p=0.3), {0, 1, 2}),
        (TokenSampler(min_p=0.6), {0, 1}),
        (TokenSampler(top_k=3, top_p=0.7), {0, 1}),
        (TokenSampler(temperature=2.0, top_p=0.51), {0, 1}),
        (TokenSampler(temperature=0.0), {0}),
        (TokenSampler(temperature=1e-9), {0}),
    ],
)
def test_truncation_keeps_what_it_says(sampler: TokenSampler, kept: set[int]) -> None:
    """p = (.4, .3, .2, .1); with top_k=3 the mass is .9, so .7·.9 = .63 needs two tokens.

    At temperature 2 the weights are √p = (.632, .548, .447, .316), shares (.325, .282, …).
    """
    n = 2_000
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(n, -1).contiguous()
    drawn = sampler.draw(logits, numbers(n), ONE.expand(n))
    assert set(drawn.tolist()) == kept


def test_truncated_draws_keep_their_proportions() -> None:
    n = 20_000
    logits = torch.tensor([0.1, 0.3, 0.2, 0.4]).log().expand(n, -1).contiguous()
    drawn = TokenSampler(top_p=0.85).draw(logits, numbers(n), ONE.expand(n))
    counts = torch.bincount(drawn, minlength=4)
    assert counts[0] == 0
    assert chisquare(counts[1:], n * torch.tensor([3, 2, 4]).double() / 9).pvalue > 1e-3


def test_a_flat_row_gets_its_whole_nucleus() -> None:
    """Half of 5,000 equal tokens are kept: more than are looked at before sorting."""
    n = 1_000
    logits = torch.zeros(n, 3_000)
    drawn = TokenSampler(top_p=0.5).draw(logits, numbers(n), ONE.expand(n))
    assert drawn.unique().numel() > 600  # of 1,000 draws among 1,500; among 1,024 about 640
    assert drawn.bincount(minlength=3_000).count_nonzero() <= 1_500


def test_temperature_follows_the_clock() -> None:
    """p ∝ w^(1/T): from T = 2 at t = 1 to T = ½ at t = 0, and T = 1 at t = 1/3."""
    n = 30_000
    logits = torch.tensor([0.8, 0.2]).log().expand(3 * n, -1).contiguous()
    time = torch.tensor([1.0, 1 / 3, 0.0], dtype=torch.float64).repeat_interleave(n)
    drawn = TokenSampler(temperature=(2.0, 0.5)).draw(logits, numbers(3 * n), time)
    share = drawn.view(3, n).double().mean(1)
    expected = torch.tensor([0.5 / 1.5, 0.2, 1 / 17], dtype=torch.float64)
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "finite and ≥ 0"),
        ({"temperature": math.nan}, "finite and ≥ 0"),
        ({"temperature": (1.0, math.inf)}, "finite and ≥ 0"),
        ({"top_k": 0}, "at least 1"),
        ({"top_p": 1.0}, "between 0 and 1"),
        ({"min_p": 0.0}, "between 0 and 1"),
        ({"temperature": 0.0, "top_p": 0.9}, "no effect at temperature 0"),
    ],
)
def test_a_bad_sampler_says_why(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TokenSampler(**options)
