"""Pipelines and CLIPs of a few thousand weights, made from their configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
ENDS = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513, "vocab_size": 514}


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Bytes, with and without the end of a word."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    made = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    made.model_max_length = 24
    return made


def unet(**more: Any) -> UNet2DConditionModel:
    """A U-Net of one attention block."""
    return UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 8,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 16,
        }
        | more
    )


def vae() -> AutoencoderKL:
    """16 × 16 pixels to 8 × 8 latents."""
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        sample_size=16,
    )


def text_config() -> CLIPTextConfig:
    """One layer."""
    return CLIPTextConfig(**TEXT, **ENDS, projection_dim=16, max_position_embeddings=24)


def stable(folder: Path) -> Path:
    """A StableDiffusionPipeline in a folder."""
    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(folder / "words"),
        unet=unet(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def stable_xl(folder: Path) -> Path:
    """A StableDiffusionXLPipeline in a folder, of SDXL-Turbo's parts."""
    torch.manual_seed(0)
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    pipeline = StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config()),
        tokenizer=tokenizer(folder / "words"),
        tokenizer_2=tokenizer(folder / "words"),
        unet=unet(
            cross_attention_dim=32, projection_class_embeddings_input_dim=6 * 4 + 16, **sizes
        ),
        scheduler=EulerDiscreteScheduler(timestep_spacing="trailing"),
    )
    pipeline.save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    """A CLIP in a folder."""
    torch.manual_seed(0)
    vision = TEXT | {"image_size": 16, "patch_size": 4}
    config = CLIPConfig(
        text_config=text_config().to_dict(), vision_config=vision, projection_dim=16
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer(folder).save_pretrained(folder)
    return folder


def plain_image(path: Path, *, level: int, size: int = 16) -> Path:
    """A grey image."""
    Image.new("RGB", (size, size), (level,) * 3).save(path)
    return path


ASKED = (
    "{% for turn in messages %}{% for part in turn['content'] %}{% if part['type'] == 'image' %}"
    "<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
)


def llava(folder: Path) -> Path:
    """A LLaVA in a folder, of a few words."""
    torch.manual_seed(0)
    ends = ["<unk>", "<pad>", "<s>", "</s>", "<image>"]
    words = [
        *ends,
        *["Describe", "the", "image", "in", "one", "sentence", ".", "red", "blue", "house"],
    ]
    split = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    split.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    reader = PreTrainedTokenizerFast(
        tokenizer_object=split, extra_special_tokens={"image_token": "<image>"}, **names
    )
    side = {"height": 16, "width": 16}
    vision = TEXT | {"image_size": 16, "patch_size": 8, "num_hidden_layers": 2}
    text = {"vocab_size": len(words), "num_key_value_heads": 2, "eos_token_id": 3}
    network = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**vision),
            text_config=LlamaConfig(**TEXT, **text, bos_token_id=2, pad_token_id=1),
            image_token_index=4,
            image_seq_length=4,
        )
    )
    network.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=side, crop_size=side),
        tokenizer=reader,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=ASKED,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder
