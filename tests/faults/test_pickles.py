"""Canaries: pickles in every place where a loader may look. None is ever opened."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.faults.test_disk import model
from tests.training import worlds
from transformers import CLIPConfig, CLIPModel

from sfumato.alignment.images.discriminator import new_discriminator
from sfumato.alignment.images.pipelines import open_images
from sfumato.errors import ModelError
from sfumato.evaluation.likeness.encodings import _network as read_encoder
from sfumato.evaluation.perplexity import _judge as read_judge
from sfumato.models.checkpoints import load, save
from sfumato.models.latent.classifier_storage import load_classifier
from sfumato.models.latent.storage import load_latent, read_body
from sfumato.models.scorers import classifier
from sfumato.models.storage.folders import pretrained_tokenizer

PLACES = (
    "pytorch_model.bin",
    "model.bin",
    "training_args.bin",
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "scaler.pt",
    "rng_state.pth",
    "rng_state_0.pth",
    "adapter_model.bin",
    "model.pt",
    "tokenizer.pkl",
    "states.pt",
    "random.pth",
)


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "the canary ran"


def plant(folder: Path, mark: Path) -> None:
    """Both kinds of pickle that torch reads, in every place."""
    for number, name in enumerate(PLACES):
        if number % 2:
            torch.save({"a": Canary(mark)}, folder / name)
        else:
            (folder / name).write_bytes(pickle.dumps(Canary(mark)))


def test_the_canary_would_sing(tmp_path: Path, mark: Path) -> None:
    plant(tmp_path, mark)
    pickle.loads((tmp_path / PLACES[0]).read_bytes())
    assert mark.exists()


def test_a_resumed_run_opens_no_pickle(tmp_path: Path, mark: Path) -> None:
    """Beside the checkpoint's own files, and in the run's folder."""
    changes = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    worlds.trainer(tmp_path, muon=True, decay=0.9, **changes).train()
    for folder in (tmp_path / "checkpoint-2", tmp_path):
        plant(folder, mark)
    worlds.trainer(tmp_path, muon=True, decay=0.9, **changes).resume(tmp_path / "checkpoint-2")
    assert not mark.exists()
    assert not list((tmp_path / "checkpoint-4").glob("*.[bp][itk]*"))


@pytest.mark.parametrize("alone", [False, True], ids=["beside", "instead"])
def test_no_loader_opens_a_pickle(tmp_path: Path, mark: Path, alone: bool) -> None:
    """Beside the safetensors they are ignored; where they are all there is, it is refused."""
    folder = tmp_path / "model"
    save(model(0), folder)
    plant(folder, mark)
    if not alone:
        load(folder)
    else:
        for name in ("model.safetensors", "sfumato.json"):
            (folder / name).unlink()
        with pytest.raises(ModelError, match="which is a pickle and is never read"):
            load(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    "loader",
    [
        load_latent,
        load_classifier,
        read_body,
        read_encoder,
        lambda folder: read_judge(str(folder)),
        lambda folder: classifier(folder, label="toxic"),
        new_discriminator,
        open_images,
    ],
    ids=["latent", "noisy", "body", "encoder", "judge", "scorer", "clip", "pipeline"],
)
def test_where_there_are_pickles_only_every_loader_refuses(
    tmp_path: Path, mark: Path, loader: Callable[[Path], object]
) -> None:
    folder = tmp_path / "model"
    save(model(0), folder)
    plant(folder, mark)
    for name in ("model.safetensors", "sfumato.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError):
        loader(folder)
    assert not mark.exists()


def test_a_clip_model_is_read_from_safetensors_only(tmp_path: Path, mark: Path) -> None:
    """The one loader that is no auto class: it would take `pytorch_model.bin`."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    text = {**sizes, "num_attention_heads": 1, "vocab_size": worlds.WORDS.size}
    vision = {**sizes, "num_attention_heads": 1, "image_size": 8, "patch_size": 4}
    towers = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    towers.config.save_pretrained(tmp_path)
    pretrained_tokenizer(worlds.WORDS).save_pretrained(tmp_path)
    state = {**towers.state_dict(), "canary": Canary(mark)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be opened as a CLIP model"):
        new_discriminator(tmp_path)
    assert not mark.exists()
    torch.save(towers.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"safetensors"):
        new_discriminator(tmp_path)
