"""Likelihood of ranked images, up to constants: Diffusion-DPO's errors with noise that all share.

    s_i = −½·mean‖target − prediction(z_t)‖²        the same t and ε for all images of a set

(Wallace et al., arXiv 2311.12908, eq. 14; constants are in β, of the order of thousands.)

Legend of shapes: `B` sets, `N` images, `K` draws, `C H W` latents, `E` width of a caption's vector,
`P` images that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sfumato.alignment.images.pipelines import ImageModel
from sfumato.alignment.images.records import ImageSet, pixels
from sfumato.alignment.learning.likelihood import placed
from sfumato.errors import UsageError

Describe = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedLatents:
    """A batch of ranked images; sets with fewer are filled up with absent ones.

    Attributes:
        z: latents, *shape* `B N C H W`.
        told: what the network is told of the captions, a row each.
        caption: what a discriminator is told, *shape* `B E`; of no width without one.
        ranks: places, 0 for an absent image, *shape* `B N`.
    """

    z: Float[Tensor, "B N C H W"]
    told: Mapping[str, Tensor]
    caption: Float[Tensor, "B E"]
    ranks: Int[Tensor, "B N"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedImages:
    """The same with noise.

    Attributes:
        z: latents, *shape* `B N C H W`.
        told: of the captions.
        caption: for a discriminator, *shape* `B E`.
        ranks: places, *shape* `B N`.
        noise: ε, *shape* `B K C H W`.
        t: timesteps, *shape* `B K`.
    """

    z: Float[Tensor, "B N C H W"]
    told: Mapping[str, Tensor]
    caption: Float[Tensor, "B E"]
    ranks: Int[Tensor, "B N"]
    noise: Float[Tensor, "B K C H W"]
    t: Int[Tensor, "B K"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """Its sets: each counts the same."""
        return torch.tensor(float(len(self.ranks)))

    @property
    def sizes(self) -> Int[Tensor, "B N"]:
        """One: errors are means already."""
        return torch.ones_like(self.ranks)

    def to(self, device: torch.device | str) -> NoisedImages:
        """The same batch on another device."""
        return self._each(lambda value: value.to(device))

    def rows(self, start: int, stop: int) -> NoisedImages:
        """A micro-batch."""
        return self._each(lambda value: value[start:stop])

    def _each(self, change: Callable[[Tensor], Tensor]) -> NoisedImages:
        told = {name: change(value) for name, value in self.told.items()}
        others = {n: change(v) for n, v in vars(self).items() if n != "told"}
        return replace(self, told=told, **others)


def lay_images(
    examples: Sequence[ImageSet], model: ImageModel, *, describe: Describe | None = None
) -> RankedLatents:
    """Lays ranked images out for a pipeline.

    Args:
        examples: at least one.
        model: encodes images and captions.
        describe: a discriminator's vectors of captions, if one is to judge.

    Raises:
        UsageError: no examples, or one without ranks.
        DataError: an image cannot be read.
    """
    if not examples or not all(example.ranks for example in examples):
        raise UsageError("expected ranked images; rank them by `sfumato discriminator score`")
    sizes = [len(example.images) for example in examples]
    device, captions = model.device, [example.prompt for example in examples]
    seen = [pixels(image, model.size) for example in examples for image in example.images]
    found = model.encode(torch.stack(seen).to(device))
    z = found.new_zeros(len(examples), max(sizes), *found.shape[1:])
    ranks = torch.zeros(z.shape[:2], dtype=torch.long, device=device)
    for b, (example, own) in enumerate(zip(examples, torch.split(found, sizes), strict=True)):
        z[b, : len(own)] = own
        ranks[b, : len(own)] = torch.tensor(example.ranks)
    caption = describe(captions) if describe else found.new_zeros(len(examples), 0)
    return RankedLatents(z=z, told=model.told(captions), caption=caption, ranks=ranks)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageErrors:
    """Minus half the squared error of a network's prediction.

    Attributes:
        model: the pipeline.
        draws: K; timesteps are stratified over them.
        timesteps: which are drawn, such as the four of a distilled model; None for all.

    Raises:
        UsageError: no draws, or timesteps that the model does not have.
    """

    model: ImageModel
    draws: int = 1
    timesteps: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise UsageError(f"expected draws ≥ 1, got {self.draws}")
        levels = self.model.levels
        if self.timesteps is not None and not all(0 <= t < levels for t in self.timesteps or (-1,)):
            raise UsageError(f"expected timesteps from 0 to {levels - 1}, got {self.timesteps}")

    def prepare(self, batch: RankedLatents, generator: torch.Generator) -> NoisedImages:
        """Draws timesteps and noise, for each set by itself."""
        sets, _, *shape = batch.z.shape
        among = torch.tensor(self.timesteps or range(self.model.levels))
        start = torch.rand(sets, 1, generator=generator)
        place = (start + torch.arange(self.draws) / self.draws) % 1
        t = among[(place * len(among)).long()]
        noise = torch.randn(sets, self.draws, *shape, generator=generator)
        device = batch.z.device
        return NoisedImages(**vars(batch), noise=noise.to(device), t=t.to(device))

    def __call__(self, model: nn.Module, noised: NoisedImages) -> Float[Tensor, "B N K"]:
        """Log-likelihoods, up to a constant of the image."""
        there = noised.ranks > 0
        row = there.nonzero()[:, 0]
        z = noised.z[there].repeat_interleave(self.draws, 0)
        noise, t = noised.noise[row].flatten(0, 1), noised.t[row].flatten()
        told = {n: v[row].repeat_interleave(self.draws, 0) for n, v in noised.told.items()}
        said = self.model.predict(model, self.model.noised(z, noise, t), t, told)
        gaps = said.float() - self.model.target(z, noise, t).float()
        errors = gaps.square().flatten(1).mean(1)
        return placed(-errors.view(-1, self.draws) / 2, there)
