"""Steps whose loss or gradient is not finite: left out, counted, named, in the end fatal."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from tests.training import worlds
from torch import Tensor
from transformers import TrainerCallback

from sfumato.errors import ResourceError
from sfumato.training.keeping.sound import SoundSteps, named, poisoned
from sfumato.training.trainer import DiffusionTrainer


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


class Poison(TrainerCallback):
    """Makes some steps not finite: by the logits, the loss, or the gradient of one weight."""

    def __init__(self, where: str, steps: set[int], value: float) -> None:
        self.where, self.steps, self.value = where, steps, value
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.now = False

    def on_step_begin(self, args, state, control, *, model, **kwargs):
        self.now = state.global_step + 1 in self.steps

    def on_step_end(self, args, state, control, *, model, **kwargs):
        self.weights[state.global_step] = {
            n: v.detach().clone() for n, v in model.named_parameters()
        }

    def into(self, run: DiffusionTrainer) -> None:
        run.add_callback(self)
        if self.where == "logits":
            run.model.register_forward_hook(
                lambda *found: found[-1] * self.value if self.now else None
            )
        elif self.where == "loss":
            plain = run.objective
            run.objective = Additive(plain, self)
        else:
            next(run.model.parameters()).register_hook(
                lambda grad: torch.full_like(grad, self.value) if self.now else None
            )


class Additive:
    """Adds a constant, whose gradient is zero, to the loss of poisoned steps."""

    def __init__(self, plain: object, poison: Poison) -> None:
        self.prepare, self.loss, self.poison = plain.prepare, plain, poison

    def __call__(self, denoiser: object, prepared: object) -> Tensor:
        loss = self.loss(denoiser, prepared)
        return loss + self.poison.value if self.poison.now else loss


@pytest.mark.parametrize("where", ["logits", "loss", "gradient"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_step_that_is_not_finite_moves_nothing(
    tmp_path: Path, where: str, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Steps 2 and 4 of 6, on micro-batches of four: weights stay, all others go on, losses log."""
    poison = Poison(where, {2, 4}, value)
    run = worlds.trainer(
        tmp_path, muon=True, per_device_train_batch_size=4, gradient_accumulation_steps=2
    )
    poison.into(run)
    with caplog.at_level(logging.WARNING):
        run.train()
    for step in range(2, 7):
        before, after = poison.weights[step - 1], poison.weights[step]
        same = all(torch.equal(before[name], after[name]) for name in before)
        assert same == (step in poison.steps), step
    assert all(torch.isfinite(value).all() for value in state(run.model).values())
    entries = list(run.journal.read())
    skipped = [entry for entry in entries if entry["kind"] == "skipped"]
    assert [entry["step"] for entry in skipped] == [2, 4]
    assert [len(entry["rows"]) for entry in skipped] == [8, 8]
    assert {r for entry in skipped for r in entry["rows"]} <= {f"example {i}" for i in range(32)}
    assert all(torch.isfinite(torch.tensor(e["loss"])) for e in entries if "loss" in e)
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(said) == 2
    assert "at step 2, in the batch of example" in said[0]
    assert said[1].endswith("the step is left out (2 of 3)")


def test_a_run_ends_when_too_many_steps_were_left_out(tmp_path: Path) -> None:
    """Two may be: the third ends it, with the weights of the last good step and its batch named."""
    poison = Poison("logits", {2, 3, 5}, torch.nan)
    run = worlds.trainer(tmp_path, save_strategy="steps", save_steps=1)
    run.sound.most = 2
    poison.into(run)
    with pytest.raises(
        ResourceError, match=r"loss is nan at step 5, .* of example \d+, .*; 2 steps"
    ):
        run.train()
    for name, value in run.model.named_parameters():
        assert torch.equal(value, poison.weights[4][name]), name
    assert run.state.global_step == 4


def test_what_was_left_out_counts_after_a_resume(tmp_path: Path) -> None:
    poison = Poison("loss", {1, 2}, torch.nan)
    run = worlds.trainer(tmp_path, save_strategy="steps", save_steps=3)
    poison.into(run)
    run.train()
    again = worlds.trainer(tmp_path)
    again.resume(tmp_path / "checkpoint-3")
    assert again.sound.skipped == run.sound.skipped == 2


def test_a_finite_loss_is_not_changed() -> None:
    x = torch.tensor([1.5, -2.0], requires_grad=True)
    poisoned(x.square().sum()).backward()
    assert torch.equal(x.grad, torch.tensor([3.0, -4.0]))


@pytest.mark.parametrize("fused", [True, False])
def test_no_decay_without_a_gradient(fused: bool) -> None:
    """The hook works on any optimiser of torch that passes over weights without a gradient."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5, fused=fused)
    told: list[tuple[str, int, object]] = []
    sound = SoundSteps(most=1, tell=lambda *entry: told.append(entry))
    optimizer.register_step_pre_hook(sound.before_step)
    sound.begin(7, lambda: ["a.jsonl:3"])
    weight.grad = torch.full((3,), torch.nan)
    sound.measured(torch.nan)
    optimizer.step()
    assert torch.equal(weight, torch.ones(3))
    assert told == [
        ("skipped", 7, {"reason": "gradient has norm nan", "skipped": 1, "rows": ["a.jsonl:3"]})
    ]
    weight.grad = torch.ones(3)
    sound.measured(1.0)
    optimizer.step()
    assert not torch.equal(weight, torch.ones(3))


def test_rows_are_named_by_their_origin_or_their_place() -> None:
    one, two = worlds.EXAMPLES[:2]
    assert named([two, one], worlds.EXAMPLES) == ["example 1", "example 0"]
    assert named([object()], []) == ["example ?"]
