"""One reverse move of a latent model: predict, bend, solve, and read the words off x̂_0.

    canvas ─▶ vectors of noise ─▶ predict x̂_0 ─▶ guides ─▶ solver ─▶ x_s ─▶ … ─▶ x̂_0 ─▶ ids
                                                   └─▶ decode: the frame that is shown

A frame's tokens are what the codec reads off the prediction; the vectors behind them are the
state. So the loop, its watchers and the tasks are those of every other family.

Legend of shapes: `B` batch, `L` positions, `S` slots, `D` width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess, Scales, noise_of
from sfumato.protocols import Codec, LatentDenoiser
from sfumato.sampling.frames import Frame, Latent, Specials, first_frame
from sfumato.sampling.latent.grids import Grid, LogSnrs
from sfumato.sampling.latent.guides import Contrast, Guide, View, inside
from sfumato.sampling.latent.reading import shown
from sfumato.sampling.latent.solvers import DpmSolver, Solver, Step
from sfumato.sampling.parts.randomness import Purpose, normal, seed_rows
from sfumato.text.canvas import Canvas
from sfumato.types import Condition


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How a latent model writes: a process walked back on a grid of times.

    Attributes:
        process: the noise that the denoiser was trained on.
        codec: tokens ↔ vectors.
        steps: steps of the run; the last one ends in the prediction itself.
        solver: one reverse step.
        grid: its times.
        guidance: a weaker prediction that x̂_0 is moved away from.
        guides: what else bends x̂_0, in this order.
        hold: write on the whole canvas and hold the locked text where it is, by putting its own
            vectors into every prediction (latent replacement); needs no training. Otherwise the
            locked text is the model's condition.
        begin: share of the way from clean to noise, in λ, at which drafts begin; 1 forgets them.
        temperature: factor of all random numbers; less than 1 makes texts more alike.
        show: decode every so many steps, and at the last.

    Raises:
        UsageError: a number out of range.
    """

    process: GaussianProcess
    codec: Codec
    steps: int = 20
    solver: Solver = field(default_factory=DpmSolver)
    grid: Grid = field(default_factory=LogSnrs)
    guidance: Contrast | None = None
    guides: tuple[Guide, ...] = ()
    hold: bool = False
    begin: float = 1.0
    temperature: float = 1.0
    show: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.show < 1 or not 0 < self.begin <= 1 or self.temperature < 0:
            raise UsageError(
                "expected steps ≥ 1, show ≥ 1, begin in (0, 1] and temperature ≥ 0, got "
                f"steps={self.steps}, show={self.show}, begin={self.begin}, "
                f"temperature={self.temperature}"
            )

    @property
    def times(self) -> Float64[Tensor, "N"]:
        """The grid: as many times as steps."""
        low, high = self.process.reach
        within = replace(self.process, low=high + (low - high) * self.begin)
        return self.grid.times(within, self.steps)

    def start(self, canvas: Canvas, seeds: int | Sequence[int], specials: Specials) -> Frame:
        """Noise at the masks, noised vectors at the drafts."""
        rows = seed_rows(seeds, canvas.ids.shape[0], canvas.ids.device)
        frame = first_frame(canvas, canvas.editable, rows)
        if self.hold and self.codec.latents is not None:
            raise UsageError(
                "this model compresses each text as a whole, so no part of it can be held where it "
                "is: leave `hold` out, and the locked text is the model's condition"
            )
        slots = canvas.attend if self.hold else canvas.editable
        position, attend = _compact(slots)
        locked = canvas.attend & ~canvas.editable
        time = float(self.times[0])
        at = self._at(time)
        shape = (self.codec.latents or position.shape[1], self.codec.width)
        noise = normal(rows, shape, step=0, purpose=Purpose.PRIOR)
        x = float(at.sigma) * self.temperature * noise.float()
        if self.begin < 1:
            x = x + float(at.alpha) * _drafts(canvas, self.codec, specials, position, attend)
        told = None if self.hold or not bool(locked.any()) else self.codec.told(canvas.ids, locked)
        if self.codec.latents is not None:
            attend = attend.new_ones(x.shape[:2])
        latent = Latent(
            x=x,
            attend=attend,
            position=position,
            time=time,
            condition=told,
            known=_known(canvas.ids, locked, self.codec, position) if self.hold else None,
        )
        return replace(frame, latent=latent)

    def move(self, frame: Frame, denoiser: LatentDenoiser, specials: Specials) -> Frame:
        """One step."""
        return descend(frame, denoiser, self, specials)

    def limit(self, frame: Frame) -> int:
        """Its steps."""
        return self.steps

    def log_snr(self, time: float) -> float:
        """λ at a time."""
        return float(self.process.log_snr(torch.tensor(time, dtype=torch.float64)))

    def passes(self, time: float) -> int:
        """Evaluations of the network for one bent prediction."""
        number = self.log_snr(time)
        contrast = self.guidance.passes(number) if self.guidance else 0
        return 1 + contrast + sum(guide.passes(number) for guide in self.guides)

    def _at(self, time: float) -> Scales:
        return self.process.scales(torch.tensor(time, dtype=torch.float64))


