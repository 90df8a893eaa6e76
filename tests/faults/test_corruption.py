"""Flipped bits, cut files, lost files: refused, or fallen back from, and never read as if whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.test_disk import model, weights
from tests.training import worlds

from sfumato.errors import ModelError
from sfumato.models.checkpoints import save
from sfumato.training.keeping.checkpoints import check, last_checkpoint

# Read by people only, so that a change of it changes no model.
CARD = "README.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    changes = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    worlds.trainer(folder, muon=True, decay=0.9, **changes).train()
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save(model(0), folder)
    return folder


def damage(folder: Path, data: st.DataObject, *, skip: str = "") -> str:
    """Flips a bit of a file, cuts it or removes it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != skip)
    path = data.draw(st.sampled_from(files), label="file")
    kind = data.draw(st.sampled_from(["flip", "cut", "delete"]), label="damage")
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1), label="at")
    if kind == "delete":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(raw[: min(at, len(raw.rstrip()) - 1)])  # a last newline is no loss
    else:
        raw[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
        path.write_bytes(raw)
    return f"{kind} {path.name}"


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_checkpoint_is_passed_over(
    run: Path, tmp_path: Path, data: st.DataObject
) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    what = damage(copy / "checkpoint-2", data)
    said: list[str] = []
    assert last_checkpoint(copy, say=said.append) == copy / "checkpoint-1", what
    assert len(said) == 1
    with pytest.raises(ModelError):
        check(copy / "checkpoint-2")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_model_is_refused(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    """All files but the card; one without `sfumato.json` is a plain encoder, by design."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(saved, copy)
    what = damage(copy, data, skip=CARD)
    if what == "delete sfumato.json":
        return
    with pytest.raises(ModelError):
        weights(copy)
