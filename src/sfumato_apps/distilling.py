"""The walk of `sfumato distill`: a teacher, a copy of it, and fewer steps."""

from __future__ import annotations

import copy
from collections.abc import Sequence
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
from sfumato.training.sharing.stopping import StopOnSignal
from sfumato.training.trainer import Composer, DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.notes import Notes, ProgressLines
from sfumato_apps.policies import open_writer
from sfumato_apps.reading import encode_all, read_corpus

_SLACK = 8


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The options of a run; what each means stands at `recipes.distill`."""

    model: str
    data: list[str]
    out: Path
    steps: int
    rounds: int
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


def follow(plan: Distillation) -> None:
    """Walks from a teacher to its student.

    Raises:
        UsageError: the folder holds a run, or a number is out of range.
        Interrupted: Ctrl-C or SIGTERM.
    """
    if plan.steps < 1 or plan.rounds < 1:
        raise UsageError(f"expected steps ≥ 1 and rounds ≥ 1, got {plan.steps} and {plan.rounds}")
    notes = Notes()
    plan = replace(plan, bf16=runs.bf16_helps(wanted=plan.bf16, notes=notes))
    runs.checkpoint_to_resume(plan.out, resume=False, notes=notes)
    device = PartialState(cpu=ranks.share_cpus()).device
    teacher = open_writer(plan.model, device=device)
    if isinstance(teacher, LatentCheckpoint):
        length = 2 * teacher.answers[0]
    else:
        length = min(plan.max_length, (teacher.denoiser.max_length or plan.max_length) - _SLACK)
    examples = _examples(plan, teacher.vocabulary, length, notes)
    if plan.guidance is not None and all(all(one.trained[1:]) for one in examples):
        raise UsageError(
            "guidance strengthens what is given, and no record has a prompt: give pairs or "
            "dialogues, or leave --guidance out"
        )
    settings = {name: str(value) for name, value in asdict(plan).items()}
    metadata = {**teacher.metadata, "distilled": settings}
    if isinstance(teacher, LatentCheckpoint):
        _latent(plan, replace(teacher, metadata=metadata), examples, notes)
    else:
        _masked(plan, replace(teacher, metadata=metadata), examples, notes)
    notes.say(f"saved {plan.out}")


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
    return list(chain.from_iterable(parts))


def _latent(
    plan: Distillation, teacher: LatentCheckpoint, examples: list[Example], notes: Notes
) -> None:
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

    learner = LatentLearner(student, teacher.codec)
    learner.codec.requires_grad_(False)
    best = cast(LatentLearner, _trained(plan, learner, objective, (lay, examples), notes))
    if ranks.is_first():
        save_latent(replace(teacher, denoiser=best.denoiser), plan.out)


def _masked(plan: Distillation, teacher: Checkpoint, examples: list[Example], notes: Notes) -> None:
    """A model that says at once what its teacher says in two steps, or under guidance."""
    words = teacher.vocabulary
    if plan.guidance is not None and plan.rounds > 1:
        raise UsageError(
            "guidance is learnt in one round: distil the student again, without --guidance, for "
            "fewer steps"
        )
    if not marks_noise(teacher.process, specials_of(words)):
        raise UsageError(
            f"{teacher.process} is not masked noise: latent and masked models are distilled"
        )
    lay = run.layout_of(words, slack=_SLACK, holes=0.3, answer_holes=0.0)
    for number in range(plan.rounds):
        notes.say(f"round {number + 1} of {plan.rounds}")
        objective = _objective(plan, teacher)
        student = copy.deepcopy(teacher.denoiser).requires_grad_(True)
        best = _trained(plan, student, objective, (lay, examples), notes, number)
        teacher = replace(teacher, denoiser=cast(EncoderDenoiser, best))
        if ranks.is_first():
            save(teacher, plan.out)


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


def _trained(
    plan: Distillation,
    student: nn.Module,
    objective: Learning,
    material: tuple[Composer | Any, list[Example]],
    notes: Notes,
    number: int = 0,
) -> nn.Module:
    """The student's best weights."""
    lay, examples = material
    trainer = DiffusionTrainer(
        student.train(),
        objective=objective,
        examples=examples,
        compose=lay,
        args=run.arguments(
            plan.out / "run",
            steps=plan.steps,
            batch=plan.batch,
            accumulation=1,
            learning_rate=plan.learning_rate,
            weight_decay=0.0,
            evaluate_every=plan.steps,
            bf16=plan.bf16,
            seed=plan.seed + number,
            validate=False,
        ),
        muon=plan.optimizer == "muon",
        decay=plan.average,
        max_nonfinite=plan.max_nonfinite,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    with StopOnSignal() as stop:
        trainer.add_callback(stop)
        trainer.train()
    if stop.stopped is not None:
        raise runs.Interrupted(
            f"stopped at step {trainer.state.global_step} of {plan.steps}: begin again, or ask for "
            "fewer steps",
            by=stop.stopped,
        )
    return trainer.best_weights.eval()
