"""Tokens that a codec reads off vectors, one text and one end at a time.

Each slot is decoded by itself, so the most probable token of each need not make a text: words may
stand behind an end, or no end come at all. Where a text may end, the tokens here are the most
probable row of the form that training shows, words, an end, padding.

Legend of shapes: `B` batch, `L` positions, `S` slots, `V` vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.protocols import Codec
from sfumato.sampling.frames import Frame, Specials

_NEVER = 1e4


def shown(frame: Frame, clean: Float[Tensor, "B S D"], codec: Codec, specials: Specials) -> Frame:
    """The frame with the tokens that the codec reads off x̂_0; locked ones stay.

    Raises:
        UsageError: the canvas has more slots than the model.
        ModelError: a logit of a word that is to be written is not a number.
    """
    latent, canvas = frame.latent, frame.canvas
    assert latent is not None
    slots = latent.position.shape[1]
    logits = codec.decode(clean, latent.attend)[:, :slots]
    if logits.shape[1] < slots:
        raise UsageError(
            f"the canvas has {slots} slots, the model {logits.shape[1]}: write less at a time"
        )
    best = logits.amax(2)[canvas.editable.gather(1, latent.position)]
    if not bool(torch.isfinite(best).all()):
        raise ModelError(
            "the model's predictions are not finite: its weights are damaged, or its precision too "
            "low"
        )
    logits = logits.index_fill(2, specials.forbidden.to(logits.device), -torch.inf)
    terminal = canvas.terminal.gather(1, latent.position)
    confidence, token = read_off(logits.log_softmax(2), terminal, specials)
    ids = frame.ids.scatter(1, latent.position, token)
    ids = torch.where(canvas.editable, ids, frame.ids)
    sure = frame.confidence.scatter(1, latent.position, confidence.to(frame.confidence))
    new = canvas.editable & ((ids != frame.ids) | (frame.committed < 0))
    return replace(
        frame,
        ids=ids,
        confidence=torch.where(canvas.editable, sure, frame.confidence),
        committed=torch.where(new, frame.step[:, None] - 1, frame.committed),
    )


def read_off(
    log_p: Float[Tensor, "B S V"], terminal: Bool[Tensor, "B S"], specials: Specials
) -> tuple[Float[Tensor, "B S"], Int[Tensor, "B S"]]:
    """The most probable tokens, with one end at most, and their probabilities.

    Args:
        log_p: log-probabilities of the decoder; every slot is independent of the others.
        terminal: slots where a text may end: the last ones of a row, and one run.
        specials: ids of end and padding.

    Example:
        >>> specials = Specials(mask=0, pad=1, eos=2, unwritable=frozenset())
        >>> p = torch.tensor([[[0, 0.1, 0.1, 0.8], [0, 0.5, 0.1, 0.4], [0, 0.1, 0.3, 0.6]]])
        >>> slots = torch.ones(1, 3, dtype=torch.bool)
        >>> read_off(p.log(), slots, specials)[1].tolist()  # each by itself: 3, 1, 3
        [[3, 3, 3]]
    """
    ends = torch.tensor([specials.pad, specials.eos], device=log_p.device)
    best, token = log_p.index_fill(2, ends, -torch.inf).max(2)
    usual, anything = log_p.max(2)
    best, token = torch.where(terminal, best, usual), torch.where(terminal, token, anything)
    eos, pad = log_p[..., specials.eos], log_p[..., specials.pad].clamp(min=-_NEVER)
    # Σ_{i<e} words + end at e + Σ_{i>e} padding, for every e; the last is a text without an end.
    zero = best.new_zeros(len(best), 1)
    gain = torch.where(terminal, best - pad, 0).clamp(-_NEVER, _NEVER).cumsum(1)
    score = torch.where(terminal, torch.cat([zero, gain[:, :-1]], 1) + eos - pad, -torch.inf)
    end = torch.cat([score, gain[:, -1:]], 1).argmax(1, keepdim=True)
    place = torch.arange(log_p.shape[1], device=log_p.device)
    token = token.masked_fill(terminal & (place == end), specials.eos)
    token = token.masked_fill(terminal & (place > end), specials.pad)
    sure = log_p.gather(2, token[..., None])[..., 0].exp()
    return sure, token
