"""Decoding of masked text: one reverse move, from the parts of a policy.

    pending ─▶ active ─▶ predict ─▶ rank ─▶ count ─▶ chosen ─▶ draw ─▶ commit
                  └────────────────▶ rank ─▶ count ─▶ chosen ─▶ predict ─▶ draw ─▶ commit
                       where neither order nor quota reads a prediction

The logits of active positions are the only tensors as wide as the vocabulary.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `K` chosen ones,
`V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.protocols import Denoiser
from sfumato.sampling.frames import (
    Frame,
    Specials,
    Written,
    empty_slots,
    first_frame,
    join,
    take_back,
    write,
)
from sfumato.sampling.loop import FrozenContext
from sfumato.sampling.parts import constraints as rules
from sfumato.sampling.parts.guidance import ClassifierFree, draw, predict, with_confidence
from sfumato.sampling.parts.logits import Rows, TokenSampler
from sfumato.sampling.parts.planners import Blocks, Order, Progress, Ranking, sampled_prob, unread
from sfumato.sampling.parts.quotas import Fixed, Quota, Scheduled, steps_of_block
from sfumato.sampling.parts.randomness import Purpose, numbers, seed_rows
from sfumato.sampling.parts.revision import EditByThreshold, ReMDM
from sfumato.sampling.parts.steering import Steering
from sfumato.text.canvas import Canvas


@dataclass(frozen=True, kw_only=True)
class DecodingPolicy:
    """How masked text is written: a product of independent parts.

    The default writes one token a step, the position that the model is surest of first: on an
    exact model the text has exactly its law.

    Attributes:
        blocks: the part of a row that is worked on at a time.
        order: which of its positions go first.
        quota: how many move in a step.
        tokens: how a token is drawn from a prediction.
        revision: whether written tokens are taken back or replaced.
        guidance: whether a second prediction bends the first.
        steering: what classifiers add to the prediction.
        constraints: what must not be written.
        context: how the text around is read; None reads all of it at every pass.
        stopping: an end of text, or an empty slot, closes its hole: the slots to its right
            resolve to nothing at once, and it is not written left of text. Without it the
            whole canvas is filled, and what follows the first end is for the caller to drop.

    Raises:
        UsageError: parts that do not fit each other.

    Example:
        >>> DecodingPolicy().informed
        True
    """

    blocks: Blocks = field(default_factory=Blocks)
    order: Order = field(default_factory=Order)
    quota: Quota = field(default_factory=Fixed)
    tokens: TokenSampler = field(default_factory=TokenSampler)
    revision: ReMDM | EditByThreshold | None = None
    guidance: ClassifierFree | None = None
    steering: tuple[Steering, ...] = ()
    constraints: tuple[rules.Constraint, ...] = ()
    context: FrozenContext | None = None
    stopping: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.revision, ReMDM) and not isinstance(self.quota, Scheduled):
            raise UsageError(
                "ReMDM takes tokens back by a schedule: use the quota Scheduled(steps=…) with it"
            )
        if self.order.by is sampled_prob and self.tokens.greedy:
            raise UsageError("sampled_prob is max_prob at temperature 0: use max_prob")

    @property
    def informed(self) -> bool:
        """Whether the choice of positions reads predictions at all active ones."""
        return self.order.informed or self.quota.informed

    def start(self, canvas: Canvas, seeds: int | Sequence[int], specials: Specials) -> Frame:
        """The frame before the first step: editable masks are pending."""
        pending = canvas.editable & (canvas.ids == specials.mask)
        rows = seed_rows(seeds, canvas.ids.shape[0], canvas.ids.device)
        frame = first_frame(canvas, pending, rows)
        return replace(frame, block=_first_block(self.blocks, frame))

    def prepared(self, denoiser: Denoiser) -> Denoiser:
        """The denoiser for one run over one batch."""
        return denoiser if self.context is None else self.context.of(denoiser)

    def move(self, frame: Frame, denoiser: Denoiser, specials: Specials) -> Frame:
        """One step."""
        return decode(frame, denoiser, self, specials)

    def limit(self, frame: Frame) -> int:
        """A bound on the steps from `frame` to the end."""
        return self.quota.planned + 2 * int(frame.canvas.editable.sum(1).max()) + 1


@torch.no_grad()
def decode(frame: Frame, denoiser: Denoiser, policy: DecodingPolicy, specials: Specials) -> Frame:
    """One reverse move of masked text.

    Args:
        frame: the state.
        denoiser: called once, for the rows that write something; its logits are edited in place.
        policy: the parts.
        specials: ids with a meaning of their own.

    Raises:
        ModelError: the denoiser's logits are not numbers, or of the wrong shape.
        UsageError: the constraints leave no token for a position.
    """
    progress = progress_of(frame, policy)
    progress, back = _taken_back(progress, policy, specials)
    count = None if policy.quota.informed else policy.quota.count(progress, None)
    if count is not None:
        progress = replace(progress, active=progress.active & (count > 0)[:, None])
    after = frame
    if bool(progress.active.any()):
        after = _write(progress, count, denoiser, policy, specials)
    after = take_back(after, back, specials.mask)
    return _advance(after, progress, policy)


def progress_of(frame: Frame, policy: DecodingPolicy) -> Progress:
    """What each row's block still has to write."""
    editable = frame.canvas.editable
    here = (policy.blocks.number(editable) == frame.block[:, None]) & ~frame.done[:, None]
    return Progress(
        frame=frame,
        active=policy.blocks.active(frame),
        left=(frame.pending & here).sum(1),
        total=((frame.pending | (frame.committed >= 0)) & here).sum(1),
        blocks=policy.blocks.count(editable),
        sigma=torch.zeros_like(frame.confidence, dtype=torch.float64),
    )


