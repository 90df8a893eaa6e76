"""The preference objective: link of the log-ratio, loss of the ranked scores, anchors.

    ℓ_i = log π(y_i|x) − log π_ref(y_i|x)      estimated with noise that both share
    score_i = h(ℓ_i), or log π(y_i|x) itself without a reference, perhaps over the length
    loss = preference loss(scores, ranks) − w · log π(best) / length + regulariser

`DiffusionTrainer` minimises it as any other objective.

Legend of shapes: `B` sets, `N` candidates, `K` draws.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import convert_outputs_to_fp32
from jaxtyping import Float, Int
from torch import Tensor, nn

from sfumato.alignment.learning.divergences import REVERSE_KL, Link
from sfumato.alignment.learning.likelihood import Estimator
from sfumato.alignment.learning.losses import PreferenceLoss, better
from sfumato.errors import UsageError

Reference = Callable[[Any], AbstractContextManager[Any]]
Regulariser = Callable[[Any, Any], Tensor]  # policy and noised batch to a loss a set


def frozen(model: nn.Module, *, bf16: bool = False) -> Reference:
    """A copy of a model as it is now, as the reference of what it becomes.

    Args:
        model: the policy before it is trained.
        bf16: whether the policy computes in mixed precision, as the reference then must as well:
            else their rounding would stand in every log-ratio.
    """
    kept = copy.deepcopy(model).eval().requires_grad_(False)

    @contextmanager
    def lent(policy: nn.Module) -> Iterator[nn.Module]:
        device = next(policy.parameters()).device
        kept.to(device)
        if bf16 and "forward" not in vars(kept):
            mixed = torch.autocast(device.type, dtype=torch.bfloat16)
            vars(kept)["forward"] = convert_outputs_to_fp32(mixed(kept.forward))
        yield kept

    return lent


class Meter:
    """Collects what is logged between two log lines, under TRL's names.

    Attributes:
        moved: some log-ratio was not 0 so far.
    """

    def __init__(self) -> None:
        self._found: dict[str, list[Tensor]] = {}
        self.moved = False

    @torch.no_grad()
    def note(
        self,
        beta: float,
        log_p: Float[Tensor, "B N K"],
        ratio: Float[Tensor, "B N K"],
        losses: Float[Tensor, "B"],
        nll: Float[Tensor, "B"],
        ranks: Int[Tensor, "B N"],
    ) -> None:
        """Takes the figures of a batch."""
        order, there = better(ranks), ranks > 0
        ordered = order.any((1, 2))
        best, worst = there & ~order.any(1), there & ~order.any(2)
        rewards, likely = beta * ratio.mean(2), log_p.mean(2)
        leads = (rewards[:, :, None] - rewards[:, None])[order]
        found = {
            "rewards/chosen": rewards[best & ordered[:, None]],
            "rewards/rejected": rewards[worst & ordered[:, None]],
            "rewards/margins": leads,
            "rewards/accuracies": (leads > 0).float(),
            "logps/chosen": likely[best & ordered[:, None]],
            "logps/rejected": likely[worst & ordered[:, None]],
            "preference_loss": losses,
            "nll_loss": nll,
        }
        if ratio.shape[2] > 1:
            spread = ratio.std(2) / ratio.shape[2] ** 0.5
            found["log_ratio/std_mc"] = spread[there]
        for name, values in found.items():
            self.add(name, values)
        self.moved = self.moved or bool((ratio != 0).any())

    def add(self, name: str, values: Tensor) -> None:
        """Takes figures under a name of their own."""
        self._found.setdefault(name, []).append(values.detach().flatten())

    def take(self) -> dict[str, float]:
        """The means since the last time."""
        every = {name: torch.cat(values) for name, values in self._found.items()}
        self._found.clear()
        return {name: float(values.mean()) for name, values in every.items() if len(values)}


@dataclass(frozen=True, kw_only=True)
class PreferenceObjective:
    """What alignment minimises.

    Attributes:
        estimator: draws noise and says how likely a model finds the candidates.
        loss: of pairs or lists.
        reference: lends the model that the policy is measured against: `frozen(model)`, or
            `models.lora.adapters_off` for a policy with adapters. None scores candidates by their
            own likelihood (CPO, SimPO).
        link: of the divergence; without a reference only the reverse KL's.
        per_token: divide a score by the length of its candidate (SimPO, and IPO in TRL).
        anchor: weight of −log π(best candidate) over its length, which keeps the likelihood of
            what is preferred from falling (CPO, 2401.08417; RPO, 2404.19733).
        regulariser: a further loss of each set, such as an adversary's.
        meter: collects what is logged.

    Raises:
        UsageError: a link without a reference, or a negative weight.
    """

    estimator: Estimator
    loss: PreferenceLoss
    reference: Reference | None
    link: Link = REVERSE_KL
    per_token: bool = False
    anchor: float = 0.0
    regulariser: Regulariser | None = None
    meter: Meter = field(default_factory=Meter, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.reference is None and self.link != REVERSE_KL:
            raise UsageError(
                "a divergence needs a reference to diverge from: give one, or leave the link out"
            )
        if not self.anchor >= 0:
            raise UsageError(f"expected an anchor ≥ 0, got {self.anchor}")

    def prepare(self, batch: Any, generator: torch.Generator) -> Any:  # noqa: ANN401
        """Draws the noise that policy and reference share."""
        return self.estimator.prepare(batch, generator)

    def __call__(self, denoiser: nn.Module, prepared: Any) -> Float[Tensor, ""]:  # noqa: ANN401
        """The summed loss of the sets; divide by the global batch's `items`.

        Raises:
            UsageError: the reference shares its weights with the policy.
        """
        log_p = self.estimator(denoiser, prepared).float()
        ratio = log_p - self._referred(denoiser, prepared)
        scores = self.link(ratio.mean(2))
        sizes = prepared.sizes.clamp(min=1)
        losses = self.loss(scores / sizes if self.per_token else scores, prepared.ranks)
        ranks = prepared.ranks
        best = ((ranks > 0) & ~better(ranks).any(1)).to(log_p)
        best = best / best.sum(1, keepdim=True).clamp(min=1)
        nll = -(best * log_p.mean(2) / sizes).sum(1)
        self.meter.note(self.loss.beta, log_p, ratio, losses, nll, ranks)
        if self.anchor:
            losses = losses + self.anchor * nll
        if self.regulariser is not None:
            more = self.regulariser(denoiser, prepared)
            self.meter.add("regulariser_loss", more)
            losses = losses + more
        return losses.sum()

    def report(self) -> dict[str, float]:
        """Means since the last time, under TRL's names, for the log."""
        return self.meter.take()

    def _referred(self, policy: nn.Module, prepared: Any) -> Tensor | float:  # noqa: ANN401
        """The reference's log-likelihoods; 0 without one."""
        if self.reference is None:
            return 0.0
        with self.reference(policy) as reference:
            if _shared(policy, reference):
                raise UsageError(
                    "policy and reference share their weights, so that every log-ratio is 0: give "
                    "a frozen copy, frozen(model)"
                )
            # Not under no_grad, where a CPU multiplies bfloat16 by other kernels and rounds as the
            # policy does not. No weight of a reference asks for a gradient anyway.
            return self.estimator(reference, prepared).float().detach()


def _shared(policy: nn.Module, reference: nn.Module) -> bool:
    """Whether a weight that is trained is the reference's own."""
    of = {parameter.data_ptr() for parameter in reference.parameters()}
    return any(p.data_ptr() in of for p in policy.parameters() if p.requires_grad)
