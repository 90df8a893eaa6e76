"""One walk for `sfumato train` and `sfumato convert`.

    files ─► corpus ─► model ─► examples, mixed ─► objective, steps ─► trainer ─► folder
                        │
                        └─ train: a new one, or an encoder; convert: an encoder that the probe likes

What the two share stands here once: a conversion is a training that starts from an encoder, asks
the probe first and leaves out what only concerns models from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from sfumato.models.checkpoints import Checkpoint
from sfumato.text.batching import Example
from sfumato.text.corpora import parse_source
from sfumato.text.mixtures import draw, parse_mix
from sfumato.text.records import Record
from sfumato.training.trainer import DiffusionTrainer
from sfumato_apps import ranks, runs
from sfumato_apps import training_run as run
from sfumato_apps.conversion import check_convertible, foreign_languages, licence_of
from sfumato_apps.memory import memory_of
from sfumato_apps.notes import Notes, Prompt
from sfumato_apps.plan import Plan
from sfumato_apps.provenance import provenance
from sfumato_apps.reading import (
    Corpus,
    answers_of,
    canvas_lengths,
    cut_short,
    encode_all,
    holds_dialogues,
    mixed,
    prompts_of,
    read_corpus,
)
from sfumato_apps.timing import steps_for

_OFTEN = 4.0
_WORTH_SAYING = 2**30


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run trains on and is measured by.

    Attributes:
        examples: one pass over the mixture.
        held: held-out examples.
        prompts: of held-out records, to be answered at each validation.
        origin: where all of it comes from, for the card.
    """

    examples: list[Example]
    held: list[Example]
    prompts: list[Prompt]
    origin: Mapping[str, Any]


def follow(plan: Plan) -> None:
    """Walks from files to a trained model.

    Raises:
        SfumatoError: see the parts of `training_run`.
    """
    notes = Notes()
    plan = replace(plan, bf16=runs.bf16_helps(wanted=plan.bf16, notes=notes))
    resumed = runs.checkpoint_to_resume(plan.out, resume=plan.resume, notes=notes)
    sources = [parse_source(text, max_line_bytes=plan.max_line_bytes) for text in plan.data]
    parse_mix(plan.mix, sources)  # a mistake in it should not wait until everything is read
    corpus = read_corpus(
        sources,
        [parse_source(text, max_line_bytes=plan.max_line_bytes) for text in plan.valid or []],
        fraction=plan.valid_fraction,
        most=plan.valid_texts,
        skip_bad=notes.skips(plan.on_bad_line),
        seed=plan.seed,
        notes=notes,
    )
    start = _start(plan, corpus, resumed, notes)
    material = _material(plan, corpus, start, notes)
    start = replace(start, metadata={**start.metadata, **material.origin})
    trainer, steps = _trainer(plan, start, material)
    _announce(plan, start, material, steps, notes)
    if resumed is None and ranks.is_first():
        settings = replace(plan, steps=steps, minutes=None).settings
        run.begin(start, plan.recipe, settings, plan.out)
    run.run(
        trainer,
        start,
        plan.out,
        held=material.held,
        prompts=material.prompts,
        recipe=plan.recipe,
        resumed=resumed,
        notes=notes,
    )


def _announce(plan: Plan, start: Checkpoint, material: Material, steps: int, notes: Notes) -> None:
    size = sum(parameter.numel() for parameter in start.denoiser.parameters()) / 1e6
    counts = f"{len(material.examples)} texts, {len(material.held)} held out, {steps} steps"
    notes.say(f"{size:.1f}M parameters, {counts}")
    length = plan.max_length + plan.slack
    memory = memory_of(
        start.denoiser, batch=plan.batch, length=length, bf16=plan.bf16, averaged=plan.average > 0
    )
    if memory.total > _WORTH_SAYING:
        notes.say(f"memory a device, about: {memory}")


