"""Estimators of log p: exact where they must be, and with noise that policy and reference share."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from tests.oracle import chain
from tests.training.worlds import WORDS, tiny
from tests.worlds import Oracle, World, dirichlet_world, states
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from sfumato.alignment.learning.likelihood import Causal, Complementary, NoisedTokens, TokenElbo
from sfumato.alignment.rankings.sets import (
    RankedRecord,
    RankedSets,
    encode_ranked,
    lay_rows,
    lay_sets,
)
from sfumato.errors import UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Linear
from sfumato.noise.times import ExactCount, Stratified
from sfumato.noise.uniform import UniformProcess

RECORDS = [
    RankedRecord(prompt="Ann ", completions=("sees tea.", "likes the old house."), ranks=(1, 2)),
    RankedRecord(prompt="", completions=("Bob sees rain.", "tea", "Eve likes"), ranks=(2, 1, 3)),
]
EXAMPLES = [encode_ranked(record, WORDS, max_length=30) for record in RECORDS]
SETS = lay_sets(EXAMPLES, WORDS)


def every_mask(world: World, width: int) -> NoisedTokens:
    """All 27 outcomes as candidates of one set, under all 7 masks of three positions."""
    ids = states(world.tokens, world.length)[None]
    hits = torch.tensor(
        [hit for hit in itertools.product((False, True), repeat=world.length) if any(hit)]
    )
    where = hits.expand(1, ids.shape[1], *hits.shape)
    every = torch.ones_like(ids, dtype=torch.bool)
    counts = hits.sum(1)
    return NoisedTokens(
        ids=ids,
        judged=every,
        attend=every,
        ranks=torch.ones(ids.shape[:2], dtype=torch.long),
        x_t=ids[:, :, None].expand_as(where).masked_fill(where, width - 1),
        where=where,
        t=(counts / world.length)[None].float(),
        rate=(world.length / counts)[None].float(),
    )


def test_the_masked_bound_is_tight_by_enumeration() -> None:
    """Σ_l 1/L Σ_{|M| = l} 1/C(L, l)·(L/l)·Σ_{i ∈ M} log p(x_i | rest) = log p(x).

    With exact conditionals the chain rule holds in every order: the bound is a mean over orders.
    """
    world = dirichlet_world()
    process = MaskedProcess(mask=3)
    noised = every_mask(world, 4)
    estimator = TokenElbo(process=process, draws=noised.t.shape[1])
    oracle = Oracle(world=world, process=process, width=4)
    found = estimator(oracle, noised).double()
    counts = noised.where[0, 0].sum(1)
    weight = torch.tensor([1 / (3 * math.comb(3, int(c))) for c in counts], dtype=torch.float64)
    torch.testing.assert_close(
        (found[0] * weight).sum(1), world.law.flatten().log(), rtol=1e-5, atol=1e-5
    )


def test_complementary_masks_have_the_same_mean() -> None:
    """½·Σ_{k<n} 1/n·(n/k·F_k + n/(n − k)·F_{n − k}) + ½·1/n·2·F_n = Σ_k F_k/k.

    Every pair of masks with its weights, for a model with wrong conditionals too, where a mean
    over other counts would be another number.
    """
    world, process = dirichlet_world(), MaskedProcess(mask=3)
    noised = every_mask(world, 4)
    counts = noised.where[0, 0].sum(1)
    weights = torch.where(counts < 3, 3 / counts, 2)
    paired = replace(noised, rate=weights[None].float())
    estimator = TokenElbo(process=process, draws=len(counts))
    # A draw is the first or the second of its pair: all masked, or none, has half a chance.
    chance = torch.tensor([1 / (3 * math.comb(3, int(c))) for c in counts], dtype=torch.float64)
    halved = torch.where(counts < 3, chance, chance / 2)
    for push in (0.0, 0.7):
        model = Bent(Oracle(world=world, process=process, width=4), push)
        found = (estimator(model, paired)[0].double() * halved).sum(1)
        usual = (estimator(model, noised)[0].double() * chance).sum(1)
        torch.testing.assert_close(found, usual, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("length", [1, 4, 5])
def test_complementary_masks_come_with_the_chances_they_are_weighed_by(length: int) -> None:
    """P(M) = 1/(n·C(n, |M|)) for each draw of a pair, 1/2n for all and for none."""
    editable = torch.ones(2 * 30_000, length + 2, dtype=torch.bool)
    editable[:, [0, 2]] = False
    draw = Complementary().draw(editable, Linear(), torch.Generator().manual_seed(0))
    assert torch.equal(draw.hit[::2] ^ draw.hit[1::2], editable[::2])
    torch.testing.assert_close(draw.t[::2] + draw.t[1::2], torch.ones(30_000))
    counts = draw.hit.sum(1)
    weights = [0.0, *(length / k for k in range(1, length)), 2.0]
    torch.testing.assert_close(draw.rate, torch.tensor(weights)[counts])
    place = torch.tensor([1, *range(3, length + 2)])
    codes = (draw.hit[:, place] * 2 ** torch.arange(length)).sum(1)
    shares = torch.bincount(codes, minlength=2**length) / len(codes)
    for code, share in enumerate(shares.tolist()):
        count = code.bit_count()
        whole = count in (0, length)
        chance = 1 / (2 * length) if whole else 1 / (length * math.comb(length, count))
        assert share == pytest.approx(chance, abs=0.004)


def test_complementary_masks_are_not_less_noisy_on_long_texts() -> None:
    """Two Markov chains, 24 tokens: exact conditionals, so that log p is known.

    Both kinds of masks give the log-ratio without bias; that pairs judge each token once does not
    make up for weights of n/k and n/(n − k), by which unbiased pairs weigh tokens unevenly.
    """
    generator, reference = torch.Generator().manual_seed(0), chain()
    bend = 0.3 * torch.randn(reference.transition.shape, generator=generator).double()
    policy = replace(reference, transition=(reference.transition.log() + bend).softmax(1))
    texts = reference.draw(2000, generator)
    exact = policy.log_likelihood(texts) - reference.log_likelihood(texts)
    ids, every = texts[:, None], torch.ones_like(texts[:, None], dtype=torch.bool)
    batch = RankedSets(ids=ids, judged=every, attend=every, ranks=torch.ones(2000, 1).long())
    spread = {}
    for times in (ExactCount(), Complementary()):
        estimator = TokenElbo(process=MaskedProcess(mask=reference.states), draws=4, times=times)
        noised = estimator.prepare(batch, generator)
        ratio = estimator(policy, noised) - estimator(reference, noised)
        error = ratio.mean(2)[:, 0].double() - exact
        assert abs(float(error.mean())) < 4 * float(error.std()) / 2000**0.5
        spread[type(times)] = float(error.std())
    assert spread[ExactCount] < spread[Complementary] < 1.4 * spread[ExactCount]


def test_complementary_masks_need_pairs() -> None:
    estimator = TokenElbo(process=MaskedProcess(mask=WORDS.mask), draws=3, times=Complementary())
    with pytest.raises(UsageError, match="even number of draws"):
        estimator.prepare(SETS, torch.Generator())
    with pytest.raises(UsageError, match="pairs of the same text"):
        Complementary().draw(torch.eye(2, dtype=torch.bool), Linear(), torch.Generator())


class Bent:
    """A world's denoiser, with logits that are pushed a little."""

    def __init__(self, oracle: Oracle, push: float) -> None:
        self.oracle, self.push = oracle, push

    def __call__(self, x_t: Tensor, where: Tensor, **more: Tensor) -> Tensor:
        logits = self.oracle(x_t, where, **more)
        return logits + self.push * torch.sin(torch.arange(logits.shape[1]) + 1.0)


