"""Which times a batch is trained at, and which positions the noise hits there.

    Uniform       t ~ U(0, 1] for each row by itself
    Stratified    one t in each of B equal slices of (0, 1], in random order
    ExactCount    k of the row's n editable positions, k stratified over 1..n; weight n/k

Noise on vectors has no hits, only times:

    EvenTimes     t stratified between the ends of a Gaussian process
    EvenLogSnrs   λ stratified between two values
    Curriculum    EvenTimes whose end moves from clean to noise while training goes on

Under `Uniform` and `Stratified` every editable position is hit with probability 1 − α(t), so the
number of hits is binomial. Its noise alone gives the masked ELBO of L positions a relative
standard deviation of √((ln(1/ε) − 1)/L) for times from ε up: 43 % at L = 32, ε = 1e-3.
`ExactCount` has none of it and no ε: it is the same bound with the count drawn first.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess
from sfumato.noise.schedules import elbo_weight
from sfumato.protocols import Schedule
from sfumato.types import Draw


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Independent times; each editable position is hit with probability 1 − α(t).

    Example:
        >>> from sfumato.noise.schedules import Linear
        >>> locked = torch.zeros(2, 3, dtype=torch.bool)
        >>> Uniform().draw(locked, Linear(), torch.Generator().manual_seed(0)).hit.any().item()
        False
    """

    def draw(
        self, editable: Bool[Tensor, "B L"], schedule: Schedule, generator: torch.Generator
    ) -> Draw:
        """Draws for a batch."""
        t = 1 - _rand(editable[:, :1], generator)[:, 0]
        return _hit_by_chance(t, editable, schedule, generator)


@dataclass(frozen=True, kw_only=True)
class Stratified:
    """Times spread evenly over the batch; each row's own time is still uniform on (0, 1].

    Example:
        >>> from sfumato.noise.schedules import Linear
        >>> editable = torch.ones(4, 8, dtype=torch.bool)
        >>> draw = Stratified().draw(editable, Linear(), torch.Generator().manual_seed(0))
        >>> sorted((4 * draw.t).ceil().int().tolist())
        [1, 2, 3, 4]
    """

    def draw(
        self, editable: Bool[Tensor, "B L"], schedule: Schedule, generator: torch.Generator
    ) -> Draw:
        """Draws for a batch."""
        t = _strata(editable, generator)
        return _hit_by_chance(t, editable, schedule, generator)


@dataclass(frozen=True, kw_only=True)
class ExactCount:
    """Exactly k hits among a row's n editable positions, k uniform on 1..n; for masked noise.

    The any-order form of the masked ELBO (LLaDA, arXiv 2502.09992, eq. 6; RADD, arXiv
    2406.03736): weight n/k, t set to where the schedule expects k hits. k is stratified over
    the rows of the batch, so a batch always sees few and many hits. A row with nothing editable
    has no hits and weight 0.

    Under uniform noise the count of hits is hidden from the denoiser and the identity does not
    hold: use `Stratified` there.

    Example:
        >>> from sfumato.noise.schedules import Linear
        >>> editable = torch.ones(4, 4, dtype=torch.bool)
        >>> draw = ExactCount().draw(editable, Linear(), torch.Generator().manual_seed(0))
        >>> sorted(draw.hit.sum(1).tolist()), draw.hit.any(1).all().item()
        ([1, 2, 3, 4], True)
    """

    def draw(
        self, editable: Bool[Tensor, "B L"], schedule: Schedule, generator: torch.Generator
    ) -> Draw:
        """Draws for a batch."""
        n = editable.sum(1)
        k = torch.minimum((_strata(editable, generator) * n).ceil().long(), n)
        keys = _rand(editable, generator).masked_fill(~editable, 2)
        rank = keys.argsort(1).argsort(1)
        return Draw(
            t=schedule.inverse(1 - k / n.clamp(min=1)),
            hit=rank < k[:, None],
            rate=n / k.clamp(min=1),
            uniform=_fine(editable, generator),
        )


@runtime_checkable
class LevelSampler(Protocol):
    """Chooses times of noise on vectors."""

    def levels(
        self, rows: int, process: GaussianProcess, generator: torch.Generator
    ) -> Float[Tensor, "B"]:
        """A time for each row."""
        ...


