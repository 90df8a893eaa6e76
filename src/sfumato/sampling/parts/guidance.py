"""The one place that calls the network: positions that are asked for, guided.

The guidance formula stands here and nowhere else: a second prediction, from a canvas without
its prompt, bends the first.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `K` chosen ones,
`V` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.protocols import Denoiser
from sfumato.sampling.frames import Frame, Specials, Written, first_frame
from sfumato.sampling.parts import constraints as rules
from sfumato.sampling.parts.logits import Rows, TokenSampler, inverse_cdf
from sfumato.sampling.parts.randomness import Purpose, numbers, row_numbers, seed_rows
from sfumato.sampling.parts.steering import Steering
from sfumato.text.canvas import Canvas

_IMPOSSIBLE = -1e30


@dataclass(frozen=True, kw_only=True)
class ClassifierFree:
    """Classifier-free guidance: ℓ = ℓ_u + (1 + w)·(ℓ_c − ℓ_u), ℓ_u without the prompt.

    Ho and Salimans (2207.12598). The prompt is masked, not dropped, as in LLaDA (2502.09992). In
    terms of γ·log p_c + (1 − γ)·log p_u, γ = 1 + w.

    Attributes:
        scale: w; positive strengthens the prompt, −1 ignores it. Doubles the cost of a pass.

    Raises:
        UsageError: a scale of 0, which would double the cost for nothing.

    Example:
        >>> ClassifierFree(scale=1.0).combine(torch.tensor([[2.0]]), torch.tensor([[0.5]]))
        tensor([[3.5000]])
    """

    scale: float

    def __post_init__(self) -> None:
        if self.scale == 0 or not math.isfinite(self.scale):
            raise UsageError(
                f"guidance needs a finite scale other than 0, got {self.scale}: leave it out"
            )

    def combine(
        self, conditional: Float[Tensor, "M V"], unconditional: Float[Tensor, "M V"]
    ) -> Float[Tensor, "M V"]:
        """The formula; a token that both forbid stays impossible instead of ∞ − ∞."""
        weak = unconditional.clamp(min=_IMPOSSIBLE)
        return extrapolate(conditional.clamp(min=_IMPOSSIBLE), weak, self.scale)

    def predict(
        self,
        denoiser: Denoiser,
        x_t: Int[Tensor, "B L"],
        null: Int[Tensor, "B L"],
        where: Bool[Tensor, "B L"],
        *,
        attend: Bool[Tensor, "B L"] | None,
        t: Float[Tensor, "B"],
    ) -> Float[Tensor, "M V"]:
        """Guided logits at `where`, from one forward over both canvases.

        Args:
            denoiser: the network.
            x_t: the canvas.
            null: the canvas with its prompt masked.
            where: positions to predict.
            attend: positions that exist; None means all.
            t: time of each row.
        """
        logits = denoiser(
            torch.cat([x_t, null]),
            torch.cat([where, where]),
            attend=None if attend is None else torch.cat([attend, attend]),
            t=torch.cat([t, t]),
        )
        conditional, unconditional = logits.chunk(2)
        return self.combine(conditional, unconditional)


def extrapolate(
    strong: Float[Tensor, "*S"], weak: Float[Tensor, "*S"], scale: float
) -> Float[Tensor, "*S"]:
    """The guidance formula, weak + (1 + scale)·(strong − weak), on logits or on vectors.

    Example:
        >>> extrapolate(torch.tensor([2.0]), torch.tensor([1.0]), 0.5)
        tensor([2.5000])
    """
    return (strong - weak).mul_(1 + scale).add_(weak)


def without_prompt(
    ids: Int[Tensor, "B L"], canvas: Canvas, specials: Specials
) -> Int[Tensor, "B L"]:
    """Ids whose locked text is masked, as `ClassifierFree` compares them; special tokens stay."""
    control = torch.isin(ids, specials.forbidden.to(ids.device)) | specials.ends(ids)
    prompt = canvas.attend & ~canvas.editable & ~control
    return ids.masked_fill(prompt, specials.mask)


def predict(
    frame: Frame,
    where: Bool[Tensor, "B L"],
    denoiser: Denoiser,
    specials: Specials,
    *,
    guidance: ClassifierFree | None = None,
    steering: tuple[Steering, ...] = (),
    constraints: tuple[rules.Constraint, ...] = (),
    closing: bool = True,
) -> Rows:
    """Predictions at `where`, guided and constrained.

    Args:
        frame: the state.
        where: positions to predict.
        denoiser: its logits are edited in place.
        specials: unwritable ids, the mask among them, get −∞ everywhere.
        guidance: bends the prediction.
        steering: what a classifier adds to it.
        constraints: what must not be written.
        closing: an end closes its hole, so it must not be written left of text.

    Raises:
        ModelError: the logits are not of the shape that was asked for.
    """
    exists = frame.canvas.attend
    attend = None if bool(exists.all()) else exists
    t = frame.time.float()
    if guidance is None:
        logits = denoiser(frame.ids, where, attend=attend, t=t)
    else:
        null = without_prompt(frame.ids, frame.canvas, specials)
        logits = guidance.predict(denoiser, frame.ids, null, where, attend=attend, t=t)
    batch, position = where.nonzero(as_tuple=True)
    view = rules.scene(frame, (batch, position), specials, frame.ids)
    _check_width(logits, view, specials)
    logits.index_fill_(1, specials.forbidden.to(logits.device), -torch.inf)
    for steer in steering:
        logits += steer.lift(view, logits)
    rules.apply(logits, rules.ends_in_place(view, closing=closing))
    for constraint in constraints:
        rules.apply(logits, constraint(view))
    return Rows(logits=logits, batch=batch, position=position)


def draw(rows: Rows, frame: Frame, tokens: TokenSampler) -> Int[Tensor, "K"]:
    """A token for each row.

    Raises:
        ModelError: a logit is not a number.
        UsageError: all tokens are forbidden.
    """
    if not bool(torch.isfinite(rows.log_z).all()):
        if bool((rows.top == -torch.inf).any()):
            raise UsageError(
                "the constraints forbid every token at some position: ban less, or allow a "
                "repetition by a penalty"
            )
        raise ModelError(
            "the model's logits are not finite: its weights are damaged, or its precision too low"
        )
    uniform = numbers(frame, Purpose.TOKEN)[rows.batch, rows.position]
    return tokens.draw(rows.logits, uniform, frame.time[rows.batch])


def with_confidence(rows: Rows, tokens: Int[Tensor, "K"]) -> Written:
    """Tokens with their probabilities at temperature 1."""
    confidence = rows.prob(tokens)
    return Written(batch=rows.batch, position=rows.position, token=tokens, confidence=confidence)


@torch.no_grad()
def place(
    denoiser: Denoiser,
    canvas: Canvas,
    phrases: Sequence[tuple[int, ...]],
    specials: Specials,
    *,
    seeds: int | Sequence[int],
) -> Canvas:
    """Writes required phrases into a canvas and locks them, one pass each.

    A place is drawn with probability ∝ Π_j p(x_{i+j} = phrase_j): where the model, seeing what is
    locked, would best have the phrase.

    Args:
        denoiser: the network.
        canvas: with masks to be written.
        phrases: ids of each phrase.
        specials: ids with a meaning of their own.
        seeds: one for each row, or one that row i adds i to.

    Raises:
        UsageError: a phrase is longer than every hole that is left.
    """
    for number, phrase in enumerate(phrases):
        pending = canvas.editable & (canvas.ids == specials.mask)
        rows = seed_rows(seeds, canvas.ids.shape[0], canvas.ids.device)
        frame = replace(first_frame(canvas, pending, rows), step=torch.full_like(rows, number))
        seen = predict(frame, pending, denoiser, specials, closing=False)
        fit = _fit(seen, pending, phrase)
        if bool((fit.amax(1) == -torch.inf).any()):
            raise UsageError(
                f"a required phrase of {len(phrase)} tokens fits into no hole: give it more room"
            )
        weights = (fit - fit.amax(1, keepdim=True)).exp()
        start = inverse_cdf(weights, row_numbers(frame, Purpose.PLACE))
        at = start[:, None] + torch.arange(len(phrase), device=start.device)
        locked = torch.zeros_like(pending).scatter(1, at, True)
        ids = canvas.ids.scatter(1, at, at.new_tensor(phrase).expand_as(at))
        canvas = Canvas(
            ids=ids,
            editable=canvas.editable & ~locked,
            attend=canvas.attend,
            optional=canvas.optional & ~locked,
        )
    return canvas


def _fit(rows: Rows, pending: Bool[Tensor, "B L"], phrase: tuple[int, ...]) -> Float[Tensor, "B L"]:
    """Log-probability of a phrase at each start; −∞ where it does not fit."""
    log_p = rows.logits[:, list(phrase)] - rows.log_z[:, None]
    length = pending.shape[1]
    beyond = pending.shape[0], length + len(phrase)
    total = torch.zeros(pending.shape, device=pending.device)
    for offset in range(len(phrase)):
        here = torch.full(beyond, -torch.inf, device=pending.device)
        here[rows.batch, rows.position] = log_p[:, offset]
        total += here[:, offset : offset + length]
    return total


def _check_width(logits: Tensor, view: rules.Scene, specials: Specials) -> None:
    highest = max(int(specials.forbidden.max()), specials.pad, specials.eos)
    if logits.shape[0] != len(view.batch) or logits.shape[1] <= highest:
        raise ModelError(
            f"expected logits of {len(view.batch)} rows and more than {highest} tokens, "
            f"got {tuple(logits.shape)}: the denoiser and the vocabulary do not belong together"
        )
