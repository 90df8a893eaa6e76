"""From rankings to a network that gives candidates a number: the walk of every learnt scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from accelerate import PartialState
from torch import Tensor, nn
from transformers import PreTrainedModel, PrinterCallback

from sfumato.alignment.rankings.sets import encode_ranked, lay_rows
from sfumato.alignment.scoring.learnt import Judged, RewardObjective, judged, new_reward
from sfumato.models.checkpoints import SHIPPED
from sfumato.models.scorers import room
from sfumato.models.storage import folders
from sfumato.models.storage.saving import save_files
from sfumato.training.objectives import Learning
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.aligning.material import Encode, Rankings
from sfumato_apps.notes import Notes, ProgressLines
from sfumato_apps.scoring.options import Fitting


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a scorer learns.

    Attributes:
        command: of `sfumato`.
        out: folder for the scorer.
        options: of the command, beside those of `Fitting` and the folder.
        kit: the network and what goes with it.
        read: rankings to learn from and to measure on, encoded.
        measure: figures by logits and ranks, *shape* `B N` each.
    """

    command: str
    out: Path
    options: Mapping[str, Any]
    kit: Callable[[Fitting], Kit]
    read: Callable[[Encode, Notes], Rankings]
    measure: Callable[[Tensor, Tensor], dict[str, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kit:
    """A network that gives candidates numbers, and what training needs of it.

    Attributes:
        network: what is trained.
        objective: what is minimised.
        encode: a record to what is learnt from.
        layout: encoded records to a batch.
        judge: a network's logits and ranks of encoded records.
        keep: saves a network in a folder.
        apart: laying out is dear, and each process does so for its own rankings only.
    """

    network: nn.Module
    objective: Learning
    encode: Encode
    layout: Callable[[Sequence[Any]], Any]
    judge: Callable[[nn.Module, Sequence[Any]], Judged]
    keep: Callable[[nn.Module, Path], None]
    apart: bool = False


def text_kit(fitting: Fitting, *, label: str, objective: RewardObjective) -> Kit:
    """An encoder with one number on top.

    Args:
        fitting: names the encoder.
        label: what its number is called.
        objective: what is minimised.

    Raises:
        ModelError: there is no such encoder.
    """
    folder = folders.locate(fitting.model or SHIPPED)
    tokenizer = folders.read_tokenizer(folder)
    network = new_reward(folder, label=label, seed=fitting.seed)
    words = folders.vocabulary_of(tokenizer, int(network.config.vocab_size))
    longest = min(fitting.max_length, room(network, tokenizer))

    def keep(trained: nn.Module, out: Path) -> None:
        def write(folder: Path) -> None:
            cast(PreTrainedModel, trained).save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        with folders.quiet():
            save_files(out, write)

    return Kit(
        network=cast(nn.Module, network),
        objective=objective,
        encode=lambda record: encode_ranked(record, words, max_length=longest),
        layout=lambda some: lay_rows(some, pad=words.pad),
        judge=lambda model, some: judged(model, some, pad=words.pad, batch_size=fitting.batch),
        keep=keep,
    )


def fit(task: Task, fitting: Fitting) -> None:
    """Walks from rankings to a scorer, and says how well it does.

    Raises:
        SfumatoError: see `runs`, `read_rankings` and `new_reward`.
    """
    notes = Notes()
    fitting = replace(fitting, bf16=runs.bf16_helps(wanted=fitting.bf16, notes=notes))
    resumed = runs.checkpoint_to_resume(task.out, resume=fitting.resume, notes=notes)
    kit = task.kit(fitting)
    found = task.read(kit.encode, notes)
    trainer, steps = _trainer(task, fitting, kit, found)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    counts = f"{len(found.train)} rankings, {len(found.held)} held out, {steps} steps"
    notes.say(f"{task.command}: {counts}")

    def keep(_: Mapping[str, Any]) -> None:
        kit.keep(trainer.best_weights, task.out)

    if resumed is None and ranks.is_first():
        keep({})
        options = {**task.options, "out": task.out, **asdict(replace(fitting, steps=steps))}
        runs.write_run(task.command, options, task.out)
    runs.carry_out(trainer, task.command, task.out, resumed=resumed, notes=notes, keep=keep)


def _trainer(
    task: Task, fitting: Fitting, kit: Kit, found: Rankings
) -> tuple[DiffusionTrainer, int]:
    """The trainer, and its steps."""
    group = fitting.batch * fitting.accumulation * ranks.count()
    steps = fitting.steps or max(1, round(fitting.epochs * len(found.train) / group))
    device = PartialState(cpu=ranks.share_cpus()).device

    def validation(model: nn.Module) -> dict[str, float]:
        told = kit.judge(model, found.held)
        return task.measure(told.logits, told.ranks)

    trainer = DiffusionTrainer(
        kit.network.to(device).train(),
        objective=kit.objective,
        examples=found.train,
        compose=lambda some, _: kit.layout(some),
        args=run.arguments(
            task.out,
            steps=steps,
            batch=fitting.batch,
            accumulation=fitting.accumulation,
            learning_rate=fitting.learning_rate,
            weight_decay=fitting.weight_decay,
            evaluate_every=fitting.evaluate_every,
            bf16=fitting.bf16,
            seed=fitting.seed,
            validate=bool(found.held),
        ),
        apart=kit.apart,
        max_nonfinite=fitting.max_nonfinite,
        validation=validation if found.held else None,
    )
    return trainer, steps
