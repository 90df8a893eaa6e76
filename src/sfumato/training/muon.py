"""Muon for the matrices of the body, AdamW for embeddings, biases and norms: one optimiser.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a
matrix by its nearest semi-orthogonal matrix, found by five Newton–Schulz steps, in bfloat16 where
the training computes in it: four times as fast in its hardware, and slower without.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adamw import adamw
from transformers import TrainingArguments

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ADAMW_SHARE = 0.3


def orthogonalise(matrices: Float[Tensor, "N R C"], *, steps: int = 5) -> Float[Tensor, "N R C"]:
    """Pushes the singular values of each matrix of a batch towards one (within about 0.7–1.2).

    Quintic Newton–Schulz iteration X ← aX + (bA + cA²)X with A = XXᵀ.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    result: Tensor = x.mT if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Muon on the parameter groups marked `orthogonal`, AdamW on the others.

    Args:
        groups: parameter groups; each may set `orthogonal`, `lr` and `weight_decay`.
        lr: step size; an orthogonal update has root-mean-square 0.2 · lr, as AdamW's roughly
            has (Liu et al. 2025, "Muon is scalable for LLM training", eq. 4).
        momentum: of the orthogonal groups, with Nesterov's correction.
        betas: of the AdamW groups.
        weight_decay: decoupled, as in AdamW.
        iterates: dtype of the Newton–Schulz iteration.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.0,
        iterates: torch.dtype = torch.float32,
    ) -> None:
        self.iterates = iterates
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "betas": betas,
            "weight_decay": weight_decay,
            "orthogonal": False,
        }
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every group."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["orthogonal"]:
                self._orthogonal_step(group, parameters)
            else:
                self._adamw_step(group, parameters)
        return loss

    def _orthogonal_step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            by_shape[parameter.shape].append(parameter)
        for shape, members in by_shape.items():
            updates = []
            for parameter in members:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                gradient = parameter.grad
                assert gradient is not None
                state["momentum"].lerp_(gradient, 1 - group["momentum"])
                updates.append(gradient.lerp(state["momentum"], group["momentum"]))
            directions = orthogonalise(torch.stack(updates).to(self.iterates))
            scale = group["lr"] * 0.2 * max(shape) ** 0.5
            for parameter, direction in zip(members, directions, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(direction.to(parameter.dtype), alpha=-scale)

    def _adamw_step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        states = [self.state[p] for p in parameters]
        if parameters:
            adamw(
                parameters,
                [p.grad for p in parameters if p.grad is not None],
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                [],
                [s["step"] for s in states],
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=1e-8,
                maximize=False,
            )


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, orthogonal: bool
) -> list[dict[str, Any]]:
    """Splits trainable parameters: matrices of the body; embeddings and head; vectors (no decay).

    Args:
        model: the denoiser.
        lr: peak step size of the matrices; beside Muon, AdamW's groups take 0.3 of it, because
            a step that suits orthogonal updates is too large for embeddings.
        weight_decay: of the matrices and embeddings.
        orthogonal: mark the body's matrices for Muon.
    """
    embedding_ids = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    matrices, tables, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() < 2:
            vectors.append(parameter)
        elif id(parameter) in embedding_ids or "decoder" in name or parameter.dim() > 2:
            tables.append(parameter)
        else:
            matrices.append(parameter)
    beside = lr * _ADAMW_SHARE if orthogonal else lr
    groups = [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay, "orthogonal": orthogonal},
        {"params": tables, "lr": beside, "weight_decay": weight_decay, "orthogonal": False},
        {"params": vectors, "lr": beside, "weight_decay": 0.0, "orthogonal": False},
    ]
    return [group for group in groups if group["params"]]


def new_optimizer(model: nn.Module, args: TrainingArguments, *, muon: bool) -> Muon:
    """Muon, or AdamW for everything, as the Trainer's arguments say.

    Args:
        model: the denoiser.
        args: step size, decay and betas; bf16 makes Muon iterate in it.
        muon: use Muon for the matrices of the body.
    """
    rate, decay = args.learning_rate, args.weight_decay
    groups = parameter_groups(model, lr=rate, weight_decay=decay, orthogonal=muon)
    betas = (args.adam_beta1, args.adam_beta2)
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    return Muon(groups, lr=rate, betas=betas, iterates=dtype)
