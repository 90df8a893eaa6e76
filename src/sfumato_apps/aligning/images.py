"""The walk of `sfumato align image`: a pipeline of diffusers instead of a text model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn

from sfumato.alignment.images.discriminator import Adversary, open_discriminator
from sfumato.alignment.images.likelihood import ImageErrors, lay_images
from sfumato.alignment.images.pipelines import ImageModel, open_images
from sfumato.alignment.images.records import ImageSet, read_images
from sfumato.errors import UnusableError, UsageError
from sfumato.models.lora import add_lora, merged
from sfumato.models.storage import folders
from sfumato_apps import ranks, runs
from sfumato_apps.aligning.families import ABOUT, Aligned
from sfumato_apps.aligning.material import read_rows, set_apart
from sfumato_apps.aligning.plan import ImagePlan, method_of
from sfumato_apps.aligning.walk import learn
from sfumato_apps.notes import Notes

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def follow(plan: ImagePlan) -> None:
    """Walks from ranked images to an aligned pipeline.

    Raises:
        SfumatoError: see `runs`, `read_images`, `open_images` and `open_discriminator`.
    """
    if not plan.adversarial >= 0:
        raise UsageError(f"expected --adversarial ≥ 0, got {plan.adversarial}")
    notes, learning = Notes(), plan.learning
    device = PartialState(cpu=ranks.share_cpus()).device
    resumed = runs.checkpoint_to_resume(plan.out, resume=learning.resume, notes=notes)
    model = open_images(plan.pipeline, device=device)
    judge = _adversary(plan, model, device)
    opened = _opened(plan, model, judge)
    found = set_apart(
        read_image_rows(
            plan.data, skip_bad=notes.skips(learning.on_bad_line), notes=notes, most=plan.most
        ),
        read_image_rows(learning.valid, skip_bad=False, notes=notes) if learning.valid else None,
        opened.encode,
        fraction=learning.valid_fraction,
        most=learning.valid_texts,
        seed=learning.seed,
        notes=notes,
        name=plan.data[0],
    )
    learn(plan, "align image", opened, found, resumed=resumed, notes=notes, regulariser=judge)


def read_image_rows(
    paths: Sequence[str], *, skip_bad: bool, notes: Notes, most: int | None = None
) -> list[ImageSet]:
    """Sets of images; paths in a file are relative to its folder.

    Args:
        paths: the files.
        skip_bad: skip rows that cannot be read, instead of stopping.
        notes: is told what was skipped.
        most: rows of each file; all if None.

    Raises:
        DataError: a bad row.
    """
    found = []
    for path in paths:
        form = partial(read_images, folder=Path(path).parent)
        found += read_rows([path], form, skip_bad=skip_bad, notes=notes, most=most)
    return found


def _adversary(plan: ImagePlan, model: ImageModel, device: torch.device) -> Adversary | None:
    """What images shall look real to."""
    if plan.adversary is None:
        return None
    judge = open_discriminator(folders.locate(plan.adversary), device=device)
    return Adversary(model=model, judge=judge.requires_grad_(False), weight=plan.adversarial)


def _opened(plan: ImagePlan, model: ImageModel, adversary: Adversary | None) -> Aligned:
    """The pipeline as the walk takes it; only its network is trained."""
    pipeline, learning = model.pipeline, plan.learning
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(part is model.network and not learning.lora)
    if learning.lora:
        add_lora(model.network, _ATTENTION, rank=learning.lora, seed=learning.seed)

    def keep(network: nn.Module, out: Path, about: Mapping[str, Any]) -> None:
        was, pipeline.unet = pipeline.unet, merged(network)
        with folders.quiet():
            pipeline.save_pretrained(out)
        pipeline.unet = was
        (out / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=2))

    steps = None if plan.timesteps is None else tuple(plan.timesteps)
    errors = ImageErrors(model=model, draws=method_of(learning).draws, timesteps=steps)
    describe = None if adversary is None else adversary.judge.describe
    return Aligned(
        network=model.network,
        estimator=errors,
        bound=errors,
        encode=_ranked,
        layout=partial(lay_images, model=model, describe=describe),
        keep=keep,
        about={},
        apart=True,
    )


def _ranked(record: ImageSet) -> ImageSet:
    if not record.ranked:
        raise UnusableError(
            "no image is better than another", reason="no order", place=record.origin
        )
    return record
