"""The walk of `sfumato classifier`.

files ─► latent model ─► labels or pairs ─► vectors ─► classifier ─► report
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import nn
from transformers import PrinterCallback

from sfumato.errors import DataError
from sfumato.evaluation.classifying.levels import Decisions, joined, report
from sfumato.evaluation.records import Metric
from sfumato.models.latent.classifier import NoisyClassifier
from sfumato.models.latent.classifier_storage import (
    ClassifierCheckpoint,
    load_classifier,
    save_classifier,
)
from sfumato.models.latent.storage import LatentCheckpoint, load_latent
from sfumato.noise.times import EvenTimes
from sfumato.training.classifying.objectives import (
    ClassifierLearner,
    LabelObjective,
    Levels,
    PairObjective,
)
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.classifying.material import Compose, Material, composer, labelled, pairs
from sfumato_apps.classifying.plan import ClassifierPlan
from sfumato_apps.latent.codec import remember
from sfumato_apps.notes import Notes, ProgressLines
from sfumato_apps.timing import steps_for

_JUDGED_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Held-out texts, and how they are judged: at levels even in t, always the same noise."""

    objective: LabelObjective | PairObjective
    material: Material
    compose: Compose
    seed: int

    @torch.no_grad()
    def decisions(self, learner: ClassifierLearner, *, draws: int) -> Decisions:
        """What the classifier decides."""
        levels = Levels(process=self.objective.levels.process, times=EvenTimes())
        objective = replace(self.objective, levels=levels)
        device = next(learner.parameters()).device
        held = self.material.held
        generator = torch.Generator().manual_seed(self.seed)
        found = []
        for _ in range(draws):
            for first in range(0, len(held), _JUDGED_AT_ONCE):
                some = held[first : first + _JUDGED_AT_ONCE]
                batch, rows = self.compose(some, generator), first + torch.arange(len(some))
                noised = cast(Any, objective).prepare(batch, generator).to(device)
                found.append(cast(Any, objective).judge(learner, noised, rows.to(device)))
        return joined(found)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Accuracy and loss while training."""
        made = self.decisions(cast(ClassifierLearner, model), draws=1)
        return {"accuracy": float(made.right.double().mean()), "loss": float(made.loss.mean())}

    def report(self, learner: ClassifierLearner, plan: ClassifierPlan) -> list[Metric]:
        """The records at the end."""
        made = self.decisions(learner, draws=plan.draws)
        return report(
            made,
            seed=self.seed,
            reference=", ".join(plan.valid or plan.data),
            settings={"draws": plan.draws, "task": plan.label or "pairs", "model": plan.model},
        )


def follow(plan: ClassifierPlan) -> None:
    """Walks from files to a trained classifier and prints what it is worth.

    Raises:
        SfumatoError: see `runs`, `material` and `load_latent`.
    """
    notes = Notes()
    plan = replace(plan, bf16=runs.bf16_helps(wanted=plan.bf16, notes=notes))
    resumed = runs.checkpoint_to_resume(plan.out, resume=plan.resume, notes=notes)
    device = PartialState(cpu=ranks.share_cpus()).device
    latent = load_latent(plan.model, device=device)
    remember(latent.codec, plan.cache)
    material = _material(plan, latent, notes)
    known = None if resumed is None else load_classifier(plan.out)
    start = known or _new(plan, latent, material)
    objective, compose = plan.objective(start.process), composer(latent, given=plan.given)
    learner = ClassifierLearner(start.classifier, objective.levels.times)
    exam = Exam(objective=objective, material=material, compose=compose, seed=plan.seed)
    trainer, steps = _trainer(plan, learner, exam, notes)
    size = sum(parameter.numel() for parameter in learner.parameters()) / 1e6
    counts = f"{len(material.examples)} texts, {len(material.held)} held out, {steps} steps"
    notes.say(f"classifier: {size:.1f}M parameters, {counts}")
    if resumed is None and ranks.is_first():
        save_classifier(start, plan.out)
        runs.write_run("classifier", asdict(plan) | {"steps": steps, "minutes": None}, plan.out)
    best = cast(ClassifierLearner, trainer.best_weights)

    def keep(found: Mapping[str, Any]) -> None:
        metadata = {**start.metadata, **found}
        save_classifier(replace(start, classifier=best.classifier, metadata=metadata), plan.out)

    def conclude() -> dict[str, Any]:
        if not ranks.is_first():
            return {}
        best.eval()
        records = [metric.as_json() for metric in exam.report(best, plan)]
        for record in records:
            print(json.dumps(record, ensure_ascii=False))
        return {"report": records}

    runs.carry_out(
        trainer,
        "classifier",
        plan.out,
        resumed=resumed,
        notes=notes,
        keep=keep,
        conclude=conclude,
    )


def _material(plan: ClassifierPlan, latent: LatentCheckpoint, notes: Notes) -> Material:
    if plan.label is None:
        material = pairs(plan, latent, notes)
    else:
        material = labelled(plan, plan.label, latent.vocabulary, notes)
    least = 2 if plan.label is None else 1
    if min(len(material.examples), len(material.held)) < least:
        raise DataError(
            f"expected at least {least} texts to train on and {least} to measure on, got "
            f"{len(material.examples)} and {len(material.held)}: add data, or raise "
            "--valid-fraction"
        )
    return material


def _new(
    plan: ClassifierPlan, latent: LatentCheckpoint, material: Material
) -> ClassifierCheckpoint:
    """An untrained classifier over the vectors of the latent model."""
    sizes = plan.sizes(
        width=latent.codec.width,
        slots=latent.denoiser.sizes.slots,
        labels=len(material.labels),
    )
    network = NoisyClassifier(sizes, path=latent.process.path, seed=plan.seed)
    origin = {"latent_model": plan.model, "data": plan.data, "strategy": plan.strategy}
    return ClassifierCheckpoint(
        classifier=network,
        process=latent.process,
        labels=material.labels,
        metadata={**origin, "seed": plan.seed},
    )


def _trainer(
    plan: ClassifierPlan, learner: ClassifierLearner, exam: Exam, notes: Notes
) -> tuple[DiffusionTrainer, int]:
    """The trainer, and its steps."""
    examples, rows = exam.material.examples, plan.batch * plan.accumulation
    objective: Any = exam.objective
    steps = plan.steps
    if steps is None and plan.minutes is not None:
        of, bf16 = (learner, objective, exam.compose, examples), plan.bf16
        steps = ranks.agreed(steps_for(plan.minutes, *of, rows=rows, bf16=bf16, muon=False))
    steps = steps or max(1, round(plan.epochs * len(examples) / (rows * ranks.count())))
    arguments = run.arguments(
        plan.out,
        steps=steps,
        batch=plan.batch,
        accumulation=plan.accumulation,
        learning_rate=plan.learning_rate,
        weight_decay=plan.weight_decay,
        evaluate_every=plan.evaluate_every,
        bf16=plan.bf16,
        seed=plan.seed,
        validate=True,
    )
    trainer = DiffusionTrainer(
        learner,
        objective=objective,
        examples=examples,
        compose=exam.compose,
        args=arguments,
        decay=plan.average,
        max_nonfinite=plan.max_nonfinite,
        validation=exam.validate,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    return trainer, steps
