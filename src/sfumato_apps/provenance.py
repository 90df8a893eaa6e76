"""What a model's card says of where it comes from: data, probe, quality by language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sfumato.evaluation.perplexity import elbo_by_group
from sfumato.evaluation.records import Metric, measured
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.storage.durable import digest_of
from sfumato.noise.times import Stratified
from sfumato.text.batching import Example
from sfumato_apps.notes import Notes
from sfumato_apps.reading import Share, languages_of

_DRAWS = 4


def provenance(
    shares: Sequence[Share], *, notes: Notes, cut: int, held: int, mix: str | None
) -> dict[str, Any]:
    """The origin of the data as JSON: sources with counts, shares and hashes; what was skipped."""
    return {
        "mix": mix,
        "sources": [{**asdict(share), **_hash(share.source)} for share in shares],
        "skipped": notes.as_json(),
        "cut_short": cut,
        "held_out": held,
    }


def _hash(source: str) -> dict[str, str]:
    path = Path(source)
    return {"sha256": digest_of(path)} if path.is_file() else {}


def quality_of(
    model: Checkpoint, held: Sequence[Example], *, seed: int
) -> dict[str, tuple[Metric, ...]]:
    """The likelihood bound on held-out texts by language, the most frequent language first."""
    times = None if model.denoiser.time is None else Stratified()
    device = next(model.denoiser.parameters()).device
    return elbo_by_group(
        model,
        held,
        languages_of(held, model.vocabulary),
        draws=_DRAWS,
        seed=seed,
        times=times,
        device=device,
        reference="held-out texts",
    )


def quality_json(quality: Mapping[str, tuple[Metric, ...]]) -> dict[str, dict[str, Any]]:
    """Every number with its n and its standard error, by language and name."""
    return {
        language: {
            metric.name: {"value": metric.value, "stderr": metric.stderr, "n": metric.n}
            for metric in metrics
        }
        for language, metrics in quality.items()
    }


def quality_lines(quality: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The same for people, a line a language."""
    lines = []
    for language, numbers in quality.items():
        shown = "  ".join(
            f"{name.removeprefix('elbo_')} {measured(found['value'], found['stderr'])}"
            for name, found in numbers.items()
        )
        texts = next(iter(numbers.values()))["n"]
        lines.append(f"{language}  n {texts}  {shown}")
    return lines


def about(metadata: Mapping[str, Any]) -> str:
    """The description of the card, in Markdown."""
    parts = []
    if base := metadata.get("base_model"):
        parts.append(f"Converted from {base} by training on the mixture below.")
    if verdict := metadata.get("probe"):
        parts.append(f"Before training: {verdict['summary']}.")
    if sources := metadata.get("sources"):
        parts.append(_table(_SOURCES, map(_source_row, sources)))
        parts.append(_left_out(metadata))
    if quality := metadata.get("quality"):
        parts.append(
            "Bound on the likelihood of held-out texts, by their language (recognised by script "
            "and function words; und: not recognised), value ± standard error:"
        )
        parts.append(_table(_QUALITY, (_quality_row(*item) for item in quality.items())))
    return "\n\n".join(parts)


_SOURCES = ("source", "usable records", "seen in a pass", "share of records", "of trained tokens")
_QUALITY = ("language", "texts", "nats per token", "bits per byte")


def _source_row(source: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"`{source['source']}`",
        str(source["usable"]),
        str(source["drawn"]),
        f"{source['share']:.1%}",
        f"{source['token_share']:.1%}",
    )


def _quality_row(language: str, numbers: Mapping[str, Any]) -> tuple[str, ...]:
    cells = [
        measured(numbers[name]["value"], numbers[name]["stderr"]) if name in numbers else "–"
        for name in ("elbo_nats_per_token", "elbo_bits_per_byte")
    ]
    return language, str(next(iter(numbers.values()))["n"]), *cells


def _left_out(metadata: Mapping[str, Any]) -> str:
    lines = [
        f"- {reason}: {found['records']}, the first at {found['first']}"
        for reason, found in metadata["skipped"].items()
    ]
    skipped = "\n".join(["Records that were skipped:", "", *lines])
    skipped = skipped if lines else "No record was skipped."
    cut = metadata["cut_short"]
    return f"{skipped}\n\nAnswers cut at the longest length, without their end: {cut}."


def _table(header: Sequence[str], rows: Any) -> str:  # noqa: ANN401
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
