"""What latent models are trained on: the clean vectors behind noise, and the words behind vectors.

    ids ─▶ codec ─▶ x_0 ─▶ + noise ─▶ denoiser (perhaps twice, with its own hint) ─▶ ‖x_0 − x̂_0‖²
                                                                    learnt vectors: + anchor

Legend of shapes: `B` batch, `S` slots, `L` positions of what is given, `D` width of a vector,
`N` vectors of a text: `S`, or fewer if it is compressed, `C` width of an encoder, `K` kept tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.score_network import ScoreNetwork
from sfumato.noise.gaussian import GaussianProcess
from sfumato.noise.times import EvenLogSnrs, EvenTimes, LevelSampler
from sfumato.text.slots import Slots
from sfumato.training.objectives import cut, moved
from sfumato.types import Condition

LevelWeighting = Callable[[Tensor], Tensor]


def clean_weighting(log_snr: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Weight one for every ‖x_0 − x̂_0‖²: TEncDM's and Diffusion-LM's."""
    return torch.ones_like(log_snr)


def noise_weighting(log_snr: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """e^2λ: the simple loss of a network that predicts noise (DDPM, eq. 14), and the ELBO in λ."""
    return torch.exp(2 * log_snr)


def velocity_weighting(log_snr: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """1 + e^2λ: the simple loss of a network that predicts v (arXiv 2202.00512)."""
    return 1 + torch.exp(2 * log_snr)


@dataclass(frozen=True, kw_only=True)
class MinSnr:
    """min(e^2λ, γ) (min-SNR-γ, arXiv 2303.09556, §3.4, for ‖x_0 − x̂_0‖²).

    Attributes:
        gamma: γ.

    Example:
        >>> MinSnr(gamma=5.0)(torch.tensor([0.0, 9.0]))
        tensor([1., 5.])
    """

    gamma: float = 5.0

    def __call__(self, log_snr: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The weight."""
        return torch.exp(2 * log_snr).clamp(max=self.gamma)


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedSlots:
    """A noised batch, before its tokens are encoded.

    Attributes:
        ids: what is written, *shape* `B S`.
        given: what is given, *shape* `B L`.
        attend: which of the given tokens exist and are told, *shape* `B L`.
        noise: ε, *shape* `B N D`.
        t: time of each row, *shape* `B`.
        hinted: rows that are predicted twice, *shape* `B`.
    """

    ids: Int[Tensor, "B S"]
    given: Int[Tensor, "B L"]
    attend: Bool[Tensor, "B L"]
    noise: Float[Tensor, "B N D"]
    t: Float[Tensor, "B"]
    hinted: Bool[Tensor, "B"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """Its rows: the loss of each is a mean over its numbers."""
        return torch.tensor(float(len(self.ids)))

    def to(self, device: torch.device | str) -> NoisedSlots:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> NoisedSlots:
        """A micro-batch."""
        return cut(self, start, stop)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """What a learner says of a noised batch.

    Attributes:
        x_0: the clean vectors, *shape* `B N D`.
        x_t: the noisy ones, *shape* `B N D`.
        x_hat: the prediction, *shape* `B N D`.
        condition: what was given; None for a network that reads none.
    """

    x_0: Float[Tensor, "B N D"]
    x_t: Float[Tensor, "B N D"]
    x_hat: Float[Tensor, "B N D"]
    condition: Condition | None


class _Aside:
    """A codec that is no part of the module that uses it, and is not copied with it."""

    def __init__(self, codec: EmbeddingCodec | EncoderCodec) -> None:
        self.codec = codec

    def __deepcopy__(self, memo: object) -> _Aside:
        return self


class LatentLearner(nn.Module):
    """The denoiser and its codec as one module: the codec's own weights are trained with it.

    A frozen encoder is kept aside, where no optimiser or average sees it.

    Args:
        denoiser: the network.
        codec: learnt vectors or a frozen encoder.
    """

    def __init__(self, denoiser: ScoreNetwork, codec: EmbeddingCodec | EncoderCodec) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.learnt = codec if isinstance(codec, EmbeddingCodec) else None
        self._frozen = _Aside(codec)

    @property
    def codec(self) -> EmbeddingCodec | EncoderCodec:
        """The codec."""
        return self._frozen.codec if self.learnt is None else self.learnt

    def forward(self, noised: NoisedSlots, process: GaussianProcess) -> Predicted:
        """x̂_0, and what it was predicted from."""
        every = torch.ones_like(noised.ids, dtype=torch.bool)
        x_0 = self.codec.encode(noised.ids, every)
        condition = None
        if self.denoiser.sizes.reading != "none":
            condition = self.codec.told(noised.given, noised.attend)
        x_t = process.corrupt(x_0, noised.noise, noised.t)
        log_snr = process.log_snr(noised.t).to(x_0)
        hint = None
        if bool(noised.hinted.any()):
            with torch.no_grad():
                hint = self.denoiser(x_t, log_snr, condition=condition)
            hint = hint * noised.hinted[:, None, None]
        x_hat = self.denoiser(x_t, log_snr, condition=condition, hint=hint)
        return Predicted(x_0=x_0, x_t=x_t, x_hat=x_hat, condition=condition)


@dataclass(frozen=True, kw_only=True)
class LatentObjective:
    """Σ over rows of w(λ)·mean‖x_0 − x̂_0‖², and the anchor of learnt vectors.

    Attributes:
        process: the noise.
        width: `D`, of the vectors.
        latents: vectors of a text, if it is compressed; None for one a slot.
        times: chooses the levels of noise.
        weighting: w.
        hinting: chance that a batch is predicted twice, the second time with the first prediction
            as a hint (self-conditioning; Analog Bits, arXiv 2208.04202, algorithm 1).
        dropping: chance that a row is not told what is given (classifier-free guidance).
        anchor: weight of the cross-entropy of the words at x̂_0, for learnt vectors; times the
            signal's share 1 / (1 + e^−2λ), since in much noise the best x̂_0 is a mean of vectors,
            and no word's.

    Raises:
        UsageError: a chance outside 0 to 1.
    """

    process: GaussianProcess
    width: int
    latents: int | None = None
    times: LevelSampler = field(default_factory=EvenTimes)
    weighting: LevelWeighting = clean_weighting
    hinting: float = 0.5
    dropping: float = 0.1
    anchor: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.hinting <= 1 and 0 <= self.dropping <= 1 and self.anchor >= 0):
            raise UsageError(
                f"expected hinting and dropping in [0, 1] and anchor ≥ 0, got {self.hinting}, "
                f"{self.dropping}, {self.anchor}"
            )

    def prepare(self, batch: Slots, generator: torch.Generator) -> NoisedSlots:
        """Draws times, noise and coins for a whole batch at once."""
        rows, slots = batch.ids.shape
        t = self.times.levels(rows, self.process, generator)
        noise = torch.randn(rows, self.latents or slots, self.width, generator=generator)
        coins = torch.rand(rows + 1, generator=generator)
        told = coins[:rows, None] >= self.dropping
        return NoisedSlots(
            ids=batch.ids,
            given=batch.given,
            attend=batch.attend & told,
            noise=noise,
            t=t.float(),
            hinted=(coins[rows:] < self.hinting).expand(rows),
        )

    def __call__(self, denoiser: LatentLearner, prepared: NoisedSlots) -> Float[Tensor, ""]:
        """The summed loss."""
        said = denoiser(prepared, self.process)
        error = (said.x_0 - said.x_hat).square().mean((1, 2))
        weight = self.weighting(self.process.log_snr(prepared.t)).to(error)
        loss: Tensor = (weight * error).sum()
        learner: LatentLearner = getattr(denoiser, "module", denoiser)  # under DDP
        if learner.learnt is None or not self.anchor:
            return loss
        logits = learner.learnt.decode(said.x_hat).transpose(1, 2)
        words = nn.functional.cross_entropy(logits, prepared.ids, reduction="none").mean(1)
        signal = torch.sigmoid(2 * self.process.log_snr(prepared.t)).to(words)
        return loss + self.anchor * (signal * words).sum()


class DecoderLearner(nn.Module):
    """The learnt part of an encoder's codec: its decoder, and its compressor if it has one."""

    def __init__(self, codec: EncoderCodec) -> None:
        super().__init__()
        self.reading = codec.decoder
        self.compressor = codec.compressor

    def forward(
        self,
        outputs: Float[Tensor, "B S C"],
        seen: Bool[Tensor, "B S"],
        noise: Float[Tensor, "B N D"],
    ) -> Float[Tensor, "B S K"]:
        """Logits of the kept tokens, read off the vectors with noise beside them."""
        x = outputs if self.compressor is None else self.compressor(outputs, seen)
        logits: Tensor = self.reading(x + noise)
        return logits


@dataclass(frozen=True, kw_only=True)
class DecoderObjective:
    """Cross-entropy of the words behind vectors with a little noise (TEncDM, §4.2).

    At writing time the vectors come from a denoiser, which errs: a decoder that has seen noise
    mends what one that has not repeats. The levels are even in λ, so that reading clean vectors is
    learnt as well as mending.

    Attributes:
        process: the noise.
        codec: the frozen encoder, with what a `DecoderLearner` trains.
        least: the least λ, of the most noise.
    """

    process: GaussianProcess
    codec: EncoderCodec
    least: float = -0.75

    def prepare(self, batch: Slots, generator: torch.Generator) -> NoisedSlots:
        """Draws times and noise for a whole batch at once."""
        rows, slots = batch.ids.shape
        t = EvenLogSnrs(low=self.least).levels(rows, self.process, generator).float()
        return NoisedSlots(
            ids=batch.ids,
            given=batch.given,
            attend=batch.attend,
            noise=torch.randn(
                rows, self.codec.latents or slots, self.codec.width, generator=generator
            ),
            t=t,
            hinted=torch.zeros(rows, dtype=torch.bool),
        )

    def __call__(self, denoiser: DecoderLearner, prepared: NoisedSlots) -> Float[Tensor, ""]:
        """The summed loss; a word that the decoder cannot say counts as nothing."""
        seen = prepared.ids != self.codec.pad
        outputs = self.codec.outputs(prepared.ids, seen)
        at = self.process.scales(prepared.t).over(outputs)
        # Beside the signal, not in the place of it: the decoder reads vectors of full size.
        noise = at.sigma / at.alpha * prepared.noise
        kept = self.codec.decoder.kept
        place = torch.searchsorted(kept, prepared.ids).clamp(max=len(kept) - 1)
        target = place.masked_fill(kept[place] != prepared.ids, -100)
        logits = denoiser(outputs, seen, noise).flatten(0, 1)
        words = nn.functional.cross_entropy(logits, target.flatten(), reduction="none")
        means = words.view_as(target).sum(1) / (target >= 0).sum(1).clamp(min=1)
        return means.sum()
