"""What a model is known by, whatever stands beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sfumato.models.checkpoints import SHIPPED
from sfumato.models.storage.settings import SETTINGS
from sfumato_apps.fingerprints import digest_of_model


@pytest.fixture(params=["a checkpoint", "an encoder", "a pipeline"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model with settings of ours, one of transformers, and one of diffusers."""
    path = tmp_path / "model"
    if request.param == "a checkpoint":
        shutil.copytree(SHIPPED, path)
        return path
    inner = path / "unet" if request.param == "a pipeline" else path
    inner.mkdir(parents=True)
    (inner / "config.json").write_text('{"width": 1}')
    save_file({"weight": torch.zeros(2)}, str(inner / "model.safetensors"))
    return path


def test_what_stands_beside_a_model_does_not_count(folder: Path, tmp_path: Path) -> None:
    """Nor does where it stands."""
    before = digest_of_model(str(folder))
    (folder / "pace.json").write_text("{}")
    (folder / "texts.jsonl").write_text("{}\n")
    assert digest_of_model(str(folder)) == before
    moved = shutil.move(folder, tmp_path / "moved")
    assert digest_of_model(str(moved)) == before


def test_weights_and_settings_count(folder: Path) -> None:
    """Each change gives another digest; those of a checkpoint stand in its settings."""
    found = {digest_of_model(str(folder))}
    if (folder / SETTINGS).is_file():
        settings = json.loads((folder / SETTINGS).read_text())
        settings["sha256"]["model.safetensors"] = "0" * 64
        (folder / SETTINGS).write_text(json.dumps(settings))
        assert digest_of_model(str(folder)) not in found
        return
    (config,), (weights,) = folder.rglob("config.json"), folder.rglob("*.safetensors")
    save_file({"weight": torch.ones(2)}, str(weights))
    found.add(digest_of_model(str(folder)))
    config.write_text('{"width": 2}')
    found.add(digest_of_model(str(folder)))
    assert len(found) == 3
