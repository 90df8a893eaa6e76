"""Denoisers of a few lines, canvases and one policy of every kind.

Legend of shapes: `B` batch, `L` positions, `M` asked positions, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.noise.schedules import Cosine
from sfumato.sampling import policies
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Specials
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.constraints import Ban, Repetition
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks, Order
from sfumato.sampling.parts.quotas import EntropyBound, Factor, Fixed, Scheduled, Threshold
from sfumato.sampling.parts.randomness import Purpose, uniform
from sfumato.sampling.parts.revision import Confidence, EditByThreshold, ReMDM, Rescale
from sfumato.text.canvas import Canvas, Hole, Locked, Part, lay_out, stack

SIZE = 24
SPECIALS = Specials(mask=0, pad=1, eos=2, unwritable=frozenset({3, 4}))


@dataclass(frozen=True, kw_only=True)
class Whim:
    """Logits that are a hash of the whole visible row: any change of context changes all of them.

    Integer arithmetic, so that a row gives the same bits alone and in any batch.
    """

    size: int = SIZE
    sharpness: float = 8.0
    salt: int = 0

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        exists = torch.ones_like(where) if attend is None else attend
        place = exists.cumsum(1) - 1
        words = uniform(x_t, place, step=self.salt, purpose=Purpose.TOKEN) * 2**40
        context = (words.long() * exists).sum(1)
        batch, position = where.nonzero(as_tuple=True)
        cell = place[batch, position, None] * self.size + torch.arange(self.size)
        numbers = uniform(context[batch, None], cell, step=self.salt, purpose=Purpose.NOISE)
        return (self.sharpness * numbers).float()

    def frozen(self, *, refresh: int | None = None, reach: int | None = None) -> Whim:
        """Another whim for every context, so that a test sees which one was asked for."""
        return replace(self, salt=self.salt + 1 + (refresh or 0) + 100 * (reach or 0))


@dataclass(frozen=True, kw_only=True)
class Lover:
    """Loves one token everywhere."""

    token: int
    size: int = SIZE

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        logits = torch.zeros(int(where.sum()), self.size)
        logits[:, self.token] = 50.0
        return logits


class Counter:
    """Counts the calls, rows and positions that a denoiser is asked for."""

    def __init__(self, denoiser: object) -> None:
        self.denoiser = denoiser
        self.calls = self.rows = self.positions = 0

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        self.calls += 1
        self.rows += int(where.any(1).sum())
        self.positions += int(where.sum())
        return self.denoiser(x_t, where, attend=attend, t=t)


def canvas(*parts: Part, rows: int = 1) -> Canvas:
    return stack([lay_out(parts, mask=SPECIALS.mask)] * rows, pad=SPECIALS.pad)


def prompted(slots: int = 12, *, optional: bool = False, rows: int = 1) -> Canvas:
    """A prompt of four tokens and a hole."""
    return canvas(Locked(ids=(4, 7, 8, 9)), Hole(slots=slots, optional=optional), rows=rows)


def mixed() -> Canvas:
    """Rows of unlike shape and length, one without anything to write."""
    rows = [
        [Locked(ids=(4, 7)), Hole(slots=7, optional=True)],
        [Locked(ids=(4,)), Hole(slots=3), Locked(ids=(11, 12)), Hole(slots=4, optional=True)],
        [Locked(ids=(4, 5, 6))],
        [Hole(slots=2, optional=True), Locked(ids=(9,)), Hole(slots=6, optional=True)],
    ]
    return stack([lay_out(parts, mask=SPECIALS.mask) for parts in rows], pad=SPECIALS.pad)


def _every_kind() -> dict[str, DecodingPolicy]:
    orders = {
        name: DecodingPolicy(order=Order(by=score), quota=Fixed(size=2))
        for name, score in policies.ORDERS.items()
    }
    warm = TokenSampler(temperature=(1.3, 0.7), top_k=15, top_p=0.95, min_p=0.01)
    parts = {
        "blocks": DecodingPolicy(blocks=Blocks(size=3)),
        "sliding": DecodingPolicy(blocks=Blocks(size=4, sliding=True), quota=Fixed(size=2)),
        "truncated": DecodingPolicy(tokens=warm),
        "spaced": DecodingPolicy(
            order=Order(by=planners.margin, temperature=0.2, spacing=3), quota=Fixed(size=4)
        ),
        "cosine": DecodingPolicy(quota=Scheduled(steps=5, schedule=Cosine())),
        "threshold": DecodingPolicy(quota=Threshold(probability=0.2)),
        "factor": DecodingPolicy(quota=Factor(factor=2.5)),
        "entropy bound": DecodingPolicy(
            order=Order(by=planners.entropy), quota=EntropyBound(gamma=3.0)
        ),
        "guided": DecodingPolicy(guidance=ClassifierFree(scale=1.5), quota=Fixed(size=2)),
        "constrained": DecodingPolicy(
            constraints=(Ban(phrases=((10,), (11, 12))), Repetition(size=2)), quota=Fixed(size=3)
        ),
        "edited": DecodingPolicy(revision=EditByThreshold(probability=0.3), quota=Fixed(size=2)),
        "remasked": DecodingPolicy(
            order=Order(by=planners.random),
            quota=Scheduled(steps=9, binomial=True),
            revision=ReMDM(remasking=Rescale(eta=0.5)),
        ),
        "doubtful": DecodingPolicy(
            quota=Scheduled(steps=9), revision=ReMDM(remasking=Confidence()), blocks=Blocks(size=4)
        ),
        "unstopped": DecodingPolicy(stopping=False, quota=Fixed(size=3)),
    }
    presets = {
        "llada": policies.llada(steps=6, block=5),
        "dream": policies.dream(steps=7, alg="topk_margin", alg_temp=0.1, temperature=0.7),
        "fast_dllm": policies.fast_dllm(threshold=0.25, block=6),
        "mdlm": policies.mdlm(steps=9),
        "first_hitting": policies.first_hitting(),
        "remdm": policies.remdm(steps=10, kind="loop", eta=0.4),
        "diffusion_gemma": policies.diffusion_gemma(gamma=4.0),
    }
    return orders | parts | presets


POLICIES: Mapping[str, DecodingPolicy] = _every_kind()
