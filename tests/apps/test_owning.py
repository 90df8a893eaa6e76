"""One folder, one run; one file of results, one writer; folders and disks that say no."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sfumato.errors import ResourceError, UsageError
from sfumato_apps import owning
from sfumato_apps.cli import main
from sfumato_apps.owning import locked, owned
from sfumato_apps.streaming import in_batches, work_off

HOLD = """
import sys, pathlib
from sfumato_apps.owning import owned
with owned(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "мой run"


def holder(run: Path) -> subprocess.Popen[str]:
    """Another process that owns a folder."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], **pipes)
    assert other.stdout.readline() == "mine\n"
    return other


def test_a_folder_has_one_owner_until_it_dies(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second exits 5 with the first one's number; after a SIGKILL the folder is free."""
    data = tmp_path / "a.txt"
    data.write_text("a cat\n" * 9)
    with holder(run) as other:
        with pytest.raises(SystemExit) as stop:
            main(["train", "--data", str(data), "--out", str(run), "--steps", "1"])
        assert stop.value.code == 5
        assert f"process {other.pid} is at work in {run}" in capsys.readouterr().err
        other.kill()
        other.wait()
        with owned(run):
            assert (run / ".owner").read_text() == f"{os.getpid()}\n"
    assert not (run / ".owner").exists()


def test_a_folder_that_stays_empty_goes(run: Path) -> None:
    with owned(run):
        assert run.is_dir()
    assert not run.exists()
    with owned(run):
        (run / "a").touch()
    assert [path.name for path in run.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write into .*/file/run: Not a directory"):
        with owned(tmp_path / "file" / "run"):
            pytest.fail("it is no folder")


def test_only_the_first_of_several_processes_owns(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with owned(run):
        assert not run.exists()


def test_where_there_is_no_flock_nothing_is_owned(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owning, "fcntl", None)
    with owned(run):
        assert not run.exists()


def test_results_have_one_writer(tmp_path: Path) -> None:
    """A second one neither writes nor cuts off the line that the first is writing."""
    source, target = tmp_path / "a.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\n")
    target.write_text('{"source": "a"}\n{"sour')
    work = in_batches(lambda texts: [{"source": text} for text in texts], 2)
    with target.open("ab") as first:
        assert locked(first)
        with pytest.raises(ResourceError, match="another process writes"):
            work_off(source, target, work, field="text", say=print, made={})
    assert target.read_text().endswith('{"sour')
    assert work_off(source, target, work, field="text", say=print, made={}) == (2, 0)


def test_a_full_disk_is_one_line_and_exit_code_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "out"))

    monkeypatch.setattr("sfumato_apps.cli.build", lambda: full)
    with pytest.raises(SystemExit) as stop:
        main(["demo"])
    assert stop.value.code == 5
    said = capsys.readouterr().err
    assert said == f"sfumato: [Errno 28] No space left on device: '{tmp_path / 'out'}'\n"
