"""Tiny networks of every family, made from their configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    FNetConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from sfumato.models.encoders import EncoderDenoiser

SIZE, MASK, PAD, LENGTH = 23, 4, 1, 16

_ENCODER = {
    "vocab_size": SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "pad_token_id": PAD,
}
_IDS = {"bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}

CONFIGS: Mapping[str, Callable[[], PretrainedConfig]] = {
    "albert": lambda: AlbertConfig(**_ENCODER, embedding_size=8, max_position_embeddings=LENGTH),
    "bert": lambda: BertConfig(**_ENCODER, max_position_embeddings=LENGTH),
    "roberta": lambda: RobertaConfig(**_ENCODER, max_position_embeddings=LENGTH + PAD + 1),
    "xlm-roberta": lambda: XLMRobertaConfig(**_ENCODER, max_position_embeddings=LENGTH + PAD + 1),
    "modernbert": lambda: ModernBertConfig(
        **_ENCODER, **_IDS, max_position_embeddings=LENGTH, local_attention=4
    ),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=SIZE,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=24,
        pad_token_id=PAD,
        max_position_embeddings=LENGTH,
    ),
    "electra": lambda: ElectraConfig(**_ENCODER, embedding_size=8, max_position_embeddings=LENGTH),
    "deberta-v2": lambda: DebertaV2Config(
        **_ENCODER,
        max_position_embeddings=LENGTH,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
    ),
    "deberta-v2, new head": lambda: DebertaV2Config(
        **_ENCODER, max_position_embeddings=LENGTH, legacy=False
    ),
}


def network(name: str, seed: int = 0) -> PreTrainedModel:
    """A network with weights large enough that every input matters."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForMaskedLM.from_config(CONFIGS[name]())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model.eval()


def fnet() -> PreTrainedModel:
    """A family outside the table."""
    config = FNetConfig(
        vocab_size=SIZE,
        hidden_size=16,
        num_hidden_layers=1,
        intermediate_size=24,
        pad_token_id=PAD,
        max_position_embeddings=LENGTH,
        tpu_short_seq_length=LENGTH,
    )
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForMaskedLM.from_config(config)
    return model.eval()


def denoiser(name: str, seed: int = 0) -> EncoderDenoiser:
    """The same network as a denoiser."""
    return EncoderDenoiser(network(name, seed), mask=MASK).eval()
