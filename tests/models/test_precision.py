"""Weights in fewer bits: what `from_pretrained` is told, what is written, what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.training.worlds import WORDS, tiny

from sfumato.errors import MissingExtraError, ModelError, ResourceError, UsageError
from sfumato.models.checkpoints import Checkpoint, denoiser_of, load, save
from sfumato.models.parts.conditioning import TimeEmbedding
from sfumato.models.storage import precision
from sfumato.models.storage.precision import loading
from sfumato.noise.masked import MaskedProcess
from sfumato.presets import uniform
from sfumato.sampling.tasks import write


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_bits_are_asked_of_bitsandbytes(bits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "find_spec", lambda _: SimpleNamespace())
    options = loading(bits, "cuda:1")
    asked = options["quantization_config"]
    assert (asked.load_in_8bit, asked.load_in_4bit) == (bits == "8bit", bits == "4bit")
    assert asked.bnb_4bit_quant_type == "nf4"
    assert asked.bnb_4bit_compute_dtype is options["dtype"] is torch.bfloat16
    assert options["device_map"] == {"": torch.device("cuda:1")}


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="'int3'; expected one of float32, bfloat16, 8bit, 4bit"):
        load(weights="int3")
    with pytest.raises(ResourceError, match="need a GPU with CUDA, but the device is 'cpu'"):
        load(weights="8bit")
    monkeypatch.setattr(precision, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"sfumato\[quantised\]"):
        load(weights="4bit", device="cuda")


def test_quantised_weights_are_not_saved(tmp_path: Path) -> None:
    start = load()
    start.denoiser.network.is_quantized = True
    with pytest.raises(ModelError, match="cannot be saved"):
        save(start, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("timed", [False, True])
def test_bfloat16_writes_and_nearly_agrees(timed: bool, tmp_path: Path) -> None:
    """Half the bytes; the network's logits stay close, also where it is told the time."""
    denoiser, process = tiny(), MaskedProcess(mask=WORDS.mask)
    if timed:
        process = uniform(WORDS).process
        time = TimeEmbedding(width=denoiser.word_embeddings.shape[1])
        denoiser = denoiser_of(denoiser.network, process, mask=denoiser.mask, time=time)
    known = {"lengths": [8]}
    made = Checkpoint(denoiser=denoiser, vocabulary=WORDS, process=process, metadata=known)
    save(made, tmp_path)
    full, half = load(tmp_path), load(tmp_path, weights="bfloat16")
    assert {p.dtype for p in half.denoiser.network.parameters()} == {torch.bfloat16}
    x_t = torch.full((1, 6), WORDS.mask if not timed else 7)
    where, t = torch.ones(1, 6, dtype=torch.bool), torch.tensor([0.5])
    with torch.no_grad():
        said = [one.denoiser(x_t, where, t=t).softmax(-1) for one in (full, half)]
    torch.testing.assert_close(said[1], said[0], rtol=0.1, atol=1e-3)
    assert not torch.equal(said[1], said[0])
    assert write(half, n=1, seed=0)[0].text
