"""Any text-to-image pipeline of diffusers as something that can be aligned.

    captions ─► told        what the network is told of a caption
    pixels   ─► z           latents, or the pixels themselves where there is no VAE
    z_t, t   ─► prediction  ε, v or x_0, as the pipeline was trained
    z        ─► pixels

Noise is added as the pipeline was trained, by DDPM's discrete schedule: the schedulers that
pipelines sample with (Euler's among them) scale their noise in other ways.

Legend of shapes: `B` images, `C` channels, `H`, `W` pixels or latents, `S` pixels a side.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sfumato.errors import MissingExtraError, ModelError, UsageError
from sfumato.models.storage import folders

Told = Mapping[str, Tensor]
_STATES = "encoder_hidden_states"
_AT_ONCE = 4  # images that the VAE encodes together; at 1,024 pixels each takes gigabytes
_STEPS = ("num_inference_steps", "decoder_num_inference_steps")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageModel:
    """A pipeline and the noise that it was trained with.

    Attributes:
        pipeline: a `DiffusionPipeline` that takes prompts.
        noise: a `DDPMScheduler` of the pipeline's own schedule.
    """

    pipeline: Any
    noise: Any

    @property
    def network(self) -> nn.Module:
        """What predicts, and what alignment trains.

        Raises:
            ModelError: the pipeline has no U-Net that is told captions.
        """
        found = getattr(self.pipeline, "unet", None)
        if found is None or not hasattr(self.pipeline, "encode_prompt"):
            raise ModelError(
                f"{type(self.pipeline).__name__} has no `unet` with `encode_prompt`: images of it "
                "can be candidates, but it cannot be aligned"
            )
        network: nn.Module = found
        return network

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def size(self) -> int:
        """Pixels a side that the network was made for."""
        size = self.pipeline.unet.config.sample_size
        return int(size) * (self._vae_factor if self._vae is not None else 1)

    @property
    def levels(self) -> int:
        """Number of timesteps."""
        return int(self.noise.config.num_train_timesteps)

    @property
    def _vae(self) -> Any:  # noqa: ANN401
        return getattr(self.pipeline, "vae", None)

    @property
    def _vae_factor(self) -> int:
        return int(2 ** (len(self._vae.config.block_out_channels) - 1))

    @torch.no_grad()
    def told(self, captions: Sequence[str]) -> Told:
        """What the network is told of captions, a row each.

        Args:
            captions: texts; a pipeline cuts them to what its text encoder reads.
        """
        pipeline, asked = self.pipeline, {"prompt": [*captions], "device": self.device}
        known = inspect.signature(pipeline.encode_prompt).parameters
        for name, value in (("num_images_per_prompt", 1), ("do_classifier_free_guidance", False)):
            if name in known:
                asked[name] = value
        found = pipeline.encode_prompt(**asked)
        told = {_STATES: found[0]}
        if len(found) > 2:  # SDXL: a pooled vector, and the size of the image
            sizes = [self.size, self.size, 0, 0, self.size, self.size]
            told["text_embeds"] = found[2]
            told["time_ids"] = found[2].new_tensor([sizes] * len(captions))
        return told

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C H W"]:
        """Latents of images, or the images themselves.

        Args:
            images: values from −1 to 1.
        """
        if self._vae is None:
            return images
        some = torch.split(images, _AT_ONCE)
        mode = torch.cat([self._vae.encode(one).latent_dist.mode() for one in some])
        latents: Tensor = (mode - self._shift) * self._vae.config.scaling_factor
        return latents

    def decode(self, latents: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 S S"]:
        """Images of latents; gradients flow.

        Args:
            latents: as `encode` gives them.
        """
        if self._vae is None:
            return latents
        scaled = latents / self._vae.config.scaling_factor + self._shift
        images: Tensor = self._vae.decode(scaled).sample
        return images

    @property
    def _shift(self) -> float:
        return float(getattr(self._vae.config, "shift_factor", None) or 0)

    def noised(
        self, z: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"], t: Int[Tensor, "B"]
    ) -> Float[Tensor, "B C H W"]:
        """z_t = √ᾱ_t·z + √(1 − ᾱ_t)·ε.

        Args:
            z: latents.
            noise: ε.
            t: timesteps.
        """
        found: Tensor = self.noise.add_noise(z, noise, t)
        return found

    def target(
        self, z: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"], t: Int[Tensor, "B"]
    ) -> Float[Tensor, "B C H W"]:
        """What the network was trained to predict.

        Args:
            z: latents.
            noise: ε.
            t: timesteps.

        Raises:
            ModelError: a parameterisation that is not known.
        """
        kind = self.noise.config.prediction_type
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            velocity: Tensor = self.noise.get_velocity(z, noise, t)
            return velocity
        if kind == "sample":
            return z
        raise ModelError(f"expected a prediction of epsilon, v or the sample, got {kind!r}")

    def predict(
        self, network: nn.Module, z_t: Float[Tensor, "B C H W"], t: Int[Tensor, "B"], told: Told
    ) -> Float[Tensor, "B C H W"]:
        """What a network predicts; a predicted variance beside it is left out.

        Args:
            network: the policy's or the reference's.
            z_t: noised latents.
            t: timesteps.
            told: of the captions.
        """
        more = {name: value for name, value in told.items() if name != _STATES}
        states = told[_STATES]
        said: Tensor = network(z_t, t, states, added_cond_kwargs=more or None).sample
        return said[:, : z_t.shape[1]]

    def clean(
        self,
        z_t: Float[Tensor, "B C H W"],
        said: Float[Tensor, "B C H W"],
        t: Int[Tensor, "B"],
    ) -> Float[Tensor, "B C H W"]:
        """The latents x̂_0 that a prediction means.

        Args:
            z_t: noised latents.
            said: the prediction.
            t: timesteps.
        """
        kind = self.noise.config.prediction_type
        if kind == "sample":
            return said
        kept: Tensor = self.noise.alphas_cumprod.to(z_t)[t][:, None, None, None]
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        if kind == "v_prediction":
            return signal * z_t - noise * said
        return (z_t - noise * said) / signal


def open_images(name: str | Path, *, device: torch.device | str = "cpu") -> ImageModel:
    """Opens a pipeline.

    Args:
        name: folder or hub name.
        device: where it goes.

    Raises:
        ModelError: there is no such pipeline, or it takes no prompts.
        MissingExtraError: diffusers is not installed.
    """
    try:
        from diffusers import DDPMScheduler, DiffusionPipeline
        from diffusers.utils import logging
    except ImportError as error:
        raise MissingExtraError("diffusers", "images") from error
    opener: Any = DiffusionPipeline
    logging.disable_progress_bar()
    try:
        with folders.quiet():
            pipeline = opener.from_pretrained(str(name), use_safetensors=True)
            # Text encoders that say float16 in their configuration come so, the U-Net does not.
            pipeline.to(torch.float32)
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{name}: cannot be opened as a pipeline of diffusers: {error}") from error
    if "prompt" not in inspect.signature(type(pipeline).__call__).parameters:
        raise ModelError(f"{name}: {type(pipeline).__name__} takes no prompts")
    pipeline.set_progress_bar_config(disable=True)
    scheduler: Any = DDPMScheduler
    noise = scheduler.from_config(pipeline.scheduler.config)
    return ImageModel(pipeline=pipeline.to(device), noise=noise)


def draw(
    model: ImageModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float | None = None,
) -> list[Any]:
    """Images of prompts, by the pipeline's own sampler.

    Args:
        model: the pipeline.
        prompts: what to show.
        seeds: of the noise of each, so that an image does not depend on those beside it.
        steps: of denoising.
        guidance: scale of classifier-free guidance; None takes the pipeline's.

    Raises:
        UsageError: no steps, or a pipeline that takes no number of them.
    """
    known = inspect.signature(type(model.pipeline).__call__).parameters
    counted = next((name for name in _STEPS if name in known), None)
    if steps < 1 or counted is None:
        raise UsageError(f"expected steps ≥ 1 and a pipeline that takes them, got {steps}")
    options: dict[str, Any] = {counted: steps}
    if guidance is not None:
        options["guidance_scale"] = guidance
    source = [torch.Generator().manual_seed(seed) for seed in seeds]
    return [*model.pipeline(prompt=[*prompts], generator=source, **options).images]
