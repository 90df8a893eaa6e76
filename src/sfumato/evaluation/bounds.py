"""The likelihood bound of a diffusion model, text by text.

    −log p(x) ≤ E_k E_{masks of k} [ n/k · Σ_masked −log p(x_i | the rest) ],   k ~ U{1 … n}

is the negative ELBO of masked diffusion in its any-order form (LLaDA, arXiv 2502.09992, eq. 6),
an equality for an exact denoiser.

Legend of shapes: `N` texts, `K` draws a text, `B` rows, `L` positions, `M` predicted positions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.evaluation.reporting.svg import Series
from sfumato.noise.times import ExactCount
from sfumato.protocols import Denoiser, TimeSampler
from sfumato.sampling.tasks import Model
from sfumato.text.batching import Example
from sfumato.text.canvas import Canvas, stack
from sfumato.text.vocabulary import Vocabulary
from sfumato.types import Corrupted, Draw

_TEXTS_A_BLOCK = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Bounds:
    """Estimates of the negative ELBO, one a text and draw.

    Attributes:
        nats: the estimate of each draw, *shape* `N K`; its mean over draws bounds −log p.
        level: share of noise 1 − α(t) of each draw, *shape* `N K`.
        positions: positions that each bound covers, trained tokens and slack, *shape* `N`.
        tokens: trained tokens, *shape* `N`.
        octets: UTF-8 bytes of the trained tokens' text, *shape* `N`.
    """

    nats: Float[Tensor, "N K"]
    level: Float[Tensor, "N K"]
    positions: Int[Tensor, "N"]
    tokens: Int[Tensor, "N"]
    octets: Int[Tensor, "N"]

    @property
    def draw_error(self) -> Float[Tensor, "N"]:
        """Standard error of each text's bound from its draws; stratified, so an upper bound."""
        return self.nats.std(1) / math.sqrt(self.nats.shape[1])