def test_shared_draws_have_less_variance() -> None:
    """ℓ = B_θ − B_ref: with shared masks its deviation is a small part of that with masks apart."""
    generator = torch.Generator().manual_seed(0)
    world = dirichlet_world()
    process = MaskedProcess(mask=3)
    ids = states(3, 3)[torch.randint(27, (200, 1), generator=generator)]
    every = torch.ones_like(ids, dtype=torch.bool)
    batch = RankedSets(ids=ids, judged=every, attend=every, ranks=torch.ones(200, 1).long())
    policy = Bent(Oracle(world=world, process=process, width=4), 0.1)
    reference = Bent(Oracle(world=world, process=process, width=4), 0.0)
    spread = {}
    kinds = {"count": ExactCount(), "bernoulli": Stratified(), "pairs": Complementary()}
    for name, times in kinds.items():
        estimator = TokenElbo(process=process, draws=8, times=times)
        one, other = (estimator.prepare(batch, generator) for _ in range(2))
        same = [estimator(policy, one), estimator(reference, one)]
        apart = estimator(reference, other)
        exact = _exact(policy, reference, world, process)[_index(ids)]
        for key, found in (("shared", same[0] - same[1]), ("apart", same[0] - apart)):
            spread[name, key] = float((found.mean(2)[:, 0].double() - exact).square().mean().sqrt())
    assert spread["count", "shared"] < 0.2 * spread["count", "apart"]
    assert spread["bernoulli", "shared"] < 0.2 * spread["bernoulli", "apart"]
    assert spread["pairs", "shared"] < spread["count", "shared"] < spread["bernoulli", "shared"]