@runtime_checkable
class Staged(Protocol):
    """A part of training that changes as training goes on."""

    def at(self, done: float) -> Any:  # noqa: ANN401
        """The part as it is when this share of the training is done, 0 to 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class EvenTimes:
    """t ~ U between the times of the process's largest and smallest λ, stratified over the rows.

    Attributes:
        until: share of that range that is used, from the clean end.

    Raises:
        UsageError: a share outside (0, 1].

    Example:
        >>> from sfumato.noise.gaussian import Flow
        >>> from sfumato.noise.log_snr import Odds
        >>> process = GaussianProcess(schedule=Odds(), path=Flow(), low=-1e9, high=1e9)
        >>> t = EvenTimes(until=0.5).levels(4, process, torch.Generator().manual_seed(0))
        >>> sorted((8 * t).ceil().int().tolist())
        [1, 2, 3, 4]
    """

    until: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise UsageError(f"expected a share in (0, 1], got {self.until}")

    def levels(
        self, rows: int, process: GaussianProcess, generator: torch.Generator
    ) -> Float[Tensor, "B"]:
        """A time for each row."""
        ends = process.time(torch.tensor(process.reach[::-1], dtype=torch.float64))
        first, last = float(ends[0]), float(ends[1])
        return first + (last - first) * self.until * _slices(rows, generator)


@dataclass(frozen=True, kw_only=True)
class EvenLogSnrs:
    """λ ~ U(low, high), stratified over the rows: as much training for every ratio of noise.

    A schedule that is nearly pure noise for half of its times starves what is learnt in the
    other half if t is uniform.

    Attributes:
        low: least λ; None takes the process's.
        high: largest λ; None takes the process's.

    Example:
        >>> from sfumato.noise.gaussian import Flow
        >>> from sfumato.noise.log_snr import Straight
        >>> process = GaussianProcess(schedule=Straight(), path=Flow(), low=-5.0, high=5.0)
        >>> t = EvenLogSnrs(high=0.0).levels(2, process, torch.Generator().manual_seed(0))
        >>> bool((t >= 0.5).all())
        True
    """

    low: float | None = None
    high: float | None = None

    def levels(
        self, rows: int, process: GaussianProcess, generator: torch.Generator
    ) -> Float[Tensor, "B"]:
        """A time for each row."""
        low, high = process.reach
        low = low if self.low is None else max(low, self.low)
        high = high if self.high is None else min(high, self.high)
        return process.time(high - (high - low) * _slices(rows, generator))


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """`EvenTimes` up to a bound that is raised in equal stages, then over the whole range.

    In stage e of E the bound is ε + (T − ε)·(e + 1)/E. What is nearly clean is learnt first, where
    a difference can be seen at all.

    Attributes:
        stages: E.
        warming: share of the training after which the range is whole.
        done: share of the training that is done; `at` sets it.

    Raises:
        UsageError: no stages, or a share out of range.

    Example:
        >>> [Curriculum(stages=4, warming=0.5).at(done).until for done in (0.0, 0.3, 0.5, 1.0)]
        [0.25, 0.75, 1.0, 1.0]
    """

    stages: int = 10
    warming: float = 2 / 3
    done: float = 0.0

    def __post_init__(self) -> None:
        if self.stages < 1 or not (0 < self.warming <= 1 and 0 <= self.done <= 1):
            raise UsageError(
                "a curriculum needs stages ≥ 1, warming in (0, 1] and done in [0, 1], got "
                f"{self.stages}, {self.warming}, {self.done}"
            )

    @property
    def until(self) -> float:
        """The bound, as a share of the range."""
        stage = int(self.done / self.warming * self.stages)
        return min(1.0, (stage + 1) / self.stages)

    def at(self, done: float) -> Curriculum:
        """The same at another share of the training."""
        return replace(self, done=done)

    def levels(
        self, rows: int, process: GaussianProcess, generator: torch.Generator
    ) -> Float[Tensor, "B"]:
        """A time for each row."""
        return EvenTimes(until=self.until).levels(rows, process, generator)


def _hit_by_chance(
    t: Float[Tensor, "B"],
    editable: Bool[Tensor, "B L"],
    schedule: Schedule,
    generator: torch.Generator,
) -> Draw:
    """Each editable position is hit by itself with probability 1 − α(t)."""
    chance = 1 - schedule.alpha(t)
    return Draw(
        t=t,
        hit=editable & (_rand(editable, generator) < chance[:, None]),
        rate=torch.where(editable.any(1), elbo_weight(schedule, t), 0),
        uniform=_fine(editable, generator),
    )


def _strata(editable: Bool[Tensor, "B L"], generator: torch.Generator) -> Float[Tensor, "B"]:
    """One number in each of B equal slices of (0, 1], in random order."""
    return _slices(len(editable), generator).to(editable.device)


def _slices(rows: int, generator: torch.Generator) -> Float[Tensor, "B"]:
    """One number in each of as many equal slices of (0, 1], in random order."""
    order = torch.randperm(rows, generator=generator, device=generator.device)
    within = 1 - torch.rand(rows, generator=generator, device=generator.device)
    slices: Tensor = (order.to(within) + within) / rows
    return slices


def _rand(like: Bool[Tensor, "B L"], generator: torch.Generator) -> Float[Tensor, "B L"]:
    """Numbers in [0, 1) for each position, drawn where the generator lives."""
    return torch.rand(like.shape, generator=generator, device=generator.device).to(like.device)


def _fine(like: Bool[Tensor, "B L"], generator: torch.Generator) -> Float[Tensor, "B L"]:
    """The same in float64 where the device has it.

    The 2²⁴ values of float32 cannot be shared out evenly among 250,000 noise tokens.
    """
    dtype = torch.float32 if "mps" in {generator.device.type, like.device.type} else torch.float64
    numbers = torch.rand(like.shape, generator=generator, device=generator.device, dtype=dtype)
    return numbers.to(like.device)
