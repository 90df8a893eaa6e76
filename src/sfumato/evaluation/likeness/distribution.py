"""MAUVE: two sets of texts as two distributions over clusters of their features.

    features of both sets ──► unit length ──► PCA ──► k-means ──► histograms P, Q
                                                                       │
     area under  (e^{−c·KL(Q‖R)}, e^{−c·KL(P‖R)})   R = λP + (1−λ)Q  ◄─┘

Implements Pillutla et al. 2021 (MAUVE: Measuring the Gap Between Neural Text and Human Text
using Divergence Frontiers); clustering needs scikit-learn, in the extra
`metrics`.

Legend of shapes: `N` texts of one set, `M` texts of the other, `D` width of the features,
`K` clusters, `S` histograms at once, `W` mixtures.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from statistics import fmean, variance

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sfumato.errors import MissingExtraError, UsageError
from sfumato.evaluation.records import Metric

Featuriser = Callable[[Sequence[str]], Tensor]
_TEXTS_A_CLUSTER = 10
_MIXTURES = 25
_EDGE = 1e-6
_EXPLAINED = 0.9


def mauve(
    texts: Sequence[str],
    others: Sequence[str],
    features: Featuriser,
    *,
    clusters: int | None = None,
    scaling: float = 5.0,
    clusterings: int = 5,
    seed: int = 0,
    reference: str | None = None,
) -> Metric:
    """How near the distribution of some texts is to that of others, 1 for the same; `mauve`.

    The mean over several clusterings of the area under the divergence frontier. It depends
    strongly on the number of texts, on the featuriser and on the number of clusters: below some
    5,000 texts (500 clusters) it is noise to a large part.

    Args:
        texts: texts to judge; empty ones are texts too.
        others: real texts, best as many.
        features: texts → one vector each, *shape* `N D`, such as an `Encoder`.
        clusters: k of k-means; a tenth of the smaller set if None, at least 2.
        scaling: c, how fast divergences turn into distance from 1.
        clusterings: k-means runs, each with a seed of its own.
        seed: seed of the first run; the next ones count on from it.
        reference: what the other texts are, for the record.

    Returns:
        `n` is the number of texts judged. `stderr` covers the choice of both sets of texts (the
        jackknife with the clusters held fixed) and the clusterings.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        UsageError: see `mauve_of_features`.

    Example:
        >>> def lengths(texts):
        ...     return torch.tensor([[len(text), 1.0] for text in texts])
        >>> short, long = ["a", "b", "a", "b"] * 5, ["aaaaaa", "bbbbbbb"] * 10
        >>> same = mauve(short, short, lengths, clusterings=1)
        >>> apart = mauve(short, long, lengths, clusterings=1)
        >>> round(same.value, 3), apart.value < 0.1
        (1.0, True)
    """
    if not texts or not others:
        raise UsageError(
            f"mauve needs texts on both sides, got {len(texts)} to judge and {len(others)} others"
        )
    return mauve_of_features(
        features(texts),
        features(others),
        clusters=clusters,
        scaling=scaling,
        clusterings=clusterings,
        seed=seed,
        reference=reference,
        featuriser=str(getattr(features, "name", getattr(features, "__name__", "features"))),
    )


def mauve_of_features(
    left: Float[Tensor, "N D"],
    right: Float[Tensor, "M D"],
    *,
    clusters: int | None = None,
    scaling: float = 5.0,
    clusterings: int = 5,
    seed: int = 0,
    reference: str | None = None,
    featuriser: str = "features",
) -> Metric:
    """MAUVE of features that are there already; see `mauve`.

    Args:
        left: features of the texts to judge, *shape* `N D`.
        right: features of the others, *shape* `M D`.
        clusters: k of k-means; a tenth of the smaller set if None, at least 2.
        scaling: c, how fast divergences turn into distance from 1.
        clusterings: k-means runs, each with a seed of its own.
        seed: seed of the first run; the next ones count on from it.
        reference: what the other texts are, for the record.
        featuriser: where the features come from, for the record.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        UsageError: fewer features than clusters, fewer than 2 clusters, no clustering, or a
            scaling that is not positive.
    """
    k = (
        max(2, round(min(len(left), len(right)) / _TEXTS_A_CLUSTER))
        if clusters is None
        else clusters
    )
    if clusterings < 1 or not 2 <= k <= len(left) + len(right) or not scaling > 0:
        raise UsageError(
            "mauve needs at least one clustering, a scaling above 0 and from 2 clusters to as "
            f"many as there are texts, but got {clusterings} clusterings, scaling {scaling} and "
            f"{k} clusters for {len(left)} + {len(right)} texts"
        )
    places = _reduced(torch.cat([left, right]))
    values, variances = [], []
    for run in range(clusterings):
        labels = _clustered(places, k, seed + run)
        value, spread = _with_variance(
            labels[: len(left)].bincount(minlength=k).double(),
            labels[len(left) :].bincount(minlength=k).double(),
            scaling,
        )
        values.append(value)
        variances.append(spread)
    between = variance(values) / clusterings if clusterings > 1 else 0.0
    return Metric(
        name="mauve",
        value=fmean(values),
        n=len(left),
        seed=seed,
        reference=reference,
        settings={
            "others": len(right),
            "clusters": k,
            "scaling": scaling,
            "clusterings": clusterings,
            "features": featuriser,
        },
        stderr=math.sqrt(fmean(variances) + between),
    )


def frontier_area(
    p: Float[Tensor, "*S K"], q: Float[Tensor, "*S K"], *, scaling: float = 5.0
) -> Float[Tensor, "*S"]:
    """The area under the divergence frontier of two histograms, in 0 … 1.

    The trapezoid rule over 25 mixtures and the two ends (0, 1) and (1, 0).

    Args:
        p: shares of the clusters in one set, *shape* `… K`.
        q: the same in the other set.
        scaling: c of exp(−c · KL).

    Example:
        >>> half = torch.tensor([0.5, 0.5])
        >>> round(float(frontier_area(half, half)), 6)
        1.0
    """
    weight = torch.linspace(_EDGE, 1 - _EDGE, _MIXTURES, dtype=p.dtype)[:, None]
    left, right = p[..., None, :], q[..., None, :]
    mixed = weight * left + (1 - weight) * right
    x = (-scaling * _divergence(right, mixed)).exp()
    y = (-scaling * _divergence(left, mixed)).exp()
    zero, one = torch.zeros_like(x[..., :1]), torch.ones_like(x[..., :1])
    x, y = torch.cat([one, x, zero], -1), torch.cat([zero, y, one], -1)
    area: Tensor = torch.trapezoid(y.flip(-1), x.flip(-1))
    return area


def _divergence(p: Tensor, mixed: Tensor) -> Tensor:
    """KL(p ‖ mixture), nats; the mixture is positive wherever p is."""
    ratio = p / mixed.clamp_min(torch.finfo(mixed.dtype).tiny)
    nats: Tensor = torch.special.xlogy(p, ratio).sum(-1)
    return nats


def _with_variance(
    left: Float[Tensor, "K"], right: Float[Tensor, "K"], scaling: float
) -> tuple[float, float]:
    """The area, and the jackknife's variance of it over the texts of both sets.

    Leaving out a text changes one count, so that the texts of a cluster share one value.
    """
    p, q = left / left.sum(), right / right.sum()
    value = float(frontier_area(p, q, scaling=scaling))
    spread = 0.0
    for counts, fixed, swapped in ((left, q, False), (right, p, True)):
        n = float(counts.sum())
        filled = counts > 0
        if n < 2:
            continue
        without = ((counts - torch.eye(len(counts), dtype=counts.dtype)) / (n - 1))[filled]
        pair = (
            (fixed.expand_as(without), without) if swapped else (without, fixed.expand_as(without))
        )
        areas = frontier_area(*pair, scaling=scaling)
        weight = counts[filled]
        mean = (weight * areas).sum() / n
        spread += float((n - 1) / n * (weight * (areas - mean).square()).sum())
    return value, spread


def _reduced(features: Float[Tensor, "N D"]) -> Float[Tensor, "N _"]:
    """Unit vectors in the fewest principal axes that hold 90 % of their variance."""
    places = torch.nn.functional.normalize(features.double(), dim=1)
    centred = places - places.mean(0)
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    held = sizes.square().cumsum(0) / sizes.square().sum().clamp_min(1e-300)
    kept = int((held < _EXPLAINED).sum()) + 1
    reduced: Tensor = centred @ axes[:kept].T
    return reduced


def _clustered(places: Float[Tensor, "N D"], clusters: int, seed: int) -> Int[Tensor, "N"]:
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "metrics") from error
    found = KMeans(n_clusters=clusters, n_init=1, max_iter=500, random_state=seed)
    with warnings.catch_warnings():
        # Texts that repeat each other leave clusters empty, which is what is to be measured.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return torch.from_numpy(found.fit_predict(places.float().numpy())).long()
