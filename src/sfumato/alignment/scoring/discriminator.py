"""Real against generated: losses that train a logit to tell them apart, and how often it does.

    D(x) ─► binary   log(1 + e^{∓D}) of each candidate, − where it is real
         └► choice   −log softmax of D over the candidates of a set, at the real one

Real candidates have rank 1 and generated ones rank 2; in a set that people ranked, the best takes
the place of the real. What a candidate is made of does not matter: texts and images share this.

Of a choice only differences of logits are learnt: their zero means nothing, and so do `accuracy`
and `calibration_error` of such a discriminator.

Legend of shapes: `B` sets, `N` candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from sfumato.alignment.learning.losses import PlackettLuce, better
from sfumato.alignment.scoring.learnt import SetLoss, pairs_right
from sfumato.errors import UsageError
from sfumato.evaluation.classifying.levels import calibration_error
from sfumato.evaluation.records import Metric, Setting, mean_metric, ratio_metric

LABEL = "real"
LossName = Literal["binary", "choice"]


@dataclass(frozen=True, kw_only=True)
class Binary:
    """−log σ(D) of a real candidate, −log σ(−D) of a generated one; the mean over a set.

    Example:
        >>> Binary()(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 2]]))  # log 2
        tensor([0.6931])
    """

    def __call__(
        self, logits: Float[Tensor, "B N"], ranks: Int[Tensor, "B N"]
    ) -> Float[Tensor, "B"]:
        """The loss of each set."""
        there = ranks > 0
        terms = softplus(torch.where(best(ranks), -logits, logits))
        return torch.where(there, terms, 0).sum(1) / there.sum(1).clamp(min=1)


LOSSES: Mapping[LossName, SetLoss] = MappingProxyType(
    {"binary": Binary(), "choice": PlackettLuce(beta=1.0, top=1)}
)


def best(ranks: Int[Tensor, "B N"]) -> Bool[Tensor, "B N"]:
    """Which candidates are real, or the best of those that are there.

    Args:
        ranks: 1 for the best, 0 for a candidate that is not there.

    Example:
        >>> best(torch.tensor([[2, 1, 1, 0]])).tolist()
        [[False, True, True, False]]
    """
    return (ranks > 0) & ~better(ranks).any(1)


def figures(
    logits: Float[Tensor, "B N"],
    ranks: Int[Tensor, "B N"],
    *,
    reference: str | None,
    settings: Mapping[str, Setting],
    bins: int = 15,
) -> list[Metric]:
    """How well logits tell real candidates from generated ones, on sets that were held out.

    `top1_accuracy`: a real one has the highest logit of its set. `pairwise_accuracy`: of the pairs
    of a real and a generated one, the share with the real one above. `accuracy`: of all candidates,
    the share on the right side of p = ½. `calibration_error`: see `calibration_error`. Ties are
    split evenly. Errors count sets; the settings say how large they are, for chance depends on it.

    Args:
        logits: one number a candidate.
        ranks: 1 for the real, 2 for the generated, 0 for a candidate that is not there.
        reference: what the sets are.
        settings: what else changes the numbers.
        bins: of the calibration error.

    Raises:
        UsageError: no set, or one without a real or without a generated candidate.

    Example:
        >>> logits, ranks = torch.tensor([[3.0, 1.0, -1.0]]), torch.tensor([[1, 2, 2]])
        >>> found = figures(logits, ranks, reference=None, settings={})
        >>> [(metric.name, round(metric.value, 2)) for metric in found[:3]]
        [('top1_accuracy', 1.0), ('pairwise_accuracy', 1.0), ('accuracy', 0.67)]
    """
    right, pairs = pairs_right(logits, ranks)
    if not len(logits) or not pairs.all():
        raise UsageError("expected sets that each have a real and a generated candidate")
    there, real = ranks > 0, best(ranks)
    sizes = there.sum(1)
    known: dict[str, Setting] = {
        **settings,
        "real": int(real.sum()),
        "generated": int((there & ~real).sum()),
    }
    sided = torch.where(logits == 0, 0.5, ((logits > 0) == real).double())
    sums = {
        "pairwise_accuracy": (right, pairs),
        "accuracy": ((sided * there).sum(1), sizes),
    }
    ratios = [
        ratio_metric(
            name, total.tolist(), size.tolist(), seed=None, reference=reference, settings=known
        )
        for name, (total, size) in sums.items()
    ]
    top = _at_top(logits, there, real).tolist()
    error = calibration_error(
        logits[there].double().abs().sigmoid(), (logits > 0)[there] == real[there], bins=bins
    )
    return [
        mean_metric("top1_accuracy", top, seed=None, reference=reference, settings=known),
        *ratios,
        Metric(
            name="calibration_error",
            value=error,
            n=len(logits),
            reference=reference,
            settings={**known, "bins": bins},
        ),
    ]


def _at_top(
    logits: Float[Tensor, "B N"], there: Bool[Tensor, "B N"], real: Bool[Tensor, "B N"]
) -> Float[Tensor, "B"]:
    """Of those with the highest logit of a set, the share that is real."""
    seen = logits.masked_fill(~there, -math.inf)
    top = there & (seen == seen.amax(1, keepdim=True))
    return (top & real).sum(1).double() / top.sum(1)
