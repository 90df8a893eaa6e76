"""A sum over the rows of a head's output, with few rows of that output in memory at once.

The gradient of each part is taken as soon as the part is summed, and only gradients are kept:
nothing of the head is computed twice, and no two parts' logits exist together. The backward
pass multiplies what is kept by the gradient of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

Share = Callable[[Tensor, slice], Tensor]


def sum_in_parts(
    share: Share, rows: Float[Tensor, "M D"], parameters: Iterable[nn.Parameter], size: int
) -> Float[Tensor, ""]:
    """Σ of `share(rows[part], part)` over parts of at most `size` rows.

    Args:
        share: what some rows add to the sum; all that it learns is among `parameters`.
        rows: input of the head, of *shape* `M D`.
        parameters: of the head; those that are not trained are left alone.
        size: most rows at once, at least one.
    """
    if len(rows) <= size:
        return share(rows, slice(0, len(rows)))
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    if not torch.is_grad_enabled():
        return torch.stack([share(rows[part], part) for part in parts]).sum()
    learnt = [parameter for parameter in dict.fromkeys(parameters) if parameter.requires_grad]
    total: Tensor = _SumInParts.apply(share, parts, rows, *learnt)  # type: ignore[no-untyped-call]
    return total


class _SumInParts(torch.autograd.Function):
    """The sum, and the gradients of what it was computed from."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, share: Share, parts: list[slice], rows: Tensor, *learnt: Tensor
    ) -> Tensor:
        values, by_row = [], torch.empty_like(rows)
        sums: list[Tensor] = []
        for part in parts:
            with torch.enable_grad():
                some = rows[part].detach().requires_grad_()
                value = share(some, part)
            by_row[part], *new = torch.autograd.grad(value, [some, *learnt], materialize_grads=True)
            sums = [old.add_(more) for old, more in zip(sums, new, strict=True)] if sums else new
            values.append(value.detach())
        ctx.save_for_backward(by_row, *sums)
        return torch.stack(values).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor | None, ...]:
        # In place: some are as large as the vocabulary's table, and nobody else needs them.
        kept: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
        return None, None, *(gradient.mul_(outer) for gradient in kept)
