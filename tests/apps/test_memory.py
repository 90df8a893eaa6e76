"""The memory estimate beside what a training step really keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, BertConfig, ModernBertConfig

from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.lora import with_lora
from sfumato_apps.memory import memory_of

_SIZES = {
    "vocab_size": 40,
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
CONFIGS = {
    # Attention with dropout falls back to a matrix of all pairs on a CPU.
    "bert": BertConfig(**_SIZES, intermediate_size=256, attention_probs_dropout_prob=0.0),
    "modernbert": ModernBertConfig(
        **_SIZES,
        intermediate_size=96,
        bos_token_id=1,
        cls_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
    ),
}
BATCH, LENGTH = 32, 64


def kept_for_the_backward_pass(denoiser: EncoderDenoiser, *, bf16: bool) -> int:
    """Bytes of all tensors that autograd keeps of a forward pass, parameters apart."""
    own = {p.untyped_storage().data_ptr() for p in denoiser.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    x_t = torch.randint(5, 30, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    where = torch.zeros_like(x_t, dtype=torch.bool)
    where[:, 3] = True
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        denoiser(x_t, where, attend=torch.ones_like(where))
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_activations_are_what_autograd_keeps(name: str, bf16: bool) -> None:
    """Within 15 %, for both kinds of layer and both precisions."""
    denoiser = EncoderDenoiser(AutoModelForMaskedLM.from_config(CONFIGS[name]), mask=4).train()
    measured = kept_for_the_backward_pass(denoiser, bf16=bf16)
    memory = memory_of(denoiser, batch=BATCH, length=LENGTH, bf16=bf16, averaged=True)
    assert memory.activations == pytest.approx(measured, rel=0.15)


def test_weights_gradients_optimiser_and_average_by_count() -> None:
    """P parameters in float32: 4 P of weights, 4 P of gradients, 8 P of moments, 4 P of average."""
    denoiser = EncoderDenoiser(AutoModelForMaskedLM.from_config(CONFIGS["bert"]), mask=4)
    size = sum(parameter.numel() for parameter in denoiser.parameters())
    plain = memory_of(denoiser, batch=1, length=1, bf16=False, averaged=True)
    assert (plain.weights, plain.gradients, plain.optimiser) == (4 * size, 4 * size, 8 * size)
    assert plain.average == 4 * size
    mixed = memory_of(denoiser, batch=1, length=1, bf16=True, averaged=False)
    assert (mixed.weights, mixed.average) == (6 * size, 0)
    adapted = with_lora(denoiser, rank=2)
    trained = sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)
    small = memory_of(adapted, batch=1, length=1, bf16=False, averaged=True)
    assert (small.gradients, small.optimiser) == (4 * trained, 8 * trained)
    assert small.weights == 4 * (size + trained)
