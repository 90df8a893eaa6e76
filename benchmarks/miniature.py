"""A Stable Diffusion and a CLIP in miniature, from nothing: for images of 32 × 32 pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

SIDE, WIDTH, LENGTH, UNTOLD = 32, 64, 32, 0.1
Captioned = Sequence[tuple[str, Tensor]]


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Letters, with and without the end of a word."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    made = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    made.model_max_length = LENGTH
    return made


def text_config(layers: int = 2) -> CLIPTextConfig:
    """A text encoder of a few layers."""
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        projection_dim=WIDTH,
        max_position_embeddings=LENGTH,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def clip(folder: Path, *, seed: int) -> None:
    """A CLIP that has seen nothing."""
    torch.manual_seed(seed)
    vision = {
        "image_size": SIDE,
        "patch_size": 4,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    config = CLIPConfig(
        text_config=text_config().to_dict(), vision_config=vision, projection_dim=WIDTH
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer(folder).save_pretrained(folder)


def learn(folder: Path, learnt: Captioned, *, steps: int, batch: int = 64) -> None:
    """Trains VAE, text encoder and U-Net, and writes the pipeline."""
    torch.manual_seed(0)
    images = torch.stack([image for _, image in learnt])
    vae = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=SIDE,
        latent_channels=4,
    )
    _compress(vae, images, steps=steps // 4)
    with torch.no_grad():
        modes = torch.cat([vae.encode(some).latent_dist.mode() for some in images.split(200)])
    vae.register_to_config(scaling_factor=1 / float(modes.std()))
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2,
        block_out_channels=(WIDTH // 2, WIDTH),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
    )
    noise = DDIMScheduler(
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        rescale_betas_zero_snr=True,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(folder / "words"),
        unet=unet,
        scheduler=noise,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    _denoise(pipeline, modes / modes.std(), [text for text, _ in learnt], steps=steps, batch=batch)
    pipeline.save_pretrained(folder)


def _descent(parameters: list[nn.Parameter], steps: int) -> tuple[torch.optim.Optimizer, object]:
    descent = torch.optim.AdamW(parameters, lr=2e-3)
    return descent, torch.optim.lr_scheduler.OneCycleLR(descent, 2e-3, total_steps=steps)


def _compress(vae: AutoencoderKL, images: Tensor, *, steps: int) -> None:
    """Squared errors of pixels, and latents that stay near a Gaussian."""
    descent, pace = _descent([*vae.parameters()], steps)
    for step in range(steps):
        some = images[torch.randint(len(images), (32,))]
        found = vae.encode(some).latent_dist
        loss = mse_loss(vae.decode(found.sample()).sample, some) + 1e-5 * found.kl().mean()
        descent.zero_grad()
        loss.backward()
        descent.step()
        pace.step()
        if step % 100 == 0:
            print(f"VAE {step}/{steps}: {loss.item():.4f}", flush=True)


def _denoise(
    pipeline: StableDiffusionPipeline, z: Tensor, captions: list[str], *, steps: int, batch: int
) -> None:
    """The v-prediction loss; a tenth of the captions is left out."""
    unet, text, noise = pipeline.unet, pipeline.text_encoder, pipeline.scheduler
    options = {"padding": "max_length", "max_length": LENGTH, "return_tensors": "pt"}
    ids = pipeline.tokenizer([*captions, ""], **options).input_ids
    descent, pace = _descent([*unet.parameters(), *text.parameters()], steps)
    for step in range(steps):
        rows = torch.randint(len(z), (batch,))
        said = ids[torch.where(torch.rand(batch) < UNTOLD, torch.tensor(len(z)), rows)]
        t, eps = torch.randint(1000, (batch,)), torch.randn(batch, *z.shape[1:])
        guess = unet(noise.add_noise(z[rows], eps, t), t, text(said)[0]).sample
        loss = mse_loss(guess, noise.get_velocity(z[rows], eps, t))
        descent.zero_grad()
        loss.backward()
        descent.step()
        pace.step()
        if step % 100 == 0:
            print(f"U-Net {step}/{steps}: {loss.item():.4f}", flush=True)
