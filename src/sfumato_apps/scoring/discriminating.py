"""What `sfumato discriminator train` learns: which of several texts is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from torch import Tensor

from sfumato.alignment.images.records import ImageSet
from sfumato.alignment.rankings.sets import RankedRecord
from sfumato.alignment.rankings.sources import beside, read_answers, read_sources
from sfumato.alignment.scoring.discriminator import LABEL, LOSSES, LossName, figures
from sfumato.alignment.scoring.learnt import RewardObjective
from sfumato.errors import DataError, UsageError
from sfumato_apps.aligning.images import read_image_rows
from sfumato_apps.aligning.material import Encode, Rankings, read_rows, set_apart
from sfumato_apps.notes import Notes
from sfumato_apps.scoring.fitting import Task, fit, text_kit
from sfumato_apps.scoring.options import Fitting
from sfumato_apps.scoring.picturing import image_kit, sees_images


@dataclass(frozen=True, kw_only=True)
class DiscriminatorPlan:
    """The options of a run; what each means stands at `recipes.discriminator_train`."""

    out: Path
    data: list[str] | None
    real: list[str] | None
    generated: list[str] | None
    n: int
    loss: LossName
    fitting: Fitting


def follow(plan: DiscriminatorPlan) -> None:
    """Walks from real and generated texts to a discriminator, and says how often it is right.

    Raises:
        UsageError: neither sets nor texts of both kinds, or all of them.
        SfumatoError: see `fit`.
    """
    apart = (plan.real is not None, plan.generated is not None)
    if apart[0] != apart[1] or apart[0] == (plan.data is not None):
        raise UsageError("give --data SETS, or --real FILES and --generated FILES")
    given = {"data": plan.data, "real": plan.real, "generated": plan.generated}
    task = Task(
        command="discriminator train",
        out=plan.out,
        options={**given, "n": plan.n, "loss": plan.loss},
        kit=partial(text_kit, label=LABEL, objective=RewardObjective(loss=LOSSES[plan.loss])),
        read=partial(_read, plan),
        measure=_measure,
    )
    if sees_images(plan.fitting.model):
        if plan.data is None:
            raise UsageError(
                "images come as sets, as `sfumato candidates image` writes: give --data"
            )
        task = replace(task, kit=partial(image_kit, loss=LOSSES[plan.loss]))
    fit(task, plan.fitting)


def _read(plan: DiscriminatorPlan, encode: Encode, notes: Notes) -> Rankings:
    """The sets, each on one side of the split."""
    fitting = plan.fitting
    held = None if fitting.valid is None else _sets(plan, fitting.valid, notes)
    records = _together(plan, notes) if plan.data is None else _sets(plan, plan.data, notes)
    return set_apart(
        records,
        held,
        encode,
        fraction=fitting.valid_fraction,
        most=fitting.valid_texts,
        seed=fitting.seed,
        notes=notes,
        name=(plan.data or plan.real or [""])[0],
    )


def _sets(
    plan: DiscriminatorPlan, paths: list[str], notes: Notes
) -> Sequence[RankedRecord | ImageSet]:
    skip_bad = notes.skips(plan.fitting.on_bad_line)
    if sees_images(plan.fitting.model):
        return read_image_rows(paths, skip_bad=skip_bad, notes=notes)
    return read_rows(paths, read_sources, skip_bad=skip_bad, notes=notes)


def _together(plan: DiscriminatorPlan, notes: Notes) -> list[RankedRecord]:
    """Sets of real and generated texts that stand in files of their own."""
    skip_bad = notes.skips(plan.fitting.on_bad_line)
    real, generated = (
        [*chain(*read_rows(paths or [], read_answers, skip_bad=skip_bad, notes=notes))]
        for paths in (plan.real, plan.generated)
    )
    found = [*beside(real, generated, n=plan.n, seed=plan.fitting.seed)]
    if not found:
        raise DataError(
            f"{len(real)} real and {len(generated)} generated texts make no set of one real and "
            f"{plan.n} generated to the same prompt"
        )
    used = f"{len(found)} of {len(real)} real and {len(found) * plan.n} of {len(generated)}"
    notes.say(f"{used} generated texts in {len(found)} sets")
    return found


def _measure(logits: Tensor, ranks: Tensor) -> dict[str, float]:
    found = figures(logits, ranks, reference=None, settings={})
    return {metric.name: metric.value for metric in found}
