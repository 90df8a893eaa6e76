"""Batches, steps and a trainer for either half of a latent model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PrinterCallback

from sfumato.text.batching import Example
from sfumato.text.slots import Slots, lay_slots
from sfumato.text.vocabulary import Vocabulary
from sfumato.training.objectives import Learning
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks
from sfumato_apps import training_run as run
from sfumato_apps.latent.plan import LatentPlan
from sfumato_apps.notes import Notes, ProgressLines
from sfumato_apps.timing import steps_for

Lay = Callable[[Sequence[Example], torch.Generator], Slots]


def layout(plan: LatentPlan, words: Vocabulary) -> Lay:
    """Lays examples out in the slots of the model."""

    def lay(examples: Sequence[Example], generator: torch.Generator) -> Slots:
        return lay_slots(examples, slots=plan.slots, pad=words.pad)

    return lay


def steps_of(
    plan: LatentPlan,
    model: nn.Module,
    objective: Learning,
    examples: Sequence[Example],
    words: Vocabulary,
    share: float,
) -> int:
    """Steps for a share of the minutes; or for the passes over the data."""
    rows = plan.batch * plan.accumulation
    if plan.minutes is None:
        return max(1, round(plan.epochs * len(examples) / (rows * ranks.count())))
    lay, muon = layout(plan, words), plan.muon
    minutes = share * plan.minutes
    return ranks.agreed(
        steps_for(minutes, model, objective, lay, examples, rows=rows, bf16=plan.bf16, muon=muon)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Half:
    """The decoder or the denoiser, and what it is trained on.

    Attributes:
        model: what is trained.
        objective: noise and loss.
        folder: of its run.
        steps: of its training.
        validation: measures it on held-out texts; without it no moving average is kept.
    """

    model: nn.Module
    objective: Learning
    folder: Path
    steps: int
    validation: Callable[[nn.Module], dict[str, float]] | None = None


def trainer_of(
    plan: LatentPlan, half: Half, examples: Sequence[Example], words: Vocabulary, notes: Notes
) -> DiffusionTrainer:
    """The Trainer of one half, which says how it goes on stderr."""
    trainer = DiffusionTrainer(
        half.model,
        objective=half.objective,
        examples=examples,
        compose=layout(plan, words),
        args=run.arguments(
            half.folder,
            steps=half.steps,
            batch=plan.batch,
            accumulation=plan.accumulation,
            learning_rate=plan.peak,
            weight_decay=plan.weight_decay,
            evaluate_every=plan.evaluate_every,
            bf16=plan.bf16,
            seed=plan.seed,
            validate=half.validation is not None,
        ),
        muon=plan.muon,
        decay=plan.average if half.validation is not None else 0.0,
        max_nonfinite=plan.max_nonfinite,
        validation=half.validation,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    return trainer
