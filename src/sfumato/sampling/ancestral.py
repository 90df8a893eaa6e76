"""Ancestral sampling: the reverse of any noise process on tokens, by its three routes.

    x_t ─▶ predict ─▶ x̂₀ ─▶ stay, clean or noise ─▶ x_s

Each step draws a whole clean text and moves each position toward it with the posterior's
probability. With N steps the law is wrong by O(1/N) at worst, because the positions of a step
are drawn as if they were independent. For masked noise `DecodingPolicy` does the same with
fewer predictions; uniform noise may revise any position until the end.

Legend of shapes: `B` batch, `L` positions, `M` pending positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.protocols import Denoiser, Process
from sfumato.sampling.frames import Frame, Specials, first_frame, write
from sfumato.sampling.parts.guidance import draw, predict, with_confidence
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.randomness import Purpose, numbers, seed_rows
from sfumato.sampling.parts.steering import Steering
from sfumato.text.canvas import Canvas
from sfumato.types import Draw


@dataclass(frozen=True, kw_only=True)
class Ancestral:
    """Walks a process backward on an even grid of times.

    Attributes:
        process: the noise that the denoiser was trained on.
        steps: steps of the run.
        tokens: how x̂₀ is drawn from a prediction; temperature 1 for the process's own law.
        steering: what is added to the prediction; classifiers must know this noise.

    Raises:
        UsageError: no step.
    """

    process: Process
    steps: int = 64
    tokens: TokenSampler = field(default_factory=TokenSampler)
    steering: tuple[Steering, ...] = ()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"steps must be at least 1, got {self.steps}")

    def start(self, canvas: Canvas, seeds: int | Sequence[int], specials: Specials) -> Frame:
        """Pure noise at the editable masks, x_1 ~ π."""
        pending = canvas.editable & (canvas.ids == specials.mask)
        rows = seed_rows(seeds, canvas.ids.shape[0], canvas.ids.device)
        return _noised(first_frame(canvas, pending, rows), pending, self.process, Purpose.PRIOR)

    def move(self, frame: Frame, denoiser: Denoiser, specials: Specials) -> Frame:
        """One step."""
        return descend(frame, denoiser, self, specials)

    def limit(self, frame: Frame) -> int:
        """Its steps."""
        return self.steps


@torch.no_grad()
def descend(frame: Frame, denoiser: Denoiser, policy: Ancestral, specials: Specials) -> Frame:
    """x_s ~ q(x_s | x_t, x̂₀), x̂₀ ~ p(x_0 | x_t) (D3PM, 2107.03006, eq. 4).

    Args:
        frame: the state at t.
        denoiser: its logits are edited in place.
        policy: the process and its grid.
        specials: ids with a meaning of their own.

    Raises:
        ModelError: the denoiser's logits are not numbers, or of the wrong shape.
    """
    process, last = policy.process, frame.step + 1 >= policy.steps
    rows = predict(
        frame, frame.pending, denoiser, specials, steering=policy.steering, closing=False
    )
    x_hat = with_confidence(rows, draw(rows, frame, policy.tokens))
    now = torch.arange(2, device=frame.ids.device).double() + frame.step[:, None]
    time = 1 - now / policy.steps
    alpha_t, alpha_s = process.schedule.alpha(time)[rows.batch].T
    routes = process.routes(frame.ids[x_hat.place], x_hat.token, alpha_t, alpha_s)
    u = numbers(frame, Purpose.ROUTE)[x_hat.place]
    # At s = 0 both ways that are left end in x̂₀.
    clean = last[rows.batch] | (u < routes.clean)
    renoised = torch.zeros_like(frame.pending)
    renoised[x_hat.place] = ~clean & (u < routes.clean + routes.noise)
    after = write(_noised(frame, renoised, process, Purpose.NOISE), x_hat.take(clean))
    pending = frame.pending & ~_settled(after, process) & ~last[:, None]
    done = ~pending.any(1)
    return replace(
        after,
        pending=pending,
        step=frame.step + ~frame.done,
        time=time[:, 1].masked_fill(done, 0.0),
        passes=frame.passes + frame.pending.any(1),
        done=done,
    )


def marks_noise(process: Process, specials: Specials) -> bool:
    """Whether noise is the mask token, so that a position tells whether it is written."""
    uniform = torch.linspace(0, 1, 1001)[None]
    hit, number = torch.ones_like(uniform, dtype=torch.bool), torch.ones(1)
    text = torch.full_like(hit, specials.eos, dtype=torch.long)
    every = Draw(t=number, hit=hit, rate=number, uniform=uniform)
    return bool((process.corrupt(text, hit, every).x_t == specials.mask).all())


def _noised(frame: Frame, where: Bool[Tensor, "B L"], process: Process, purpose: Purpose) -> Frame:
    """The frame with fresh noise at some positions."""
    hits = Draw(
        t=frame.time, hit=where, rate=torch.ones_like(frame.time), uniform=numbers(frame, purpose)
    )
    return replace(
        frame,
        ids=process.corrupt(frame.ids, where, hits).x_t,
        confidence=frame.confidence.masked_fill(where, torch.nan),
        committed=frame.committed.masked_fill(where, -1),
    )


def _settled(frame: Frame, process: Process) -> Bool[Tensor, "B L"]:
    """Positions whose token noise never writes: it must be clean, and stays from any t to any s."""
    ids = frame.ids.flatten()
    alpha_t = torch.full(ids.shape, 0.25, device=ids.device)
    stay = process.routes(ids, ids, alpha_t, 2 * alpha_t).stay
    return (stay >= 1).view(frame.ids.shape)
