"""Fewer passes: a student that says at once what its teacher needs several passes for.

    latent    f(x_t) must say what f says one teacher's step nearer to the text   consistency
    masked    p(x_0 | x_t) must say what the teacher says over two steps          through time
              p(x_0 | x_t) must say what the teacher says under guidance          under guidance

Legend of shapes: `B` batch, `S` slots, `L` positions, `D` width of a vector, `M` masked positions,
`V` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess, noise_of
from sfumato.protocols import Denoiser, Process, TimeSampler
from sfumato.sampling.frames import Specials
from sfumato.sampling.parts.guidance import ClassifierFree, extrapolate, without_prompt
from sfumato.sampling.parts.randomness import Purpose, uniform
from sfumato.text.batching import Batch
from sfumato.text.slots import Slots
from sfumato.training.latents import LatentLearner, LatentObjective, NoisedSlots, Predicted
from sfumato.training.objectives import Objective, Prepared, moved, narrowed
from sfumato.types import Condition

_HUBER = 0.00054


@dataclass(frozen=True, kw_only=True)
class LatentConsistency:
    """‖f(x_t) − sg f(x_s)‖ over neighbours of a grid, x_s by one step of the teacher from x_t.

    Consistency distillation (arXiv 2303.01469, §4) in latent space, with the student itself,
    without a gradient, as the target and a pseudo-Huber distance (arXiv 2310.14189, §3.3). At the
    end of the grid the target is the text's own x_0, which is the boundary condition.

    Attributes:
        process: the noise.
        teacher: a trained learner; it is not changed.
        levels: points of the grid, even in λ.
        dropping: chance that a row is not told what is given.
        guidance: strength w of the classifier-free guidance under which the teacher steps
            (arXiv 2310.04378, §4.1); 0 for none.

    Raises:
        UsageError: fewer than two levels.
    """

    process: GaussianProcess
    teacher: LatentLearner
    levels: int = 20
    dropping: float = 0.1
    guidance: float = 0.0

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise UsageError(f"expected levels ≥ 2, got {self.levels}")

    def prepare(self, batch: Slots, generator: torch.Generator) -> NoisedSlots:
        """Draws a place on the grid, noise and coins for a whole batch at once."""
        codec = self.teacher.codec
        plain = LatentObjective(
            process=self.process,
            width=codec.width,
            latents=codec.latents,
            hinting=0.0,
            dropping=self.dropping,
        )
        noised = plain.prepare(batch, generator)
        place = torch.randint(self.levels, (len(batch.ids),), generator=generator)
        low, high = self.process.reach
        level = low + (high - low) * place / (self.levels - 1)
        return replace(noised, t=self.process.time(level.double()).float())

    def __call__(self, denoiser: LatentLearner, prepared: NoisedSlots) -> Float[Tensor, ""]:
        """The summed distance."""
        student: LatentLearner = getattr(denoiser, "module", denoiser)
        said = denoiser(prepared, self.process)
        target = self._target(student, prepared.t, said)
        bound = _HUBER * (target.shape[1] * target.shape[2]) ** 0.5
        apart = (said.x_hat - target).square().sum((1, 2))
        distance: Tensor = ((apart + bound**2).sqrt() - bound).sum()
        return distance

    @torch.no_grad()
    def _target(
        self, student: LatentLearner, t: Float[Tensor, "B"], said: Predicted
    ) -> Float[Tensor, "B S D"]:
        """What the student says one step of the teacher further; x_0 at the last level."""
        process, t, x_t = self.process, t.double(), said.x_t
        level, (low, high) = process.log_snr(t), process.reach
        step = (high - low) / (self.levels - 1)
        further = process.time((level + step).clamp(max=high))
        taught = self._taught(x_t, level.to(x_t), said.condition)
        at, to = process.scales(t), process.scales(further).over(x_t)
        x_s = to.alpha * taught + to.sigma * noise_of(taught, x_t, at)
        number = process.log_snr(further).to(x_t)
        next_said = student.denoiser(x_s, number, condition=said.condition)
        last = (level + step / 2 > high)[:, None, None]
        return torch.where(last.to(x_t.device), said.x_0, next_said)

    def _taught(
        self, x_t: Float[Tensor, "B S D"], level: Float[Tensor, "B"], told: Condition | None
    ) -> Float[Tensor, "B S D"]:
        """The teacher's prediction, guided."""
        taught: Tensor = self.teacher.denoiser(x_t, level, condition=told)
        if not self.guidance or told is None:
            return taught
        weak = self.teacher.denoiser(x_t, level, condition=None)
        return extrapolate(taught, weak, self.guidance)


