"""The walk of `sfumato latent`: codec, decoder, denoiser.

files ─► corpus ─► encoder, or a new vocabulary ─► codec ─► decoder ─► denoiser
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PrinterCallback
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from sfumato.models.latent.codecs import EmbeddingCodec, EncoderCodec, LatentDecoder
from sfumato.models.latent.score_network import ScoreNetwork, ScoreSizes
from sfumato.models.latent.storage import LatentCheckpoint, load_latent, read_body, save_latent
from sfumato.models.storage.folders import locate, read_tokenizer, vocabulary_of
from sfumato.noise import log_snr
from sfumato.noise.gaussian import Flow, GaussianProcess, Preserving
from sfumato.noise.times import EvenLogSnrs, EvenTimes, LevelSampler
from sfumato.text.batching import Example
from sfumato.text.corpora import parse_source
from sfumato.text.mixtures import parse_mix
from sfumato.text.records import TextRecord
from sfumato.text.slots import Slots, lay_slots
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary
from sfumato.training.latents import (
    DecoderObjective,
    LatentLearner,
    LatentObjective,
    MinSnr,
    clean_weighting,
    noise_weighting,
    velocity_weighting,
)
from sfumato.training.objectives import Learning
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks
from sfumato_apps import training_run as run
from sfumato_apps.notes import Notes, ProgressLines, Samples
from sfumato_apps.provenance import provenance
from sfumato_apps.reading import Corpus, encode_all, mixed, prompts_of, read_corpus, texts_of
from sfumato_apps.timing import steps_for

_SCHEDULES: dict[str, log_snr.LogSnr] = {
    "tangent": log_snr.Tangent(slope=9.0),
    "cosine": log_snr.Tangent(slope=1.0),
    "square-root": log_snr.SquareRoot(),
    "linear": log_snr.LinearBeta(),
    "flow": log_snr.Odds(),
}
_TIMES: dict[str, LevelSampler] = {"time": EvenTimes(), "log-snr": EvenLogSnrs()}
_WEIGHTINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "clean": clean_weighting,
    "noise": noise_weighting,
    "velocity": velocity_weighting,
    "min-snr": MinSnr(),
}
_DECODER_SHARE, _FITTED_ON = 1 / 6, 4096


@dataclass(frozen=True, kw_only=True)
class LatentPlan:
    """The options of a run; what each means stands at `recipes.latent`."""

    data: list[str]
    out: Path
    model: str | None
    layer: int
    mix: str | None
    valid: list[str] | None
    valid_fraction: float
    valid_texts: int
    minutes: float | None
    steps: int | None
    epochs: float
    decoder_steps: int | None
    batch: int
    accumulation: int
    learning_rate: float | None
    optimizer: str
    weight_decay: float
    average: float
    slots: int
    schedule: str | None
    predicts: str
    times: str
    weighting: str
    hinting: float
    dropping: float
    reading: str | None
    vocabulary: int
    width: int
    hidden: int
    layers: int
    heads: int
    dropout: float
    evaluate_every: int
    answers: int
    bf16: bool
    on_bad_line: str
    seed: int
    resume: bool

    @property
    def settings(self) -> dict[str, Any]:
        """The options as a preset holds them."""
        chosen = {n: v for n, v in asdict(self).items() if v is not None and n != "resume"}
        return {n: str(v) if isinstance(v, Path) else v for n, v in chosen.items()}

    @property
    def process(self) -> GaussianProcess:
        """The noise."""
        name = self.schedule or ("square-root" if self.model is None else "tangent")
        path = Flow() if name == "flow" else Preserving()
        return GaussianProcess(schedule=_SCHEDULES[name], path=path)


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
        SfumatoError: see the parts of `training_run`.
    """
    notes = Notes()
    if plan.bf16 and not is_torch_bf16_gpu_available():
        notes.say("no GPU with bfloat16 here: training in float32")
        plan = replace(plan, bf16=False)
    resumed = run.checkpoint_to_resume(plan.out, resume=plan.resume)
    corpus = _corpus(plan, notes)
    known = None if resumed is None else load_latent(plan.out)
    words = _words(plan, corpus) if known is None else known.vocabulary
    material = _material(plan, corpus, words, notes)
    start = known or _new(plan, words, material, notes)
    start = replace(start, metadata={**start.metadata, **material.origin})
    learner = LatentLearner(start.denoiser, start.codec)
    objective = LatentObjective(
        process=start.process,
        width=start.codec.width,
        times=_TIMES[plan.times],
        weighting=_WEIGHTINGS[plan.weighting],
        hinting=plan.hinting,
        dropping=plan.dropping,
    )
    share = 1.0 if plan.model is None else 1 - _DECODER_SHARE
    steps = plan.steps or _steps(plan, learner, objective, material.examples, words, share)
    validation = _validation(learner, objective, material.held, words, plan)
    trainer = _trainer(
        plan, plan.out, learner, objective, material, words, steps=steps, validation=validation
    )
    size = sum(parameter.numel() for parameter in start.denoiser.parameters()) / 1e6
    counts = f"{len(material.examples)} texts, {len(material.held)} held out, {steps} steps"
    notes.say(f"denoiser: {size:.1f}M parameters, {counts}")
    if resumed is None and ranks.is_first():
        save_latent(start, plan.out)
        run.write_run("latent", replace(plan, steps=steps, minutes=None).settings, plan.out)
    best = cast(LatentLearner, trainer.best_weights)
    kept = replace(start, denoiser=best.denoiser, codec=best.codec)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    if validation is not None:
        asked = prompts_of(corpus.validation.records, plan.answers)
        trainer.add_callback(Samples(kept, trainer.journal, notes, asked))
    run.carry_out(
        trainer,
        "latent",
        plan.out,
        resumed=resumed,
        notes=notes,
        keep=lambda origin: save_latent(
            replace(kept, metadata={**start.metadata, **origin}), plan.out
        ),
    )


