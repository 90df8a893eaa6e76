"""The walk of `sfumato latent`: codec, decoder, denoiser.

files ─► corpus ─► encoder, or a new vocabulary ─► codec ─► decoder ─► denoiser
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import nn

from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.score_network import ScoreNetwork, ScoreSizes
from sfumato.models.latent.storage import LatentCheckpoint, load_latent, read_body, save_latent
from sfumato.models.storage.folders import locate, read_tokenizer, vocabulary_of
from sfumato.text.batching import Example
from sfumato.text.corpora import parse_source
from sfumato.text.mixtures import parse_mix
from sfumato.text.records import TextRecord
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary
from sfumato.training.latents import LatentLearner, LatentObjective, NoisedSlots
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps.latent.codec import DECODER_SHARE, encoder_codec, remember
from sfumato_apps.latent.plan import LatentPlan
from sfumato_apps.latent.shaping import Half, layout, steps_of, trainer_of
from sfumato_apps.notes import Notes, Samples
from sfumato_apps.provenance import provenance
from sfumato_apps.reading import Corpus, encode_all, mixed, prompts_of, read_corpus, texts_of

_LEVELS = (-2.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run trains on and is measured by."""

    examples: list[Example]
    held: list[Example]
    paired: bool
    origin: Mapping[str, Any]


def follow(plan: LatentPlan) -> None:
    """Walks from files to a trained model.

    Raises:
        SfumatoError: see `runs` and `reading`.
    """
    notes = Notes()
    plan = replace(plan, bf16=runs.bf16_helps(wanted=plan.bf16, notes=notes))
    resumed = runs.checkpoint_to_resume(plan.out, resume=plan.resume, notes=notes)
    corpus = _corpus(plan, notes)
    device = PartialState(cpu=ranks.share_cpus()).device
    known = None if resumed is None else load_latent(plan.out, device=device)
    if known is not None:
        remember(known.codec, plan.cache)
    words = _words(plan, corpus) if known is None else known.vocabulary
    material = _material(plan, corpus, words, notes)
    start = known or _new(plan, words, material, notes)
    start = replace(start, metadata={**start.metadata, **material.origin})
    trainer, steps = _trainer(plan, start, material, notes)
    size = sum(parameter.numel() for parameter in start.denoiser.parameters()) / 1e6
    counts = f"{len(material.examples)} texts, {len(material.held)} held out, {steps} steps"
    notes.say(f"denoiser: {size:.1f}M parameters, {counts}")
    if resumed is None and ranks.is_first():
        save_latent(start, plan.out)
        runs.write_run("latent", asdict(plan) | {"steps": steps, "minutes": None}, plan.out)
    best = cast(LatentLearner, trainer.best_weights)
    kept = replace(start, denoiser=best.denoiser, codec=best.codec)
    if trainer.validation is not None:
        asked = prompts_of(corpus.validation.records, plan.answers)
        trainer.add_callback(Samples(kept, trainer.journal, notes, asked))

    def keep(found: Mapping[str, Any]) -> None:
        save_latent(replace(kept, metadata={**start.metadata, **found}), plan.out)

    runs.carry_out(trainer, "latent", plan.out, resumed=resumed, notes=notes, keep=keep)


def _trainer(
    plan: LatentPlan, start: LatentCheckpoint, material: Material, notes: Notes
) -> tuple[DiffusionTrainer, int]:
    """The denoiser's trainer, and its steps."""
    learner = LatentLearner(start.denoiser, start.codec)
    objective = plan.objective(start.process, start.codec)
    share = 1.0 if plan.model is None else 1 - DECODER_SHARE
    words, examples = start.vocabulary, material.examples
    steps = plan.steps or steps_of(plan, learner, objective, examples, words, share)
    half = Half(
        model=learner,
        objective=objective,
        folder=plan.out,
        steps=steps,
        validation=_validation(objective, material.held, words, plan),
    )
    return trainer_of(plan, half, examples, words, notes), steps


def _corpus(plan: LatentPlan, notes: Notes) -> Corpus:
    return read_corpus(
        [parse_source(text, max_line_bytes=plan.max_line_bytes) for text in plan.data],
        [parse_source(text, max_line_bytes=plan.max_line_bytes) for text in plan.valid or []],
        fraction=plan.valid_fraction,
        most=plan.valid_texts,
        skip_bad=notes.skips(plan.on_bad_line),
        seed=plan.seed,
        notes=notes,
    )


