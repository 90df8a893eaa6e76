"""Search: several runs of a text side by side; the promising ones go on in place of the others.

    w runs ─▶ k steps ─▶ what would each become? ─▶ reward ─▶ the best, w/keep times each ─▶ …

A run that is copied goes on with the random numbers of its new place, so copies part at the next
draw. Where nothing is drawn (temperature 0, solvers without noise) they stay alike.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.protocols import Denoiser
from sfumato.sampling.frames import Frame, Specials
from sfumato.sampling.loop import Policy, prepared
from sfumato.sampling.parts.guidance import predict
from sfumato.text.canvas import Canvas

_STATE = ("ids", "pending", "step", "block", "clock", "time", "confidence", "committed", "done")


@dataclass(frozen=True, kw_only=True)
class Beams:
    """The runs of a text, and how they are thinned out.

    Attributes:
        width: runs of a text; they stand next to each other in a batch.
        keep: runs that go on after a judgement, each `width / keep` times. As many as there are is
            best-of-n: nothing is judged before the end.
        every: steps, or tokens of an autoregressive model, from one judgement to the next.

    Raises:
        UsageError: a number below 1, or a width that `keep` does not divide.

    Example:
        >>> Beams(width=4, keep=2).parents([0.1, 0.3, 0.2, 0.0])
        [1, 2, 1, 2]
    """

    width: int = 8
    keep: int = 2
    every: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.keep, self.every) < 1 or self.width % self.keep:
            raise UsageError(
                "a search needs width, keep and every of at least 1, and keep must divide width: "
                f"got width={self.width}, keep={self.keep}, every={self.every}"
            )

    @property
    def thins(self) -> bool:
        """Whether runs are dropped on the way."""
        return self.keep < self.width

    def parents(self, scores: Sequence[float]) -> list[int]:
        """The run that each run goes on from: the best of its text, in turn; of equals the first.

        Args:
            scores: of the runs of one text after those of another.
        """
        found: list[int] = []
        for first in range(0, len(scores), self.width):
            runs = range(first, first + self.width)
            best = sorted(runs, key=lambda run: -scores[run])[: self.keep]
            found += best * (self.width // self.keep)
        return found


@dataclass(frozen=True, kw_only=True)
class Search:
    """A policy that searches: another one's moves, and a judgement after every few of them.

    The runs of a text must have the same canvas.

    Attributes:
        policy: how each run is written.
        beams: how many there are and which go on.
        judge: a reward for each row, from the tokens that it would become.
    """

    policy: Policy[Any]
    beams: Beams
    judge: Callable[[Frame], Sequence[float]]

    def start(self, canvas: Canvas, seeds: int | Sequence[int], specials: Specials) -> Frame:
        """The frame before the first step."""
        return self.policy.start(canvas, seeds, specials)

    def prepared(self, denoiser: Any) -> Any:  # noqa: ANN401
        """The denoiser for one run over one batch."""
        return prepared(denoiser, self.policy)

    def move(self, frame: Frame, denoiser: Any, specials: Specials) -> Frame:  # noqa: ANN401
        """One step, and a judgement if it is due."""
        after = self.policy.move(frame, denoiser, specials)
        due = self.beams.thins and int(after.step.max()) % self.beams.every == 0
        if not due or bool(after.done.all()):
            return after
        seen = after if after.latent is not None else foreseen(after, denoiser, specials)
        parents = torch.tensor(self.beams.parents(self.judge(seen)), device=after.ids.device)
        over = after.done.view(-1, self.beams.width).all(1).repeat_interleave(self.beams.width)
        parents = torch.where(over, torch.arange(len(over), device=over.device), parents)
        return gone_on(replace(after, passes=seen.passes), parents)

    def limit(self, frame: Frame) -> int:
        """A bound on the steps from `frame` to the end."""
        return self.policy.limit(frame)


@torch.no_grad()
def foreseen(frame: Frame, denoiser: Denoiser, specials: Specials) -> Frame:
    """The frame with the likeliest token wherever one is still to be written; one pass.

    Each is the model's own prediction by itself, without guidance and constraints.

    Args:
        frame: the state, of a model of tokens; a latent model's frame shows x̂_0 already.
        denoiser: its logits are edited in place.
        specials: ids with a meaning of their own.
    """
    rows = predict(frame, frame.pending, denoiser, specials, closing=False)
    ids = frame.ids.index_put((rows.batch, rows.position), rows.logits.argmax(1))
    return replace(frame, ids=ids, passes=frame.passes + frame.pending.any(1))


def gone_on(frame: Frame, parents: Int[Tensor, "B"]) -> Frame:
    """The frame in which each row goes on from the state of another one with the same canvas.

    Seeds and passes stay where they are: a row draws its own numbers, and what was spent on it
    stays spent.

    Args:
        frame: the state.
        parents: the row that each goes on from.
    """
    state = {name: getattr(frame, name)[parents] for name in _STATE}
    latent = frame.latent
    if latent is not None:
        one, other = (None if hint is None else hint[parents] for hint in latent.hints)
        clean = None if latent.clean is None else (latent.clean[0], latent.clean[1][parents])
        latent = replace(latent, x=latent.x[parents], clean=clean, hints=(one, other))
    return replace(frame, **state, latent=latent)
