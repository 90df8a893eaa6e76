"""In which numbers a network's weights are held: as `from_pretrained` is told.

    float32    4 bytes a weight      everywhere
    bfloat16   2 bytes               GPUs, and CPUs that multiply bfloat16 (AVX-512 BF16, AMX)
    8bit       1 byte                GPUs with CUDA, by bitsandbytes (arXiv 2208.07339)
    4bit       half a byte           GPUs with CUDA, by bitsandbytes, NF4 (arXiv 2305.14314)

A time embedding stays in float32, whatever the network is held in.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from sfumato.errors import MissingExtraError, ResourceError, UsageError

_FLOATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
QUANTISED = ("8bit", "4bit")


def loading(weights: str, device: torch.device | str) -> Mapping[str, Any]:
    """The arguments of `from_pretrained` for some weights.

    Args:
        weights: float32, bfloat16, 8bit or 4bit.
        device: where they go.

    Raises:
        UsageError: other weights.
        ResourceError: 8 or 4 bits on a device without CUDA.
        MissingExtraError: 8 or 4 bits without bitsandbytes.

    Example:
        >>> loading("bfloat16", "cpu")
        {'dtype': torch.bfloat16}
    """
    if weights in _FLOATS:
        return {"dtype": _FLOATS[weights]}
    if weights not in QUANTISED:
        known = ", ".join([*_FLOATS, *QUANTISED])
        raise UsageError(f"there are no weights of {weights!r}; expected one of {known}")
    device = torch.device(device)
    if device.type != "cuda":
        raise ResourceError(
            f"weights of {weights} need a GPU with CUDA, but the device is {device.type!r}: "
            "give device='cuda', or take weights='bfloat16'"
        )
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "quantised")
    small = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=weights == "8bit",
        load_in_4bit=weights == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {
        "dtype": torch.bfloat16,
        "quantization_config": small,
        "device_map": {"": device},
    }


def speak(module: nn.Module, dtype: torch.dtype) -> None:
    """Makes a float32 module's output fit a network of other numbers."""

    def fit(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.to(dtype)

    module.register_forward_hook(fit)
