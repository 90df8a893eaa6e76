"""Which pace keeps a target on validation records: the table and the file of `sfumato tune`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sfumato.errors import UsageError
from sfumato.evaluation.resampling import Interval, bootstrap, pooled
from sfumato.evaluation.tuning.choice import Choice, Trial, agreement, choose, quality
from sfumato.evaluation.tuning.context import same_tokens
from sfumato.evaluation.tuning.openings import openings
from sfumato.evaluation.tuning.paces import Pace, paces
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.protocols import Scorer
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import FrozenContext
from sfumato.sampling.tasks.writing import BLOCK
from sfumato.text.corpora import mix, parse_source
from sfumato.text.records import InfillRecord, Record
from sfumato_apps.choices import Decoding
from sfumato_apps.fingerprints import digest_of_model
from sfumato_apps.policies import policy_of, settings_of


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a pace has to keep, and how sure that must be.

    Attributes:
        target: the least share.
        level: chance that the chosen pace truly reaches it.
        scorer: what the share is of; None for the tokens that careful writing writes.
        seed: of the first text and of the bootstrap.
        guidances: scales of guidance to try beside the policy's own; they need a scorer.
    """

    target: float
    level: float
    scorer: Scorer | None
    seed: int
    guidances: Sequence[float] = ()


def records_of(data: Sequence[str], *, n: int, seed: int) -> list[Record]:
    """As many records of the data as asked for, by chance; or all.

    Raises:
        UsageError: n is less than 2.
    """
    if n < 2:
        raise UsageError(f"--n must be at least 2, got {n}")
    records = [*mix([parse_source(text) for text in data], seed)]
    return random.Random(seed).sample(records, min(n, len(records)))


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What was found.

    Attributes:
        choice: the pace.
        options: that it was tuned with.
        context: how the text around is read; None if all is read at every pass.
        same: share of the tokens that are those of reading all, with its interval; None if all is
            read.
    """

    choice: Choice
    options: Mapping[str, Any]
    context: FrozenContext | None = None
    same: tuple[float, Interval] | None = None


def tuned(
    model: Checkpoint | LatentCheckpoint,
    records: Sequence[Record],
    goal: Goal,
    *,
    decoding: Decoding,
    guidance: float | None = None,
    length: int | None = None,
) -> Tuned:
    """The pace for a model, tried on records, and what a frozen context changes at that pace.

    Text between other text is written on the whole canvas, other text in blocks, as the commands
    that write do.

    Raises:
        UsageError: options that choose a pace, or a model that does not write token by token.
    """
    if (decoding.steps, decoding.threshold, decoding.tuned) != (None, None, None):
        raise UsageError("sfumato tune finds a pace: drop --steps, --threshold and --tuned")
    between = all(isinstance(record, InfillRecord) for record in records)
    policy = policy_of(model, decoding, guidance=guidance, block=0 if between else BLOCK)
    if not isinstance(policy, DecodingPolicy) or isinstance(model, LatentCheckpoint):
        raise UsageError(
            "sfumato tune: only for models of masked noise, which write token by token"
        )
    context = policy.context
    among, policy = paces(policy.order, goal.guidances), replace(policy, context=None)
    rows = openings(model, records, length=length, seed=goal.seed)
    attempt = (
        agreement(model, rows, policy, among)
        if goal.scorer is None
        else quality(model, rows, policy, among, measure=goal.scorer)
    )
    choice = choose(attempt, among, target=goal.target, level=goal.level, seed=goal.seed)
    paced = choice.pace.of(policy)
    options = settings_of(paced)
    if context is None:
        return Tuned(choice=choice, options=options)
    frozen = replace(paced, context=context)
    parts = same_tokens(model, rows, frozen)
    interval = bootstrap(parts, level=goal.level, seed=goal.seed)
    same = pooled(parts), interval
    return Tuned(choice=choice, options=options, context=context, same=same)


def as_json(tuned: Tuned, goal: Goal, *, model: str | None, texts: int) -> dict[str, object]:
    """What was found; `--tuned` reads the `pace`, the `context`, the `options` and the `model`.

    Args:
        tuned: what was found.
        goal: what has to be kept.
        model: folder or hub name of what was tuned; the shipped model if None.
        texts: how many it was tried on.
    """
    choice = tuned.choice
    found: dict[str, object] = {"pace": choice.pace.as_json(), "target": goal.target}
    kept = next((one for one in choice.trials if one.pace == choice.pace), None)
    share = {} if kept is None else {"kept": kept.share, "at_least": kept.interval.low}
    passes = {"passes": choice.passes, "careful_passes": choice.careful}
    rest = {"level": goal.level, "texts": texts, "seed": goal.seed}
    named = {"name": model, "sha256": digest_of_model(model)}
    more: dict[str, object] = {"model": named, "options": tuned.options}
    if tuned.context is not None and tuned.same is not None:
        same, interval = tuned.same
        how = {"refresh": tuned.context.refresh or 0, "reach": tuned.context.reach}
        more["context"] = {**how, "same": same, "same_at_least": interval.low}
    return {**found, **share, **passes, **rest, **more}


def table(tuned: Tuned) -> str:
    """What was tried, for the eye: share with interval, passes, and how many times fewer."""
    choice = tuned.choice
    head = ("pace", "kept", "interval", "passes", "fewer", "")
    rows = [head, *(_row(one, choice) for one in choice.trials)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if choice.passes >= choice.careful:
        lines.append("no pace is sure to reach the target: one token a pass")
    if tuned.context is not None and tuned.same is not None:
        same, interval = tuned.same
        often = f"every {tuned.context.refresh} passes" if tuned.context.refresh else "once"
        lines.append(
            f"the text around read {often}: {same:.4f} ({interval.low:.4f} … {interval.high:.4f}) "
            "of the tokens are those of reading it at every pass"
        )
    return "\n".join(lines)


def _row(one: Trial, choice: Choice) -> tuple[str, ...]:
    mark = "chosen" if one.pace == choice.pace else "" if one.passed else "misses the target"
    return (
        _name(one.pace),
        f"{one.share:.4f}",
        f"{one.interval.low:.4f} … {one.interval.high:.4f}",
        f"{one.passes:.1f}",
        f"{choice.careful / one.passes:.2f}×",
        mark,
    )


def _name(pace: Pace) -> str:
    """The quota with its number, and a guidance of its own."""
    return repr(pace.quota) + ("" if pace.guidance is None else f", guidance {pace.guidance:g}")
