"""Steering of tokens by a classifier: p(v at i | y) ∝ p(v at i)·p(y | x with v at i)^w.

    OneByOne    asks the classifier about every candidate token: exact
    FirstOrder  asks once, and takes the candidates' scores from its gradient
    Bias        asks nobody: each token gains what is given

The classifier must know unwritten text: p(y | x_t) with masks is its mean over what may still be
written. With it exact, the model's predictions exact and one token a step, the text has exactly
the law p(x | y).

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `V` vocabulary, `N` rows that
a classifier is asked about.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.sampling.parts.constraints.scene import Scene

_ROWS_AT_ONCE = 256


@runtime_checkable
class Steering(Protocol):
    """Says what to add to the logits of a step."""

    def lift(self, view: Scene, logits: Float[Tensor, "M V"]) -> Float[Tensor, "M V"]:
        """What is added; −∞ forbids."""
        ...


@dataclass(frozen=True, kw_only=True)
class OneByOne:
    """w·log p(y | x with v at i) for the likeliest tokens v at each position; no other is written.

    Attributes:
        log_p: ids with masks, *shape* `N L` ↦ log p(y | x) of each row.
        scale: w; 1 draws from the conditional law.
        top: how many tokens at a position are asked about; None for all, which is exact and costs
            `V` evaluations a position.

    Raises:
        UsageError: no token to ask about, or a scale that is no number.

    Example:
        >>> OneByOne(log_p=lambda ids: -ids.sum(1).float(), top=4).top
        4
    """

    log_p: Callable[[Tensor], Tensor]
    scale: float = 1.0
    top: int | None = 8

    def __post_init__(self) -> None:
        _check(self.scale)
        if self.top is not None and self.top < 1:
            raise UsageError(f"expected top ≥ 1 tokens to ask about, got {self.top}")

    @torch.no_grad()
    def lift(self, view: Scene, logits: Float[Tensor, "M V"]) -> Float[Tensor, "M V"]:
        """Scores of the candidates, −∞ elsewhere."""
        count = min(self.top or logits.shape[1], logits.shape[1])
        best, token = logits.topk(count, dim=1)
        row, place = torch.isfinite(best).nonzero(as_tuple=True)
        chosen = token[row, place]
        ids = view.ids[view.batch[row]]
        ids[torch.arange(len(row), device=ids.device), view.position[row]] = chosen
        scores = torch.cat([self.log_p(some) for some in torch.split(ids, _ROWS_AT_ONCE)])
        lifted = torch.full_like(logits, -torch.inf)
        lifted[row, chosen] = self.scale * _checked(scores).to(logits)
        return lifted


@dataclass(frozen=True, kw_only=True)
class FirstOrder:
    """w·(∂_v − ∂_x) log p(y | x) at each position: Taylor's first term from x_i to v.

    Schiff et al. (arXiv 2412.10193), §4.2. One evaluation and its gradient, whatever the
    vocabulary; exact where log p is linear in the tokens.

    Attributes:
        log_p: one-hot rows, *shape* `N L V` ↦ log p(y | x) of each row, differentiable.
        scale: w.

    Raises:
        UsageError: a scale that is no number.

    Example:
        >>> FirstOrder(log_p=lambda onehot: onehot[..., 3].sum(1), scale=2.0).scale
        2.0
    """

    log_p: Callable[[Tensor], Tensor]
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(self.scale)

    def lift(self, view: Scene, logits: Float[Tensor, "M V"]) -> Float[Tensor, "M V"]:
        """The gradient's differences."""
        with torch.enable_grad():
            onehot = torch.nn.functional.one_hot(view.ids, logits.shape[1]).to(logits)
            onehot.requires_grad_()
            (slope,) = torch.autograd.grad(_checked(self.log_p(onehot)).sum(), onehot)
        here = slope[view.batch, view.position]
        present: Int[Tensor, "M"] = view.ids[view.batch, view.position]
        return self.scale * (here - here.gather(1, present[:, None]))


@dataclass(frozen=True, kw_only=True)
class Bias:
    """What the logits of some tokens gain at every position.

    Attributes:
        lifts: tokens and what each gains, nats.

    Raises:
        UsageError: no token, or a gain that is no number.

    Example:
        >>> Bias(lifts=((7, 2.0),))
        Bias(lifts=((7, 2.0),))
    """

    lifts: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        if not self.lifts or not all(math.isfinite(gain) for _, gain in self.lifts):
            raise UsageError(f"a bias needs tokens and finite numbers, got {self.lifts}")

    def lift(self, view: Scene, logits: Float[Tensor, "M V"]) -> Float[Tensor, "M V"]:
        """The gains, 0 for all other tokens."""
        tokens, gains = zip(*self.lifts, strict=True)
        lifted = torch.zeros_like(logits)
        lifted[:, list(tokens)] = torch.tensor(gains).to(logits)
        return lifted


def _check(scale: float) -> None:
    if not math.isfinite(scale):
        raise UsageError(f"steering needs a finite scale, got {scale}")


def _checked(scores: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    if bool(scores.isnan().any()):
        raise ModelError("the classifier's log p is not a number: it may be damaged")
    return scores
