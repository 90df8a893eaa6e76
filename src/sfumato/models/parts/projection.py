"""The vocabulary projection of a few rows, on a CPU.

A step of sampling projects some ten rows onto 50,000 tokens. PyTorch hands float32 products to
MKL, which first repacks the whole matrix; oneDNN does not, and takes half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_MANY = 64


def fast_linear(rows: Tensor) -> AbstractContextManager[object]:
    """A context in which linear layers take the faster kernel for such rows, if there is one."""
    small = rows.device.type == "cpu" and rows.dtype is torch.float32 and 0 < len(rows) <= _MANY
    if small and _ONEDNN is not None and not torch.is_grad_enabled():
        return _OneDNN()
    return nullcontext()


class _OneDNN(TorchFunctionMode):
    """Sends the plain linear products inside to oneDNN."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func is functional.linear and not kwargs:
            rows, weight, bias = (*args, None)[:3]
            return _ONEDNN(rows, weight, bias, "none", [], "")
        return func(*args, **(kwargs or {}))
