"""The walk of `sfumato distill`: a teacher, a copy of it, and fewer steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import nn
from transformers import PrinterCallback

from sfumato.errors import UsageError
from sfumato.models.checkpoints import Checkpoint, save
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.latent.storage import LatentCheckpoint, save_latent
from sfumato.noise.times import ExactCount
from sfumato.sampling.ancestral import marks_noise
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.tasks import specials_of
from sfumato.text.batching import Example
from sfumato.text.corpora import parse_source
from sfumato.text.slots import Slots, lay_slots
from sfumato.text.vocabulary import Vocabulary
from sfumato.training.consistency import LatentConsistency, ThroughTime, UnderGuidance
from sfumato.training.latents import LatentLearner
from sfumato.training.objectives import Learning
from sfumato.training.trainer import Composer, DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.notes import Notes, ProgressLines
from sfumato_apps.policies import open_writer
from sfumato_apps.reading import encode_all, read_corpus

_SLACK = 8
_SAVE_EVERY = 250


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The options of a run; what each means stands at `recipes.distill`."""

    model: str | None
    data: list[str]
    out: Path
    steps: int
    levels: int
    guidance: float | None
    batch: int
    learning_rate: float
    optimizer: str
    average: float
    max_length: int
    bf16: bool
    on_bad_line: str
    max_line_bytes: int
    max_nonfinite: int
    seed: int
    resume: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What a student learns.

    Attributes:
        student: a copy of what the teacher trains.
        objective: holds the teacher.
        lay: lays encoded texts out.
        keep: saves a student with what was found of it.
    """

    student: nn.Module
    objective: Learning
    lay: Composer | Any
    keep: Callable[[nn.Module, Mapping[str, Any]], None]


def follow(plan: Distillation) -> None:
    """Walks from a teacher to its student.

    Raises:
        UsageError: the folder holds a run, or a number is out of range.
        Interrupted: Ctrl-C or SIGTERM; everything was saved.
    """
    if plan.steps < 1:
        raise UsageError(f"expected steps ≥ 1, got {plan.steps}")
    notes = Notes()
    plan = replace(plan, bf16=runs.bf16_helps(wanted=plan.bf16, notes=notes))
    resumed = runs.checkpoint_to_resume(plan.out, resume=plan.resume, notes=notes)
    device = PartialState(cpu=ranks.share_cpus()).device
    teacher = open_writer(plan.model, device=device)
    if isinstance(teacher, LatentCheckpoint):
        length, lesson = 2 * teacher.answers[0], _latent(plan, teacher)
    else:
        length = min(plan.max_length, (teacher.denoiser.max_length or plan.max_length) - _SLACK)
        lesson = _masked(plan, teacher)
    examples = _examples(plan, teacher.vocabulary, length, notes)
    trainer = _trainer(plan, lesson, examples)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    if resumed is None and ranks.is_first():
        runs.write_run("distill", asdict(plan), plan.out)
    runs.carry_out(
        trainer,
        "distill",
        plan.out,
        resumed=resumed,
        notes=notes,
        keep=lambda found: lesson.keep(
            trainer.best_weights.eval(),
            {**teacher.metadata, "distilled": {**runs.preset(asdict(plan)), **found}},
        ),
    )


def _examples(plan: Distillation, words: Vocabulary, length: int, notes: Notes) -> list[Example]:
    corpus = read_corpus(
        [parse_source(text, max_line_bytes=plan.max_line_bytes) for text in plan.data],
        [],
        fraction=0.0,
        most=0,
        skip_bad=notes.skips(plan.on_bad_line),
        seed=plan.seed,
        notes=notes,
    )
    parts = [encode_all(part, words, length, notes) for part in corpus.train]
    notes.sum_up()
    examples = list(chain.from_iterable(parts))
    if plan.guidance is not None and all(all(one.trained[1:]) for one in examples):
        raise UsageError(
            "guidance strengthens what is given, and no record has a prompt: give pairs or "
            "dialogues, or leave --guidance out"
        )
    return examples


def _latent(plan: Distillation, teacher: LatentCheckpoint) -> Lesson:
    """A consistency model, which needs no hints."""
    words, sizes = teacher.vocabulary, teacher.denoiser.sizes
    if plan.guidance and sizes.reading == "none":
        raise UsageError(f"{plan.model} reads no prompt that guidance could strengthen")
    student = copy.deepcopy(teacher.denoiser)
    student.sizes = replace(sizes, hinted=False)
    objective = LatentConsistency(
        process=teacher.process,
        teacher=LatentLearner(teacher.denoiser, teacher.codec),
        levels=plan.levels,
        dropping=0.1 if sizes.reading != "none" else 0.0,
        guidance=plan.guidance or 0.0,
    )

    def lay(some: Sequence[Example], generator: torch.Generator) -> Slots:
        return lay_slots(some, slots=sizes.slots, pad=words.pad)

    def keep(best: nn.Module, metadata: Mapping[str, Any]) -> None:
        denoiser = cast(LatentLearner, best).denoiser
        save_latent(replace(teacher, denoiser=denoiser, metadata=metadata), plan.out)

    learner = LatentLearner(student, teacher.codec)
    learner.codec.requires_grad_(False)
    return Lesson(student=learner, objective=objective, lay=lay, keep=keep)


def _masked(plan: Distillation, teacher: Checkpoint) -> Lesson:
    """A model that says at once what its teacher says in two steps, or under guidance."""
    words = teacher.vocabulary
    if not marks_noise(teacher.process, specials_of(words)):
        raise UsageError(
            f"{teacher.process} is not masked noise: latent and masked models are distilled"
        )

    def keep(best: nn.Module, metadata: Mapping[str, Any]) -> None:
        denoiser = cast(EncoderDenoiser, best)
        save(replace(teacher, denoiser=denoiser, metadata=metadata), plan.out)

    return Lesson(
        student=copy.deepcopy(teacher.denoiser).requires_grad_(True),
        objective=_objective(plan, teacher),
        lay=run.layout_of(words, slack=_SLACK, holes=0.3, answer_holes=0.0),
        keep=keep,
    )


def _objective(plan: Distillation, teacher: Checkpoint) -> ThroughTime | UnderGuidance:
    process, network, times = teacher.process, teacher.denoiser, ExactCount()
    if plan.guidance is None:
        return ThroughTime(process=process, times=times, teacher=network)
    return UnderGuidance(
        process=process,
        times=times,
        teacher=network,
        guidance=ClassifierFree(scale=plan.guidance),
        specials=specials_of(teacher.vocabulary),
    )


def _trainer(plan: Distillation, lesson: Lesson, examples: list[Example]) -> DiffusionTrainer:
    return DiffusionTrainer(
        lesson.student.train(),
        objective=lesson.objective,
        examples=examples,
        compose=lesson.lay,
        args=run.arguments(
            plan.out,
            steps=plan.steps,
            batch=plan.batch,
            accumulation=1,
            learning_rate=plan.learning_rate,
            weight_decay=0.0,
            evaluate_every=min(plan.steps, _SAVE_EVERY),
            bf16=plan.bf16,
            seed=plan.seed,
            validate=False,
        ),
        muon=plan.optimizer == "muon",
        decay=plan.average,
        max_nonfinite=plan.max_nonfinite,
    )
