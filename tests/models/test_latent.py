"""Codecs, the score network and the folder of a latent model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.models.test_checkpoints import WORDS
from torch import Tensor
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel, PreTrainedModel

from sfumato.errors import ModelError, UsageError
from sfumato.models.checkpoints import SHIPPED, load
from sfumato.models.latent.codecs.bottleneck import Compressor, LatentDecoder
from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.codecs.memory import Memory
from sfumato.models.latent.score_network import ScoreNetwork, ScoreSizes
from sfumato.models.latent.storage import (
    LatentCheckpoint,
    is_latent,
    load_latent,
    read_body,
    save_latent,
)
from sfumato.noise.gaussian import PARAMETERIZATIONS, Exploding, GaussianProcess, Preserving
from sfumato.noise.log_snr import Shifted, Tangent
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.tasks import complete_each, interpolate, vary, write
from sfumato.types import Condition

SIZES = ScoreSizes(width=8, slots=6, hidden=16, layers=4, heads=2, reading="cross")
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}


def bert() -> PreTrainedModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(vocab_size=WORDS.size, intermediate_size=16, **SMALL)).eval()


def modernbert() -> PreTrainedModel:
    torch.manual_seed(0)
    ids = {"pad_token_id": WORDS.pad, "cls_token_id": WORDS.bos, "sep_token_id": WORDS.eos}
    config = ModernBertConfig(vocab_size=WORDS.size, intermediate_size=16, **SMALL, **ids)
    return ModernBertModel(config).eval()


def codec_of(body: PreTrainedModel, layer: int = -1) -> EncoderCodec:
    decoder = LatentDecoder(
        width=8, kept=[5, 9, 7, WORDS.pad], size=WORDS.size, slots=6, hidden=16, heads=2
    )
    return EncoderCodec(body, decoder, pad=WORDS.pad, layer=layer).eval()


def compressed() -> EncoderCodec:
    """Two vectors a text."""
    small = {"width": 8, "latents": 2, "hidden": 16, "heads": 2}
    kept = [5, 9, 7, WORDS.pad, WORDS.eos]
    decoder = LatentDecoder(kept=kept, size=WORDS.size, slots=6, **small)
    compressor = Compressor(inside=8, slots=12, **small)
    return EncoderCodec(bert(), decoder, pad=WORDS.pad, compressor=compressor).eval()


def network(**changes: object) -> ScoreNetwork:
    """A network whose every part has an effect."""
    torch.manual_seed(1)
    made = ScoreNetwork(replace(SIZES, **changes), path=Preserving()).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(2)), torch.zeros(3)


@pytest.mark.parametrize("reading", ["cross", "beside"])
def test_everything_that_a_network_is_told_matters(
    inputs: tuple[Tensor, Tensor], reading: str
) -> None:
    x, log_snr = inputs
    made = network(reading=reading)
    given = Condition(latents=x.flip(0), attend=torch.ones(3, 6, dtype=torch.bool))
    plain = made(x, log_snr)
    told = {
        "time": made(x, log_snr + 1),
        "hint": made(x, log_snr, hint=x),
        "condition": made(x, log_snr, condition=given),
    }
    for name, output in told.items():
        assert not torch.allclose(output, plain), name


@pytest.mark.parametrize("reading", ["cross", "beside"])
def test_a_condition_of_nothing_is_none(inputs: tuple[Tensor, Tensor], reading: str) -> None:
    """A row whose prompt is not told is the row without one, in any batch."""
    x, log_snr = inputs
    made = network(reading=reading)
    attend = torch.zeros(3, 6, dtype=torch.bool)
    attend[1] = True
    output = made(x, log_snr, condition=Condition(latents=x, attend=attend))
    plain = made(x, log_snr)
    torch.testing.assert_close(output[[0, 2]], plain[[0, 2]])
    assert not torch.allclose(output[1], plain[1])


def test_a_network_without_reading_ignores_conditions(inputs: tuple[Tensor, Tensor]) -> None:
    x, log_snr = inputs
    made = network(reading="none")
    given = Condition(latents=x, attend=torch.ones(3, 6, dtype=torch.bool))
    assert torch.equal(made(x, log_snr), made(x, log_snr, condition=given))


def test_slots_that_do_not_exist_have_no_effect(inputs: tuple[Tensor, Tensor]) -> None:
    x, log_snr = inputs
    made = network()
    attend = torch.ones(3, 6, dtype=torch.bool)
    attend[:, 4:] = False
    other = x.clone()
    other[:, 4:] = 7.0
    one, two = (made(y, log_snr, attend=attend)[:, :4] for y in (x, other))
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(one, made(x[:, :4], log_snr))


@pytest.mark.parametrize("predicts", PARAMETERIZATIONS)
def test_the_pivot_turns_every_output_into_the_clean_vectors(
    inputs: tuple[Tensor, Tensor], predicts: str
) -> None:
    x, log_snr = inputs
    clean = network(predicts=predicts)(x, log_snr)
    at = Preserving().scales(log_snr)
    said = PARAMETERIZATIONS[predicts].output(clean, x, at)
    torch.testing.assert_close(said, network(predicts="clean")(x, log_snr), rtol=1e-4, atol=1e-4)


def test_a_new_network_predicts_nothing() -> None:
    """Zeros, the mean of what codecs make: the first loss is the data's variance."""
    made = ScoreNetwork(SIZES, path=Preserving())
    assert not made(torch.randn(2, 6, 8), torch.zeros(2)).any()


