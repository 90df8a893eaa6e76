"""How many positions move in a step: a count from the front of the order's ranking.

    Even, Scheduled                   by the clock: a run has a given number of steps
    FirstHitting, Fixed               by the token: one, or a few, a step
    Threshold, Factor, EntropyBound   by what the model is sure of, and at least one

Tokens that move together are drawn as if independent, which costs accuracy.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.schedules import Linear
from sfumato.protocols import Schedule
from sfumato.sampling.parts.planners import Progress, Ranking
from sfumato.sampling.parts.randomness import Purpose, numbers, row_numbers


@runtime_checkable
class Quota(Protocol):
    """How many positions move in a step."""

    @property
    def informed(self) -> bool:
        """Whether it reads predictions."""
        ...

    @property
    def planned(self) -> int:
        """The steps of a run that it plans; 0 if every step of it writes."""
        ...

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """How many positions of each row move.

        Args:
            progress: how far each row has come.
            ranking: the active positions, ranked; None for a quota that reads no predictions.
        """
        ...

    def time_after(self, progress: Progress, left: Int[Tensor, "B"]) -> Float64[Tensor, "B"]:
        """The time t of each row when the step is made and `left` positions of its block remain."""
        ...


def _share_pending(
    self: object, progress: Progress, left: Int[Tensor, "B"]
) -> Float64[Tensor, "B"]:
    """The share of the block that is pending."""
    return left / progress.total.double().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Even:
    """Spreads a block evenly over its steps, the remainder over the first (LLaDA, 2502.09992).

    Attributes:
        steps: of the whole run, divided among its blocks.
    """

    informed: ClassVar[bool] = False

    steps: int

    def __post_init__(self) -> None:
        _check_count("steps", self.steps)

    @property
    def planned(self) -> int:
        """All its steps."""
        return self.steps

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """⌊n/N⌋, one more in the first n mod N steps; in the last step, what is left."""
        steps = steps_of_block(self.steps, progress.blocks)
        clock = progress.frame.clock
        count = progress.total // steps + (clock < progress.total % steps)
        return torch.where(clock + 1 < steps, count.minimum(progress.left), progress.left)

    def time_after(self, progress: Progress, left: Int[Tensor, "B"]) -> Float64[Tensor, "B"]:
        """1 − i/N after step i."""
        steps = steps_of_block(self.steps, progress.blocks)
        return (1 - (progress.frame.clock + 1).double() / steps).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """Steps on a grid of times t = 1 … `end`; a mask is written with the posterior's probability.

        P(write) = (α_s − (1 − σ)·α_t) / (1 − α_t)

    MDLM (2406.07524) for σ = 0; ReMDM (2503.00307, §3.1) for revision that takes tokens back.

    Attributes:
        steps: of the whole run, divided among its blocks.
        schedule: α(t).
        binomial: draw the number (MDLM); otherwise take its mean, rounded down (Dream).
        end: the last time of the grid; the last step writes all that is left.
    """

    informed: ClassVar[bool] = False

    steps: int
    schedule: Schedule = field(default_factory=Linear)
    binomial: bool = False
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_count("steps", self.steps)
        if not 0 <= self.end < 1:
            raise UsageError(f"the last time must lie in [0, 1), got end={self.end}")

    @property
    def planned(self) -> int:
        """All its steps."""
        return self.steps

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """How many of the active positions are written."""
        alpha_t, alpha_s = (alpha[:, None] for alpha in self.alphas(progress))
        chance = (alpha_s - (1 - progress.sigma) * alpha_t) / (1 - alpha_t).clamp(min=1e-12)
        last = progress.frame.clock + 1 >= steps_of_block(self.steps, progress.blocks)
        if self.binomial:
            hits = numbers(progress.frame, Purpose.COUNT) < chance
            count = (hits & progress.active).sum(1)
        else:
            count = ((chance * progress.active).sum(1) + 1e-9).long()  # 2 may come as 1.999…
        return torch.where(last, progress.left, count)

    def time_after(self, progress: Progress, left: Int[Tensor, "B"]) -> Float64[Tensor, "B"]:
        """The next time of the grid."""
        return self._time(progress.frame.clock + 1, progress.blocks)

    def alphas(self, progress: Progress) -> tuple[Float64[Tensor, "B"], Float64[Tensor, "B"]]:
        """α at the beginning and at the end of the step."""
        t = self._time(progress.frame.clock, progress.blocks)
        s = self.time_after(progress, progress.left)
        return self.schedule.alpha(t), self.schedule.alpha(s)

    def _time(self, clock: Int[Tensor, "B"], blocks: Int[Tensor, "B"]) -> Float64[Tensor, "B"]:
        share = clock.double() / steps_of_block(self.steps, blocks)
        return (1 - (1 - self.end) * share).clamp(min=self.end)


@dataclass(frozen=True, kw_only=True)
class FirstHitting:
    """One position a step, at the time when the next of n would be hit: t ← t·u^(1/n), t = 1 − α.

    Zheng et al. (2409.02908, §4). Exact, and at most one pass a token.

    Attributes:
        schedule: α(t).
    """

    informed: ClassVar[bool] = False
    planned: ClassVar[int] = 0

    schedule: Schedule = field(default_factory=Linear)

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """One while any is left."""
        return progress.left.clamp(max=1)

    def time_after(self, progress: Progress, left: Int[Tensor, "B"]) -> Float64[Tensor, "B"]:
        """The hitting time."""
        u = row_numbers(progress.frame, Purpose.TIME)
        noise = 1 - self.schedule.alpha(progress.frame.time)
        return self.schedule.inverse(1 - noise * u ** (1 / progress.left.clamp(min=1)))


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """The same number of positions every step.

    Attributes:
        size: how many.
    """

    informed: ClassVar[bool] = False
    planned: ClassVar[int] = 0

    size: int = 1

    def __post_init__(self) -> None:
        _check_count("size", self.size)

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """`size`, or what is left."""
        return progress.left.clamp(max=self.size)

    time_after = _share_pending


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """As long as the likeliest token has at least this probability (Fast-dLLM, 2505.22618).

    Attributes:
        probability: the threshold, 0 to 1.
    """

    informed: ClassVar[bool] = True
    planned: ClassVar[int] = 0

    probability: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UsageError(f"the threshold must lie in (0, 1], got {self.probability}")

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """From the front of the ranking."""
        return _front(_confidence(ranking) >= self.probability, progress)

    time_after = _share_pending


@dataclass(frozen=True, kw_only=True)
class Factor:
    """The largest n with (n + 1)·(1 − c_n) < factor, c_n the n-th confidence (Fast-dLLM).

    Attributes:
        factor: larger moves more positions at once.
    """

    informed: ClassVar[bool] = True
    planned: ClassVar[int] = 0

    factor: float = 1.0

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise UsageError(f"the factor must be positive, got {self.factor}")

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """From the front of the ranking."""
        confidence = _confidence(ranking)
        n = torch.arange(1, confidence.shape[1] + 1, device=confidence.device)
        return _front((n + 1) * (1 - confidence) < self.factor, progress)

    time_after = _share_pending


@dataclass(frozen=True, kw_only=True)
class EntropyBound:
    """The largest k with Σ_{i≤k} H_i − max_{i≤k} H_i ≤ γ (EB-sampler, 2505.24857), row by row.

    The left side bounds what drawing the k tokens as if independent can cost, in nats.

    Attributes:
        gamma: the bound, nats.
    """

    informed: ClassVar[bool] = True
    planned: ClassVar[int] = 0

    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise UsageError(f"the entropy bound must be ≥ 0, got {self.gamma}")

    def count(self, progress: Progress, ranking: Ranking | None) -> Int[Tensor, "B"]:
        """From the front of the ranking."""
        assert ranking is not None
        entropy = ranking.in_order(ranking.rows.entropy, rest=torch.inf)
        return _front(entropy.cumsum(1) - entropy.cummax(1).values <= self.gamma, progress)

    time_after = _share_pending


def _confidence(ranking: Ranking | None) -> Float[Tensor, "B L"]:
    """Probability of the likeliest token, best ranked position first."""
    assert ranking is not None
    return ranking.in_order(ranking.rows.max_prob, rest=-torch.inf)


def _front(passes: Bool[Tensor, "B L"], progress: Progress) -> Int[Tensor, "B"]:
    """Positions before the first that fails, at least one while any is active."""
    return passes.long().cumprod(1).sum(1).clamp(min=1).minimum(progress.active.sum(1))


def steps_of_block(steps: int, blocks: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
    """The share of a run's steps that each block of a row gets, at least one."""
    return (steps // blocks).clamp(min=1)


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{name} must be at least 1, got {value}")
