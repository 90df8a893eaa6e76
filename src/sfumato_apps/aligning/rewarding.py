"""The walk of `sfumato reward`: rankings to a text classifier with one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel, PrinterCallback

from sfumato.alignment.rankings.sets import RankedExample, encode_ranked, lay_rows
from sfumato.alignment.scoring.learnt import RewardObjective, new_reward, ordered_rightly
from sfumato.models.checkpoints import SHIPPED
from sfumato.models.storage import folders
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.aligning.material import Rankings, read_rankings
from sfumato_apps.notes import Notes, ProgressLines


@dataclass(frozen=True, kw_only=True)
class RewardPlan:
    """The options of a run; what each means stands at `recipes.reward`."""

    data: list[str]
    out: Path
    model: str | None
    valid: list[str] | None
    valid_fraction: float
    valid_texts: int
    steps: int | None
    epochs: float
    batch: int
    accumulation: int
    learning_rate: float
    weight_decay: float
    max_length: int
    evaluate_every: int
    bf16: bool
    on_bad_line: str
    seed: int
    resume: bool

    @property
    def settings(self) -> dict[str, Any]:
        """The options as a preset holds them."""
        chosen = {n: v for n, v in asdict(self).items() if v is not None and n != "resume"}
        return {n: str(v) if isinstance(v, Path) else v for n, v in chosen.items()}


def follow(plan: RewardPlan) -> None:
    """Walks from rankings to a reward, and says how many pairs it orders rightly.

    Raises:
        SfumatoError: see `runs`, `read_rankings` and `new_reward`.
    """
    notes = Notes()
    plan = replace(plan, bf16=runs.bf16_helps(wanted=plan.bf16, notes=notes))
    resumed = runs.checkpoint_to_resume(plan.out, resume=plan.resume)
    folder = folders.locate(plan.model or SHIPPED)
    tokenizer = folders.read_tokenizer(folder)
    network = new_reward(folder, seed=plan.seed)
    words = folders.vocabulary_of(tokenizer, int(network.config.vocab_size))
    found = read_rankings(
        plan.data,
        plan.valid or [],
        lambda record: encode_ranked(record, words, max_length=plan.max_length),
        fraction=plan.valid_fraction,
        most=plan.valid_texts,
        skip_bad=plan.on_bad_line == "skip",
        seed=plan.seed,
        notes=notes,
    )
    trainer, steps = _trainer(plan, network, found, words.pad, notes)
    counts = f"{len(found.train)} rankings, {len(found.held)} held out, {steps} steps"
    notes.say(f"reward: {counts}")

    def keep(_: Mapping[str, Any]) -> None:
        with folders.quiet():
            cast(PreTrainedModel, trainer.best_weights).save_pretrained(plan.out)
            tokenizer.save_pretrained(plan.out)

    if resumed is None and ranks.is_first():
        keep({})
        runs.write_run("reward", replace(plan, steps=steps).settings, plan.out)
    runs.carry_out(trainer, "reward", plan.out, resumed=resumed, notes=notes, keep=keep)


def _trainer(
    plan: RewardPlan, network: PreTrainedModel, found: Rankings, pad: int, notes: Notes
) -> tuple[DiffusionTrainer, int]:
    """The trainer, and its steps."""
    group = plan.batch * plan.accumulation * ranks.count()
    steps = plan.steps or max(1, round(plan.epochs * len(found.train) / group))
    device = PartialState(cpu=ranks.share_cpus()).device
    trainer = DiffusionTrainer(
        cast(nn.Module, network).to(device).train(),
        objective=RewardObjective(),
        examples=found.train,
        compose=lambda some, _: lay_rows(some, pad=pad),
        args=run.arguments(
            plan.out,
            steps=steps,
            batch=plan.batch,
            accumulation=plan.accumulation,
            learning_rate=plan.learning_rate,
            weight_decay=plan.weight_decay,
            evaluate_every=plan.evaluate_every,
            bf16=plan.bf16,
            seed=plan.seed,
            validate=bool(found.held),
        ),
        validation=_validation(found.held, pad, plan.batch) if found.held else None,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    return trainer, steps


def _validation(
    held: Sequence[RankedExample], pad: int, size: int
) -> Callable[[nn.Module], dict[str, float]]:
    objective = RewardObjective()

    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        batches = [
            objective.prepare(lay_rows(held[i : i + size], pad=pad), torch.Generator()).to(device)
            for i in range(0, len(held), size)
        ]
        return {"accuracy": ordered_rightly(model, batches)}

    return measure