def _index(ids: Tensor) -> Tensor:
    return (ids[:, 0] * torch.tensor([9, 3, 1])).sum(1)


def _exact(policy: Bent, reference: Bent, world: World, process: MaskedProcess) -> Tensor:
    """ℓ of all outcomes, by enumeration of the masks."""
    noised = every_mask(world, 4)
    estimator = TokenElbo(process=process, draws=noised.t.shape[1])
    counts = noised.where[0, 0].sum(1)
    weight = torch.tensor([1 / (3 * math.comb(3, int(c))) for c in counts], dtype=torch.float64)
    ratio = estimator(policy, noised) - estimator(reference, noised)
    return (ratio[0].double() * weight).sum(1)


def test_candidates_share_their_hits() -> None:
    """Within a set every candidate is noised at the same places, the same number of them."""
    estimator = TokenElbo(process=MaskedProcess(mask=WORDS.mask), draws=4)
    noised = estimator.prepare(SETS, torch.Generator().manual_seed(1))
    assert torch.equal(noised.where[0, 0], noised.where[0, 1])
    assert torch.equal(noised.where[1, 0], noised.where[1, 2])
    judged = int(SETS.judged[0, 0].sum())
    hits = noised.where[0, 0].sum(1)
    for quarter, count in enumerate(sorted(hits.tolist())):  # stratified
        assert quarter * judged / 4 < count <= math.ceil((quarter + 1) * judged / 4)
    assert not (noised.where & ~SETS.judged[:, :, None]).any()
    assert {*noised.x_t[noised.where].tolist()} == {WORDS.mask}


@pytest.mark.parametrize(
    "process", [MaskedProcess(mask=WORDS.mask), UniformProcess(size=WORDS.size)]
)
def test_a_set_alone_is_the_set_in_a_batch(process: MaskedProcess | UniformProcess) -> None:
    """Micro-batches, absent candidates and the width of others change nothing."""
    times = ExactCount() if isinstance(process, MaskedProcess) else Stratified()
    estimator, model = TokenElbo(process=process, draws=3, times=times), tiny().eval()
    noised = estimator.prepare(SETS, torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = estimator(model, noised)
        parts = [estimator(model, noised.rows(i, i + 1)) for i in range(2)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-4, atol=1e-4)
    assert whole[0, 2].tolist() == [0, 0, 0]  # the first set has two candidates
    assert bool((whole[0, :2] < 0).all())


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS.size, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
def test_causal_likelihood_token_by_token() -> None:
    """log p of a completion is the sum of its tokens' log p, each after all before it."""
    model, batch = llama(), lay_rows(EXAMPLES, pad=WORDS.pad)
    found = Causal()(model, Causal().prepare(batch, torch.Generator()))
    for b, one in enumerate(EXAMPLES):
        for n, candidate in enumerate(one.candidates):
            expected = 0.0
            for place, trained in enumerate(candidate.trained):
                if trained:
                    logits = model(torch.tensor([candidate.ids[:place]])).logits[0, -1]
                    expected += float(logits.log_softmax(0)[candidate.ids[place]])
            assert float(found[b, n, 0]) == pytest.approx(expected, abs=1e-4)
    assert found[0, 2, 0] == 0


def test_layouts_differ_in_what_is_judged() -> None:
    """A diffusion model says where a text ends on a canvas, another one only that it ends."""
    rows = lay_rows(EXAMPLES, pad=WORDS.pad)
    assert SETS.judged[0, :2].sum(1).unique().numel() == 1
    assert rows.judged[0].sum(1).tolist() == [
        *(sum(candidate.trained) for candidate in EXAMPLES[0].candidates), 0
    ]  # fmt: skip
    slack = lay_sets(EXAMPLES, WORDS, slack=2)
    assert torch.equal(slack.judged[:, :2].sum(2), SETS.judged[:, :2].sum(2) + 2)


def test_a_text_that_was_cut_has_nothing_behind_it() -> None:
    """Of two candidates cut at ten tokens and one that ends, only the last has judged pads."""
    record = replace(RECORDS[1], completions=("Bob sees the old house.", "tea", "Eve"))
    one = encode_ranked(record, WORDS, max_length=6)
    sets = lay_sets([one], WORDS, slack=3)
    assert sets.attend[0].sum(1).tolist() == [6, 9, 9]


@pytest.mark.parametrize("draws", [0, -1])
def test_no_draws_are_refused(draws: int) -> None:
    with pytest.raises(UsageError, match="draws ≥ 1"):
        TokenElbo(process=UniformProcess(size=WORDS.size), draws=draws)
