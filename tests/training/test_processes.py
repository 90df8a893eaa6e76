"""Two processes take the steps of one: DDP and FSDP2 over gloo, by the shipped configurations."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from tests.house.source import ROOT
from tests.training import process

from sfumato.training.journal import Journal
from sfumato.training.sharing.rows import Share, alone, shares

CONFIGURATIONS = ROOT / "examples" / "accelerate"


def launch(configuration: Path, folder: Path) -> None:
    """Starts two processes and waits for them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", configuration]
    command += ["--num_processes", "2", "--main_process_port", port, process.__file__, folder]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "find_unused_parameters" not in done.stderr


def entries(folder: Path) -> list[dict[str, object]]:
    """A run's journal, without clocks."""
    clocks = ("runtime", "per_second")
    return [
        {name: value for name, value in entry.items() if not name.endswith(clocks)}
        for entry in Journal(folder).read()
    ]


@pytest.fixture(scope="module")
def alone_in_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a single process."""
    folder = tmp_path_factory.mktemp("one")
    for make in (process.denoising, process.preferring):
        run = make(folder / make.__name__)
        run.train()
        weights = {name: value.clone() for name, value in run.best_weights.state_dict().items()}
        safetensors.torch.save_file(weights, str(folder / f"{make.__name__}.safetensors"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "fsdp2"])
def test_two_processes_take_the_steps_of_one(name: str, alone_in_one: Path, tmp_path: Path) -> None:
    """Losses, norms of gradients, validations and weights agree to rounding.

    Twelve texts a step: in one batch, or 3 · 2 micro-batches · 2 processes. Both end an epoch with
    seven, of which the second micro-batch has one. The second half of the first run is resumed.
    """
    launch(CONFIGURATIONS / f"{name}.yaml", tmp_path)
    ended = json.loads((tmp_path / "ended.json").read_text())
    assert ended == {"sharded": name == "fsdp2", "processes": 2}
    for run in ("denoising", "preferring"):
        one, two = entries(alone_in_one / run), entries(tmp_path / run)
        assert [(e["kind"], e["step"]) for e in one] == [(e["kind"], e["step"]) for e in two]
        for mine, theirs in zip(one, two, strict=True):
            for key in ("loss", "grad_norm", *(k for k in mine if k.startswith("eval_elbo"))):
                if key in mine:
                    assert theirs[key] == pytest.approx(mine[key], rel=1e-6), (run, key, mine)
        kept, came = (
            safetensors.torch.load_file(folder / f"{run}.safetensors")
            for folder in (alone_in_one, tmp_path)
        )
        torch.testing.assert_close(came, kept, rtol=1e-5, atol=2e-6)
    assert any("eval_elbo_nats_per_token" in entry for entry in entries(tmp_path / "denoising"))


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("*.yaml")), ids=lambda p: p.stem)
def test_configurations_leave_precision_to_the_command(path: Path) -> None:
    """`--bf16` decides, not the configuration; each file begins with the command that uses it."""
    read = yaml.safe_load(path.read_text())
    assert read["mixed_precision"] == "no"
    assert read["distributed_type"] in ("MULTI_GPU", "FSDP")
    assert path.read_text().startswith(f"# accelerate launch --config_file {path.name} ")


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_shares_cover_the_batch_once(processes: int) -> None:
    """Each row is counted by one process; the places say how the micro-batches follow."""
    sizes = [8, 8, 1]
    own = [shares(sizes, process=at, processes=processes) for at in range(processes)]
    rows = [
        row for every in own for one in every if one.counts for row in range(one.start, one.stop)
    ]
    assert sorted(rows) == list(range(sum(sizes)))
    assert all(one.stop > one.start for every in own for one in every)
    assert {one.stop - one.start for every in own for one in every[:1]} <= {
        8 // processes,
        8 // processes + 1,
    }


def test_rows_laid_out_alone_are_counted_from_the_first() -> None:
    own = shares([4, 1], process=0, processes=2)
    assert alone(own) == [Share(start=0, stop=2), Share(start=2, stop=3, counts=False)]
    assert own[1] == Share(start=4, stop=5, counts=False)
