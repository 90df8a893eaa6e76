"""The walk of `sfumato align`.

files ─► rankings ─► examples ─► policy and reference ─► training ─► the aligned model
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback

from sfumato.alignment.learning.objective import PreferenceObjective, Regulariser, frozen
from sfumato.alignment.learning.trainer import preference_trainer
from sfumato.models.checkpoints import SHIPPED
from sfumato.models.lora import adapters_off
from sfumato.models.parts.attention import spell_out_attention
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.aligning.families import Aligned, Reading, adversary_of, open_aligned
from sfumato_apps.aligning.material import Rankings, read_rankings
from sfumato_apps.aligning.options import Preferring
from sfumato_apps.aligning.plan import Plan, TextPlan, link_of, method_of, settings
from sfumato_apps.notes import Notes, ProgressLines
from sfumato_apps.timing import steps_for

_ENOUGH = 8


def follow(plan: TextPlan) -> None:
    """Walks from rankings to an aligned model.

    Raises:
        SfumatoError: see `runs`, `read_ranking` and `open_aligned`.
    """
    notes, learning = Notes(), plan.learning
    device = PartialState(cpu=ranks.share_cpus()).device
    resumed = runs.checkpoint_to_resume(plan.out, resume=learning.resume, notes=notes)
    opened = open_aligned(plan.model or SHIPPED, _reading(plan), device)
    found = read_rankings(
        plan.data,
        learning.valid or [],
        opened.encode,
        fraction=learning.valid_fraction,
        most=learning.valid_texts,
        skip_bad=notes.skips(learning.on_bad_line),
        seed=learning.seed,
        notes=notes,
    )
    judge = None
    if plan.adversary is not None:
        judge = adversary_of(plan.adversary, opened, weight=plan.adversarial, device=device)
    learn(plan, "align", opened, found, resumed=resumed, notes=notes, regulariser=judge)


def learn(
    plan: Plan,
    recipe: str,
    opened: Aligned,
    found: Rankings,
    *,
    resumed: Path | None,
    notes: Notes,
    regulariser: Regulariser | None = None,
) -> None:
    """What is the same for texts and images: trains and keeps.

    Args:
        plan: the options.
        recipe: the command, for messages.
        opened: the model.
        found: rankings to learn from and to measure on.
        resumed: the checkpoint to go on from.
        notes: is told what is done.
        regulariser: a further loss.

    Raises:
        SfumatoError: see `runs`.
    """
    bf16 = runs.bf16_helps(wanted=plan.learning.bf16, notes=notes)
    plan = replace(plan, learning=replace(plan.learning, bf16=bf16))
    if bf16 and not torch.cuda.is_available():
        # As the trainer does, but before the reference is copied, which is to round alike.
        spell_out_attention(opened.network, length=max(len(one.ids) for one in found.train))
    objective = replace(_objective(plan.learning, opened, notes), regulariser=regulariser)
    trainer, steps = _trainer(plan, opened, objective, found, notes)
    plan = replace(plan, learning=replace(plan.learning, steps=steps, minutes=None))
    size = sum(parameter.numel() for parameter in opened.network.parameters()) / 1e6
    counts = f"{len(found.train)} rankings, {len(found.held)} held out, {steps} steps"
    notes.say(f"{size:.1f}M parameters, {counts}")
    if resumed is None and ranks.is_first():
        opened.keep(opened.network, plan.out, settings(plan))
        runs.write_run(recipe, settings(plan), plan.out)

    def conclude() -> dict[str, Any]:
        """The last validation, which the Trainer makes after the last step."""
        logged = [one for one in trainer.state.log_history if "eval_rewards/accuracies" in one]
        return {"quality": logged[-1]} if logged else {}

    runs.carry_out(
        trainer,
        recipe,
        plan.out,
        resumed=resumed,
        notes=notes,
        keep=lambda more: opened.keep(trainer.best_weights, plan.out, {**settings(plan), **more}),
        conclude=conclude,
    )


def _reading(plan: TextPlan) -> Reading:
    return Reading(
        max_length=plan.max_length,
        draws=method_of(plan.learning).draws,
        complementary=plan.complementary,
        slack=plan.slack,
        lora=plan.learning.lora,
        seed=plan.learning.seed,
    )


def _objective(learning: Preferring, opened: Aligned, notes: Notes) -> PreferenceObjective:
    """What is minimised; the model as it is now is the reference."""
    chosen, link, network = method_of(learning), link_of(learning), opened.network
    if link.noisy and chosen.draws < _ENOUGH:
        notes.say(
            f"{learning.f_divergence_type}: its link is steep, so that the noise of {chosen.draws} "
            f"draws biases it; --draws {_ENOUGH} or more, js_divergence or reverse_kl are safer"
        )
    reference = adapters_off if learning.lora else frozen(network, bf16=learning.bf16)
    return PreferenceObjective(
        estimator=opened.estimator,
        loss=chosen.loss,
        reference=reference if chosen.referred else None,
        link=link,
        per_token=chosen.per_token,
        anchor=chosen.anchor,
    )


def _trainer(
    plan: Plan, opened: Aligned, objective: PreferenceObjective, found: Rankings, notes: Notes
) -> tuple[DiffusionTrainer, int]:
    """The trainer, and its steps."""
    learning = plan.learning
    group, steps = learning.batch * learning.accumulation, learning.steps
    if steps is None and learning.minutes is not None:
        of = (opened.network, objective, lambda some, _: opened.layout(some), found.train)
        steps = ranks.agreed(
            steps_for(learning.minutes, *of, rows=group, bf16=learning.bf16, muon=False)
        )
    steps = steps or max(1, round(learning.epochs * len(found.train) / (group * ranks.count())))
    rate = learning.learning_rate or (1e-4 if learning.lora else 1e-5)
    trainer = preference_trainer(
        opened.network.train(),
        objective=objective,
        examples=found.train,
        layout=opened.layout,
        held=found.held,
        apart=opened.apart,
        max_nonfinite=learning.max_nonfinite,
        args=run.arguments(
            plan.out,
            steps=steps,
            batch=learning.batch,
            accumulation=learning.accumulation,
            learning_rate=rate,
            weight_decay=learning.weight_decay,
            evaluate_every=learning.evaluate_every,
            bf16=learning.bf16,
            seed=learning.seed,
            validate=bool(found.held),
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    return trainer, steps