def _start(plan: Plan, corpus: Corpus, resumed: Path | None, notes: Notes) -> Checkpoint:
    """The model that training starts from, or goes on with."""
    if resumed is not None:
        return run.existing_model(str(plan.out), noise=plan.noise, lora=plan.lora, seed=plan.seed)
    if plan.model is None:
        sizes = {
            "width": plan.width,
            "layers": plan.layers,
            "heads": plan.heads,
            "dropout": plan.dropout,
            "max_length": plan.max_length + plan.slack,
        }
        return run.new_model(
            _records(plan, corpus),
            noise=plan.noise,
            size=plan.vocabulary,
            sizes=sizes,
            architecture=plan.architecture,
            seed=plan.seed,
        )
    learnt = answers_of(corpus.train)
    origin: dict[str, Any] = {
        "title": f"{plan.model.rstrip('/').rsplit('/', 1)[-1]}, turned into a model that writes",
        "licence": licence_of(plan.model),
        "base_model": plan.model,
    }
    if not plan.probed:
        start = run.existing_model(plan.model, noise=plan.noise, lora=plan.lora, seed=plan.seed)
        return replace(start, metadata=origin)
    report = check_convertible(plan.model, learnt, plan.probed, force=plan.force, seed=plan.seed)
    notes.say(report.summary)
    start = run.existing_model(plan.model, noise=plan.noise, lora=plan.lora, seed=plan.seed)
    foreign = {}
    if report.convertible:
        foreign = foreign_languages(start, learnt, plan.probed, seed=plan.seed)
    for language, why in foreign.items():
        notes.say(f"but it does not know the texts in {language!r}: {why}")
    verdict = {**report.as_json(), "summary": report.summary, "foreign_languages": foreign}
    return replace(start, metadata={**origin, "probe": verdict})


def _records(plan: Plan, corpus: Corpus) -> list[Record]:
    """What a vocabulary is learnt from: the mixture, before anything can be encoded."""
    names = [source.path for source in corpus.sources]
    parts = [part.records for part in corpus.train]
    drawn = draw(parts, parse_mix(plan.mix, corpus.sources), names=names, seed=plan.seed)
    return list(chain.from_iterable(drawn))


def _material(plan: Plan, corpus: Corpus, start: Checkpoint, notes: Notes) -> Material:
    """Encodes and mixes; says what was skipped and what is repeated."""
    words = start.vocabulary
    parts = [encode_all(part, words, plan.max_length, notes) for part in corpus.train]
    held = encode_all(corpus.validation, words, plan.max_length, notes)
    notes.sum_up()
    mix = parse_mix(plan.mix, corpus.sources)
    examples, shares = mixed(corpus.sources, parts, mix, plan.seed)
    for share in shares:
        times = share.drawn / share.usable
        often = f", each {times:.1f} times: that many repeats teach by heart" * (times > _OFTEN)
        counts = f"{share.usable} usable, {share.drawn} in a pass ({share.share:.0%}){often}"
        notes.say(f"{share.source}: {counts}")
    cut = cut_short(examples, words)
    if cut:
        notes.say(f"{cut} of {len(examples)} texts are cut at {plan.max_length} tokens")
    origin = {
        "data": plan.data,
        "seed": plan.seed,
        "dialogues": holds_dialogues(corpus),
        **canvas_lengths(examples, plan.slack),
        **provenance(shares, notes=notes, cut=cut, held=len(held), mix=plan.mix),
    }
    prompts = prompts_of(corpus.validation.records, plan.answers)
    return Material(examples=examples, held=held, prompts=prompts, origin=origin)


def _trainer(plan: Plan, start: Checkpoint, material: Material) -> tuple[DiffusionTrainer, int]:
    lay = run.layout_of(
        start.vocabulary, slack=plan.slack, holes=plan.holes, answer_holes=plan.answer_holes
    )
    objective = run.objective_of(
        start, noise=plan.noise, times=plan.times, weighting=plan.weighting
    )
    examples, rows = material.examples, plan.batch * plan.accumulation
    steps = plan.steps
    if plan.minutes is not None:
        parts = (start.denoiser, objective, lay, examples)
        steps = ranks.agreed(
            steps_for(plan.minutes, *parts, rows=rows, bf16=plan.bf16, muon=plan.muon)
        )
    elif steps is None:
        steps = max(1, round(plan.epochs * len(examples) / (rows * ranks.count())))
    trainer = DiffusionTrainer(
        start.denoiser,
        objective=objective,
        examples=examples,
        compose=lay,
        args=run.arguments(
            plan.out,
            steps=steps,
            batch=plan.batch,
            accumulation=plan.accumulation,
            learning_rate=plan.learning_rate or (1e-2 if plan.scratch else 1e-4),
            weight_decay=plan.weight_decay,
            evaluate_every=plan.evaluate_every,
            bf16=plan.bf16,
            seed=plan.seed,
            validate=bool(material.held),
        ),
        muon=plan.muon,
        decay=plan.average,
        max_nonfinite=plan.max_nonfinite,
        validation=run.validation_of(start, material.held, plan.seed),
    )
    return trainer, steps
