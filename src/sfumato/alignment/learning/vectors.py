"""Likelihood of ranked candidates under Gaussian noise on vectors: latent and embedding texts.

    s_i = −½ w(λ)·mean‖x_0 − x̂_0(x_t)‖²         the same t and ε for all candidates of a set

With w = e^2λ that is the squared error of ε, as in Diffusion-DPO (arXiv 2311.12908, eq. 14, the
constants in β); without a weighting, the bound in nats.

Legend of shapes: `B` sets, `N` candidates, `K` draws, `S` slots, `L` positions of what is given,
`D` width of a vector, `P` vectors of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.alignment.learning.likelihood import placed
from sfumato.alignment.rankings.sets import RankedExample
from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess
from sfumato.noise.times import EvenTimes, LevelSampler
from sfumato.text.batching import Example
from sfumato.text.slots import lay_slots
from sfumato.training.latents import LevelWeighting, NoisedSlots, Predicted, noise_weighting
from sfumato.training.objectives import cut, moved

Predictor = Callable[[NoisedSlots, GaussianProcess], Predicted]  # such as a LatentLearner


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedSlots:
    """Rankings as a latent model is given them.

    Attributes:
        ids: what is written, *shape* `B N S`.
        given: the prompt, *shape* `B N L`.
        attend: which of its tokens exist, *shape* `B N L`.
        ranks: places, 0 for an absent candidate, *shape* `B N`.
    """

    ids: Int[Tensor, "B N S"]
    given: Int[Tensor, "B N L"]
    attend: Bool[Tensor, "B N L"]
    ranks: Int[Tensor, "B N"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedVectors:
    """Rankings with levels and noise, before their tokens are encoded.

    Attributes:
        ids: what is written, *shape* `B N S`.
        given: the prompt, *shape* `B N L`.
        attend: which of its tokens exist, *shape* `B N L`.
        ranks: places, *shape* `B N`.
        noise: ε, *shape* `B K P D`.
        t: times, *shape* `B K`.
    """

    ids: Int[Tensor, "B N S"]
    given: Int[Tensor, "B N L"]
    attend: Bool[Tensor, "B N L"]
    ranks: Int[Tensor, "B N"]
    noise: Float[Tensor, "B K P D"]
    t: Float[Tensor, "B K"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """Its sets: each counts the same."""
        return torch.tensor(float(len(self.ids)))

    @property
    def sizes(self) -> Int[Tensor, "B N"]:
        """One: errors are means already."""
        return torch.ones_like(self.ranks)

    def to(self, device: torch.device | str) -> NoisedVectors:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> NoisedVectors:
        """A micro-batch."""
        return cut(self, start, stop)


def lay_ranked_slots(examples: Sequence[RankedExample], *, slots: int, pad: int) -> RankedSlots:
    """Lays rankings out for a latent model; sets with fewer candidates are filled up.

    Args:
        examples: at least one.
        slots: width of every text.
        pad: fills it.

    Raises:
        UsageError: no examples or no slots.
    """
    if not examples:
        raise UsageError("expected at least one ranking")
    most = max(len(one.candidates) for one in examples)
    rows: list[Example] = []
    ranks = torch.zeros(len(examples), most, dtype=torch.long)
    for b, one in enumerate(examples):
        ranks[b, : len(one.ranks)] = torch.tensor(one.ranks)
        rows += [*one.candidates, *[one.candidates[0]] * (most - len(one.candidates))]
    laid = lay_slots(rows, slots=slots, pad=pad)
    shape = (len(examples), most, -1)
    return RankedSlots(
        ids=laid.ids.view(shape),
        given=laid.given.view(shape),
        attend=laid.attend.view(shape),
        ranks=ranks,
    )


@dataclass(frozen=True, kw_only=True)
class VectorElbo:
    """Minus the weighted error of the clean vectors.

    Attributes:
        process: the noise.
        width: `D`.
        latents: vectors of a text, if it is compressed; None for one a slot.
        draws: K; levels are stratified over them.
        times: chooses the levels.
        weighting: w; None for the bound in nats, with `EvenTimes` only.

    Raises:
        UsageError: no draws, or the bound with other times.
    """

    process: GaussianProcess
    width: int
    latents: int | None = None
    draws: int = 8
    times: LevelSampler = field(default_factory=EvenTimes)
    weighting: LevelWeighting | None = noise_weighting

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise UsageError(f"expected draws ≥ 1, got {self.draws}")
        if self.weighting is None and self.times != EvenTimes():
            raise UsageError("the bound is an integral over even times: leave the times out")

    def prepare(self, batch: RankedSlots, generator: torch.Generator) -> NoisedVectors:
        """Draws levels and noise, for each set by itself."""
        sets, _, slots = batch.ids.shape
        times = [self.times.levels(self.draws, self.process, generator) for _ in range(sets)]
        shape = (sets, self.draws, self.latents or slots, self.width)
        noise = torch.randn(shape, generator=generator)
        return NoisedVectors(**vars(batch), noise=noise, t=torch.stack(times).float())

    def __call__(self, model: Predictor, noised: NoisedVectors) -> Float[Tensor, "B N K"]:
        """Log-likelihoods, up to a constant of the text."""
        there = noised.ranks > 0
        row = there.nonzero()[:, 0]
        ids, given, attend = (
            x[there].repeat_interleave(self.draws, 0)
            for x in (noised.ids, noised.given, noised.attend)
        )
        t, noise = noised.t[row].flatten(), noised.noise[row].flatten(0, 1)
        unhinted = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        rows = NoisedSlots(ids=ids, given=given, attend=attend, noise=noise, t=t, hinted=unhinted)
        said = model(rows, self.process)
        x_0, x_hat = said.x_0.float(), said.x_hat.float()
        if self.weighting is None:
            errors = self._reach() * self.process.elbo(x_0, x_hat, t)
        else:
            weight = self.weighting(self.process.log_snr(t)).to(x_0) / 2
            errors = weight * (x_0 - x_hat).square().mean((1, 2))
        return placed(-errors.view(-1, self.draws), there)

    def _reach(self) -> float:
        """Length of the range of times that are drawn from."""
        ends = self.process.time(torch.tensor(self.process.reach, dtype=torch.float64))
        return float(ends.max() - ends.min())