def _taken_back(
    progress: Progress, policy: DecodingPolicy, specials: Specials
) -> tuple[Progress, Bool[Tensor, "B L"]]:
    """Tokens that ReMDM takes back in this step, and the progress that knows its σ."""
    frame = progress.frame
    if not isinstance(policy.revision, ReMDM) or not isinstance(policy.quota, Scheduled):
        return progress, torch.zeros_like(frame.pending)
    text = _text(progress, policy, specials) & (frame.committed >= 0)
    alphas = policy.quota.alphas(progress)
    sigma = policy.revision.sigma(frame.time, alphas, frame.confidence, text)
    return replace(progress, sigma=sigma), text & (numbers(frame, Purpose.REMASK) < sigma)


def _text(progress: Progress, policy: DecodingPolicy, specials: Specials) -> Bool[Tensor, "B L"]:
    """Text in the editable part of each row's block; an end is not revised."""
    frame = progress.frame
    here = policy.blocks.number(frame.canvas.editable) == frame.block[:, None]
    text = frame.canvas.editable & ~frame.pending & ~specials.ends(frame.ids)
    return text & here & ~frame.done[:, None]


def _write(
    progress: Progress,
    count: Int[Tensor, "B"] | None,
    denoiser: Denoiser,
    policy: DecodingPolicy,
    specials: Specials,
) -> Frame:
    """Chooses positions, draws their tokens and writes them."""
    frame, active = progress.frame, progress.active
    revised = _revised(progress, policy, specials)
    ask = partial(
        predict,
        frame,
        denoiser=denoiser,
        specials=specials,
        guidance=policy.guidance,
        steering=policy.steering,
        constraints=policy.constraints,
        closing=policy.stopping,
    )
    if policy.informed:
        asked = active | revised
        rows = ask(asked)
        ranking = _rank(rows.at(active), progress, policy)
        count = policy.quota.count(progress, ranking) if count is None else count
        picked = ranking.rows.at(policy.order.cut(ranking, count))
    else:
        assert count is not None
        ranking = policy.order.rank(frame, active, unread(active))
        chosen = policy.order.cut(ranking, count)
        asked = chosen | revised
        rows = ask(asked)
        picked = rows.at(chosen)
    tokens = picked.drawn if picked.drawn is not None else draw(picked, frame, policy.tokens)
    written = with_confidence(picked, tokens)
    if bool(revised.any()):
        written = join(written, _edits(rows.at(revised), frame, policy))
    written = written.take(_compatible(frame, written, ranking, policy, specials))
    after = write(frame, written)
    if policy.stopping:
        after = empty_slots(after, rules.closed(after, specials), specials.pad)
    cost = 2 if policy.guidance else 1
    return replace(after, passes=frame.passes + cost * asked.any(1))


