"""Memory that gives out: smaller pieces, the same steps."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from tests.training import worlds
from torch import Tensor

from sfumato.errors import ResourceError
from sfumato.training.keeping.room import Room
from sfumato.training.trainer import DiffusionTrainer


class Small:
    """An objective on a machine that holds so many rows; it fails before or after the backward."""

    def __init__(self, *, rows: int, late: bool) -> None:
        self.plain, self.rows, self.late = worlds.objective(), rows, late
        self.seen: list[int] = []

    def prepare(self, batch: object, generator: torch.Generator) -> object:
        return self.plain.prepare(batch, generator)

    def __call__(self, denoiser: object, prepared: object) -> Tensor:
        self.seen.append(len(prepared.x_t))
        loss = self.plain(denoiser, prepared)
        if len(prepared.x_t) > self.rows:
            if not self.late:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            loss.register_hook(_fail)
            return loss
        return loss


def _fail(gradient: Tensor) -> Tensor:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")


def trained(folder: Path, small: Small | None, **changes: object) -> DiffusionTrainer:
    run = worlds.trainer(folder, muon=True, **changes)
    if small is not None:
        run.objective = small
    run.train()
    return run


@pytest.mark.parametrize("late", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("size", "parts"), [(8, 1), (4, 2)])
def test_smaller_pieces_take_the_same_steps(
    tmp_path: Path, late: bool, size: int, parts: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine for three rows is asked for eight, then four, then two: halved until it fits."""
    changes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": parts}
    plain = trained(tmp_path / "plain", None, **changes)
    small = Small(rows=3, late=late)
    with caplog.at_level(logging.WARNING):
        cut = trained(tmp_path / "cut", small, **changes)
    assert cut.room.pieces == size // 2
    assert small.seen.count(2) >= 6 * 4
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(cut.model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    one, two = ([e["loss"] for e in run.journal.read() if "loss" in e] for run in (plain, cut))
    assert two == pytest.approx(one, rel=1e-6)
    said = [record.getMessage() for record in caplog.records if "out of memory" in record.message]
    assert len(said) == (2 if size == 8 else 1)
    assert f"out of memory with {size} rows at once: going on with {size // 2}" in said[0]


def test_a_step_that_fails_in_its_second_half_begins_anew(tmp_path: Path) -> None:
    """The first micro-batch is short of memory only later: its gradient must not count twice."""

    class Later(Small):
        def __call__(self, denoiser: object, prepared: object) -> Tensor:
            self.rows = 8 if len(self.seen) in (0, 2) else 3
            return super().__call__(denoiser, prepared)

    changes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": 1}
    plain = trained(tmp_path / "plain", None, **changes)
    cut = trained(tmp_path / "cut", Later(rows=8, late=False), **changes)
    assert cut.room.pieces == 2
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(cut.model.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_a_row_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="out of memory with a single row"):
        trained(tmp_path, Small(rows=0, late=False))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        Room(rows=8, processes=1).halve(RuntimeError("shape"))


def test_several_processes_stop() -> None:
    """The others wait for this one's gradients already: it cannot begin anew without them."""
    room = Room(rows=8, processes=2)
    with pytest.raises(ResourceError, match="--resume, half the --batch and twice"):
        room.halve(torch.OutOfMemoryError("out of memory"))
    assert room.pieces == 1
