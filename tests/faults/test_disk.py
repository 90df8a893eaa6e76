"""Every k-th write, fsync and rename fails once: what opens afterwards is the old or the new."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.faults.disk import failing
from tests.training import worlds

from sfumato.errors import ResourceError, SfumatoError
from sfumato.models.checkpoints import Checkpoint, load, save
from sfumato.models.storage.durable import MANIFEST, write_folder, write_text
from sfumato.noise.masked import MaskedProcess
from sfumato.training.keeping.checkpoints import check, last_checkpoint, step_of, write_checkpoint
from sfumato.training.keeping.states import save_states

TINY = {seed: worlds.tiny(seed) for seed in (0, 1)}


def model(seed: int) -> Checkpoint:
    process = MaskedProcess(mask=worlds.WORDS.mask)
    return Checkpoint(denoiser=TINY[seed], vocabulary=worlds.WORDS, process=process)


def weights(folder: Path) -> bytes:
    state = load(folder).denoiser.network.state_dict()
    return safetensors.torch.save({name: value.clone() for name, value in state.items()})


def fill(folder: Path) -> None:
    """A checkpoint as the trainer writes it, but small."""
    for name in ("model.safetensors", "random.safetensors"):
        safetensors.torch.save_file({"a": torch.ones(9)}, str(folder / name))
    save_states({"optimizer": {0: torch.ones(3)}}, folder)
    (folder / "trainer_state.json").write_text('{"global_step": 1}')


def refusal(at: int, work: Callable[[], object]) -> str | None:
    """What is said when a change fails; None if it is done all the same."""
    try:
        with failing(at):
            work()
    except ResourceError as error:
        return str(error)
    return None


def changes(work: Callable[[], object]) -> int:
    """How many changes of the disk it takes."""
    with failing() as disk:
        work()
    kinds = {name.split()[0] for name in disk.asked}
    assert {"fsync", "mkdir"} < kinds
    return len(disk.asked)


def test_a_checkpoint_survives_the_failure_of_any_change(tmp_path: Path) -> None:
    """Whatever fails, the last checkpoint is sound, and the next save goes through."""

    def written(folder: Path) -> Path:
        for step in (1, 2):
            write_checkpoint(folder, step, fill, most=2)
        return folder

    run = written(tmp_path / "counted")
    total = changes(lambda: write_checkpoint(run, 3, fill, most=2))
    assert total > 20
    for at in range(1, total + 1):
        run = written(tmp_path / str(at))
        said_no = refusal(at, lambda run=run: write_checkpoint(run, 3, fill, most=2))
        assert said_no is None or "the checkpoints before it are untouched" in said_no
        said: list[str] = []
        last = last_checkpoint(run, say=said.append)
        assert last is not None
        assert step_of(last) in ((3,) if said_no is None else (2, 3))
        assert not said, at
        write_checkpoint(run, 4, fill, most=2)
        check(run / "checkpoint-4")
        assert not [path for path in run.iterdir() if path.name.startswith(".")], at


def test_replacing_a_checkpoint_survives_the_failure_of_any_change(tmp_path: Path) -> None:
    def again(folder: Path) -> Path:
        return write_checkpoint(folder, 2, fill)

    again(tmp_path / "counted")
    total = changes(lambda: again(tmp_path / "counted"))
    for at in range(1, total + 1):
        run = tmp_path / str(at)
        again(run)
        refusal(at, lambda run=run: again(run))
        write_checkpoint(run, 1, fill)
        assert last_checkpoint(run) is not None, at


def test_a_model_survives_the_failure_of_any_change(tmp_path: Path) -> None:
    """It opens, as it was or as it was to be, and the next save goes through."""
    old, new = tmp_path / "old", tmp_path / "new"
    save(model(0), old)
    save(model(1), new)
    known = {weights(old): "old", weights(new): "new"}
    total = changes(lambda: save(model(1), old))
    assert total > 20
    seen = []
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        save(model(0), folder)
        said_no = refusal(at, lambda folder=folder: save(model(1), folder))
        assert said_no is None or "cannot save to" in said_no
        opened = known[weights(folder)]
        if said_no is None:
            assert opened == "new", at
        else:
            seen.append(opened)
            assert opened == ("old" if said_no.endswith("untouched") else "new"), at
    assert seen == sorted(seen, reverse=True), "once all files are written, they are what opens"
    assert set(seen) == {"old", "new"}
    save(model(1), folder)
    assert known[weights(folder)] == "new"


def test_a_small_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old")
    total = changes_of_text(path)
    for at in range(1, total + 1):
        path.write_text("old")
        with failing(at), suppress(OSError):
            write_text(path, "new")
        assert path.read_text() in ("old", "new")
        write_text(path, "newer")
        assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def changes_of_text(path: Path) -> int:
    with failing() as disk:
        write_text(path, "new")
    return len(disk.asked)


@pytest.mark.parametrize("most", [0, 100, 5_000, 20_000])
def test_a_disk_that_is_full_for_real(tmp_path: Path, most: int) -> None:
    """The system refuses to let any file grow beyond some bytes, as it does on a full disk."""
    save(model(0), tmp_path / "model")
    write_checkpoint(tmp_path / "run", 1, fill)
    before = weights(tmp_path / "model")
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    refused = []
    try:
        for work in (
            lambda: save(model(1), tmp_path / "model"),
            lambda: write_checkpoint(tmp_path / "run", 2, heavy),
        ):
            try:
                work()
            except SfumatoError as error:
                refused.append(error.exit_code)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    assert refused == [5, 5]
    assert weights(tmp_path / "model") == before
    assert last_checkpoint(tmp_path / "run") == tmp_path / "run" / "checkpoint-1"


def heavy(folder: Path) -> None:
    fill(folder)
    safetensors.torch.save_file({"a": torch.ones(30_000)}, str(folder / "average.safetensors"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="Permission denied"):
        save(model(0), tmp_path)
    with pytest.raises(ResourceError, match="Permission denied"):
        write_checkpoint(tmp_path, 1, fill)


def test_a_manifest_names_all_files(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", lambda folder: (folder / "b").write_text("c"))
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b", MANIFEST}
