from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.worlds import Oracle, World, dirichlet_world
from tokenizers import Tokenizer, models
from torch import Tensor, nn

from sfumato.errors import ModelError, UsageError
from sfumato.evaluation.bounds import level_curve, text_bounds
from sfumato.evaluation.perplexity import causal_perplexity, elbo, elbo_by_group
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Cosine
from sfumato.noise.times import Stratified
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Denoiser, Process, Schedule
from sfumato.text.batching import Example, encode
from sfumato.text.records import PairRecord, TextRecord
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary
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


def judge_folder(path: Path, *, context: int, bos: bool) -> Path:
    """A causal model with random weights over the words w0 … w9."""
    from tokenizers import pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {f"w{i}": i for i in range(10)} | {"<s>": 10, "<unk>": 11}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "<unk>"} | ({"bos_token": "<s>"} if bos else {})
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=12,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=context,
                initializer_range=0.5,
            )
        )
    judge.save_pretrained(path)
    return path


def exact_nll(folder: Path, ids: list[int]) -> float:
    from transformers import AutoModelForCausalLM

    judge = AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False)
    log_p = judge(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -float(sum(log_p[i, token] for i, token in enumerate(ids[1:])))


@pytest.mark.parametrize("bos", [True, False])
def test_a_judge_scores_every_token_once_whatever_the_batch(tmp_path: Path, bos: bool) -> None:
    folder = judge_folder(tmp_path, context=64, bos=bos)
    texts = ["w1 w2 w3", "w9 w9 w9 w9 w9 w0", "w5 w6"]
    ids = [([10] if bos else []) + [int(word[1:]) for word in text.split()] for text in texts]
    nll = sum(exact_nll(folder, one) for one in ids) / sum(len(one) - 1 for one in ids)
    for batch_size in (1, 16):
        perplexity, bits = causal_perplexity(folder, texts, batch_size=batch_size, seed=7)
        assert perplexity.value == pytest.approx(math.exp(nll), rel=1e-5)
        octets = sum(len(text) for text in texts)
        tokens = sum(len(one) - 1 for one in ids)
        assert bits.value == pytest.approx(nll * tokens / math.log(2) / octets, rel=1e-5)
        assert (perplexity.n, perplexity.seed, perplexity.reference) == (3, 7, folder.name)
        assert perplexity.settings == {"bos": bos, "context": 64}


def test_a_long_text_is_read_in_overlapping_windows(tmp_path: Path) -> None:
    """Context 4, ids 0 … 8 (bos first): windows 0-3, 2-5, 4-7, 6-8 score 1-3, 4-5, 6-7, 8."""
    folder = judge_folder(tmp_path, context=4, bos=True)
    ids = [10, 1, 2, 3, 4, 5, 6, 7, 8]
    text = " ".join(f"w{i}" for i in ids[1:])
    first = exact_nll(folder, ids[:4])
    later = [(2, 6, 2), (4, 8, 2), (6, 9, 2)]
    nll = first + sum(
        exact_nll(folder, ids[a:b]) - exact_nll(folder, ids[a : a + keep]) for a, b, keep in later
    )
    perplexity, _ = causal_perplexity(folder, [text])
    assert perplexity.value == pytest.approx(math.exp(nll / 8), rel=1e-4)


def test_a_folder_without_a_judge_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json, model\.safetensors") as error:
        causal_perplexity(tmp_path, ["a"])
    assert "\n" not in str(error.value)


def test_empty_texts_cannot_be_judged(tmp_path: Path) -> None:
    folder = judge_folder(tmp_path, context=8, bos=True)
    with pytest.raises(UsageError, match="empty texts"):
        causal_perplexity(folder, ["", ""])


def test_the_published_judge(shared_data: Path) -> None:
    """Stories of ROCStories cost 14.2 a token, with their words shuffled 75.2."""
    folder, path = shared_data / "lm_stories260k", shared_data / "rocstories" / "raw_valid.jsonl"
    if not (folder.is_dir() and path.is_file()):
        pytest.skip("the judge or the stories are not there")
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(100), strict=False)]
    order = random.Random(0)
    shuffled = [" ".join(order.sample(text.split(), len(text.split()))) for text in texts]
    for found, expected in ((texts, 14.2), (shuffled, 75.2)):
        perplexity, _ = causal_perplexity(folder, found)
        assert perplexity.stderr is not None
        assert perplexity.value == pytest.approx(expected, abs=3 * perplexity.stderr)
        assert perplexity.stderr < 0.06 * expected


def test_the_bounds_of_groups_add_up_to_the_bound_of_all() -> None:
    """Σ nats over groups = nats of all, since each text keeps its noise; n and seed are kept."""
    words = learn_vocabulary(["a cat sat on a mat"], size=300)
    texts = ["a cat", "a mat sat", "on a cat", "mat"]
    examples = [encode(TextRecord(text=text), words, max_length=16) for text in texts]

    def guess(x_t, where, *, attend=None, t=None):
        return torch.arange(words.size).expand(int(where.sum()), -1) / 50

    model = SimpleNamespace(
        denoiser=guess, vocabulary=words, process=MaskedProcess(mask=words.mask)
    )
    whole, per_byte = elbo(model, examples, draws=4, seed=5)
    groups = elbo_by_group(model, examples, ["en", "ru", "en", "en"], draws=4, seed=5)
    assert [(name, metrics[0].n) for name, metrics in groups.items()] == [("en", 3), ("ru", 1)]
    tokens = {
        name: sum(
            sum(example.trained)
            for example, group in zip(examples, ["en", "ru", "en", "en"], strict=True)
            if group == name
        )
        for name in groups
    }
    total = sum(groups[name][0].value * tokens[name] for name in groups)
    assert total == pytest.approx(whole.value * sum(tokens.values()))
    assert groups["ru"][0].reference == "ru"
    assert groups["ru"][0].stderr is None
    assert per_byte.n == 4


def test_a_group_without_bytes_has_no_bits_per_byte() -> None:
    """Only the end of a text is learnt: a token, but no byte."""
    words = learn_vocabulary(["a cat"], size=300)
    example = encode(PairRecord(prompt="a cat", completion=""), words, max_length=16)
    model = SimpleNamespace(
        denoiser=lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size),
        vocabulary=words,
        process=MaskedProcess(mask=words.mask),
    )
    found = elbo_by_group(model, [example], ["und"], draws=2)
    assert [metric.name for metric in found["und"]] == ["elbo_nats_per_token"]
    with pytest.raises(UsageError, match="no bytes"):
        elbo(model, [example], draws=2)