def _corpus(plan: LatentPlan, notes: Notes) -> Corpus:
    return read_corpus(
        [parse_source(text) for text in plan.data],
        [parse_source(text) for text in plan.valid or []],
        fraction=plan.valid_fraction,
        most=plan.valid_texts,
        skip_bad=plan.on_bad_line == "skip",
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
    torch.manual_seed(plan.seed)
    process = plan.process
    codec: EmbeddingCodec | EncoderCodec
    if plan.model is None:
        codec = EmbeddingCodec(size=words.size, width=plan.width)
    else:
        codec = _encoder_codec(plan, words, material, notes)
    reading = plan.reading or ("cross" if material.paired else "none")
    sizes = ScoreSizes(
        width=codec.width,
        slots=plan.slots,
        hidden=plan.hidden,
        layers=plan.layers,
        heads=plan.heads,
        predicts=plan.predicts,
        reading=cast(Any, reading),
        dropout=plan.dropout,
    )
    denoiser = ScoreNetwork(sizes, path=process.path)
    return LatentCheckpoint(denoiser=denoiser, codec=codec, vocabulary=words, process=process)


def _encoder_codec(
    plan: LatentPlan, words: Vocabulary, material: Material, notes: Notes
) -> EncoderCodec:
    """A frozen encoder, its statistics, and a decoder that was trained on noisy vectors."""
    body = read_body(locate(str(plan.model)))
    said = {token for example in material.examples for token in example.ids}
    decoder = LatentDecoder(
        width=int(body.config.hidden_size),
        kept=said | {words.pad, words.eos},
        size=words.size,
        slots=plan.slots,
        hidden=plan.hidden,
        heads=plan.heads,
    )
    codec = EncoderCodec(body, decoder, pad=words.pad, layer=plan.layer)
    lay = _layout(plan, words)
    rows = material.examples[:_FITTED_ON]
    batches = (rows[i : i + plan.batch] for i in range(0, len(rows), plan.batch))
    special = [words.pad, words.eos, *([] if words.bos is None else [words.bos])]
    codec.fit((lay(one, torch.Generator()).ids for one in batches), special=torch.tensor(special))
    objective = DecoderObjective(process=plan.process, codec=codec)
    steps = plan.decoder_steps
    if steps is None and plan.minutes is not None:
        steps = _steps(plan, decoder, objective, material.examples, words, _DECODER_SHARE)
    elif steps is None:
        steps = max(1, (plan.steps or round(plan.epochs * len(rows) / plan.batch)) // 5)
    notes.say(f"decoder: {len(decoder.kept)} tokens, {steps} steps")
    folder = plan.out / "decoder"
    trainer = _trainer(plan, folder, decoder, objective, material, words, steps=steps)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines(notes))
    trainer.train()
    right = _read_back(codec, material.held or material.examples[:500], lay)
    notes.say(f"decoder: reads {right:.1%} of held-out tokens back")
    return codec


def _read_back(codec: EncoderCodec, examples: Sequence[Example], lay: _Lay) -> float:
    """Share of tokens that come back from their own vectors."""
    right = total = 0
    with torch.no_grad():
        for start in range(0, len(examples), 64):
            ids = lay(examples[start : start + 64], torch.Generator()).ids
            real = ids != codec.pad
            found = codec.decode(codec.encode(ids, torch.ones_like(real))).argmax(2)
            right, total = right + int((found == ids)[real].sum()), total + int(real.sum())
    return right / max(1, total)


_Lay = Callable[[Sequence[Example], torch.Generator], Slots]


def _layout(plan: LatentPlan, words: Vocabulary) -> _Lay:
    def lay(examples: Sequence[Example], generator: torch.Generator) -> Slots:
        return lay_slots(examples, slots=plan.slots, pad=words.pad)

    return lay


def _steps(
    plan: LatentPlan,
    model: nn.Module,
    objective: Learning,
    examples: Sequence[Example],
    words: Vocabulary,
    share: float,
) -> int:
    rows = plan.batch * plan.accumulation
    if plan.minutes is None:
        return max(1, round(plan.epochs * len(examples) / (rows * ranks.count())))
    lay, muon = _layout(plan, words), plan.optimizer == "muon"
    minutes = share * plan.minutes
    return ranks.agreed(
        steps_for(minutes, model, objective, lay, examples, rows=rows, bf16=plan.bf16, muon=muon)
    )


def _trainer(
    plan: LatentPlan,
    folder: Path,
    model: nn.Module,
    objective: Learning,
    material: Material,
    words: Vocabulary,
    *,
    steps: int,
    validation: Callable[[nn.Module], dict[str, float]] | None = None,
) -> DiffusionTrainer:
    muon = plan.optimizer == "muon"
    return DiffusionTrainer(
        model,
        objective=objective,
        examples=material.examples,
        compose=_layout(plan, words),
        args=run.arguments(
            folder,
            steps=steps,
            batch=plan.batch,
            accumulation=plan.accumulation,
            learning_rate=plan.learning_rate or (1e-2 if muon else 2e-4),
            weight_decay=plan.weight_decay,
            evaluate_every=plan.evaluate_every,
            bf16=plan.bf16,
            seed=plan.seed,
            validate=validation is not None,
        ),
        muon=muon,
        decay=plan.average if validation is not None else 0.0,
        validation=validation,
    )


def _validation(
    learner: LatentLearner,
    objective: LatentObjective,
    held: Sequence[Example],
    words: Vocabulary,
    plan: LatentPlan,
) -> Callable[[nn.Module], dict[str, float]] | None:
    """Error and words right at three levels of noise, always the same ones; None without texts."""
    if not held:
        return None
    lay = _layout(plan, words)

    def measure(model: nn.Module) -> dict[str, float]:
        current = cast(LatentLearner, model)
        numbers: dict[str, float] = {}
        for level in (-2.0, 0.0):
            generator = torch.Generator().manual_seed(plan.seed)
            time = float(objective.process.time(torch.tensor(level, dtype=torch.float64)))
            right = total = error = 0.0
            for start in range(0, len(held), plan.batch):
                some = held[start : start + plan.batch]
                noised = replace(objective, hinting=0.0, dropping=0.0).prepare(
                    lay(some, generator), generator
                )
                noised = replace(noised, t=torch.full_like(noised.t, time))
                noised = noised.to(next(model.parameters()).device)
                x_0, x_hat = current(noised, objective.process)
                real = noised.ids != words.pad
                found = current.codec.decode(x_hat).argmax(2)
                right += float((found == noised.ids)[real].sum())
                total += float(real.sum())
                error += float((x_0 - x_hat).square().mean()) * len(some)
            numbers[f"error_at_{level:.0f}"] = error / len(held)
            numbers[f"right_at_{level:.0f}"] = right / max(1.0, total)
        return numbers

    return measure
