"""Checkpoints: whole or not there, read back, fallen back from; nothing in them is a pickle."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.training import worlds
from torch import nn

from sfumato.errors import ModelError, ResourceError, UsageError
from sfumato.models.storage.durable import MANIFEST
from sfumato.training.keeping.checkpoints import check, last_checkpoint, write_checkpoint
from sfumato.training.keeping.states import (
    load_states,
    random_states,
    save_states,
    set_random_states,
)

FILES = {
    "model.safetensors",
    "average.safetensors",
    "states.json",
    "states.safetensors",
    "random.safetensors",
    "trainer_state.json",
    MANIFEST,
}


def small(folder: Path) -> None:
    """What every checkpoint has to have."""
    for name in FILES - {MANIFEST, "average.safetensors"}:
        (folder / name).write_text(f"{folder.name} {name}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps with checkpoints after 2, 4 and 6, of which two stay."""
    folder = tmp_path_factory.mktemp("run")
    run = worlds.trainer(
        folder, muon=True, decay=0.9, save_strategy="steps", save_steps=2, save_total_limit=2
    )
    run.train()
    return folder


def test_a_checkpoint_holds_safetensors_and_json_only(finished: Path) -> None:
    """Every file but JSON is opened by safetensors; there are no drafts and no third checkpoint."""
    assert {path.name for path in finished.iterdir()} == {
        "journal.jsonl",
        "checkpoint-4",
        "checkpoint-6",
    }
    for folder in finished.glob("checkpoint-*"):
        check(folder)
        assert {path.name for path in folder.iterdir()} == FILES
        for path in folder.glob("*.safetensors"):
            assert safetensors.torch.load_file(path)
        for path in folder.glob("*.json"):
            assert json.loads(path.read_text())


def test_the_last_good_checkpoint_is_taken(tmp_path: Path) -> None:
    """Newest first; what is wrong with a newer one is said with the one that is taken."""
    for step in (2, 4, 10):
        write_checkpoint(tmp_path, step, small)
    said: list[str] = []
    assert last_checkpoint(tmp_path, say=said.append) == tmp_path / "checkpoint-10"
    assert not said
    with (tmp_path / "checkpoint-10" / "model.safetensors").open("a") as file:
        file.write("!")
    (tmp_path / "checkpoint-4" / "states.json").unlink()
    assert last_checkpoint(tmp_path, say=said.append) == tmp_path / "checkpoint-2"
    assert len(said) == 1
    for part in ("checkpoint-10: model.safetensors is not what was written", "checkpoint-2, the"):
        assert part in said[0]
    (tmp_path / "checkpoint-2" / MANIFEST).unlink()
    assert last_checkpoint(tmp_path, say=said.append) is None
    assert "there is no good checkpoint" in said[1]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is broken"),
        ("{}", "is broken"),
        ("[1]", "is broken"),
        ('{"folder": "checkpoint-2", "sha256": 3}', "is broken"),
        ('{"folder": "checkpoint-2", "sha256": {}}', "does not name model.safetensors"),
        ('{"folder": "checkpoint-3", "sha256": {}}', "is that of 'checkpoint-3'"),
    ],
)
def test_a_manifest_must_make_sense(tmp_path: Path, text: str, fault: str) -> None:
    made = write_checkpoint(tmp_path, 2, small)
    (made / MANIFEST).write_text(text)
    with pytest.raises(ModelError, match=fault):
        check(made)


def test_an_old_checkpoint_goes_when_the_new_one_has_been_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gives back other bytes than it took must not cost the last good checkpoint."""
    for step in (2, 4, 6):
        write_checkpoint(tmp_path, step, small, most=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-6"]
    rename = Path.rename

    def lossy(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        (moved / "model.safetensors").write_text("other bytes")
        return moved

    monkeypatch.setattr(Path, "rename", lossy)
    with pytest.raises(ResourceError, match="checkpoints before it are untouched"):
        write_checkpoint(tmp_path, 8, small, most=1)
    monkeypatch.undo()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-6"
    write_checkpoint(tmp_path, 7, small, most=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-6", "checkpoint-7"]


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 2, small)
    write_checkpoint(tmp_path, 2, lambda folder: small(folder) or (folder / "more").touch())
    check(tmp_path / "checkpoint-2")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    (tmp_path / "checkpoint-2").rename(tmp_path / ".old-checkpoint-2")  # killed in between
    write_checkpoint(tmp_path, 4, small)
    assert last_checkpoint(tmp_path / "none") is None
    check(tmp_path / "checkpoint-2")


def test_a_faulty_checkpoint_is_not_gone_on_from(finished: Path, tmp_path: Path) -> None:
    run = worlds.trainer(tmp_path, muon=True, decay=0.9)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    bad = tmp_path / "checkpoint-4"
    bad.mkdir()
    for path in (finished / "checkpoint-4").iterdir():
        raw = bytearray(path.read_bytes())
        if path.name == "average.safetensors":
            raw[-1] ^= 1
        (bad / path.name).write_bytes(raw)
    with pytest.raises(ModelError, match="average.safetensors is not what was written"):
        run.resume(bad)
    assert all(torch.equal(before[name], value) for name, value in run.model.state_dict().items())


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    states = {
        "state": {0: {"step": torch.tensor(3.0)}, 1: {}},
        "param_groups": [{"betas": (0.9, 0.98), "params": [0, 1], "name": None, "on": True}],
        "lr": 1e-3 / 3,
        "inf": float("inf"),
    }
    save_states(states, tmp_path)
    found = load_states(tmp_path)
    assert torch.equal(found["state"][0].pop("step"), states["state"][0].pop("step"))
    assert found == states
    with pytest.raises(UsageError, match="no Linear"):
        save_states({"a": [nn.Linear(1, 1)]}, tmp_path)
    (tmp_path / "states.json").write_text('{"dict": [["a", {"tensor": "9"}]]}')
    with pytest.raises(ModelError, match="states cannot be read"):
        load_states(tmp_path)


def test_random_numbers_go_on_where_they_were() -> None:
    random.gauss(0, 1)  # leaves half of a pair behind
    np.random.standard_normal()
    kept = random_states(torch.device("cpu"))

    def draws() -> list[float]:
        own = [random.random(), random.gauss(0, 1), *np.random.standard_normal(3)]
        return [*own, float(torch.rand(()))]

    expected = draws()
    assert draws() != expected
    together = {name: torch.stack([value * 0, value]) for name, value in kept.items()}
    for own in (kept, {name: value[1] for name, value in together.items()}):
        set_random_states(own, torch.device("cpu"))
        assert draws() == expected


def test_options_that_read_pickles_are_refused(tmp_path: Path) -> None:
    changes = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps"}
    with pytest.raises(UsageError, match="read pickles"):
        worlds.trainer(tmp_path, **changes, save_steps=2, eval_steps=2)
