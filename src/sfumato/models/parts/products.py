"""Products with weight matrices, on a CPU.

PyTorch hands float32 products to MKL, which repacks the whole matrix for a few rows, and on
processors that are not Intel's runs at less than half their speed. oneDNN does neither. Sums are
taken in another order, so results differ by rounding; see docs/log.md, 2026-11-22. Products in
bfloat16 are oneDNN's already; weights that are laid out once make them faster too.

    weights  ─ laid out anew for every product ─▶ oneDNN       `fast_linear(device)`
             ─ laid out once, and held twice ───▶ oneDNN       `fast_linear(device, packed)`

Legend of shapes: `O` outputs, `I` inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_LAY_OUT: Any = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
_IN_HARDWARE: Any = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)
_FEW, _LAID_OUT_FOR = 64, 16


class Packed:
    """Weight matrices laid out for few rows: a product takes a third less time, memory doubles.

    Example:
        >>> layer = torch.nn.Linear(8, 8)
        >>> packed = Packed.of(layer)
        >>> packed is Packed.of(layer)
        True
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[Tensor, int, Tensor]] = {}

    @classmethod
    def of(cls, module: nn.Module) -> Packed:
        """Those of a module, for as long as it lives; to be asked for before each run."""
        packed = _PACKED.setdefault(module, cls())
        packed._forget_changed()
        return packed

    def weight(self, weight: Tensor) -> Tensor:
        """The same matrix for oneDNN; it must not change during a run."""
        if id(weight) not in self._held:
            laid_out = _LAY_OUT(weight.detach(), _LAID_OUT_FOR)
            self._held[id(weight)] = (weight, _fingerprint(weight), laid_out)
        return self._held[id(weight)][2]

    def _forget_changed(self) -> None:
        held = self._held.items()
        self._held = {key: one for key, one in held if _fingerprint(one[0]) == one[1]}


_PACKED: WeakKeyDictionary[nn.Module, Packed] = WeakKeyDictionary()


def _fingerprint(weight: Float[Tensor, "O I"]) -> int:
    """A sum of a matrix's bits, weighted by row: a changed number or moved rows alter it."""
    wide = torch.int64 if weight.shape[1] * weight.itemsize % 8 == 0 else torch.uint8
    rows = weight.detach().contiguous().view(wide).sum(1)
    return int((rows * torch.arange(1, len(rows) + 1)).sum())


def fast_linear(device: torch.device, packed: Packed | None = None) -> AbstractContextManager[None]:
    """A context in which linear layers take the faster kernel, if there is one.

    Args:
        device: where the weights are.
        packed: weights of a run without gradients.
    """
    plain = device.type != "cpu" or _ONEDNN is None or torch.is_autocast_enabled("cpu")
    if plain or torch.compiler.is_compiling():  # the compiler chooses kernels of its own
        return nullcontext()
    return _OneDNN(packed)


@cache
def mkl_is_slow() -> bool:
    """Whether PyTorch multiplies by MKL on a processor that is not Intel's."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


class _OneDNN(TorchFunctionMode):
    """Sends the plain linear products inside to oneDNN."""

    def __init__(self, packed: Packed | None) -> None:
        super().__init__()
        self._packed = packed if _LAY_OUT is not None else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func is functional.linear and not kwargs:
            rows, weight, bias = (*args, None)[:3]
            if _gains(rows, weight, packed=self._packed is not None):
                if not torch.is_grad_enabled():
                    own = weight if self._packed is None else self._packed.weight(weight)
                    return _ONEDNN(rows, own, bias, "none", [], "")
                return _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def _gains(rows: Tensor, weight: Tensor, *, packed: bool) -> bool:
    """Whether oneDNN is the faster one."""
    count = rows.numel() // max(1, rows.shape[-1])
    if count == 0 or rows.dtype is not weight.dtype or type(weight) not in _PLAIN:
        return False
    if rows.dtype is torch.bfloat16:
        return packed and not torch.is_grad_enabled() and bool(_IN_HARDWARE())
    return rows.dtype is torch.float32 and (count <= _FEW or mkl_is_slow())


_PLAIN = (Tensor, torch.nn.Parameter)


class _Linear(torch.autograd.Function):
    """rows · weightᵀ + bias, and its gradients, all by oneDNN."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        product: Tensor = _ONEDNN(rows, weight, bias, "none", [], "")
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        needs = ctx.needs_input_grad  # type: ignore[attr-defined]
        flat = outer.flatten(0, -2)
        to_rows = _ONEDNN(outer, weight.t(), None, "none", [], "") if needs[0] else None
        to_weight = (
            _ONEDNN(flat.t(), rows.flatten(0, -2).t(), None, "none", [], "") if needs[1] else None
        )
        return to_rows, to_weight, flat.sum(0) if needs[2] else None
