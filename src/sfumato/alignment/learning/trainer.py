"""Training on preferences: `DiffusionTrainer` with the preference objective, and its alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfumato.alignment.learning.objective import Meter, PreferenceObjective
from sfumato.errors import UsageError
from sfumato.training.objectives import Encoded
from sfumato.training.trainer import DiffusionTrainer

_PATIENCE = 5
Layout = Callable[[Sequence[Any]], Any]


def preference_trainer(
    policy: nn.Module,
    *,
    objective: PreferenceObjective,
    examples: Sequence[Encoded],
    layout: Layout,
    args: TrainingArguments,
    held: Sequence[Encoded] = (),
    muon: bool = False,
    apart: bool = False,
    max_nonfinite: int = 3,
) -> DiffusionTrainer:
    """A trainer that logs under TRL's names and stops early where nothing can be learnt.

    Dropout of the policy is switched off: its noise would stand in every log-ratio.

    Args:
        policy: what is trained: a denoiser, a latent learner, or a causal model of transformers.
        objective: loss, reference and estimator.
        examples: rankings to learn from.
        layout: lays rankings out as the estimator takes them: `lay_sets`, `lay_images`.
        args: the Trainer's own.
        held: rankings that are measured at each validation, always with the same noise.
        muon: use Muon for matrices; AdamW otherwise, as is usual for alignment.
        apart: each process lays out its own rankings only, as `DiffusionTrainer` says.
        max_nonfinite: steps that may be left out, as `DiffusionTrainer` says.

    Raises:
        UsageError: no rankings, or nothing of the policy can be trained.
    """
    if not examples:
        raise UsageError("expected rankings to learn from, got none")
    if not any(parameter.requires_grad for parameter in policy.parameters()):
        raise UsageError("no weight of the policy can be trained: all are frozen")
    for module in policy.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trainer = DiffusionTrainer(
        policy,
        objective=objective,
        examples=examples,
        compose=lambda rows, _: layout(rows),
        args=args,
        muon=muon,
        apart=apart,
        max_nonfinite=max_nonfinite,
        validation=quality_on(held, objective, layout, args) if held else None,
    )
    trainer.add_callback(_Alarms(objective))
    return trainer


def quality_on(
    held: Sequence[Encoded],
    objective: PreferenceObjective,
    layout: Layout,
    args: TrainingArguments,
) -> Callable[[nn.Module], dict[str, float]]:
    """What the objective reports of held-out rankings; the noise depends on the seed only."""

    def measure(model: nn.Module) -> dict[str, float]:
        apart = replace(objective, meter=Meter())
        generator = torch.Generator().manual_seed(args.seed)
        size = args.per_device_eval_batch_size
        with torch.no_grad():
            for start in range(0, len(held), size):
                batch = apart.prepare(layout(held[start : start + size]), generator)
                apart(model, batch.to(args.device))
        return apart.report()

    return measure


class _Alarms(TrainerCallback):
    """Stops a training that cannot learn: no gradient, or a policy that stays the reference."""

    def __init__(self, objective: PreferenceObjective) -> None:
        self.objective = objective
        self._steps = 0

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After the first backward pass some weight must have a gradient."""
        if self._steps:
            return
        model: nn.Module = kwargs["model"]
        if all(p.grad is None or not bool(p.grad.any()) for p in model.parameters()):
            raise UsageError(
                "no weight got a gradient from the first batch: the loss does not depend on the "
                "policy (margins beyond a hinge? rankings without an order?)"
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After some steps the policy must differ from its reference."""
        self._steps += 1
        if self._steps == _PATIENCE and not self.objective.meter.moved:
            raise UsageError(
                f"all log-ratios are still exactly 0 after {_PATIENCE} steps: the reference is the "
                "policy itself, or the learning rate is 0"
            )
