"""The objectives of latent models: reproducible noise, hints, dropped prompts, and learning."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, TrainingArguments

from sfumato.errors import UsageError
from sfumato.models.latent.codecs.bottleneck import Compressor, LatentDecoder
from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.score_network import ScoreNetwork, ScoreSizes
from sfumato.noise.gaussian import GaussianProcess, Preserving
from sfumato.noise.log_snr import Tangent
from sfumato.noise.times import EvenLogSnrs, EvenTimes
from sfumato.text.batching import Example
from sfumato.text.slots import lay_slots
from sfumato.training.latents import (
    DecoderLearner,
    DecoderObjective,
    LatentLearner,
    LatentObjective,
    MinSnr,
    clean_weighting,
    noise_weighting,
    velocity_weighting,
)
from sfumato.training.trainer import DiffusionTrainer

PROCESS = GaussianProcess(schedule=Tangent(slope=2.0), path=Preserving(), low=-5.0, high=4.0)
OBJECTIVE = LatentObjective(process=PROCESS, width=16, hinting=0.0, dropping=0.0)
EXAMPLES = [
    Example(ids=(2, 5 + i % 6, 6 + i % 5, 3), trained=(False, False, True, True)) for i in range(30)
]


def learner(reading: str = "cross") -> LatentLearner:
    torch.manual_seed(0)
    sizes = ScoreSizes(
        width=16,
        slots=4,
        hidden=16,
        layers=2,
        heads=2,
        reading=reading,  # type: ignore[arg-type]
    )
    return LatentLearner(ScoreNetwork(sizes, path=PROCESS.path), EmbeddingCodec(size=12, width=16))


def batch_of(count: int = 30):
    return lay_slots(EXAMPLES[:count], slots=4, pad=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_slots_split_what_is_written_from_what_is_given() -> None:
    batch = batch_of(2)
    assert batch.ids.tolist() == [[6, 3, 0, 0], [7, 3, 0, 0]]
    assert batch.given.tolist() == [[2, 5], [2, 6]]
    assert batch.attend.all()
    cut = lay_slots(EXAMPLES[:1], slots=1, pad=0)
    assert cut.ids.tolist() == [[6]]
    with pytest.raises(UsageError, match="expected examples"):
        lay_slots([], slots=4, pad=0)


def test_one_draw_is_the_same_however_it_is_cut() -> None:
    model = learner()
    whole = OBJECTIVE.prepare(batch_of(), generator())
    parts = [whole.rows(0, 12), whole.rows(12, 30)]
    assert float(whole.items) == 30 == sum(float(part.items) for part in parts)
    total = OBJECTIVE(model, whole)
    torch.testing.assert_close(sum(OBJECTIVE(model, part) for part in parts), total)


def test_the_loss_of_a_network_that_says_nothing_is_the_variance() -> None:
    """A new network says 0, and learnt vectors have a mean square of 1."""
    objective = replace(OBJECTIVE, anchor=0.0)
    prepared = objective.prepare(batch_of(), generator())
    assert float(objective(learner(), prepared).detach()) / 30 == pytest.approx(1.0, rel=1e-4)


def test_dropped_prompts_are_not_told() -> None:
    objective = replace(OBJECTIVE, dropping=1.0)
    assert not objective.prepare(batch_of(), generator()).attend.any()
    some = replace(OBJECTIVE, dropping=0.5).prepare(batch_of(), generator()).attend
    assert 0 < int(some.any(1).sum()) < 30
    assert bool((some.all(1) == some.any(1)).all())


def test_hints_come_with_their_chance() -> None:
    share = [
        bool(replace(OBJECTIVE, hinting=0.5).prepare(batch_of(2), generator(seed)).hinted[0])
        for seed in range(200)
    ]
    assert 70 < sum(share) < 130


def test_a_hinted_batch_is_predicted_with_its_first_prediction() -> None:
    model = learner()
    torch.nn.init.normal_(model.denoiser.leave.weight, std=0.3)
    prepared = replace(OBJECTIVE, hinting=1.0).prepare(batch_of(), generator())
    plain = replace(prepared, hinted=torch.zeros_like(prepared.hinted))
    assert not torch.allclose(OBJECTIVE(model, prepared), OBJECTIVE(model, plain))


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        (clean_weighting, [1.0, 1.0]),
        (noise_weighting, [1.0, 7.389056]),
        (velocity_weighting, [2.0, 8.389056]),
        (MinSnr(gamma=3.0), [1.0, 3.0]),
    ],
)
def test_weightings_are_their_formulas(weighting, expected: list[float]) -> None:
    assert weighting(torch.tensor([0.0, 1.0])).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("times", [EvenTimes(), EvenLogSnrs(), EvenLogSnrs(low=-1.0, high=1.0)])
def test_levels_stay_within_the_process(times) -> None:
    t = times.levels(500, PROCESS, generator())
    level = PROCESS.schedule.value(t.double())
    low, high = (times.low, times.high) if isinstance(times, EvenLogSnrs) else (None, None)
    assert float(level.min()) >= (low if low is not None else PROCESS.low) - 1e-5
    assert float(level.max()) <= (high if high is not None else PROCESS.high) + 1e-5
    even = t if isinstance(times, EvenTimes) else level
    spread = (even - even.min()) / (even.max() - even.min())
    assert float(spread.mean()) == pytest.approx(0.5, abs=0.01)


def test_training_learns_the_vectors_and_the_words(tmp_path: Path) -> None:
    """30 pairs whose answer follows from the prompt: the error falls far below the variance."""
    model = learner()
    before = model.codec.vectors.detach().clone()
    trainer = DiffusionTrainer(
        model,
        objective=replace(OBJECTIVE, hinting=0.5),
        examples=EXAMPLES,
        compose=lambda examples, _: lay_slots(examples, slots=4, pad=0),
        args=TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=150,
            per_device_train_batch_size=30,
            learning_rate=0.01,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
        ),
        muon=True,
    )
    trainer.train()
    assert not torch.allclose(before, model.codec.vectors)
    prepared = replace(OBJECTIVE, anchor=0.0).prepare(batch_of(), generator(1))
    with torch.no_grad():
        said = model(replace(prepared, t=torch.full((30,), 0.5)), PROCESS)
        right = model.codec.decode(said.x_hat).argmax(2) == prepared.ids
    assert float((said.x_0 - said.x_hat).square().mean()) < 0.3
    assert float(right.double().mean()) > 0.9


def test_a_decoder_learns_to_read_noisy_vectors() -> None:
    torch.manual_seed(0)
    body = BertModel(
        BertConfig(
            vocab_size=12,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )
    decoder = LatentDecoder(width=16, kept=range(12), size=12, slots=4, hidden=32, heads=2)
    codec = EncoderCodec(body, decoder, pad=0)
    codec.fit([batch_of().ids], special=torch.tensor([0, 3]))
    objective = DecoderObjective(process=PROCESS, codec=codec)
    learnt = DecoderLearner(codec)
    optimizer = torch.optim.Adam(learnt.parameters(), lr=0.01)
    first = last = 0.0
    for step in range(80):
        loss = objective(learnt, objective.prepare(batch_of(), generator(step))) / 30
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    assert last < first / 4
    ids = batch_of().ids
    assert float((codec.decode(codec.encode(ids, ids >= 0)).argmax(2) == ids).double().mean()) > 0.9


def test_the_decoder_loss_does_not_depend_on_micro_batches() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "hidden_size": 16, "intermediate_size": 16}
    body = BertModel(BertConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)).eval()
    decoder = LatentDecoder(width=16, kept=[0, 3, 5, 6], size=12, slots=4, hidden=16, heads=2)
    codec = EncoderCodec(body, decoder, pad=0)
    objective, learnt = DecoderObjective(process=PROCESS, codec=codec), DecoderLearner(codec)
    prepared = objective.prepare(batch_of(), generator(0))
    whole = objective(learnt, prepared)
    parts = sum(objective(learnt, prepared.rows(i, i + 7)) for i in range(0, 30, 7))
    torch.testing.assert_close(parts, whole)


def test_a_compressor_learns_with_its_decoder_to_keep_a_text_in_two_vectors() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "hidden_size": 16, "intermediate_size": 16}
    body = BertModel(BertConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)).eval()
    small = {"slots": 4, "hidden": 32, "heads": 2}
    decoder = LatentDecoder(width=24, kept=range(12), size=12, latents=2, **small)
    compressor = Compressor(inside=16, width=24, latents=2, **small)
    codec = EncoderCodec(body, decoder, pad=0, compressor=compressor)
    codec.fit([batch_of().ids], special=torch.tensor([0, 3]))
    before = compressor.enter.weight.clone()
    objective = DecoderObjective(process=PROCESS, codec=codec)
    learnt = DecoderLearner(codec)
    optimizer = torch.optim.Adam(learnt.parameters(), lr=0.003)
    for step in range(150):
        loss = objective(learnt, objective.prepare(batch_of(), generator(step))) / 30
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ids = batch_of().ids
    vectors = codec.encode(ids, ids >= 0)
    assert vectors.shape == (len(ids), 2, 24)
    torch.testing.assert_close(
        vectors.var(2, correction=0), torch.ones(len(ids), 2), atol=1e-2, rtol=0
    )
    assert float((codec.decode(vectors).argmax(2) == ids).double().mean()) > 0.9
    assert not torch.equal(compressor.enter.weight, before)
    denoiser = ScoreNetwork(
        ScoreSizes(width=24, slots=4, hidden=16, layers=2, heads=2, reading="cross"),
        path=PROCESS.path,
    )
    fewer = replace(OBJECTIVE, width=24, latents=2)
    loss = fewer(LatentLearner(denoiser, codec), fewer.prepare(batch_of(), generator(0)))
    loss.backward()
    assert loss.item() > 0
    assert all(part.grad is not None for part in denoiser.leave.parameters())


def test_the_frozen_encoder_is_neither_trained_nor_averaged() -> None:
    body = BertModel(
        BertConfig(
            vocab_size=12,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )
    decoder = LatentDecoder(width=16, kept=range(12), size=12, slots=4, hidden=16, heads=2)
    codec = EncoderCodec(body, decoder, pad=0)
    model = LatentLearner(learner().denoiser, codec)
    assert all(not name.startswith(("body", "_frozen")) for name, _ in model.named_parameters())
    assert model.codec is codec
    assert copy.deepcopy(model).codec is codec
    codec.train()
    assert not codec.body.training
    assert codec.decoder.training


def test_chances_out_of_range_are_refused() -> None:
    for wrong in ({"hinting": 1.5}, {"dropping": -0.1}, {"anchor": -1.0}):
        with pytest.raises(UsageError, match="expected hinting"):
            replace(OBJECTIVE, **wrong)
