"""One token a step with an exact model: every order that reads only distributions is unbiased."""

from __future__ import annotations

import pytest
import torch
from tests.oracle import ChainOracle, chain

from sfumato.noise.masked import MaskedProcess
from sfumato.sampling import policies
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import Policy, finish
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.planners import Blocks, Order
from sfumato.sampling.parts.quotas import EntropyBound, Fixed

CHAINS = 800


@pytest.fixture(scope="module")
def oracle() -> ChainOracle:
    return chain()


def p_value(oracle: ChainOracle, policy: Policy, seed: int = 11) -> float:
    canvas = oracle.canvas(CHAINS)
    return oracle.p_value(finish(oracle, canvas, policy, oracle.specials, seeds=seed).ids)


def test_the_test_accepts_the_chain_itself(oracle: ChainOracle) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [oracle.p_value(oracle.draw(CHAINS, generator)) for _ in range(5)]
    assert min(values) > 0.01


def test_the_oracle_knows_the_chain(oracle: ChainOracle) -> None:
    """Masking one position of three: p(x_2 | x_1, x_3) ∝ P(x_1, x_2) · P(x_2, x_3)."""
    x_t = torch.tensor([[3, oracle.states, 5]])
    law = oracle.transition[3] * oracle.transition[:, 5]
    torch.testing.assert_close(oracle.posterior(x_t)[0, 1], law / law.sum())


@pytest.mark.parametrize("name", sorted(set(policies.ORDERS) - {"sampled_prob"}))
def test_orders_that_read_distributions_are_unbiased(oracle: ChainOracle, name: str) -> None:
    order = Order(by=policies.ORDERS[name])
    assert p_value(oracle, DecodingPolicy(order=order, quota=Fixed(size=1))) > 1e-3


def test_an_order_without_its_bias_to_frequent_tokens_is_unbiased_in_law(
    oracle: ChainOracle,
) -> None:
    frequency = torch.linspace(0, 1, oracle.specials.mask + 1)
    order = Order(by=planners.Debiased(frequency=frequency))
    assert p_value(oracle, DecodingPolicy(order=order)) > 1e-3


def test_the_order_that_reads_the_draw_is_biased(oracle: ChainOracle) -> None:
    policy = DecodingPolicy(order=Order(by=planners.sampled_prob), quota=Fixed(size=1))
    assert p_value(oracle, policy) < 1e-12


def test_two_tokens_a_step_are_visible_to_the_test(oracle: ChainOracle) -> None:
    assert p_value(oracle, DecodingPolicy(quota=Fixed(size=2))) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy",
    [
        policies.first_hitting(),
        DecodingPolicy(blocks=Blocks(size=5)),
        DecodingPolicy(blocks=Blocks(size=4, sliding=True), order=Order(by=planners.margin)),
        DecodingPolicy(order=Order(by=planners.max_prob, temperature=0.3)),
        DecodingPolicy(order=Order(by=planners.entropy), quota=EntropyBound(gamma=0.001)),
        policies.remdm(steps=400, kind="rescale", eta=0.02, top_p=None),
        Ancestral(process=MaskedProcess(mask=12), steps=400),
    ],
)
def test_policies_that_are_nearly_exact_pass(oracle: ChainOracle, policy: Policy) -> None:
    assert p_value(oracle, policy) > 1e-3


def test_temperature_moves_the_entropy_of_texts(oracle: ChainOracle) -> None:
    """The order does not swallow the temperature: texts get less likely as it rises."""
    likelihood = [
        oracle.log_likelihood(
            finish(
                oracle,
                oracle.canvas(200),
                policies.llada(steps=24, block=None, temperature=temperature),
                oracle.specials,
            ).ids
        ).mean()
        for temperature in (0.7, 1.0, 1.3)
    ]
    assert likelihood[0] > likelihood[1] + 3 > likelihood[2] + 6
