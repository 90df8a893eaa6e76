"""The bound on the likelihood: by hand, and on worlds whose likelihood is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from tests.worlds import Oracle, World, dirichlet_world
from tokenizers import Tokenizer, models
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.evaluation.bounds import level_curve, text_bounds
from sfumato.evaluation.perplexity import elbo
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Cosine
from sfumato.noise.times import Stratified
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Denoiser, Process, Schedule
from sfumato.text.batching import Example
from sfumato.text.vocabulary import Vocabulary
from sfumato.types import Draw

MASK, PAD, EOS, SIZE = 3, 4, 5, 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    denoiser: Denoiser
    process: Process
    vocabulary: Vocabulary


def vocabulary() -> Vocabulary:
    """Three words of one, two and three bytes."""
    ids = {"a": 0, "bb": 1, "ccc": 2, "[MASK]": MASK, "[PAD]": PAD, "[SEP]": EOS}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[SEP]"))
    return Vocabulary(tokenizer=tokenizer, mask=MASK, pad=PAD, eos=EOS, bos=None, size=SIZE)


def oracle(world: World, process: MaskedProcess | UniformProcess) -> Model:
    return Model(
        denoiser=Oracle(world=world, process=process, width=SIZE),
        process=process,
        vocabulary=vocabulary(),
    )


@dataclass(frozen=True, kw_only=True)
class Independent:
    """The same law at every position, whatever the rest."""

    probabilities: Sequence[float]

    def __call__(
        self,
        x_t: Tensor,
        where: Tensor,
        *,
        attend: Tensor | None = None,
        t: Tensor | None = None,
    ) -> Tensor:
        return torch.tensor(self.probabilities).log().expand(int(where.sum()), SIZE)


def independent(*probabilities: float) -> Model:
    law = [*probabilities, *[0.0] * (SIZE - len(probabilities))]
    return Model(
        denoiser=Independent(probabilities=law),
        process=MaskedProcess(mask=MASK),
        vocabulary=vocabulary(),
    )


def whole(*ids: int) -> Example:
    return Example(ids=ids, trained=(True,) * len(ids))


@dataclass(frozen=True, kw_only=True)
class EveryMask:
    """Each count k equally often, and each set of k positions equally often: no chance left."""

    def draw(self, editable: Tensor, schedule: Schedule, generator: torch.Generator) -> Draw:
        n = editable.shape[1]
        sets = [
            chosen
            for k in range(1, n + 1)
            for chosen in itertools.combinations(range(n), k)
            for _ in range(math.lcm(*(math.comb(n, j) for j in range(1, n + 1))) // math.comb(n, k))
        ]
        hit = torch.zeros(len(sets), n, dtype=torch.bool)
        for row, chosen in enumerate(sets):
            hit[row, list(chosen)] = True
        k = hit.sum(1)
        return Draw(
            t=schedule.inverse(1 - k / n),
            hit=hit,
            rate=n / k,
            uniform=torch.zeros(hit.shape, dtype=torch.float64),
        )


OUTCOMES = [whole(*ids) for ids in itertools.product(range(3), repeat=3)]


@pytest.mark.parametrize("schedule", [None, Cosine()])
def test_the_bound_of_an_exact_denoiser_is_the_log_likelihood(schedule: Schedule | None) -> None:
    """All 27 outcomes; 3 counts of lcm(3, 3, 1) = 3 sets each are 9 draws."""
    world = dirichlet_world()
    process = (
        MaskedProcess(mask=MASK)
        if schedule is None
        else MaskedProcess(mask=MASK, schedule=schedule)
    )
    bounds = text_bounds(oracle(world, process), OUTCOMES, draws=9, times=EveryMask())
    expected = -world.law.flatten().log()
    torch.testing.assert_close(bounds.nats.mean(1), expected, atol=1e-4, rtol=1e-5)


def test_random_draws_estimate_the_log_likelihood_within_their_error() -> None:
    world = dirichlet_world()
    bounds = text_bounds(oracle(world, MaskedProcess(mask=MASK)), OUTCOMES, draws=300, seed=1)
    expected = -world.law.flatten().log()
    off = (bounds.nats.mean(1) - expected) / bounds.draw_error.clamp(min=1e-6)
    assert off.abs().max() < 4
    assert off.abs().mean() < 1.2


def test_uniform_noise_is_bounded_with_stratified_times() -> None:
    """The exact posterior makes the continuous-time bound an equality as well.

    Rare hits near t = 0 weigh 1/t, so its draws have no variance and errors mean little.
    """
    world = dirichlet_world()
    process = UniformProcess(size=3)
    few = [whole(0, 1, 2), whole(2, 2, 0)]
    bounds = text_bounds(
        oracle(world, process), few, draws=20000, times=Stratified(), batch_size=5000
    )
    expected = torch.stack([-world.law[0, 1, 2].log(), -world.law[2, 2, 0].log()])
    torch.testing.assert_close(bounds.nats.mean(1), expected, rtol=0.1, atol=0)


def test_exact_counts_are_refused_for_uniform_noise() -> None:
    with pytest.raises(UsageError, match="times=Stratified"):
        text_bounds(oracle(dirichlet_world(), UniformProcess(size=3)), OUTCOMES, draws=3)


def test_tokens_and_bytes_by_hand() -> None:
    """p = ½, ¼, ¼ in every draw alike: "a bb" costs 3 log 2 for 2 tokens and 4 bytes ("a bb"),
    "ccc" 2 log 2 for 1 token and 3 bytes: 5 log 2 in all, 3 tokens, 7 bytes.

    Draws that hit one of two unlike tokens differ, so the first text is bounded by all masks.
    """
    model = independent(0.5, 0.25, 0.25)
    texts = [whole(0, 1), whole(2)]
    bounds = text_bounds(model, texts[:1], draws=4, times=EveryMask())
    assert float(bounds.nats.mean()) == pytest.approx(3 * math.log(2), abs=1e-6)
    even = independent(1 / 3, 1 / 3, 1 / 3)
    per_token, per_byte = elbo(even, texts, draws=2, seed=3, reference="tiny")
    assert per_token.value == pytest.approx(math.log(3), abs=1e-6)
    assert per_byte.value == pytest.approx(3 * math.log2(3) / 7, abs=1e-6)
    assert (per_token.n, per_token.seed, per_token.reference) == (2, 3, "tiny")
    assert per_token.stderr == pytest.approx(0, abs=1e-6)
    assert per_token.settings == {
        "draws": 2, "slack": 0, "times": "ExactCount", "process": "MaskedProcess"
    }  # fmt: skip


def test_slack_is_paid_for_and_not_counted_as_tokens() -> None:
    """Ten letters and two pads at ¼ each cost (1 + 1 + 2) log 4 over two tokens; without the eos
    there is no tail."""
    model = independent(0.25, 0.25, 0, 0, 0.25, 0.25)
    ended, cut = whole(0, EOS), whole(0, 1)
    assert elbo(model, [ended], slack=2)[0].value == pytest.approx(2 * math.log(4), abs=1e-6)
    assert elbo(model, [ended])[0].value == pytest.approx(math.log(4), abs=1e-6)
    assert elbo(model, [cut], slack=2)[0].value == pytest.approx(math.log(4), abs=1e-6)
    bounds = text_bounds(model, [ended, cut], slack=2)
    assert (bounds.positions.tolist(), bounds.tokens.tolist()) == ([4, 2], [2, 2])
    assert bounds.octets.tolist() == [1, 4]


def test_context_is_neither_noised_nor_counted() -> None:
    """The denoiser sees the context in every row: p(x_3 | x_1, x_2) exactly, in every draw."""
    world = dirichlet_world()
    example = Example(ids=(0, 1, 2), trained=(False, False, True))
    process = MaskedProcess(mask=MASK)
    known = oracle(world, process)

    def timeless(
        x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        return known.denoiser(x_t, where)  # at t = 1 the oracle takes the context for impossible

    model = Model(denoiser=timeless, process=process, vocabulary=known.vocabulary)
    bounds = text_bounds(model, [example], draws=3)
    expected = -(world.law[0, 1, 2] / world.law[0, 1].sum()).log()
    assert bounds.nats.flatten().tolist() == pytest.approx([float(expected)] * 3, abs=1e-5)
    assert bounds.tokens.tolist() == [1]


def test_draws_are_stratified_within_a_text_and_single_draws_among_texts() -> None:
    text = whole(*[0] * 8)
    model = independent(1.0)
    levels = [i / 8 for i in range(1, 9)]
    within = text_bounds(model, [text, text], draws=8).level.sort(1).values
    assert within.flatten().tolist() == pytest.approx(levels * 2)
    among = text_bounds(model, [text] * 64, draws=1).level.flatten().sort().values
    assert among.tolist() == pytest.approx([level for level in levels for _ in range(8)])


@pytest.mark.parametrize("draws", [1, 5])
def test_the_batch_size_does_not_matter_and_the_seed_does(draws: int) -> None:
    model = oracle(dirichlet_world(), MaskedProcess(mask=MASK))
    one, many = (
        text_bounds(model, OUTCOMES[:12], draws=draws, batch_size=size).nats for size in (1, 64)
    )
    torch.testing.assert_close(one, many)
    assert not torch.equal(one, text_bounds(model, OUTCOMES[:12], draws=draws, seed=1).nats)


def test_dropout_is_off_and_comes_back() -> None:
    class Dropping(nn.Module):
        def forward(
            self,
            x_t: Tensor,
            where: Tensor,
            *,
            attend: Tensor | None = None,
            t: Tensor | None = None,
        ) -> Tensor:
            assert not self.training
            return torch.zeros(int(where.sum()), SIZE)

    denoiser = Dropping()
    model = Model(denoiser=denoiser, process=MaskedProcess(mask=MASK), vocabulary=vocabulary())
    assert elbo(model, [whole(0, 1)])[0].value == pytest.approx(math.log(SIZE), abs=1e-5)
    assert denoiser.training


def test_the_error_covers_texts_and_draws() -> None:
    """Texts drawn from the world: the estimate is within 4 errors of the entropy."""
    world = dirichlet_world()
    law = world.law.flatten()
    drawn = torch.multinomial(
        law, 150, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    texts = [OUTCOMES[i] for i in drawn.tolist()]
    found, _ = elbo(oracle(world, MaskedProcess(mask=MASK)), texts, draws=4)
    entropy = float(-(law * law.log()).sum()) / 3
    assert found.stderr is not None
    assert abs(found.value - entropy) < 4 * found.stderr
    assert found.stderr < 0.15 * entropy


@pytest.mark.parametrize("options", [{"draws": 0}, {"slack": -1}, {"seed": -1}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="draws ≥ 1, slack ≥ 0 and seed ≥ 0"):
        text_bounds(independent(1.0), [whole(0)], **options)


def test_texts_without_anything_to_bound() -> None:
    with pytest.raises(UsageError, match="got 0 texts"):
        text_bounds(independent(1.0), [])
    context = Example(ids=(0,), trained=(False,), origin="x.txt:7")
    with pytest.raises(UsageError, match="x.txt:7 has no trained token"):
        text_bounds(independent(1.0), [context])


def test_the_curve_over_noise_levels() -> None:
    """Independent tokens cost the same at every level; two draws fall into each fifth."""
    bounds = text_bounds(independent(0.5, 0.5), [whole(*[0, 1] * 5)], draws=10)
    curve = level_curve(bounds, label="x", bins=5)
    assert list(curve.x) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert list(curve.y) == pytest.approx([math.log(2)] * 5)
    assert list(curve.low) == pytest.approx(list(curve.high), abs=1e-6)