@dataclass(frozen=True, kw_only=True)
class ThroughTime:
    """KL of what a teacher says over two steps, from what the student says at once.

    Self-distillation through time (SDTT, arXiv 2410.21035): the teacher fills half of the hidden
    positions, drawn at random, and is asked again about the others. Each round of it halves the
    steps that a text of the same quality needs.

    Attributes:
        process: the noise, masked.
        times: chooses how many positions are hidden.
        teacher: a trained denoiser; it is not changed.
    """

    process: Process
    times: TimeSampler
    teacher: nn.Module

    def prepare(self, batch: Batch, generator: torch.Generator) -> Prepared:
        """Hides positions, and draws which of them the teacher fills first and with what.

        The numbers of the draw travel in `rate`, one seed a row.
        """
        noised = Objective(process=self.process, times=self.times).prepare(batch, generator)
        seeds = torch.randint(2**24, (len(noised.rate),), generator=generator)
        return replace(noised, rate=seeds.float())

    def __call__(self, denoiser: Denoiser, prepared: Prepared) -> Float[Tensor, ""]:
        """The summed divergence, nats, weighed like the positions."""
        where, weight = prepared.where, prepared.weight[prepared.where]
        inputs = {"attend": prepared.attend, "t": prepared.t}
        logits = denoiser(prepared.x_t, where, **inputs)
        return (divergence(self._target(prepared), logits) * weight).sum()

    @torch.no_grad()
    def _target(self, prepared: Prepared) -> Float[Tensor, "M V"]:
        """P of the first step where it wrote, of the second elsewhere."""
        where, inputs = prepared.where, {"attend": prepared.attend, "t": prepared.t}
        first = self.teacher(prepared.x_t, where, **inputs).softmax(-1)
        place = where.nonzero(as_tuple=True)
        seeds = prepared.rate.long()[place[0]]
        now = uniform(seeds, place[1], step=0, purpose=Purpose.ROUTE) < 0.5
        number = uniform(seeds, place[1], step=0, purpose=Purpose.TOKEN)
        drawn = (first.cumsum(1) < number[:, None]).sum(1)
        x_s = prepared.x_t.clone()
        x_s[place[0][now], place[1][now]] = drawn.clamp(max=first.shape[1] - 1)[now]
        second = self.teacher(x_s, where, **inputs).softmax(-1)
        return torch.where(now[:, None], first, second)


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedTwice:
    """A noised batch, and the same canvases without their prompts.

    Attributes:
        x_t: noised ids, *shape* `B L`.
        null: the same, those of the prompts masked, *shape* `B L`.
        where: positions that need a prediction, *shape* `B L`.
        attend: positions that exist, *shape* `B L`.
        weight: weight of each position in the loss, *shape* `B L`.
        t: time of each row, *shape* `B`.
    """

    x_t: Int[Tensor, "B L"]
    null: Int[Tensor, "B L"]
    where: Bool[Tensor, "B L"]
    attend: Bool[Tensor, "B L"]
    weight: Float[Tensor, "B L"]
    t: Float[Tensor, "B"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """What the summed loss is divided by: the total weight of the trained positions."""
        return self.weight.sum()

    def to(self, device: torch.device | str) -> NoisedTwice:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> NoisedTwice:
        """A micro-batch."""
        return narrowed(self, start, stop)


@dataclass(frozen=True, kw_only=True)
class UnderGuidance:
    """KL of what a teacher says under guidance, from what the student says without.

    Distillation of guided models (arXiv 2210.03142, §3.1), for one strength: the student needs no
    second canvas, so each of its passes costs half.

    Attributes:
        process: the noise, masked.
        times: chooses how many positions are hidden.
        teacher: a trained denoiser; it is not changed.
        guidance: bends what the teacher says.
        specials: ids with a meaning of their own; nothing is learnt of those never written.
    """

    process: Process
    times: TimeSampler
    teacher: Denoiser
    guidance: ClassifierFree
    specials: Specials

    def prepare(self, batch: Batch, generator: torch.Generator) -> NoisedTwice:
        """Hides positions, and the prompts beside them."""
        noised = Objective(process=self.process, times=self.times).prepare(batch, generator)
        null = without_prompt(noised.x_t, batch.canvas, self.specials)
        shared = {name: getattr(noised, name) for name in ("x_t", "where", "attend", "weight", "t")}
        return NoisedTwice(null=null, **shared)

    def __call__(self, denoiser: Denoiser, prepared: NoisedTwice) -> Float[Tensor, ""]:
        """The summed divergence, nats, weighed like the positions."""
        x_t, where = prepared.x_t, prepared.where
        inputs = {"attend": prepared.attend, "t": prepared.t}
        with torch.no_grad():
            taught = self.guidance.predict(self.teacher, x_t, prepared.null, where, **inputs)
            taught.index_fill_(1, self.specials.forbidden.to(taught.device), -torch.inf)
        apart = divergence(taught.softmax(-1), denoiser(x_t, where, **inputs))
        return (apart * prepared.weight[where]).sum()


def divergence(target: Float[Tensor, "M V"], logits: Float[Tensor, "M V"]) -> Float[Tensor, "M"]:
    """KL(target ‖ softmax(logits)) of each row, nats.

    Example:
        >>> divergence(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.0, 0.0, -torch.inf]]))
        tensor([0.])
    """
    known = target > 0
    log_p = logits.log_softmax(-1).masked_fill(~known, 0.0)
    gap = target * (target.clamp(min=1e-30).log() - log_p)
    return gap.masked_fill(~known, 0.0).sum(1)
