"""A discriminator of images as a scorer that is trained: CLIP's towers instead of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from sfumato.alignment.images.discriminator import ImageDiscriminator, new_discriminator
from sfumato.alignment.images.realness import ImageRealness, lay_seen, logits_of, real_first
from sfumato.alignment.images.records import ImageSet
from sfumato.alignment.scoring.learnt import Judged, SetLoss
from sfumato.models.storage import folders
from sfumato_apps.scoring.fitting import Kit
from sfumato_apps.scoring.options import Fitting


def sees_images(name: str | None) -> bool:
    """Whether a model looks at images: a CLIP.

    Raises:
        ModelError: there is no such model.
    """
    return (
        name is not None and folders.read_config(folders.locate(name)).get("model_type") == "clip"
    )


def image_kit(fitting: Fitting, *, loss: SetLoss) -> Kit:
    """CLIP with a network on top.

    Args:
        fitting: names the CLIP.
        loss: of logits and ranks.

    Raises:
        ModelError: it is broken.
    """
    judge = new_discriminator(folders.locate(fitting.model or ""), seed=fitting.seed)

    def judged(model: nn.Module, examples: Sequence[ImageSet]) -> Judged:
        return judged_images(cast(ImageDiscriminator, model), examples, batch_size=fitting.batch)

    return Kit(
        network=judge,
        objective=ImageRealness(loss=loss),
        encode=real_first,
        layout=lambda some: lay_seen(some, judge),
        judge=judged,
        keep=lambda model, out: cast(ImageDiscriminator, model).save(out),
        apart=True,
    )


@torch.no_grad()
def judged_images(
    judge: ImageDiscriminator, examples: Sequence[ImageSet], *, batch_size: int
) -> Judged:
    """Asks a discriminator about sets.

    Args:
        judge: the discriminator.
        examples: ranked sets, at least one.
        batch_size: sets judged side by side.
    """
    most = max(len(one.images) for one in examples)
    logits, ranks = torch.zeros(len(examples), most), torch.zeros(len(examples), most).long()
    for start in range(0, len(examples), batch_size):
        seen = lay_seen(examples[start : start + batch_size], judge)
        rows, wide = slice(start, start + len(seen.ranks)), seen.ranks.shape[1]
        logits[rows, :wide], ranks[rows, :wide] = logits_of(judge, seen).cpu(), seen.ranks.cpu()
    return Judged(logits=logits, ranks=ranks)