def _words(plan: LatentPlan, corpus: Corpus) -> Vocabulary:
    """The encoder's vocabulary, or one learnt from the texts."""
    if plan.model is None:
        records = [record for part in corpus.train for record in part.records]
        return learn_vocabulary(texts_of(records), size=plan.vocabulary)
    folder = locate(plan.model)
    body = read_body(folder)
    return vocabulary_of(read_tokenizer(folder), int(body.config.vocab_size))


def _material(plan: LatentPlan, corpus: Corpus, words: Vocabulary, notes: Notes) -> Material:
    longest = 2 * plan.slots
    parts = [encode_all(part, words, longest, notes) for part in corpus.train]
    held = encode_all(corpus.validation, words, longest, notes)
    notes.sum_up()
    examples, shares = mixed(corpus.sources, parts, parse_mix(plan.mix, corpus.sources), plan.seed)
    for one in shares:
        notes.say(f"{one.source}: {one.usable} usable, {one.drawn} in a pass ({one.share:.0%})")
    cut = sum(sum(example.trained) > plan.slots for example in examples)
    if cut:
        notes.say(f"{cut} of {len(examples)} texts are cut at {plan.slots} tokens: see --slots")
    records = (record for part in corpus.train for record in part.records)
    origin = {
        "title": "A latent text diffusion model",
        "data": plan.data,
        "seed": plan.seed,
        **({} if plan.model is None else {"base_model": plan.model}),
        **provenance(shares, notes=notes, cut=cut, held=len(held), mix=plan.mix),
    }
    return Material(
        examples=examples,
        held=held,
        paired=any(not isinstance(record, TextRecord) for record in records),
        origin=origin,
    )


def _new(plan: LatentPlan, words: Vocabulary, material: Material, notes: Notes) -> LatentCheckpoint:
    """An untrained denoiser over a codec that reads back what it encodes."""
    process = plan.process
    codec: EmbeddingCodec | EncoderCodec
    if plan.model is None:
        codec = EmbeddingCodec(size=words.size, width=plan.width, seed=plan.seed)
    else:
        codec = encoder_codec(plan, words, material.examples, material.held, notes)
    reading = plan.reading or ("cross" if material.paired else "none")
    sizes = ScoreSizes(
        width=codec.width,
        slots=plan.slots,
        hidden=plan.hidden,
        layers=plan.layers,
        heads=plan.heads,
        predicts=plan.predicts,
        reading=cast(Any, reading),
        hinted=plan.hinting > 0,
        dropout=plan.dropout,
    )
    denoiser = ScoreNetwork(sizes, path=process.path, seed=plan.seed)
    return LatentCheckpoint(denoiser=denoiser, codec=codec, vocabulary=words, process=process)


def _validation(
    objective: LatentObjective, held: Sequence[Example], words: Vocabulary, plan: LatentPlan
) -> Callable[[nn.Module], dict[str, float]] | None:
    """Error and words right at two levels of noise, always the same noise; None without texts."""
    if not held:
        return None
    lay, plain = layout(plan, words), replace(objective, hinting=0.0, dropping=0.0)

    def measure(model: nn.Module) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for level in _LEVELS:
            generator = torch.Generator().manual_seed(plan.seed)
            time = float(objective.process.time(torch.tensor(level, dtype=torch.float64)))
            right = total = error = 0.0
            for start in range(0, len(held), plan.batch):
                some = held[start : start + plan.batch]
                noised = plain.prepare(lay(some, generator), generator)
                noised = replace(noised, t=torch.full_like(noised.t, time))
                found = _errors(cast(LatentLearner, model), noised, objective, words.pad)
                right, total, error = right + found[0], total + found[1], error + found[2]
            numbers[f"error_at_{level:.0f}"] = error / len(held)
            numbers[f"right_at_{level:.0f}"] = right / max(1.0, total)
        return numbers

    return measure


def _errors(
    model: LatentLearner, noised: NoisedSlots, objective: LatentObjective, pad: int
) -> tuple[float, float, float]:
    """Words right, words, and the summed mean squared error of a batch."""
    noised = noised.to(next(model.parameters()).device)
    said = model(noised, objective.process)
    real = noised.ids != pad
    right = (model.codec.decode(said.x_hat).argmax(2) == noised.ids)[real]
    error = (said.x_0 - said.x_hat).square().mean((1, 2)).sum()
    return float(right.sum()), float(real.sum()), float(error)
