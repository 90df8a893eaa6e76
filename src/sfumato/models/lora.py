"""Low-rank adapters (LoRA, Hu et al., arXiv 2106.09685) by peft: train 1 % of the weights.

y = W·x + (alpha/rank)·B·A·x      W is frozen; A and B are trained; B starts at zero
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from sfumato.errors import MissingExtraError, UsageError
from sfumato.models.encoders import EncoderDenoiser

Adapted = TypeVar("Adapted", bound=nn.Module)


def with_lora(
    denoiser: EncoderDenoiser,
    *,
    rank: int,
    alpha: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> EncoderDenoiser:
    """A copy whose linear layers, the vocabulary projection excepted, carry adapters.

    Everything else is frozen, the embeddings included; `merged` folds the adapters back in.

    Args:
        denoiser: what to adapt; itself stays as it is.
        rank: rank of each update.
        alpha: strength of the updates; None means 2 · rank.
        dropout: chance to drop an adapter's input while training.
        seed: of the random half of each adapter.

    Raises:
        UsageError: rank below one, or a dropout outside [0, 1).
        MissingExtraError: peft is not installed.
    """
    adapted = copy.deepcopy(denoiser)
    network = adapted.network
    projection: nn.Module = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module is not projection
    ]
    add_lora(network, names, rank=rank, alpha=alpha, dropout=dropout, seed=seed)
    return adapted


def add_lora(
    network: nn.Module,
    names: Sequence[str],
    *,
    rank: int,
    alpha: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> None:
    """Adds adapters to some layers of any network and freezes everything else.

    Args:
        network: is changed.
        names: of its linear layers, or how their names end.
        rank: rank of each update.
        alpha: strength of the updates; None means 2 · rank.
        dropout: chance to drop an adapter's input while training.
        seed: of the random half of each adapter.

    Raises:
        UsageError: rank below one, or a dropout outside [0, 1).
        MissingExtraError: peft is not installed.
    """
    if rank < 1 or not 0 <= dropout < 1:
        raise UsageError(f"rank must be at least 1 and dropout in [0, 1): {rank}, {dropout}")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("peft", "lora") from error
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=[*names],
    )
    inject_adapter_in_model(config, network)
    _initialise(network, torch.Generator().manual_seed(seed))


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draws A anew, by the rule that peft uses but from our own generator; B stays zero."""
    for name, parameter in network.named_parameters():
        if "lora_A" in name:  # drawn on the CPU: the same adapters on every device
            drawn = torch.empty(parameter.shape)
            nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
            with torch.no_grad():
                parameter.copy_(drawn)


def merged(denoiser: Adapted) -> Adapted:
    """A copy with the adapters folded into the weights; the network itself if it has none."""
    if not any(_is_adapter(module) for module in denoiser.modules()):
        return denoiser
    plain = copy.deepcopy(denoiser)
    adapters = [(name, m) for name, m in plain.named_modules() if _is_adapter(m)]
    for name, adapter in adapters:
        adapter.merge()
        parent, _, child = name.rpartition(".")
        setattr(plain.get_submodule(parent), child, adapter.get_base_layer())
    return plain.requires_grad_(requires_grad=True)


@contextmanager
def adapters_off(denoiser: nn.Module) -> Iterator[nn.Module]:
    """The denoiser as it was before its adapters, inside a `with` block.

    Args:
        denoiser: with adapters; those of another thread would be off as well.

    Raises:
        UsageError: it has none.
    """
    found: list[Any] = [module for module in denoiser.modules() if _is_adapter(module)]
    if not found:
        raise UsageError(
            "there are no low-rank adapters to switch off: make the policy by with_lora(model), or "
            "give a frozen copy as the reference"
        )
    for module in found:
        module.enable_adapters(False)
    try:
        yield denoiser
    finally:
        for module in found:
            module.enable_adapters(True)


def _is_adapter(module: nn.Module) -> bool:
    """Asked by shape, so that peft is not imported to save a model that has none."""
    return hasattr(module, "get_base_layer") and hasattr(module, "lora_A")