def test_on_the_exploding_path_the_input_is_brought_to_size() -> None:
    made = network()
    made.path = Exploding()
    x, log_snr = torch.randn(2, 6, 8), torch.full((2,), -4.0)
    at = Preserving().scales(log_snr).alpha[:, None, None]
    exploding = made(x / at, log_snr)
    made.path = Preserving()
    torch.testing.assert_close(exploding, made(x, log_snr))


def test_too_many_slots_are_refused() -> None:
    with pytest.raises(UsageError, match="7 slots, the model 6"):
        network()(torch.zeros(1, 7, 8), torch.zeros(1))
    with pytest.raises(UsageError, match="expected one of clean"):
        ScoreSizes(width=4, slots=4, predicts="x")


@pytest.mark.parametrize("make", [bert, modernbert])
def test_what_is_encoded_is_encoded_by_itself(make) -> None:
    """The vectors of a prompt do not depend on what follows it, nor on the padding."""
    codec = codec_of(make())
    ids = torch.tensor([[5, 9, 7, 5, WORDS.pad, WORDS.pad]])
    prompt = torch.tensor([[True, True, False, False, False, False]])
    alone = codec.encode(ids[:, :2], prompt[:, :2])
    beside = codec.encode(ids, prompt)
    torch.testing.assert_close(beside[:, :2], alone)
    assert not beside[:, 2:].any()
    whole = codec.encode(ids, torch.ones_like(prompt))
    assert not torch.allclose(whole[:, :2], alone)
    assert not whole[:, 4:].any()


@pytest.mark.parametrize("make", [bert, modernbert])
@pytest.mark.parametrize("layer", [0, 1, 2, -1, -2, -3])
def test_an_inner_layer_needs_none_of_those_after_it(make, layer: int) -> None:
    codec, ids = codec_of(make(), layer), torch.tensor([[5, 9, 7, WORDS.pad]])
    seen = ids != WORDS.pad
    states = codec.body(ids, attention_mask=seen.long(), output_hidden_states=True).hidden_states
    ran: list[int] = []
    layers = getattr(codec.body, "layers", None) or codec.body.encoder.layer
    for number, one in enumerate(layers, 1):
        one.register_forward_hook(lambda *_, number=number: ran.append(number))
    vectors = codec.encode(ids, seen)
    torch.testing.assert_close(vectors[:, :3], states[layer][:, :3])
    assert ran == [1, 2][: layer % 3] or layer in (0, -3)


def test_a_row_with_nothing_to_encode_is_zeros() -> None:
    ids = torch.tensor([[5, 9], [WORDS.pad, WORDS.pad]])
    vectors = codec_of(bert()).encode(ids, torch.ones_like(ids, dtype=torch.bool))
    assert not vectors[1].any()
    assert bool(torch.isfinite(vectors).all())


