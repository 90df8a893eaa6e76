"""What a classifier of noisy vectors is trained on: labels behind noise, or which text belongs.

    x_0 ─▶ + noise at t ─▶ classifier ─▶ cross-entropy of the label
    x_0, others ─▶ + noise at t ─▶ classifier(· | condition) ─▶ binary or contrastive cross-entropy

Which levels of noise, and what they weigh, decides what is learnt: an even t under a schedule that
is nearly pure noise for half of it is a batch of coin tosses.

Legend of shapes: `B` batch, `S` slots, `D` width, `N` candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.evaluation.classifying.levels import Decisions
from sfumato.models.latent.classifier import NoisyClassifier
from sfumato.noise.gaussian import GaussianProcess
from sfumato.noise.times import EvenLogSnrs, LevelSampler, Staged
from sfumato.training.classifying.batches import (
    LabelledVectors,
    Negatives,
    NoisedLabels,
    NoisedPairs,
    PairedVectors,
)
from sfumato.types import Condition

TimeWeighting = Callable[[Tensor], Tensor]
PairLoss = Literal["binary", "contrast"]


def even_weighting(t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Weight one."""
    return torch.ones_like(t)


def falling_weighting(t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """1 − t: what is nearly clean counts more."""
    return 1 - t


@runtime_checkable
class Adaptive(Protocol):
    """Levels that are drawn unevenly on purpose, and learn from the losses."""

    def weight(self, t: Tensor, process: GaussianProcess) -> Tensor:
        """What undoes the uneven draw."""
        ...

    def observe(self, t: Tensor, loss: Tensor, process: GaussianProcess) -> None:
        """Takes note of the losses of some rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Which levels of noise are trained, and what they weigh.

    Attributes:
        process: the noise.
        times: chooses the levels.
        weighting: weight of a row by its t.
        normalised: divide by the sum of the weights, not by the number of rows, so that a batch
            with much noise in it is no smaller a step.
    """

    process: GaussianProcess
    times: LevelSampler = field(default_factory=EvenLogSnrs)
    weighting: TimeWeighting = even_weighting
    normalised: bool = False

    def at(self, done: float) -> Levels:
        """The same when this share of the training is done."""
        return replace(self, times=self.times.at(done)) if isinstance(self.times, Staged) else self

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Time, weight and mass of each row."""
        t = self.times.levels(rows, self.process, generator).float()
        weight = self.weighting(t)
        mass = weight if self.normalised else torch.ones_like(t)
        if isinstance(self.times, Adaptive):
            weight = weight * self.times.weight(t, self.process)
        return t, weight, mass

    def observe(self, t: Float[Tensor, "B"], loss: Float[Tensor, "B"]) -> None:
        """Tells adaptive levels what was lost, in training only."""
        if isinstance(self.times, Adaptive) and torch.is_grad_enabled():
            self.times.observe(t, loss.detach(), self.process)


class ClassifierLearner(nn.Module):
    """The classifier and what else a run has to save: the histogram of adaptive levels.

    Args:
        classifier: what is trained.
        times: chooses the levels of noise.
    """

    def __init__(self, classifier: NoisyClassifier, times: LevelSampler) -> None:
        super().__init__()
        self.classifier = classifier
        self.times = times if isinstance(times, nn.Module) else None

    def forward(
        self, prepared: NoisedLabels | NoisedPairs, process: GaussianProcess
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of every candidate, and for pairs what the classifier expects of x_0."""
        log_snr = process.log_snr(prepared.t)
        if isinstance(prepared, NoisedLabels):
            return self.classifier(prepared.x_t, log_snr), None
        rows, count, slots, _ = prepared.x_t.shape
        condition = Condition(latents=prepared.given, attend=prepared.attend)
        every = Condition(
            latents=prepared.given.repeat_interleave(count, 0),
            attend=prepared.attend.repeat_interleave(count, 0),
        )
        many = log_snr.repeat_interleave(count)
        f = self.classifier(prepared.x_t.flatten(0, 1), many, condition=every)
        return f.view(rows, count), self.classifier.mean(condition, slots)


@dataclass(frozen=True, kw_only=True)
class LabelObjective:
    """Σ over rows of w(t)·−log p(label | x_t).

    Attributes:
        levels: of noise.
    """

    levels: Levels

    def at(self, done: float) -> LabelObjective:
        """The objective when this share of the training is done."""
        return replace(self, levels=self.levels.at(done))

    def prepare(self, batch: LabelledVectors, generator: torch.Generator) -> NoisedLabels:
        """Draws times and noise for a whole batch at once."""
        t, weight, mass = self.levels.draw(len(batch.x_0), generator)
        noise = torch.randn(batch.x_0.shape, generator=generator)
        x_t = self.levels.process.corrupt(batch.x_0.float(), noise, t)
        return NoisedLabels(x_t=x_t, t=t, label=batch.label, weight=weight, mass=mass)

    def __call__(self, denoiser: ClassifierLearner, prepared: NoisedLabels) -> Float[Tensor, ""]:
        """The summed loss."""
        logits = denoiser(prepared, self.levels.process)[0]
        loss = nn.functional.cross_entropy(logits, prepared.label, reduction="none")
        self.levels.observe(prepared.t, loss)
        return (prepared.weight * loss).sum()

    def judge(
        self, learner: ClassifierLearner, prepared: NoisedLabels, text: Int[Tensor, "B"]
    ) -> Decisions:
        """Which label the classifier decides for."""
        log_p = learner(prepared, self.levels.process)[0].log_softmax(1)
        best, found = log_p.max(1)
        return Decisions(
            text=text,
            t=prepared.t,
            log_snr=self.levels.process.log_snr(prepared.t),
            right=found == prepared.label,
            confidence=best.exp(),
            loss=-log_p.gather(1, prepared.label[:, None])[:, 0],
        )


@dataclass(frozen=True, kw_only=True)
class PairObjective:
    """Does x_t belong to the condition? Against other texts of the batch at the same level.

    binary      ½·(−log σ(f_0) − mean over the wrong ones of log σ(−f_n))
    contrast    −log of the softmax over candidates (InfoNCE, arXiv 1807.03748, eq. 4)

    The candidates are texts for one condition and not the reverse: the best f is then
    log p(x_t|c)/p(x_t) but for a number that only depends on c, so its gradient in x_t is right.

    Attributes:
        levels: of noise.
        negatives: which texts are wrong.
        loss: binary or contrast.
        guess: weight of mean‖x_0 − m(c)‖², which teaches the path of the means, if there is one,
            more in a step than a coin toss about noise does.

    Raises:
        UsageError: a negative weight.
    """

    levels: Levels
    negatives: Negatives = field(default_factory=Negatives)
    loss: PairLoss = "binary"
    guess: float = 1.0

    def __post_init__(self) -> None:
        if not self.guess >= 0:
            raise UsageError(f"expected a weight of the guess from 0 up, got {self.guess}")

    def at(self, done: float) -> PairObjective:
        """The objective when this share of the training is done."""
        return replace(self, levels=self.levels.at(done))

    def prepare(self, batch: PairedVectors, generator: torch.Generator) -> NoisedPairs:
        """Draws times, noise and wrong texts for a whole batch at once."""
        rows = len(batch.x_0)
        t, weight, mass = self.levels.draw(rows, generator)
        own = torch.arange(rows)[:, None]
        chosen = torch.cat([own, self.negatives.choose(batch.x_0, generator)], 1)
        x_0 = batch.x_0.float()[chosen]
        differ = (x_0 != x_0[:, :1]).flatten(2).any(2)
        told = differ.any(1).float()  # a batch of one row has nothing to tell apart
        noise = torch.randn(x_0.shape, generator=generator)
        x_t = self.levels.process.corrupt(x_0, noise, t)
        return NoisedPairs(
            x_0=x_0[:, 0],
            x_t=x_t,
            real=differ | (chosen == own),
            t=t,
            given=batch.given.float(),
            attend=batch.attend,
            weight=weight * told,
            mass=mass * told,
        )

    def __call__(self, denoiser: ClassifierLearner, prepared: NoisedPairs) -> Float[Tensor, ""]:
        """The summed loss."""
        f, expected = denoiser(prepared, self.levels.process)
        if self.loss == "contrast":
            loss = -f.masked_fill(~prepared.real, -torch.inf).log_softmax(1)[:, 0]
        else:
            wrong = prepared.real[:, 1:].to(f)
            against = (nn.functional.softplus(f[:, 1:]) * wrong).sum(1) / wrong.sum(1).clamp(min=1)
            loss = (nn.functional.softplus(-f[:, 0]) + against) / 2
        self.levels.observe(prepared.t, loss)
        total: Tensor = (prepared.weight * loss).sum()
        if expected is None:  # a weight of 0 still has to reach every parameter (DDP)
            return total
        error = (prepared.x_0 - expected).square().mean((1, 2))
        taught: Tensor = self.guess * (prepared.mass * error).sum()
        return total + taught

    def judge(
        self, learner: ClassifierLearner, prepared: NoisedPairs, text: Int[Tensor, "B"]
    ) -> Decisions:
        """What the classifier decides about the right text and the first wrong one.

        A binary one says of each whether it belongs; a contrastive one says which does.
        """
        f = learner(prepared, self.levels.process)[0][:, :2]
        real = prepared.real[:, :2]
        odds = f * torch.tensor([1.0, -1.0], device=f.device)[: f.shape[1]]
        if self.loss == "contrast":
            odds, real = odds.sum(1, keepdim=True), real.all(1, keepdim=True)
        log_snr = self.levels.process.log_snr(prepared.t)
        text, t, log_snr = (of[:, None].expand_as(odds)[real] for of in (text, prepared.t, log_snr))
        return Decisions(
            text=text,
            t=t,
            log_snr=log_snr,
            right=(odds > 0)[real],
            confidence=torch.sigmoid(odds.abs())[real],
            loss=nn.functional.softplus(-odds)[real],
        )
