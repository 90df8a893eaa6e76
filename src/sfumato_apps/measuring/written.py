"""A model's texts beside real ones: the report of `sfumato evaluate --model`."""

from __future__ import annotations

from sfumato.evaluation.perplexity import elbo
from sfumato.evaluation.records import Metric
from sfumato.evaluation.reporting.report import Report
from sfumato.evaluation.reporting.runs import Run
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.noise.times import Stratified
from sfumato.sampling.tasks import Policy, write
from sfumato.text.batching import encode
from sfumato_apps.measuring.texts import SHOWN, Gauge


def measure_model(
    model: Checkpoint | LatentCheckpoint,
    gauge: Gauge,
    *,
    policy: Policy,
    n: int,
    draws: int,
    length: int | None,
    max_length: int,
) -> Report:
    """Writes n texts and measures them beside n held-out ones.

    The bound on the likelihood is that of models of tokens; a latent model has none on text.

    Raises:
        DataError: the data hold no plain texts.
    """
    seed = gauge.seed
    chosen = gauge.held(n)
    samples = write(model, n=len(chosen), length=length, policy=policy, seed=seed)
    texts, real = [sample.text for sample in samples], [record.text for record in chosen]
    likelihood: tuple[Metric, ...] = ()
    if not isinstance(model, LatentCheckpoint):
        examples = [encode(record, model.vocabulary, max_length=max_length) for record in chosen]
        times = None if model.denoiser.time is None else Stratified()
        data = ", ".join(gauge.data)
        likelihood = elbo(model, examples, draws=draws, seed=seed, times=times, reference=data)
    written = (*likelihood, *gauge.surface(texts, seed), *gauge.nearness(texts, real))
    passes = sum(sample.passes for sample in samples) / len(samples)
    return Report(
        title="How the model writes",
        runs=(
            Run(
                label="real text",
                metrics=tuple(gauge.surface(real, None)),
                samples=tuple(real[:SHOWN]),
            ),
            Run(label="model", metrics=written, samples=tuple(texts[:SHOWN])),
        ),
        note=f"{len(chosen)} texts each, seed {seed}, {passes:.1f} forward passes a text, {policy}",
    )
