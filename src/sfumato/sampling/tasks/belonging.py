"""Does a text belong to a prompt? How much better it is denoised by a model that is told.

    log p(x_0 | c) − log p(x_0) = ½ ∫ E_ε[‖x_0 − x̂_0(x_t)‖² − ‖x_0 − x̂_0(x_t, c)‖²] d SNR

Legend of shapes: `B` batch, `S` slots, `D` width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.parts.randomness import Purpose, normal
from sfumato.sampling.tasks.jobs import LatentModel, device_of
from sfumato.text.batching import encode
from sfumato.text.records import PairRecord
from sfumato.text.slots import lay_slots


@dataclass(frozen=True, kw_only=True)
class DenoisingGain:
    """A scorer: log p(text | prompt) − log p(text) under a latent model of pairs, nats.

    The integral of the denoising errors (I-MMSE; Kong et al., arXiv 2302.03792, eq. 9) by midpoints
    even in λ, with the same noise for all texts and for both predictions. It is exact for exact
    denoisers of the vectors; what the decoder makes of them does not enter.

    Attributes:
        model: a latent checkpoint that was trained on pairs.
        prompt: what may be told.
        slots: the width of the texts that the model writes.
        levels: of noise; each costs two passes.
        draws: of the noise at each level.
        seed: of the noise.
        batch_size: texts judged side by side.

    Raises:
        UsageError: fewer than one level, draw or slot.
    """

    model: LatentModel
    prompt: str
    slots: int
    levels: int = 16
    draws: int = 1
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        if min(self.levels, self.draws, self.slots) < 1:
            raise UsageError(
                f"expected levels, draws and slots ≥ 1, got {self.levels}, {self.draws}, "
                f"{self.slots}"
            )

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> list[float]:
        """Nats a text, more for one that belongs."""
        gains: list[float] = []
        for start in range(0, len(texts), self.batch_size):
            gains += self._gains(texts[start : start + self.batch_size]).tolist()
        return gains

    def _gains(self, texts: Sequence[str]) -> Tensor:
        """The integral, *shape* `B`."""
        model, device = self.model, device_of(self.model.denoiser)
        pairs = [PairRecord(prompt=self.prompt, completion=text) for text in texts]
        length = len(model.vocabulary.encode(self.prompt)) + 2 * self.slots
        examples = [encode(pair, model.vocabulary, max_length=length) for pair in pairs]
        rows = lay_slots(examples, slots=self.slots, pad=model.vocabulary.pad)
        ids, given, told = (x.to(device) for x in (rows.ids, rows.given, rows.attend))
        x_0 = model.codec.encode(ids, torch.ones_like(ids, dtype=torch.bool))
        condition = model.codec.told(given, told)
        low, high = model.process.reach
        width = (high - low) / self.levels
        gain = torch.zeros(len(texts), dtype=torch.float64, device=device)
        for step in range(self.levels * self.draws):
            log_snr = low + width * (step % self.levels + 0.5)
            level = torch.full((len(texts),), log_snr, dtype=torch.float64, device=device)
            seeds = torch.full((len(texts),), self.seed, device=device)
            noise = normal(seeds, (x_0.shape[1], x_0.shape[2]), step=step, purpose=Purpose.NOISE)
            x_t = model.process.corrupt(x_0, noise.to(x_0), model.process.time(level))
            errors = [
                (x_0 - model.denoiser(x_t, level.to(x_0), condition=known)).square().sum((1, 2))
                for known in (None, condition)
            ]
            # ½ d SNR = e^2λ dλ
            weight = torch.exp(2 * level) * width / self.draws
            gain += weight * (errors[0] - errors[1]).double()
        return gain