@pytest.mark.parametrize("make", [bert, modernbert])
@pytest.mark.parametrize(("most", "encoded"), [(10_000, 3), (0, 9), (100, 5)])
def test_remembered_vectors_are_the_computed_ones(make, most: int, encoded: int) -> None:
    """Rows come again in other company and under other padding; a small memory keeps some."""
    codec = codec_of(make())
    codec.mean.fill_(0.5)
    p = WORDS.pad
    rows = [[5, 9, 7, p], [9, p, p, p], [5, 7, p, p]]
    asked: list[int] = []
    codec.body.register_forward_hook(
        lambda module, args, kwargs, output: asked.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    memory = Memory(most=most)
    for order, width in (([0, 1, 2], 4), ([2, 0], 3), ([1, 0, 2, 1], 6)):
        ids = torch.tensor([(rows[i] + [p] * 9)[:width] for i in order])
        attend = torch.ones_like(ids, dtype=torch.bool)
        codec.memory = None
        fresh = codec.encode(ids, attend)
        asked.clear()
        codec.memory = memory
        torch.testing.assert_close(codec.encode(ids, attend), fresh, atol=2e-3, rtol=2e-3)
        encoded -= sum(asked)
    assert encoded == 0
    hidden = torch.tensor([[True, False, True, True]])
    ids = torch.tensor([rows[0]])
    held = codec.encode(ids, hidden)
    assert not torch.equal(held, codec.encode(ids, hidden | True))
    assert not held[0, 1].any()


def test_fitted_vectors_have_mean_zero_and_deviation_one() -> None:
    codec = codec_of(bert())
    ids = torch.randint(5, WORDS.size, (40, 6), generator=torch.Generator().manual_seed(0))
    ids[:, 5] = WORDS.pad
    codec.fit([ids[:25], ids[25:]], special=torch.tensor([WORDS.bos or 0]))
    words = codec.encode(ids, ids >= 0)[ids != WORDS.pad]
    torch.testing.assert_close(words.mean(0), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(words.std(0), torch.ones(8), atol=1e-2, rtol=0)


def test_an_encoder_that_says_nothing_is_refused() -> None:
    body = bert()
    for parameter in body.parameters():
        torch.nn.init.zeros_(parameter)
    with pytest.raises(ModelError, match="same vector"):
        codec_of(body).fit([torch.full((2, 6), 5)], special=torch.tensor([0]))


def test_a_layer_is_chosen_or_refused() -> None:
    ids = torch.tensor([[5, 9, 7]])
    every = torch.ones_like(ids, dtype=torch.bool)
    states = [codec_of(bert(), layer).encode(ids, every) for layer in (0, 1, 2, -1)]
    torch.testing.assert_close(states[2], states[3])
    assert not torch.allclose(states[0], states[1])
    with pytest.raises(UsageError, match="layers 0 to 2"):
        codec_of(bert(), 3)


def test_the_decoder_says_only_what_it_kept() -> None:
    logits = codec_of(bert()).decode(torch.randn(2, 6, 8))
    kept = sorted({5, 9, 7, WORDS.pad})
    assert logits.shape == (2, 6, WORDS.size)
    assert bool(torch.isfinite(logits[:, :, kept]).all())
    assert int(torch.isfinite(logits).sum()) == 2 * 6 * len(kept)


def test_learnt_vectors_have_one_length_and_are_read_back() -> None:
    codec = EmbeddingCodec(size=50, width=16)
    torch.testing.assert_close(codec.vectors.norm(dim=1), torch.full((50,), 4.0))
    ids = torch.arange(50)[None]
    vectors = codec.encode(ids, ids >= 0)
    assert torch.equal(codec.decode(vectors).argmax(2), ids)
    near = vectors + 0.2 * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(codec.nearest(near), vectors)


def test_compressed_vectors_do_not_depend_on_padding() -> None:
    codec = compressed()
    short = torch.tensor([[5, 9, 7]])
    long = torch.tensor([[5, 9, 7, WORDS.pad, WORDS.pad]])
    vectors = codec.encode(short, short >= 0)
    assert vectors.shape == (1, 2, 8)
    torch.testing.assert_close(codec.encode(long, long >= 0), vectors)
    assert not torch.allclose(codec.encode(short[:, :2], short[:, :2] >= 0), vectors)
    assert codec.decode(vectors).shape == (1, 6, WORDS.size)
    much = torch.cat([long[:, :3]] * 7, 1)  # more than it has places for
    assert bool(codec.encode(much, much > 0).isfinite().all())
    told = codec.told(torch.cat([long, long]), torch.tensor([[True] * 5, [False] * 5]))
    assert told.attend.tolist() == [[True, True], [False, False]]
    torch.testing.assert_close(told.latents[:1], vectors)


def test_a_compressed_text_is_written_varied_and_travelled_between() -> None:
    model = checkpoint_of("compressed")
    assert len(write(model, n=2)) == 2
    assert len(vary(model, "a b", by=0.5, n=2)) == 2
    assert len(interpolate(model, "a b", "b a", n=3)) == 3
    assert len(complete_each(model, ["a", "b b"])) == 2
    held = Descent(process=model.process, codec=model.codec, steps=2, hold=True)
    with pytest.raises(UsageError, match="compresses each text as a whole"):
        write(model, prompt="a", policy=held)
    with pytest.raises(UsageError, match="the model 6"):
        write(model, n=1, length=8)


def checkpoint_of(kind: str) -> LatentCheckpoint:
    codec: EmbeddingCodec | EncoderCodec
    if kind == "embedding":
        codec = EmbeddingCodec(size=WORDS.size, width=8)
    elif kind == "compressed":
        codec = compressed()
    else:
        codec = codec_of(bert() if kind == "bert" else modernbert(), layer=1)
    schedule = Shifted(schedule=Tangent(slope=3.0), by=0.5)
    process = GaussianProcess(schedule=schedule, path=Preserving(), low=-5.0, high=4.5)
    return LatentCheckpoint(
        denoiser=network(),
        codec=codec,
        vocabulary=WORDS,
        process=process,
        metadata={"seed": 7, "title": "A test"},
    )


@pytest.mark.parametrize("kind", ["embedding", "bert", "modernbert", "compressed"])
def test_saving_and_loading_gives_the_same_texts(kind: str, tmp_path: Path) -> None:
    made = checkpoint_of(kind)
    save_latent(made, tmp_path)
    opened = load_latent(tmp_path)
    assert opened.process == made.process
    assert opened.metadata == made.metadata
    assert is_latent(tmp_path)
    assert "A test" in (tmp_path / "README.md").read_text()
    ours, theirs = (write(one, n=2, seed=3) for one in (made, opened))
    assert [one.trajectory.ids for one in ours] == [one.trajectory.ids for one in theirs]


def test_a_save_over_another_kind_leaves_no_old_weights(tmp_path: Path) -> None:
    save_latent(checkpoint_of("bert"), tmp_path)
    save_latent(checkpoint_of("embedding"), tmp_path)
    assert not (tmp_path / "encoder.safetensors").exists()
    assert isinstance(load_latent(tmp_path).codec, EmbeddingCodec)


@pytest.mark.parametrize(
    "name", ["denoiser.safetensors", "codec.safetensors", "encoder.safetensors", "encoder.json"]
)
def test_a_harmed_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    save_latent(checkpoint_of("bert"), tmp_path)
    (tmp_path / name).write_bytes(b"harmed")
    with pytest.raises(ModelError, match=name):
        load_latent(tmp_path)


def test_folders_of_the_wrong_kind_say_so(tmp_path: Path) -> None:
    save_latent(checkpoint_of("embedding"), tmp_path)
    with pytest.raises(ModelError, match="load_latent"):
        load(tmp_path)
    with pytest.raises(ModelError, match="no latent model"):
        load_latent(SHIPPED)


def test_a_body_is_read_from_any_model_of_its_encoder(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    body = read_body(tmp_path)
    assert body.config.hidden_size == 8
