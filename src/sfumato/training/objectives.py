"""The training objective: a weighted negative ELBO of the trained positions.

    batch of canvases + one draw of noise  →  Prepared  →  Σ weight · ELBO term

The sum is divided by `Prepared.items` of the *global* batch, never of a micro-batch, so the
gradient does not depend on how the batch is cut into accumulation steps or ranks.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.times import Staged
from sfumato.protocols import Denoiser, Process, TimeSampler
from sfumato.text.batching import Batch

Weighting = Callable[[Tensor], Tensor]


def elbo_weighting(rate: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """The ELBO's own weight, unchanged: the objective is a likelihood bound in nats."""
    return rate


def plain_weighting(rate: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Weight one: plain cross-entropy of the noised positions, as in BERT's pre-training."""
    return torch.ones_like(rate)


@dataclass(frozen=True, kw_only=True)
class ClippedWeighting:
    """The ELBO's weight, no larger than `cap`: less variance, nearly clean rows count less."""

    cap: float

    def __post_init__(self) -> None:
        if self.cap <= 0:
            raise UsageError(f"the weight cap must be positive, got {self.cap}")

    def __call__(self, rate: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The clipped weight."""
        return rate.clamp(max=self.cap)


@runtime_checkable
class Encoded(Protocol):
    """What is trained on: an `Example`, perhaps with more beside it."""

    @property
    def ids(self) -> Sequence[int]:
        """Tokens; their number sorts examples into batches."""
        ...


Tensors = TypeVar("Tensors")


def moved(batch: Tensors, device: torch.device | str) -> Tensors:
    """A dataclass of tensors on another device."""
    values: dict[str, Any] = {n: v.to(device) for n, v in vars(batch).items()}
    return replace(batch, **values)  # type: ignore[type-var]


def cut(batch: Tensors, start: int, stop: int) -> Tensors:
    """Some rows of a dataclass of tensors."""
    values: dict[str, Any] = {n: v[start:stop] for n, v in vars(batch).items()}
    return replace(batch, **values)  # type: ignore[type-var]


def narrowed(batch: Tensors, start: int, stop: int) -> Tensors:
    """Some rows of a dataclass of tensors, cut to the width that its `attend` uses."""
    part = cut(batch, start, stop)
    width = int(part.attend.sum(1).max())  # type: ignore[attr-defined]
    values = {n: v[:, :width] if v.dim() == 2 else v for n, v in vars(part).items()}
    return replace(part, **values)  # type: ignore[type-var]


@runtime_checkable
class Noised(Protocol):
    """A noised batch: a dataclass of tensors whose first dimension are rows."""

    @property
    def items(self) -> Float[Tensor, ""]:
        """What the summed loss is divided by."""
        ...

    def rows(self, start: int, stop: int) -> Noised:
        """A micro-batch."""
        ...

    def to(self, device: torch.device | str) -> Noised:
        """The same batch on another device."""
        ...


@runtime_checkable
class Learning(Protocol):
    """What is minimised: noise for a batch, drawn once, and a loss that is a sum.

    One that is `noise.times.Staged` as well is told the share of the training that is done.
    """

    def prepare(self, batch: Any, generator: torch.Generator) -> Noised:  # noqa: ANN401
        """Draws noise for a whole batch at once."""
        ...

    def __call__(self, denoiser: Any, prepared: Any) -> Float[Tensor, ""]:  # noqa: ANN401
        """The summed loss; divide by the global batch's `items`."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """An objective that has more to log than its loss."""

    def report(self) -> dict[str, float]:
        """Figures since the last time, by their names in the log."""
        ...


def stage_of(objective: Learning, done: float) -> Learning:
    """The objective when this share of the training is done; the same if it has no stages."""
    now: Learning = objective.at(done) if isinstance(objective, Staged) else objective
    return now


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A noised batch, ready for the denoiser.

    Attributes:
        x_0: clean ids, *shape* `B L`.
        x_t: noised ids, *shape* `B L`.
        where: positions that need a prediction, *shape* `B L`.
        attend: positions that exist, *shape* `B L`.
        weight: weight of each position in the loss, *shape* `B L`.
        t: time of each row, *shape* `B`.
        rate: weight of each row's terms in the ELBO, *shape* `B`.
    """

    x_0: Int[Tensor, "B L"]
    x_t: Int[Tensor, "B L"]
    where: Bool[Tensor, "B L"]
    attend: Bool[Tensor, "B L"]
    weight: Float[Tensor, "B L"]
    t: Float[Tensor, "B"]
    rate: Float[Tensor, "B"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """What the summed loss is divided by: the total weight of the trained positions."""
        return self.weight.sum()

    def to(self, device: torch.device | str) -> Prepared:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> Prepared:
        """A micro-batch: some rows, cut to the width that they use."""
        return narrowed(self, start, stop)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is minimised: noise a batch, predict the clean tokens, weigh the ELBO's terms.

    Args:
        process: the forward noise.
        times: chooses times and hits; `ExactCount` has the least variance for masked noise.
        weighting: maps the ELBO's weight of a row to the weight that is trained with.
        per_sequence: average within each sequence first, so that short answers count as
            much as long ones; otherwise every token counts the same.
        in_parts: the denoiser takes `reduce`, as `EncoderDenoiser` does, so that the logits of a
            large batch are never in memory together.
    """

    process: Process
    times: TimeSampler
    weighting: Weighting = elbo_weighting
    per_sequence: bool = False
    in_parts: bool = False

    def prepare(self, batch: Batch, generator: torch.Generator) -> Prepared:
        """Draws noise for a whole batch at once and applies it."""
        canvas = batch.canvas
        draw = self.times.draw(canvas.editable, self.process.schedule, generator)
        noised = self.process.corrupt(canvas.ids, canvas.editable, draw)
        weight = batch.weight
        if self.per_sequence:
            weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-9)
        return Prepared(
            x_0=canvas.ids,
            x_t=noised.x_t,
            where=noised.where,
            attend=canvas.attend,
            weight=weight,
            t=draw.t,
            rate=self.weighting(draw.rate),
        )

    def __call__(self, denoiser: Denoiser, prepared: Prepared) -> Float[Tensor, ""]:
        """The weighted sum of the ELBO's terms, nats; divide by the global batch's `items`."""
        where = prepared.where
        places = where.flatten().nonzero()[:, 0]
        at = places // where.shape[1]
        x_0, x_t, weight = (
            values.flatten()[places] for values in (prepared.x_0, prepared.x_t, prepared.weight)
        )
        t, rate = prepared.t[at], prepared.rate[at]

        def share(logits: Tensor, rows: slice) -> Tensor:
            log_p = logits.log_softmax(-1)
            terms = self.process.elbo(log_p, x_0[rows], x_t[rows], t[rows], rate[rows])
            return (terms * weight[rows]).sum()

        inputs = {"attend": prepared.attend, "t": prepared.t}
        if self.in_parts:
            return denoiser(prepared.x_t, where, **inputs, reduce=share)  # type: ignore[call-arg]
        return share(denoiser(prepared.x_t, where, **inputs), slice(None))
