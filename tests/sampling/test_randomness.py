"""Numbers that depend on nothing but their counter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from sfumato.errors import UsageError
from sfumato.sampling.parts.randomness import Purpose, gumbel, seed_rows, uniform

WORD = 2**64


def mix(word: int) -> int:
    """The finaliser of SplitMix64 in plain integers."""
    word = (word + 0x9E3779B97F4A7C15) % WORD
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) % WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) % WORD
    return word ^ word >> 31


@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    step=st.integers(0, 2**40),
    position=st.integers(0, 2**40),
    purpose=st.sampled_from(Purpose),
)
def test_the_tensor_arithmetic_is_the_integer_arithmetic(
    seed: int, step: int, position: int, purpose: Purpose
) -> None:
    word = mix(mix(mix(seed % WORD) ^ (step << 8 | purpose)) ^ position)
    number = uniform(torch.tensor([seed]), torch.tensor([position]), step=step, purpose=purpose)
    assert number.item() == (word >> 11) / 2**53


def test_each_number_may_have_a_step_of_its_own() -> None:
    seeds, places, steps = torch.tensor([[3], [4]]), torch.arange(5), torch.tensor([[2], [9]])
    both = uniform(seeds, places, step=steps, purpose=Purpose.TOKEN)
    for row, step in enumerate((2, 9)):
        alone = uniform(seeds[row], places, step=step, purpose=Purpose.TOKEN)
        assert torch.equal(both[row], alone)


def test_splitmix_is_the_published_one() -> None:
    """First outputs of SplitMix64 from state 1234567, as in the reference implementation."""
    state, golden = 1234567, 0x9E3779B97F4A7C15
    outputs = [mix((state + i * golden) % WORD) for i in range(3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("axis", ["seed", "step", "position", "purpose"])
def test_numbers_are_uniform_along_every_axis(axis: str) -> None:
    n = 20_000
    zeros, line = torch.zeros(n, dtype=torch.long), torch.arange(n)
    draws = {
        "seed": lambda: uniform(line, zeros, step=1, purpose=Purpose.TOKEN),
        "position": lambda: uniform(zeros, line, step=1, purpose=Purpose.TOKEN),
        "step": lambda: torch.cat(
            [uniform(line[:50], line[:50], step=s, purpose=Purpose.TOKEN) for s in range(400)]
        ),
        "purpose": lambda: torch.cat(
            [uniform(line[:2500], line[:2500], step=3, purpose=p) for p in list(Purpose)[:8]]
        ),
    }
    numbers = draws[axis]()
    assert chisquare(torch.histc(numbers, 64, 0, 1)).pvalue > 1e-4
    neighbours = (numbers[:-1] * 8).long() * 8 + (numbers[1:] * 8).long()
    assert chisquare(torch.bincount(neighbours, minlength=64)).pvalue > 1e-4


def test_gumbel_numbers_are_finite_at_both_ends() -> None:
    ends = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    assert torch.isfinite(gumbel(ends)).all()


def test_seeds_are_one_a_row() -> None:
    cpu = torch.device("cpu")
    assert seed_rows([4, 9], 2, cpu).tolist() == [4, 9]
    with pytest.raises(UsageError, match="one seed for each of 3 rows, got 2"):
        seed_rows([1, 2], 3, cpu)
    with pytest.raises(UsageError, match="64 bits"):
        seed_rows(2**63, 1, cpu)
