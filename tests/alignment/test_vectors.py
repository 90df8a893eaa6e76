"""Likelihood of vectors: the surrogate of Diffusion-DPO against divergences that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.alignment.test_likelihood import EXAMPLES
from tests.training.worlds import WORDS
from torch import Tensor

from sfumato.alignment.learning.vectors import (
    NoisedVectors,
    RankedSlots,
    VectorElbo,
    lay_ranked_slots,
)
from sfumato.errors import UsageError
from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.score_network import ScoreNetwork, ScoreSizes
from sfumato.noise.gaussian import GaussianProcess, Preserving
from sfumato.noise.log_snr import Straight
from sfumato.noise.times import EvenLogSnrs
from sfumato.training.latents import LatentLearner, NoisedSlots, Predicted, noise_weighting

LOW, HIGH = -3.0, 3.0
PROCESS = GaussianProcess(schedule=Straight(), path=Preserving(), low=LOW, high=HIGH)
BATCH = lay_ranked_slots(EXAMPLES, slots=8, pad=WORDS.pad)


class Known:
    """Texts are fixed vectors; the denoiser is the exact one of data N(mean, 1) in every number."""

    def __init__(self, mean: float, width: int = 4) -> None:
        self.mean, self.width = mean, width

    def __call__(self, noised: NoisedSlots, process: GaussianProcess) -> Predicted:
        scale = noised.ids[..., None].double() / 100
        x_0 = scale * torch.linspace(-1, 1, self.width, dtype=torch.float64)
        at = process.scales(noised.t.double()).over(x_0)
        x_t = at.alpha * x_0 + at.sigma * noised.noise.double()
        snr = (at.alpha / at.sigma) ** 2
        # E[x_0 | x_t] of a normal law of variance 1: what is seen counts by its precision.
        x_hat = (self.mean + snr * x_t / at.alpha) / (1 + snr)
        return Predicted(x_0=x_0, x_t=x_t, x_hat=x_hat, condition=None)


def test_the_bound_is_the_likelihood_of_a_normal_law() -> None:
    """The difference of the bounds of N(a, 1) and N(0, 1) is that of their log-densities.

    log N(x; a, 1) − log N(x; 0, 1) = a·x − a²/2 in each number, of which the levels between λ = −3
    and 3 hold a share: with SNR from s to S it is [1/(1 + s)] − [1/(1 + S)] of the whole, since
    d/dSNR of ‖x_0 − x̂_0‖² differs by (a² − 2·a·x) / (1 + SNR)².
    """
    a = 0.7
    batch = RankedSlots(
        ids=torch.arange(8).view(1, 1, 8) * 20,
        given=torch.zeros(1, 1, 1, dtype=torch.long),
        attend=torch.zeros(1, 1, 1, dtype=torch.bool),
        ranks=torch.ones(1, 1, dtype=torch.long),
    )
    estimator = VectorElbo(process=PROCESS, width=4, draws=20_000, weighting=None)
    noised = estimator.prepare(batch, torch.Generator().manual_seed(0))
    ratio = estimator(Known(a), noised) - estimator(Known(0.0), noised)
    x = (batch.ids[0, 0, :, None].double() / 100) * torch.linspace(-1, 1, 4, dtype=torch.float64)
    snr = torch.exp(2 * torch.tensor([LOW, HIGH], dtype=torch.float64))
    share = float(1 / (1 + snr[0]) - 1 / (1 + snr[1]))
    expected = share * float((a * x - a * a / 2).sum())
    error = float(ratio.std() / ratio.numel() ** 0.5)
    assert float(ratio.mean()) == pytest.approx(expected, abs=4 * error + 1e-3)


def test_the_surrogate_bounds_the_path_divergence() -> None:
    """Σ over levels of w(λ)·‖x̂_θ − x̂_ref‖² is the KL of two reverse paths (Girsanov).

    For the exact denoisers of N(a, 1) and N(0, 1) the paths start from the same noise and differ in
    drift only: KL = ∫ ½ ‖x̂_a − x̂_0‖² d SNR, with x̂_a − x̂_0 = a / (1 + SNR), hence a²·share / 2 in
    each number. In expectation over x_0 ~ N(a, 1) the log-ratio of the bounds is just that.
    """
    a, source = 0.7, torch.Generator().manual_seed(1)
    estimator = VectorElbo(process=PROCESS, width=4, draws=64, weighting=None)
    snr = torch.exp(2 * torch.tensor([LOW, HIGH], dtype=torch.float64))
    share = float(1 / (1 + snr[0]) - 1 / (1 + snr[1]))

    class Drawn(Known):
        """Its x_0 are draws of N(a, 1), the same for every model."""

        def __call__(self, noised: NoisedSlots, process: GaussianProcess) -> Predicted:
            x_0 = a + torch.randn(
                noised.noise.shape, dtype=torch.float64, generator=source.manual_seed(2)
            )
            at = process.scales(noised.t.double()).over(x_0)
            x_t = at.alpha * x_0 + at.sigma * noised.noise.double()
            snr = (at.alpha / at.sigma) ** 2
            x_hat = (self.mean + snr * x_t / at.alpha) / (1 + snr)
            return Predicted(x_0=x_0, x_t=x_t, x_hat=x_hat, condition=None)

    batch = RankedSlots(
        ids=torch.zeros(50, 1, 8, dtype=torch.long),
        given=torch.zeros(50, 1, 1, dtype=torch.long),
        attend=torch.zeros(50, 1, 1, dtype=torch.bool),
        ranks=torch.ones(50, 1, dtype=torch.long),
    )
    noised = estimator.prepare(batch, torch.Generator().manual_seed(0))
    ratio = estimator(Drawn(a), noised) - estimator(Drawn(0.0), noised)
    expected = 8 * 4 * a * a * share / 2
    error = float(ratio.std() / ratio.numel() ** 0.5)
    assert float(ratio.mean()) == pytest.approx(expected, abs=4 * error)
    assert 0 < error < expected / 10


def learner(seed: int = 0) -> LatentLearner:
    sizes = ScoreSizes(width=8, slots=8, hidden=16, layers=2, heads=2, reading="cross")
    network = ScoreNetwork(sizes, path=PROCESS.path, seed=seed)
    codec = EmbeddingCodec(size=WORDS.size, width=8)
    return LatentLearner(network, codec).eval()


def test_errors_are_weighted() -> None:
    """With w = e^2λ the score is minus half the squared error of ε, a mean over its numbers."""
    estimator, model = VectorElbo(process=PROCESS, width=8, draws=3), learner()
    noised = estimator.prepare(BATCH, torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = estimator(model, noised)
    assert found[0, 2].tolist() == [0, 0, 0]
    t, noise = noised.t[1, :1], noised.noise[1, :1]
    rows = NoisedSlots(
        ids=BATCH.ids[1, :1], given=BATCH.given[1, :1], attend=BATCH.attend[1, :1],
        noise=noise, t=t, hinted=torch.zeros(1, dtype=torch.bool),
    )  # fmt: skip
    with torch.no_grad():
        said = model(rows, PROCESS)
    at = PROCESS.scales(t).over(said.x_0)
    predicted = (said.x_t - at.alpha * said.x_hat) / at.sigma
    expected = -0.5 * (noise - predicted).square().mean()
    torch.testing.assert_close(found[1, 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_candidates_share_levels_and_noise() -> None:
    """Two candidates that are the same text have the same score."""
    same = replace(BATCH, ids=BATCH.ids[:, :1].expand_as(BATCH.ids))
    estimator = VectorElbo(process=PROCESS, width=8, draws=2)
    noised: NoisedVectors = estimator.prepare(same, torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole: Tensor = estimator(learner(), noised)
        parts = torch.cat([estimator(learner(), noised.rows(i, i + 1)) for i in range(2)])
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(whole[1, 0], whole[1, 2])
    assert float(noised.items) == 2


def test_the_bound_needs_even_times() -> None:
    with pytest.raises(UsageError, match="integral over even times"):
        VectorElbo(process=PROCESS, width=4, times=EvenLogSnrs(), weighting=None)
    with pytest.raises(UsageError, match="draws ≥ 1"):
        VectorElbo(process=PROCESS, width=4, draws=0)
    assert VectorElbo(process=PROCESS, width=4).weighting is noise_weighting
