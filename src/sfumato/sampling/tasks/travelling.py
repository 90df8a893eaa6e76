"""From a text to others through the noise: vary one by so much, or walk between two.

    text ─▶ vectors ─▶ + some noise ─▶ denoised                 vary
    text ─▶ vectors ─▶ the flow, to pure noise ─┐
                                                ├─ spherical ─▶ the flow back ─▶ texts   interpolate
    text ─▶ vectors ─▶ the flow, to pure noise ─┘

Only latent models have a space to travel in.

Legend of shapes: `B` batch, `S` slots, `D` width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.latent.descent import Descent, inverted
from sfumato.sampling.loop import resume
from sfumato.sampling.running.recording import record
from sfumato.sampling.tasks.jobs import (
    How,
    LatentModel,
    Row,
    device_of,
    policy_for,
    run,
    specials_of,
)
from sfumato.sampling.trace import Sample
from sfumato.text.canvas import Canvas, Draft, Locked, lay_out, stack
from sfumato.text.vocabulary import Vocabulary


def vary(
    model: LatentModel,
    text: str,
    *,
    by: float,
    n: int = 1,
    policy: Descent | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> list[Sample]:
    """Texts near a text: it is noised part of the way and denoised again.

    Args:
        model: a latent checkpoint.
        text: where to begin.
        by: share of the way to pure noise, in λ, above 0 up to 1: a little changes a word or
            none, 1 forgets the text.
        n: how many; the i-th has the seed `seed + i`.
        policy: how to write, without `begin`.
        seed: seed of the first.
        batch_size: texts written side by side.

    Raises:
        UsageError: a share out of range, or a text longer than the model writes.
    """
    chosen = policy_for(model, policy, steps=1)
    assert isinstance(chosen, Descent)
    canvas = _draft(model, text)
    bos = _begin(model.vocabulary)

    def read(ids: Sequence[int]) -> str:
        return _read(ids[len(bos) :], model.vocabulary)

    rows = [Row(canvas=canvas, seed=seed + i, read=read) for i in range(n)]
    return run(model, rows, How(policy=replace(chosen, begin=by), batch_size=batch_size))


def interpolate(
    model: LatentModel,
    first: str,
    last: str,
    *,
    n: int = 7,
    policy: Descent | None = None,
) -> list[Sample]:
    """Texts on the way from one to another, both ends among them.

    Each text is carried to noise by the probability flow, which can be walked both ways; between
    the two points of noise the walk is spherical, as noise lies near a sphere.

    Args:
        model: a latent checkpoint.
        first: where to begin.
        last: where to end.
        n: how many texts, 2 or more.
        policy: how to write; a deterministic solver, for the way there and back is one.

    Raises:
        UsageError: fewer than two, or a text longer than the model writes.
    """
    if n < 2:
        raise UsageError(f"expected n ≥ 2, the two ends among them, got {n}")
    chosen = policy_for(model, policy, steps=1)
    assert isinstance(chosen, Descent)
    specials, vocabulary = specials_of(model.vocabulary), model.vocabulary
    bos = _begin(vocabulary)
    ends = [_draft(model, text) for text in (first, last)]
    pair = stack(ends, pad=vocabulary.pad).to(device_of(model.denoiser))
    noise = inverted(pair, model.denoiser, chosen, specials)
    canvas = stack([ends[0]] * n, pad=vocabulary.pad).to(noise.device)
    frame = chosen.start(canvas, 0, specials)
    assert frame.latent is not None
    shares = torch.linspace(0, 1, n, device=noise.device)
    frame = replace(frame, latent=replace(frame.latent, x=slerp(noise[0], noise[1], shares)))

    def read(ids: Sequence[int]) -> str:
        return _read(ids[len(bos) :], vocabulary)

    frames = [frame, *resume(model.denoiser, frame, chosen, specials)]
    return record(frames, [read] * n, vocabulary.pieces, specials)


def slerp(
    first: Float[Tensor, "S D"], last: Float[Tensor, "S D"], shares: Float[Tensor, "N"]
) -> Float[Tensor, "N S D"]:
    """Points on the arcs between the vectors of two texts, slot by slot, by shares of each angle.

    One angle for all slots would stretch those that are alike in both, such as empty ones.

    Example:
        >>> ends = torch.tensor([[[1.0, 0.0], [3.0, 0.0]], [[0.0, 1.0], [3.0, 0.0]]])
        >>> slerp(ends[0], ends[1], torch.tensor([0.5]))
        tensor([[[0.7071, 0.7071],
                 [3.0000, 0.0000]]])
    """
    cosine = torch.nn.functional.cosine_similarity(first, last, dim=1)
    angle = torch.arccos(cosine.clamp(-1, 1))[None, :, None]
    share = shares[:, None, None]
    straight = angle.sin() < 1e-3
    sine = angle.sin().masked_fill(straight, 1.0)
    one = torch.where(straight, 1 - share, torch.sin((1 - share) * angle) / sine)
    other = torch.where(straight, share, torch.sin(share * angle) / sine)
    return one * first + other * last


def _draft(model: LatentModel, text: str) -> Canvas:
    """A canvas that holds a text as its draft, with its end and padding behind it."""
    words = model.vocabulary
    width = int(next(iter(getattr(model, "answers", ())), 0))
    ids = (*words.encode(text), words.eos)
    if width and len(ids) > width:
        raise UsageError(f"the text has {len(ids)} tokens and the model writes {width}: shorten it")
    filled = (*ids, *[words.pad] * max(0, width - len(ids)))
    return lay_out([Locked(ids=_begin(words)), Draft(ids=filled, optional=True)], mask=words.mask)


def _begin(vocabulary: Vocabulary) -> tuple[int, ...]:
    return () if vocabulary.bos is None else (vocabulary.bos,)


def _read(ids: Sequence[int], vocabulary: Vocabulary) -> str:
    """The text up to its end."""
    ends = (i for i, token in enumerate(ids) if token in (vocabulary.eos, vocabulary.pad))
    return vocabulary.decode(ids[: next(ends, len(ids))])
