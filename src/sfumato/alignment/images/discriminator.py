"""Is an image real, and does it show its caption? CLIP's two towers and a small network on top.

    v = image tower, c = text tower, both of length 1;   logit = MLP([v, c, v·c])

Legend of shapes: `B` images, `S` pixels a side, `L` tokens, `E` width of CLIP's vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, softplus
from transformers import AutoTokenizer, CLIPModel, PreTrainedTokenizerBase

from sfumato.alignment.images.likelihood import NoisedImages
from sfumato.alignment.images.pipelines import ImageModel
from sfumato.alignment.images.records import Picture, pixels
from sfumato.errors import ModelError
from sfumato.models.storage import folders

_HEAD = "discriminator.safetensors"
_MEAN, _SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ImageDiscriminator(nn.Module):
    """Two towers and what judges their vectors.

    Attributes:
        size: pixels a side that the image tower looks at.
        length: tokens that the text tower reads.

    Args:
        towers: CLIP.
        tokenizer: of its text tower.
        seed: of what judges.
    """

    def __init__(
        self, towers: CLIPModel, tokenizer: PreTrainedTokenizerBase, *, seed: int = 0
    ) -> None:
        super().__init__()
        sizes: Any = towers.config
        width, self.size = int(sizes.projection_dim), int(sizes.vision_config.image_size)
        self.length = int(sizes.text_config.max_position_embeddings)
        self.towers, self.tokenizer = towers, tokenizer
        self.head = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, 1))
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.head.parameters():
                spread = 0.02 if parameter.dim() > 1 else 0.0
                parameter.copy_(spread * torch.randn(parameter.shape, generator=source))

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.head.parameters()).device

    def tokens(self, captions: Sequence[str]) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"]]:
        """Ids of captions, and which of them exist.

        Args:
            captions: texts, cut to what the tower reads.
        """
        options: dict[str, Any] = {"padding": True, "truncation": True, "max_length": self.length}
        said = self.tokenizer([*captions], return_tensors="pt", **options)
        return said["input_ids"].to(self.device), said["attention_mask"].to(self.device)

    def described(
        self, ids: Int[Tensor, "B L"], attend: Int[Tensor, "B L"]
    ) -> Float[Tensor, "B E"]:
        """Vectors of captions, of length 1.

        Args:
            ids: of their tokens.
            attend: which of them exist.
        """
        found = self.towers.text_model(input_ids=ids, attention_mask=attend).pooler_output
        return normalize(self.towers.text_projection(found).float(), dim=1)

    @torch.no_grad()
    def describe(self, captions: Sequence[str]) -> Float[Tensor, "B E"]:
        """Vectors of captions, of length 1, without gradients.

        Args:
            captions: texts, cut to what the tower reads.
        """
        return self.described(*self.tokens(captions))

    def forward(
        self, images: Float[Tensor, "B 3 S S"], captions: Float[Tensor, "B E"]
    ) -> Float[Tensor, "B"]:
        """Logits of being real; gradients reach the images.

        Args:
            images: values from −1 to 1, of any size.
            captions: as `describe` gives them.
        """
        side = (self.size, self.size)
        if images.shape[-2:] != side:
            images = interpolate(images, side, mode="bicubic", antialias=True, align_corners=False)
        mean, spread = (images.new_tensor(one)[:, None, None] for one in (_MEAN, _SPREAD))
        seen = ((images + 1) / 2 - mean) / spread
        found = self.towers.vision_model(pixel_values=seen).pooler_output
        v = normalize(self.towers.visual_projection(found).float(), dim=1)
        logits: Tensor = self.head(torch.cat([v, captions, v * captions], 1))[:, 0]
        return logits

    @torch.no_grad()
    def judge(
        self, images: Sequence[Picture], captions: Sequence[str], *, at_once: int = 64
    ) -> list[float]:
        """Logits of images in files.

        Args:
            images: what is judged.
            captions: of each.
            at_once: images of a pass.

        Raises:
            DataError: an image cannot be read.
        """
        found: list[float] = []
        for start in range(0, len(images), at_once):
            some = [pixels(image, self.size) for image in images[start : start + at_once]]
            said = self.describe(captions[start : start + at_once])
            found += self(torch.stack(some).to(self.device), said).tolist()
        return found

    def save(self, folder: Path) -> None:
        """Writes towers, tokenizer and head.

        Args:
            folder: is made if it is not there.
        """
        with folders.quiet():
            self.towers.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        safetensors.torch.save_file(self.head.state_dict(), str(folder / _HEAD))


def new_discriminator(name: str | Path, *, seed: int = 0) -> ImageDiscriminator:
    """CLIP with an untrained head.

    Args:
        name: folder or hub name of a CLIP of transformers.
        seed: of the head.

    Raises:
        ModelError: there is no such model, or it is none of CLIP's kind.
    """
    try:
        with folders.quiet():
            towers = CLIPModel.from_pretrained(str(name), dtype=torch.float32, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(str(name), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: cannot be opened as a CLIP model: {error}") from error
    return ImageDiscriminator(towers, tokenizer, seed=seed)


def open_discriminator(folder: Path, *, device: torch.device | str = "cpu") -> ImageDiscriminator:
    """Opens a trained discriminator.

    Args:
        folder: where `save` put it.
        device: where it goes.

    Raises:
        ModelError: there is none.
    """
    head = folder / _HEAD
    if not head.is_file():
        raise ModelError(f"{folder}: expected a discriminator of images, with a file {_HEAD}")
    found = new_discriminator(folder)
    found.head.load_state_dict(safetensors.torch.load_file(str(head)))
    return found.to(device).eval()


def judges_images(folder: Path) -> bool:
    """Whether a folder holds a discriminator of images.

    Args:
        folder: of a model.
    """
    return (folder / _HEAD).is_file()


@dataclass(frozen=True, kw_only=True, eq=False)
class Adversary:
    """A regulariser: what is predicted of the best image shall look real to a discriminator.

    weight · softplus(−D(x̂_0, caption)), with x̂_0 from the noise of the first draw (the
    non-saturating loss, Goodfellow et al., arXiv 1406.2661). D stays as it is.

    Attributes:
        model: the pipeline.
        judge: D.
        weight: of the loss.
    """

    model: ImageModel
    judge: ImageDiscriminator
    weight: float

    def __call__(self, network: nn.Module, noised: NoisedImages) -> Float[Tensor, "B"]:
        """The loss of each set.

        Args:
            network: the policy.
            noised: ranked images with noise.
        """
        ranks = noised.ranks
        best = ranks.masked_fill(ranks == 0, ranks.max() + 1).argmin(1)
        z = noised.z[torch.arange(len(best)), best]
        t = noised.t[:, 0]
        z_t = self.model.noised(z, noised.noise[:, 0], t)
        said = self.model.predict(network, z_t, t, noised.told)
        images = self.model.decode(self.model.clean(z_t, said, t)).clamp(-1, 1)
        return self.weight * softplus(-self.judge(images, noised.caption))
