"""The parts of `sfumato train` and `convert`, in the order in which `walk` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PrinterCallback, TrainingArguments

from sfumato.errors import UsageError
from sfumato.evaluation.perplexity import elbo
from sfumato.models.checkpoints import Checkpoint, denoiser_of, load, save
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.lora import with_lora
from sfumato.models.parts.conditioning import TimeEmbedding
from sfumato.models.scratch import new_encoder, warm_start
from sfumato.noise.times import Stratified, Uniform
from sfumato.presets import Family, masked, uniform
from sfumato.protocols import TimeSampler
from sfumato.text.batching import Batch, Example, compose
from sfumato.text.records import Record, TrainSplit
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary
from sfumato.training.objectives import Objective, elbo_weighting, plain_weighting
from sfumato.training.trainer import Composer, DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps.notes import Notes, ProgressLines, Prompt, Samples
from sfumato_apps.provenance import about, quality_json, quality_lines, quality_of
from sfumato_apps.reading import encode_all, texts_of

_FAMILIES: dict[str, Callable[[Vocabulary], Family]] = {
    "masked": masked,
    "uniform": uniform,
    "hybrid": partial(uniform, masked=0.8),
}
_TIMES: dict[str, TimeSampler] = {"stratified": Stratified(), "uniform": Uniform()}
_WEIGHTINGS = {"elbo": elbo_weighting, "plain": plain_weighting}


def existing_model(name: str, *, noise: str, lora: int, seed: int) -> Checkpoint:
    """Loads an encoder to convert, or the model of a run that is resumed."""
    start = load(name)
    if noise != "masked":
        family = _FAMILIES[noise](start.vocabulary)
        start = replace(start, process=family.process, denoiser=_fitted(start.denoiser, family))
    if lora:
        start = replace(start, denoiser=with_lora(start.denoiser, rank=lora, seed=seed))
    return start


def new_model(
    records: Sequence[Record],
    *,
    noise: str,
    size: int,
    sizes: Mapping[str, Any],
    architecture: str,
    seed: int,
) -> Checkpoint:
    """A vocabulary learnt from the training texts and a warm-started model over it."""
    vocabulary = learn_vocabulary(texts_of(records), size=size)
    family = _FAMILIES[noise](vocabulary)
    denoiser = new_encoder(vocabulary, architecture=architecture, seed=seed, **sizes)
    part = TrainSplit(records=tuple(records))
    examples = encode_all(part, vocabulary, sizes["max_length"], Notes(silent=True))
    warm_start(denoiser, [(*example.ids, vocabulary.pad) for example in examples], seed=seed)
    return Checkpoint(
        denoiser=_fitted(denoiser, family),
        vocabulary=vocabulary,
        process=family.process,
        metadata={},
    )


def _fitted(denoiser: EncoderDenoiser, family: Family) -> EncoderDenoiser:
    """The same network as a denoiser of the family's noise."""
    time = denoiser.time
    if family.timed and time is None:
        time = TimeEmbedding(width=denoiser.word_embeddings.shape[1])
    return denoiser_of(denoiser.network, family.process, mask=denoiser.mask, time=time)


def objective_of(start: Checkpoint, *, noise: str, times: str | None, weighting: str) -> Objective:
    """The objective by the names of its parts.

    Raises:
        UsageError: exact counts with a noise that has no use for them.
    """
    family = _FAMILIES[noise](start.vocabulary)
    if times == "exact" and noise != "masked":
        raise UsageError("exact counts are for masked noise; use --times stratified")
    return Objective(
        process=start.process,
        times=_TIMES.get(times or "", family.times),
        weighting=_WEIGHTINGS[weighting],
        in_parts=True,
    )


def layout_of(vocabulary: Vocabulary, *, slack: int, holes: float, answer_holes: float) -> Composer:
    """Lays encoded texts out as canvases, with tails and holes."""

    def lay(examples: Sequence[Example], generator: torch.Generator) -> Batch:
        return compose(
            examples,
            vocabulary,
            generator,
            slack=slack,
            holes=holes,
            answer_holes=answer_holes,
        )

    return lay


def arguments(
    out: Path,
    *,
    steps: int,
    batch: int,
    accumulation: int,
    learning_rate: float,
    weight_decay: float,
    evaluate_every: int,
    bf16: bool,
    seed: int,
    validate: bool,
) -> TrainingArguments:
    """The Trainer's arguments for a run of ours."""
    return TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        lr_scheduler_type="linear",
        warmup_steps=min(100, max(1, steps // 20)),
        adam_beta2=0.98,
        max_grad_norm=1.0,
        logging_steps=max(1, min(50, steps // 10)),
        eval_strategy="steps" if validate else "no",
        eval_steps=evaluate_every,
        save_strategy="steps",
        save_steps=evaluate_every,
        save_total_limit=2,
        bf16=bf16,
        use_cpu=ranks.share_cpus() or (bf16 and not torch.cuda.is_available()),
        seed=seed,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def validation_of(
    start: Checkpoint, examples: Sequence[Example], seed: int
) -> Callable[[nn.Module], dict[str, float]] | None:
    """Measures the likelihood bound of a model on the validation texts; None without texts."""
    if not examples:
        return None

    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        times = None if start.denoiser.time is None else Stratified()
        current = replace(start, denoiser=cast(EncoderDenoiser, model))
        bounds = elbo(current, examples, draws=2, seed=seed, times=times, device=device)
        return {metric.name: metric.value for metric in bounds}

    return measure


def begin(start: Checkpoint, recipe: str, settings: Mapping[str, Any], out: Path) -> None:
    """Writes the untrained model and the settings, so that the run can be resumed from `out`."""
    save(start, out)
    runs.write_run(recipe, settings, out)


def run(
    trainer: DiffusionTrainer,
    start: Checkpoint,
    out: Path,
    *,
    held: Sequence[Example],
    prompts: Sequence[Prompt],
    recipe: str,
    resumed: Path | None,
    notes: Notes,
) -> None:
    """Trains and saves the model; also when it is interrupted or the loss blows up.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything was saved.
    """
    kept = replace(start, denoiser=cast(EncoderDenoiser, trainer.best_weights))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    if trainer.validation is not None:
        trainer.add_callback(Samples(kept, trainer.journal, notes, prompts))
    runs.carry_out(
        trainer,
        recipe,
        out,
        resumed=resumed,
        notes=notes,
        keep=lambda found: _keep(kept, {**start.metadata, **found}, out),
        conclude=lambda: {"quality": _conclude(trainer, kept, held, notes)} if held else {},
    )


def _conclude(
    trainer: DiffusionTrainer, kept: Checkpoint, held: Sequence[Example], notes: Notes
) -> dict[str, Any]:
    """The quality by language at the end; only the first process measures it."""
    if not ranks.is_first():
        return {}
    found = quality_json(quality_of(kept, held, seed=trainer.args.seed))
    trainer.journal.write("quality", trainer.state.global_step, {"languages": found})
    for line in quality_lines(found):
        notes.say(line)
    return found


def _keep(kept: Checkpoint, origin: Mapping[str, Any], out: Path) -> None:
    save(replace(kept, metadata={**origin, "about": about(origin)}), out)
