"""The trainer: accumulation, resume, averages, faults."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from tests.training import worlds
from transformers import TrainerCallback

from sfumato.training.keeping.checkpoints import last_checkpoint
from sfumato.training.sharing.stopping import StopOnSignal


def _weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("accumulation", [2, 4, 8])
def test_gradient_does_not_depend_on_accumulation(tmp_path: Path, accumulation: int) -> None:
    """One step on 8 texts, at once or in micro-batches: the same noise, the same gradient."""

    def gradients(size: int, parts: int) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}

        class Keep(TrainerCallback):
            def on_pre_optimizer_step(self, args, state, control, *, model, **kwargs):
                found.update({n: p.grad.clone() for n, p in model.named_parameters()})

        run = worlds.trainer(
            tmp_path,
            max_steps=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=parts,
            max_grad_norm=0.0,
        )
        run.add_callback(Keep())
        run.train()
        return found

    whole, cut = gradients(8, 1), gradients(8 // accumulation, accumulation)
    assert whole.keys() == cut.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-4, atol=1e-7, msg=name)
    assert max(float(g.abs().max()) for g in whole.values()) > 1e-3


@pytest.mark.parametrize(("muon", "decay"), [(False, 0.0), (True, 0.9)])
def test_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, muon: bool, decay: float) -> None:
    """Six steps at once; and six steps of which the last three come after a restart."""
    whole = worlds.trainer(
        tmp_path / "whole", muon=muon, decay=decay, save_strategy="steps", save_steps=3
    )
    whole.train()
    again = worlds.trainer(tmp_path / "whole", muon=muon, decay=decay)
    again.journal.write("train", 4, {"loss": 99.0})
    again.resume(tmp_path / "whole" / "checkpoint-3")
    for name, value in _weights(whole.best_weights).items():
        assert torch.equal(value, _weights(again.best_weights)[name]), name
    losses = [entry["loss"] for entry in again.journal.read() if "loss" in entry]
    assert 99.0 not in losses


def test_bfloat16_on_a_cpu_trains_nearly_as_float32_does(tmp_path: Path) -> None:
    """Products in bfloat16, with attention spelled out; weights, loss and average in float32."""
    trained = []
    for bf16 in (False, True):
        run = worlds.trainer(
            tmp_path / str(bf16), muon=True, decay=0.9, bf16=bf16, use_cpu=True, max_steps=4
        )
        before = _weights(run.best_weights)
        run.train()
        after = _weights(run.best_weights)
        assert {value.dtype for value in after.values()} == {torch.float32}
        moved = torch.cat([(after[name] - before[name]).flatten() for name in before])
        trained.append(moved)
        attention = [run.model.network.config._attn_implementation]
        attention.append(run.best_weights.network.config._attn_implementation)
        assert attention == (["eager", "sdpa"] if bf16 else ["sdpa", "sdpa"])
    difference = (trained[1] - trained[0]).norm() / trained[0].norm()
    assert 0 < difference < 0.2


def test_moving_average_is_the_average(tmp_path: Path) -> None:
    """a₁ = w₁ and aₙ = d·aₙ₋₁ + (1 − d)·wₙ with d = min(decay, (1 + n)/(10 + n))."""
    seen: list[torch.Tensor] = []

    class Keep(TrainerCallback):
        def on_step_end(self, args, state, control, *, model, **kwargs):
            seen.append(model.network.get_output_embeddings().bias.detach().clone())

    run = worlds.trainer(tmp_path, decay=0.9, max_steps=3)
    run.add_callback(Keep())
    run.train()
    expected = seen[0]
    for step, weights in enumerate(seen[1:], start=2):
        d = min(0.9, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * weights
    got = run.best_weights.network.get_output_embeddings().bias
    torch.testing.assert_close(got, expected)
    assert not torch.equal(got, seen[-1])


def test_ctrl_c_finishes_the_step_and_saves(tmp_path: Path) -> None:
    """A SIGINT during step 2 of 6 leaves a complete checkpoint-2 and nothing later."""

    class Press(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 1:
                os.kill(os.getpid(), signal.SIGINT)

    run = worlds.trainer(tmp_path)
    run.add_callback(Press())
    with StopOnSignal() as stop:
        run.add_callback(stop)
        run.train()
    assert stop.stopped == signal.SIGINT
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_journal_survives_a_cut_line(tmp_path: Path) -> None:
    """A crash in the middle of a line loses that line only."""
    run = worlds.trainer(tmp_path, max_steps=2)
    run.train()
    with run.journal.path.open("a") as file:
        file.write('{"kind": "train", "st')
    entries = list(run.journal.read())
    assert [entry["step"] for entry in entries if "loss" in entry] == [1, 2]
    assert all(json.dumps(entry) for entry in entries)


def test_training_lowers_the_bound(tmp_path: Path) -> None:
    """Forty steps on sixteen-odd short sentences more than halve the first loss."""
    run = worlds.trainer(tmp_path, max_steps=40, muon=True, learning_rate=3e-2)
    run.train()
    losses = [entry["loss"] for entry in run.journal.read() if "loss" in entry]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
