"""How much of a text a frozen context leaves as it would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sfumato.evaluation.records import Parts
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.tasks.jobs import How, Model, Row, run
from sfumato.sampling.trace import Sample


def same_tokens(
    model: Model, rows: Sequence[Row], policy: DecodingPolicy, *, batch_size: int = 16
) -> Parts:
    """The share of slots that get the token which they get when all is read at every pass.

    Both are written from nothing, at temperature 0, so a token that differs early may change those
    after it. A slot that stays empty either way does not count.

    Args:
        model: a checkpoint of masked noise.
        rows: what to write.
        policy: with a frozen context.
        batch_size: rows written side by side.

    Returns:
        what each row adds to the share, a ratio.
    """
    frozen = replace(policy, tokens=TokenSampler(temperature=0.0))
    exact = replace(frozen, context=None)
    found = [run(model, rows, How(policy=one, batch_size=batch_size)) for one in (exact, frozen)]
    pad = model.vocabulary.pad
    pairs = [_compared(one, other, pad) for one, other in zip(*found, strict=True)]
    same, slots = zip(*pairs, strict=True)
    return Parts(pool="ratio", columns=(same, slots))


def _compared(one: Sample, other: Sample, pad: int) -> tuple[float, float]:
    """Slots with the same token, and slots in all."""
    written = [
        (mine, theirs)
        for mine, theirs, step in zip(
            one.trajectory.ids, other.trajectory.ids, one.trajectory.commit_step, strict=True
        )
        if step >= 0 and (mine, theirs) != (pad, pad)
    ]
    return float(sum(mine == theirs for mine, theirs in written)), float(len(written))
