"""A noisy classifier's decisions as records: accuracy by level of noise, overall, calibration.

One accuracy hides what guidance needs to know: where on the way from noise to text the classifier
knows anything. Every text is judged at several levels; errors count texts, not decisions.

Legend of shapes: `N` decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.evaluation.records import Metric, Setting, ratio_metric

TIME_BINS = tuple(i / 10 for i in range(11))
LOG_SNR_BINS = (-6.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions:
    """What a classifier decided.

    Attributes:
        text: which text each decision is about, *shape* `N`.
        t: time of the noise, *shape* `N`.
        log_snr: λ, *shape* `N`.
        right: whether it was right, *shape* `N`.
        confidence: probability of what it decided for, *shape* `N`.
        loss: −log p of the truth, *shape* `N`.
    """

    text: Int[Tensor, "N"]
    t: Float[Tensor, "N"]
    log_snr: Float[Tensor, "N"]
    right: Bool[Tensor, "N"]
    confidence: Float[Tensor, "N"]
    loss: Float[Tensor, "N"]

    def where(self, chosen: Bool[Tensor, "N"]) -> Decisions:
        """Some of them."""
        return Decisions(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


def joined(parts: Sequence[Decisions]) -> Decisions:
    """Several batches of decisions as one.

    Raises:
        UsageError: no batch.
    """
    if not parts:
        raise UsageError("expected decisions to join, got none: there is no text to judge")
    names = [one.name for one in fields(Decisions)]
    return Decisions(**{n: torch.cat([getattr(part, n) for part in parts]) for n in names})


def calibration_error(
    confidence: Float[Tensor, "N"], right: Bool[Tensor, "N"], *, bins: int = 15
) -> float:
    """Σ over bins of confidence of |accuracy − mean confidence|, each by its share of decisions.

    The expected calibration error of Guo et al. (arXiv 1706.04599, §2), bins of equal width.

    Args:
        confidence: probability of what was decided for.
        right: whether that was right.
        bins: their number.

    Raises:
        UsageError: no decisions or no bins.

    Example:
        >>> always = torch.full((4,), 0.75)
        >>> calibration_error(always, torch.tensor([True, True, True, False]))
        0.0
        >>> calibration_error(always, torch.tensor([True, False, False, False]))
        0.5
    """
    if not len(right) or bins < 1:
        raise UsageError(f"expected decisions and bins, got {len(right)} and {bins}")
    place = (confidence.double() * bins).long().clamp(max=bins - 1)
    gap = right.double() - confidence.double()
    sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, gap)
    return float(sums.abs().sum() / len(right))


def report(
    decisions: Decisions,
    *,
    seed: int | None,
    reference: str | None,
    settings: Mapping[str, Setting],
    bins: int = 15,
) -> list[Metric]:
    """Accuracy and loss overall, accuracy in bins of t and of λ, expected calibration error.

    Overall means averaged over the levels that were judged; with `noise.times.EvenTimes` that is
    the mean over t. A bin without decisions has no record.

    Args:
        decisions: of held-out texts.
        seed: of the noise.
        reference: what the texts are.
        settings: what else changes the numbers.
        bins: of the calibration error.

    Raises:
        UsageError: no decisions.

    Example:
        >>> def tensor(*values):
        ...     return torch.tensor(values)
        >>> made = Decisions(
        ...     text=tensor(0, 1),
        ...     t=tensor(0.05, 0.95),
        ...     log_snr=tensor(2.5, -4.5),
        ...     right=tensor(True, False),
        ...     confidence=tensor(1.0, 0.5),
        ...     loss=tensor(0.0, 0.7),
        ... )
        >>> found = report(made, seed=0, reference=None, settings={})
        >>> [(metric.name, metric.value) for metric in found if "_at_t_" in metric.name]
        [('accuracy_at_t_0_to_0.1', 1.0), ('accuracy_at_t_0.9_to_1', 0.0)]
    """
    whole = partial(_mean, seed=seed, reference=reference)
    ece = Metric(
        name="calibration_error",
        value=calibration_error(decisions.confidence, decisions.right, bins=bins),
        n=len(torch.unique(decisions.text)),
        seed=seed,
        reference=reference,
        settings={**settings, "bins": bins},
    )
    found = [
        whole("accuracy", decisions, decisions.right, settings),
        whole("loss_nats", decisions, decisions.loss, settings),
        ece,
    ]
    for name, edges in (("t", TIME_BINS), ("log_snr", LOG_SNR_BINS)):
        level = getattr(decisions, name)
        for low, high in pairwise(edges):
            within = decisions.where((level >= low) & ((level < high) | (high == edges[-1])))
            if len(within.text):
                label = f"accuracy_at_{name}_{low:g}_to_{high:g}"
                found.append(whole(label, within, within.right, settings))
    return found


def _mean(
    name: str,
    decisions: Decisions,
    values: Tensor,
    settings: Mapping[str, Setting],
    *,
    seed: int | None,
    reference: str | None,
) -> Metric:
    """The mean over decisions; those of one text are not independent."""
    _, text = torch.unique(decisions.text, return_inverse=True)
    count = torch.bincount(text)
    total = torch.zeros(len(count), dtype=torch.float64).index_add_(0, text, values.double())
    return ratio_metric(
        name, total.tolist(), count.tolist(), seed=seed, reference=reference, settings=settings
    )