def text_bounds(
    model: Model,
    examples: Sequence[Example],
    *,
    draws: int = 16,
    seed: int = 0,
    slack: int = 0,
    times: TimeSampler | None = None,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> Bounds:
    """Estimates the negative ELBO of each text.

    Times are stratified over the draws of a text; with a single draw, over 64 texts at a time.
    The noise depends on the seed and the texts, not on the batch size or the device.

    Args:
        model: denoiser, vocabulary and process.
        examples: encoded texts; what they train is what the bound covers.
        draws: noise draws a text.
        seed: seed of the noise, at least 0.
        slack: padding slots behind each text that ends with its eos. Without them the canvas
            gives the text's length away; with them the bound covers text and slots together,
            so the model also pays for telling where the text ends.
        times: chooses times and hits; exact counts if None, which only masked noise can use.
            Other choices weigh rare hits near t = 0 by 1/t, so their errors come out too small.
        batch_size: rows a forward pass.
        device: where the denoiser lives.

    Raises:
        UsageError: no texts, no draws, a negative slack, a text without trained tokens, or
            exact counts with noise that is not masked.
    """
    if not examples or draws < 1 or slack < 0 or seed < 0:
        raise UsageError(
            "a likelihood bound needs at least one text, draws ≥ 1, slack ≥ 0 and seed ≥ 0, but "
            f"got {len(examples)} texts, {draws} draws, slack {slack}, seed {seed}"
        )
    canvases = [_canvas(example, model.vocabulary, slack) for example in examples]
    block = 1 if draws > 1 else _TEXTS_A_BLOCK
    nats, level = [], []
    with torch.no_grad(), _evaluating(model.denoiser):
        for start in range(0, len(canvases), block):
            canvas = stack(canvases[start : start + block], pad=model.vocabulary.pad)
            canvas = _repeated(canvas, draws)
            draw = (times or ExactCount()).draw(
                canvas.editable, model.process.schedule, _generator(seed, start)
            )
            noised = model.process.corrupt(canvas.ids, canvas.editable, draw)
            if times is None:
                _check_exact(noised, draw)
            parts = [
                _row_nats(model, canvas, noised, draw, slice(row, row + batch_size), device)
                for row in range(0, len(canvas.ids), batch_size)
            ]
            nats.append(torch.cat(parts).view(-1, draws))
            level.append(1 - model.process.schedule.alpha(draw.t.double()).view(-1, draws))
    trained = [_trained(example) for example in examples]
    decode = model.vocabulary.decode
    return Bounds(
        nats=torch.cat(nats),
        level=torch.cat(level),
        positions=torch.tensor([int(canvas.editable.sum()) for canvas in canvases]),
        tokens=torch.tensor([len(ids) for ids in trained]),
        octets=torch.tensor([len(decode(ids).encode()) for ids in trained]),
    )


def level_curve(bounds: Bounds, *, label: str, bins: int = 10) -> Series:
    """Nats per position by share of noise, with a band of one standard error; for `svg.lines`.

    For masked noise the height is the cross-entropy of a masked token.

    Args:
        bounds: what `text_bounds` found.
        label: name in the legend.
        bins: equal parts of the noise levels 0 … 1; empty ones are left out.
    """
    height = (bounds.nats / bounds.positions[:, None]).flatten()
    level = bounds.level.flatten().float()
    place = (level * bins).ceil().long().clamp(1, bins) - 1
    rows = [height[place == index] for index in range(bins)]
    kept = [(index, row) for index, row in enumerate(rows) if len(row) > 1]
    mean = [float(row.mean()) for _, row in kept]
    error = [float(row.std()) / len(row) ** 0.5 for _, row in kept]
    return Series(
        label=label,
        x=[(index + 0.5) / bins for index, _ in kept],
        y=mean,
        low=[m - e for m, e in zip(mean, error, strict=True)],
        high=[m + e for m, e in zip(mean, error, strict=True)],
    )


def _trained(example: Example) -> list[int]:
    ids = [token for token, trained in zip(example.ids, example.trained, strict=True) if trained]
    if not ids:
        raise UsageError(f"{example.origin or 'a text'} has no trained token to bound")
    return ids


def _canvas(example: Example, vocabulary: Vocabulary, slack: int) -> Canvas:
    """The text with its trained tokens editable, and its slots of slack."""
    slots = slack if example.ids[-1:] == (vocabulary.eos,) else 0
    editable = torch.tensor([[*example.trained, *[True] * slots]])
    optional = torch.zeros_like(editable)
    optional[:, len(example.ids) :] = True
    return Canvas(
        ids=torch.tensor([[*example.ids, *[vocabulary.pad] * slots]]),
        editable=editable,
        attend=torch.ones_like(editable),
        optional=optional,
    )


def _repeated(canvas: Canvas, times: int) -> Canvas:
    """Each row `times` times, one after the other."""
    return Canvas(
        ids=canvas.ids.repeat_interleave(times, 0),
        editable=canvas.editable.repeat_interleave(times, 0),
        attend=canvas.attend.repeat_interleave(times, 0),
        optional=canvas.optional.repeat_interleave(times, 0),
    )


def _generator(seed: int, text: int) -> torch.Generator:
    """A generator of its own for each pair; the CPU's keeps 32 bits of its seed, hence the hash."""
    digest = hashlib.sha256(f"{seed} {text}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


def _check_exact(noised: Corrupted, draw: Draw) -> None:
    if bool((noised.where & ~draw.hit).any()):
        raise UsageError(
            "exact counts bound masked noise only, and this process also needs predictions "
            "where nothing was hit: pass times=Stratified() of sfumato.noise.times"
        )


@contextmanager
def _evaluating(denoiser: Denoiser) -> Iterator[None]:
    """Dropout off inside, as it was afterwards."""
    training = isinstance(denoiser, nn.Module) and denoiser.training
    if isinstance(denoiser, nn.Module):
        denoiser.eval()
    try:
        yield
    finally:
        if isinstance(denoiser, nn.Module):
            denoiser.train(training)


def _row_nats(
    model: Model,
    canvas: Canvas,
    noised: Corrupted,
    draw: Draw,
    rows: slice,
    device: torch.device | str,
) -> Float[Tensor, "B"]:
    """The negative ELBO's estimate of some rows of a noised canvas, on the CPU."""
    x_0, x_t = canvas.ids[rows].to(device), noised.x_t[rows].to(device)
    where, attend = noised.where[rows].to(device), canvas.attend[rows].to(device)
    t, rate = draw.t[rows].to(device), draw.rate[rows].to(device)
    log_p = model.denoiser(x_t, where, attend=attend, t=t).log_softmax(-1)
    row, column = where.nonzero(as_tuple=True)
    terms = model.process.elbo(log_p, x_0[row, column], x_t[row, column], t[row], rate[row])
    nats = torch.zeros(len(x_0), dtype=torch.float64)
    return nats.index_add_(0, row.cpu(), terms.double().cpu())
