"""A discriminator of images learns from sets of real and generated ones.

The losses are those of `scoring.discriminator`; here is what a set of images is as a batch.

Legend of shapes: `B` sets, `N` images, `S` pixels a side, `L` tokens of a caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sfumato.alignment.images.discriminator import ImageDiscriminator
from sfumato.alignment.images.records import ImageSet, pixels
from sfumato.alignment.learning.likelihood import placed
from sfumato.alignment.rankings.sources import REAL
from sfumato.alignment.scoring.learnt import SetLoss
from sfumato.errors import UnusableError
from sfumato.training.objectives import cut, moved


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenSets:
    """Sets of images as a discriminator sees them; those with fewer are filled up.

    Attributes:
        images: values from −1 to 1, *shape* `B N 3 S S`.
        ids: of the captions, *shape* `B L`.
        attend: which of their tokens exist, *shape* `B L`.
        ranks: 1 for the real or the best, 0 for an absent image, *shape* `B N`.
    """

    images: Float[Tensor, "B N 3 S S"]
    ids: Int[Tensor, "B L"]
    attend: Int[Tensor, "B L"]
    ranks: Int[Tensor, "B N"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """Its sets: each counts the same."""
        return torch.tensor(float(len(self.ranks)))

    def to(self, device: torch.device | str) -> SeenSets:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> SeenSets:
        """A micro-batch."""
        return cut(self, start, stop)


def real_first(record: ImageSet) -> ImageSet:
    """A set with rank 1 for its real images and 2 for others, unless it is ranked already.

    Args:
        record: the set.

    Raises:
        UnusableError: no image is real, or every one is.

    Example:
        >>> real_first(ImageSet(prompt="", images=(b"", b""), sources=("4 steps", "real"))).ranks
        (2, 1)
    """
    if record.ranks is not None:
        return record
    ranks = tuple(1 if source == REAL else 2 for source in record.sources)
    if len({*ranks}) < 2:
        raise UnusableError(
            f"expected images with the source {REAL!r} and others, got {record.sources}",
            reason="no order",
            place=record.origin,
        )
    return replace(record, ranks=ranks)


def lay_seen(examples: Sequence[ImageSet], judge: ImageDiscriminator) -> SeenSets:
    """Lays ranked sets out for a discriminator.

    Args:
        examples: at least one, ranked.
        judge: says how many pixels it looks at, and how captions are read.

    Raises:
        DataError: an image cannot be read.
    """
    most = max(len(one.images) for one in examples)
    images = torch.zeros(len(examples), most, 3, judge.size, judge.size)
    ranks = torch.zeros(images.shape[:2], dtype=torch.long)
    for b, one in enumerate(examples):
        ranks[b, : len(one.images)] = torch.tensor(one.ranks)
        for n, image in enumerate(one.images):
            images[b, n] = pixels(image, judge.size)
    ids, attend = judge.tokens([one.prompt for one in examples])
    device = judge.device
    return SeenSets(images=images.to(device), ids=ids, attend=attend, ranks=ranks.to(device))


def logits_of(judge: nn.Module, seen: SeenSets) -> Float[Tensor, "B N"]:
    """The logit of each image; 0 for one that is not there.

    Args:
        judge: the discriminator.
        seen: sets of images.
    """
    there = seen.ranks > 0
    plain: Any = getattr(judge, "module", judge)  # several processes train a wrapped one
    captions = plain.described(seen.ids, seen.attend)[there.nonzero()[:, 0]]
    return placed(judge(seen.images[there], captions)[:, None], there)[..., 0]


@dataclass(frozen=True, kw_only=True)
class ImageRealness:
    """What a discriminator of images is trained on.

    Attributes:
        loss: of logits and ranks; see `scoring.discriminator.LOSSES`.
    """

    loss: SetLoss

    def prepare(self, batch: SeenSets, generator: torch.Generator) -> SeenSets:
        """The batch as it is: there is no noise."""
        return batch

    def __call__(self, denoiser: nn.Module, prepared: SeenSets) -> Float[Tensor, ""]:
        """The summed loss of the sets; divide by the global batch's `items`."""
        return self.loss(logits_of(denoiser, prepared), prepared.ranks).sum()