@torch.no_grad()
def descend(frame: Frame, denoiser: LatentDenoiser, policy: Descent, specials: Specials) -> Frame:
    """The frame after one reverse step.

    Args:
        frame: the state, with its vectors.
        denoiser: the network.
        policy: the process, its grid and its guides.
        specials: ids with a meaning of their own.
    """
    latent, times = frame.latent, policy.times
    assert latent is not None, "a frame of a descent has vectors behind its tokens"
    ask = _Asked(denoiser=denoiser, policy=policy, latent=latent)
    clean, hints = ask.bent(latent.x, latent.time)
    made = int(frame.step.max())  # the rows of a descent are all at one time
    last = made + 1 >= policy.steps
    following = 0.0 if last else float(times[made + 1])
    x_s, passes = clean, policy.passes(latent.time)
    if not last:
        passes += (policy.solver.passes - 1) * policy.passes(following)
        noise = partial(
            normal,
            frame.seeds,
            (clean.shape[1], clean.shape[2]),
            step=made,
            purpose=Purpose.NOISE,
        )
        step = Step(
            process=policy.process,
            t=latent.time,
            s=following,
            x_t=latent.x,
            clean=clean,
            before=latent.clean,
            noise=lambda: policy.temperature * noise().to(clean),
            predict=lambda x, time: ask.bent(x, time)[0],
        )
        x_s = policy.solver.solve(step)
    after = replace(
        frame,
        latent=replace(latent, x=x_s, time=following, clean=(latent.time, clean), hints=hints),
        step=frame.step + ~frame.done,
        time=torch.full_like(frame.time, following),
        passes=frame.passes + passes * (~frame.done),
        done=torch.full_like(frame.done, last),
        pending=frame.pending & (not last),
    )
    show = last or (made + 1) % policy.show == 0
    return shown(after, clean, policy.codec, specials) if show else after


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """Predictions of a step, bent."""

    denoiser: LatentDenoiser
    policy: Descent
    latent: Latent

    def bent(
        self, x: Float[Tensor, "B S D"], time: float
    ) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
        """x̂_0 after all guides, and the predictions that the next step is told."""
        policy, latent, number = self.policy, self.latent, self.policy.log_snr(time)
        own = clean = self._raw(self.denoiser, x, number, latent.condition, latent.hints[0])
        other, contrast = latent.hints[1], policy.guidance
        if contrast is not None and inside(contrast.window, number):
            given = None if contrast.weak is None else latent.condition
            other = self._raw(contrast.weak or self.denoiser, x, number, given, other)
            clean = contrast.combine(own, other)
        for guide in policy.guides:
            view = View(
                x_t=x,
                clean=clean,
                at=policy._at(time),
                log_snr=number,
                predict=lambda y: self._raw(
                    self.denoiser, y, number, latent.condition, latent.hints[0]
                ),
            )
            clean = guide.bend(view)
        if latent.known is not None:
            clean = torch.where(latent.known.isnan(), clean, latent.known)
        return clean, (own, other)

    def _raw(
        self,
        denoiser: LatentDenoiser,
        x: Float[Tensor, "B S D"],
        number: float,
        condition: Condition | None,
        hint: Float[Tensor, "B S D"] | None,
    ) -> Float[Tensor, "B S D"]:
        attend = self.latent.attend
        return denoiser(
            x,
            x.new_full((len(x),), number),
            attend=None if bool(attend.all()) else attend,
            condition=condition,
            hint=hint,
        )


def _compact(slots: Bool[Tensor, "B L"]) -> tuple[Int[Tensor, "B S"], Bool[Tensor, "B S"]]:
    """Positions of the slots, moved to the left, and which of them exist."""
    width = max(1, int(slots.sum(1).max()))
    order = (~slots).long().argsort(dim=1, stable=True)[:, :width]
    return order, slots.gather(1, order)


def _known(
    ids: Int[Tensor, "B L"], locked: Bool[Tensor, "B L"], codec: Codec, position: Int[Tensor, "B S"]
) -> Float[Tensor, "B S D"]:
    """Vectors of the locked text, encoded by itself; NaN at the other slots."""
    held = torch.where(locked[..., None], codec.encode(ids, locked), torch.nan)
    return held.gather(1, position[..., None].expand(-1, -1, held.shape[2]))


def _drafts(
    canvas: Canvas,
    codec: Codec,
    specials: Specials,
    position: Int[Tensor, "B S"],
    exists: Bool[Tensor, "B S"],
) -> Float[Tensor, "B N D"]:
    """Vectors of the text that is there already, encoded by itself; zero at the masks."""
    ids = canvas.ids.gather(1, position)
    return codec.encode(ids, exists & (ids != specials.mask))


@torch.no_grad()
def inverted(
    canvas: Canvas, denoiser: LatentDenoiser, policy: Descent, specials: Specials
) -> Float[Tensor, "B S D"]:
    """Noise from which the probability flow leads to a text: the flow, walked the other way.

    DDIM inversion (arXiv 2010.02502, §4.3), by steps of first order on the policy's own grid,
    each with the prediction made where it begins.

    Args:
        canvas: texts, as drafts.
        denoiser: the network.
        policy: its process, grid and guides; its solver is not used.
        specials: ids with a meaning of their own.
    """
    latent = policy.start(canvas, 0, specials).latent
    assert latent is not None
    times = policy.times.flip(0).tolist()
    exists = canvas.editable.gather(1, latent.position)
    x = _drafts(canvas, policy.codec, specials, latent.position, exists)
    x = policy._at(times[0]).over(x).alpha * x
    for t, s in pairwise(times):
        ask = _Asked(denoiser=denoiser, policy=policy, latent=latent)
        clean, hints = ask.bent(x, t)
        to = policy._at(s).over(x)
        x = to.alpha * clean + to.sigma * noise_of(clean, x, policy._at(t))
        latent = replace(latent, hints=hints)
    return x