def _rank(rows: Rows, progress: Progress, policy: DecodingPolicy) -> Ranking:
    """Ranks predicted positions; the biased order draws before it ranks."""
    if policy.order.by is sampled_prob:
        rows = replace(rows, drawn=draw(rows, progress.frame, policy.tokens))
    return policy.order.rank(progress.frame, progress.active, rows)


def _revised(progress: Progress, policy: DecodingPolicy, specials: Specials) -> Bool[Tensor, "B L"]:
    """Written positions whose prediction is asked for again, in rows that move anyway."""
    if not isinstance(policy.revision, EditByThreshold):
        return torch.zeros_like(progress.active)
    return _text(progress, policy, specials) & progress.active.any(1, keepdim=True)


def _compatible(
    frame: Frame, written: Written, ranking: Ranking, policy: DecodingPolicy, specials: Specials
) -> Bool[Tensor, "K"]:
    """Which tokens can be written together; of those in conflict, the best ranked stays.

    The others wait for a step that sees it.
    """
    keep = torch.ones_like(written.batch, dtype=torch.bool)
    if len(keep) < 2:
        return keep
    place, new = written.place, write(frame, written)
    chosen = new.committed == frame.step[:, None]
    after = rules.scene(frame, place, specials, new.ids)
    if policy.stopping:
        keep &= ~rules.outranked(new.ids, chosen, ranking.rank, after)[place]
    broken = rules.violations(written.token, after, policy.constraints)
    offenders = torch.where(broken, ranking.rank[place], frame.ids.shape[1])
    best = torch.full_like(frame.seeds, frame.ids.shape[1])
    best = best.scatter_reduce(0, written.batch, offenders, "amin")
    return keep & (~broken | (offenders == best[written.batch]))


def _edits(rows: Rows, frame: Frame, policy: DecodingPolicy) -> Written:
    """Replacements of written tokens that the policy is sure of."""
    assert isinstance(policy.revision, EditByThreshold)
    token, replaced = policy.revision.replacements(rows, frame.ids[rows.batch, rows.position])
    return with_confidence(rows, token).take(replaced)


def _advance(frame: Frame, progress: Progress, policy: DecodingPolicy) -> Frame:
    """Moves the clock; a row whose block is finished goes to the next one or is done."""
    number = policy.blocks.number(frame.canvas.editable)
    here = (number == frame.block[:, None]) & ~frame.done[:, None]
    left = (frame.pending & here).sum(1)
    clock, over = frame.clock + 1, left == 0
    if isinstance(policy.revision, ReMDM):
        over = over & (clock >= steps_of_block(policy.quota.planned, progress.blocks))
    following = _first_block(policy.blocks, frame)
    done = frame.done | (over & (following > number[:, -1]))
    new_block = over & ~done
    time = policy.quota.time_after(progress, left)
    return replace(
        frame,
        step=frame.step + ~frame.done,
        block=torch.where(new_block, following, frame.block),
        clock=torch.where(new_block, 0, clock),
        time=time.masked_fill(new_block, 1.0).masked_fill(done, 0.0),
        done=done,
    )


def _first_block(blocks: Blocks, frame: Frame) -> Int[Tensor, "B"]:
    """The first block of each row with a pending position; past the last if there is none."""
    number = blocks.number(frame.canvas.editable)
    return torch.where(frame.pending, number, number[:, -1:] + 1).amin(1)
