"""The walk of `sfumato align`.

files ─► rankings ─► examples ─► policy and reference ─► training ─► the aligned model
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from accelerate import PartialState
from transformers import PrinterCallback

from sfumato.alignment.learning.objective import PreferenceObjective, frozen
from sfumato.alignment.learning.trainer import preference_trainer
from sfumato.models.checkpoints import SHIPPED
from sfumato.models.lora import adapters_off
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.aligning.families import Aligned, Reading, open_aligned
from sfumato_apps.aligning.material import Rankings, read_rankings
from sfumato_apps.aligning.plan import AlignPlan
from sfumato_apps.notes import Notes, ProgressLines
from sfumato_apps.timing import steps_for

_ENOUGH = 8


def follow(plan: AlignPlan) -> None:
    """Walks from rankings to an aligned model.

    Raises:
        SfumatoError: see `runs`, `read_ranking` and `open_aligned`.
    """
    notes = Notes()
    plan = replace(plan, bf16=runs.bf16_helps(wanted=plan.bf16, notes=notes))
    resumed = runs.checkpoint_to_resume(plan.out, resume=plan.resume)
    device = PartialState(cpu=ranks.share_cpus()).device
    opened = open_aligned(plan.model or SHIPPED, _reading(plan), device)
    found = read_rankings(
        plan.data,
        plan.valid or [],
        opened.encode,
        fraction=plan.valid_fraction,
        most=plan.valid_texts,
        skip_bad=plan.on_bad_line == "skip",
        seed=plan.seed,
        notes=notes,
    )
    objective = _objective(plan, opened, notes)
    trainer, steps = _trainer(plan, opened, objective, found, notes)
    size = sum(parameter.numel() for parameter in opened.network.parameters()) / 1e6
    counts = f"{len(found.train)} rankings, {len(found.held)} held out, {steps} steps"
    notes.say(f"{size:.1f}M parameters, {counts}")
    if resumed is None and ranks.is_first():
        opened.keep(opened.network, plan.out, plan.settings)
        runs.write_run("align", replace(plan, steps=steps, minutes=None).settings, plan.out)

    def conclude() -> dict[str, Any]:
        """The last validation, which the Trainer makes after the last step."""
        logged = [one for one in trainer.state.log_history if "eval_rewards/accuracies" in one]
        return {"quality": logged[-1]} if logged else {}

    runs.carry_out(
        trainer,
        "align",
        plan.out,
        resumed=resumed,
        notes=notes,
        keep=lambda more: opened.keep(trainer.best_weights, plan.out, {**plan.settings, **more}),
        conclude=conclude,
    )


def _reading(plan: AlignPlan) -> Reading:
    return Reading(
        max_length=plan.max_length,
        draws=plan.chosen().draws,
        slack=plan.slack,
        lora=plan.lora,
        seed=plan.seed,
    )


def _objective(plan: AlignPlan, opened: Aligned, notes: Notes) -> PreferenceObjective:
    """What is minimised; the model as it is now is the reference."""
    chosen, link, network = plan.chosen(), plan.link(), opened.network
    if link.noisy and chosen.draws < _ENOUGH:
        notes.say(
            f"{plan.f_divergence_type}: its link is steep, so that the noise of {chosen.draws} "
            f"draws biases it; --draws {_ENOUGH} or more, js_divergence or reverse_kl are safer"
        )
    return PreferenceObjective(
        estimator=opened.estimator,
        loss=chosen.loss,
        reference=(adapters_off if plan.lora else frozen(network)) if chosen.referred else None,
        link=link,
        per_token=chosen.per_token,
        anchor=chosen.anchor,
    )


def _trainer(
    plan: AlignPlan, opened: Aligned, objective: PreferenceObjective, found: Rankings, notes: Notes
) -> tuple[DiffusionTrainer, int]:
    """The trainer, and its steps."""
    group, steps = plan.batch * plan.accumulation, plan.steps
    if steps is None and plan.minutes is not None:
        of = (opened.network, objective, lambda some, _: opened.layout(some), found.train)
        steps = ranks.agreed(steps_for(plan.minutes, *of, rows=group, bf16=plan.bf16, muon=False))
    steps = steps or max(1, round(plan.epochs * len(found.train) / (group * ranks.count())))
    rate = plan.learning_rate or (1e-4 if plan.lora else 1e-5)
    trainer = preference_trainer(
        opened.network.train(),
        objective=objective,
        examples=found.train,
        layout=opened.layout,
        held=found.held,
        args=run.arguments(
            plan.out,
            steps=steps,
            batch=plan.batch,
            accumulation=plan.accumulation,
            learning_rate=rate,
            weight_decay=plan.weight_decay,
            evaluate_every=plan.evaluate_every,
            bf16=plan.bf16,
            seed=plan.seed,
            validate=bool(found.held),
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    return trainer, steps
