"""A model's texts beside real ones: the report of `sfumato evaluate`."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sfumato.errors import DataError
from sfumato.evaluation.diversity import distinct_n, div, unigram_entropy
from sfumato.evaluation.loops import loop_place, loop_rate
from sfumato.evaluation.perplexity import causal_perplexity, elbo
from sfumato.evaluation.records import Metric
from sfumato.evaluation.reporting.report import Report
from sfumato.evaluation.reporting.runs import Run
from sfumato.models.checkpoints import Checkpoint
from sfumato.noise.times import Stratified
from sfumato.sampling.tasks import Policy, write
from sfumato.text.batching import encode
from sfumato.text.corpora import mix, parse_source
from sfumato.text.records import TextRecord

_SHOWN = 8


def compare(
    model: Checkpoint,
    data: Sequence[str],
    *,
    policy: Policy,
    judge: str | None,
    n: int,
    draws: int,
    length: int | None,
    max_length: int,
    seed: int,
) -> Report:
    """Writes n texts and measures them beside n held-out ones.

    Raises:
        DataError: the data hold no plain texts.
    """
    records = mix([parse_source(text) for text in data], seed)
    held = [record for record in records if isinstance(record, TextRecord)]
    if not held:
        raise DataError(f"{', '.join(data)}: expected plain texts to compare with, found none")
    chosen = random.Random(seed).sample(held, min(n, len(held)))
    samples = write(model, n=len(chosen), length=length, policy=policy, seed=seed)
    texts = [sample.text for sample in samples]
    examples = [encode(record, model.vocabulary, max_length=max_length) for record in chosen]
    times = None if model.denoiser.time is None else Stratified()
    likelihood = elbo(
        model, examples, draws=draws, seed=seed, times=times, reference=", ".join(data)
    )
    written = (*likelihood, *surface(texts, judge, seed))
    real = surface([record.text for record in chosen], judge, None)
    passes = sum(sample.passes for sample in samples) / len(samples)
    return Report(
        title="How the model writes",
        runs=(
            Run(label="real text", metrics=real, samples=tuple(r.text for r in chosen[:_SHOWN])),
            Run(label="model", metrics=written, samples=tuple(texts[:_SHOWN])),
        ),
        note=f"{len(chosen)} texts each, seed {seed}, {passes:.1f} forward passes a text, {policy}",
    )


def surface(texts: Sequence[str], judge: str | None, seed: int | None) -> tuple[Metric, ...]:
    """What can be said of texts alone: diversity, entropy, loops, and a judge's perplexity."""
    metrics = [
        div(texts, seed=seed),
        distinct_n(texts, 2, seed=seed),
        unigram_entropy(texts, seed=seed),
        loop_rate(texts, seed=seed),
    ]
    place = loop_place(texts, seed=seed)
    metrics += [place] if place is not None else []
    filled = [text for text in texts if text.strip()]
    if judge is not None and filled:
        metrics += causal_perplexity(judge, filled, seed=seed)
    return tuple(metrics)
