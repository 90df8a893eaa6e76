"""The denoiser of Gaussian noise: a transformer over vectors that knows λ, a hint and a condition.

    x_t, hint ─▶ Linear ─▶ + place ─▶ layers ─▶ norm ─▶ Linear ─▶ output ─▶ x̂_0
                                        ↑  ↑
                                        λ  condition (cross-attention, or slots beside)

It writes every slot of its canvas, those after the end of the text too: the length of a text is
something it decides, not something it is told.

Legend of shapes: `B` batch, `S` slots, `D` width of a vector, `W` width of the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.models.latent.layers import Layer, initialise
from sfumato.models.parts.conditioning import sinusoids
from sfumato.models.parts.products import fast_linear
from sfumato.noise.gaussian import PARAMETERIZATIONS, Path
from sfumato.types import Condition

Reading = Literal["cross", "beside", "none"]
_LOG_SNRS = 40.0


@dataclass(frozen=True, kw_only=True)
class ScoreSizes:
    """Sizes and choices of a score network.

    Attributes:
        width: `D`, of the vectors.
        hidden: `W`, of the network.
        layers: an even number; the first half hands its outputs to the second.
        heads: of attention.
        slots: the most slots of a text, and of a condition.
        predicts: what it is trained to say: clean, noise, velocity, field or score.
        reading: how it reads a condition: by cross-attention, beside its own slots, or not at all.
        hinted: it was trained on its own predictions as hints; otherwise it is given none.
        dropout: chance to drop a unit in training.

    Raises:
        UsageError: sizes that do not fit each other.

    Example:
        >>> ScoreSizes(width=16, slots=8).hidden
        256
    """

    width: int
    slots: int
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    predicts: str = "clean"
    reading: Reading = "none"
    hinted: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.predicts not in PARAMETERIZATIONS:
            known = ", ".join(PARAMETERIZATIONS)
            raise UsageError(f"predicts {self.predicts!r}: expected one of {known}")
        if min(self.width, self.slots, self.layers, self.heads) < 1 or self.hidden % self.heads:
            raise UsageError(f"expected positive sizes, hidden a multiple of heads, got {self}")

    def as_json(self) -> Mapping[str, Any]:
        """What a checkpoint keeps."""
        return asdict(self)


class ScoreNetwork(nn.Module):
    """A transformer under the interface `sfumato.protocols.LatentDenoiser`.

    TEncDM (arXiv 2402.19097) in short: λ in every layer, the last prediction as a second input
    (self-conditioning, arXiv 2208.04202), outputs of the first layers added to the last ones.

    Args:
        sizes: what to build.
        path: how α and σ follow from λ.
        seed: of the weights.

    Example:
        >>> from sfumato.noise.gaussian import Preserving
        >>> sizes = ScoreSizes(width=4, slots=6, hidden=8, layers=2, heads=2)
        >>> network = ScoreNetwork(sizes, path=Preserving())
        >>> network(torch.randn(2, 6, 4), torch.zeros(2)).shape
        torch.Size([2, 6, 4])
    """

    def __init__(self, sizes: ScoreSizes, *, path: Path, seed: int = 0) -> None:
        super().__init__()
        self.sizes, self.path = sizes, path
        hidden = sizes.hidden
        self.enter = nn.Linear(2 * sizes.width, hidden)
        self.place = nn.Embedding(sizes.slots, hidden)
        last = nn.Linear(hidden, 6 * hidden)
        self.time = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), last)
        crossing = sizes.reading == "cross"
        self.layers = nn.ModuleList(
            Layer(width=hidden, heads=sizes.heads, crossing=crossing, dropout=sizes.dropout)
            for _ in range(sizes.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.leave = nn.Linear(hidden, sizes.width)
        if sizes.reading != "none":
            self.read = nn.Linear(sizes.width, hidden)
            self.read_place = nn.Embedding(sizes.slots, hidden)
            self.nothing = nn.Parameter(torch.zeros(1, 1, hidden))
        initialise(self, seed=seed)
        for layer in (self.leave, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x_t: Float[Tensor, "B S D"],
        log_snr: Float[Tensor, "B"],
        *,
        attend: Bool[Tensor, "B S"] | None = None,
        condition: Condition | None = None,
        hint: Float[Tensor, "B S D"] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """x̂_0; arguments as in the protocol.

        Raises:
            UsageError: more slots than the network has places for.
        """
        slots = x_t.shape[1]
        if slots > self.sizes.slots:
            raise UsageError(
                f"the canvas has {slots} slots, the model {self.sizes.slots}: write less at a time"
            )
        at = self.path.scales(log_snr)
        of = at.over(x_t)
        seen = x_t * (of.alpha**2 + of.sigma**2).rsqrt()
        hint = torch.zeros_like(x_t) if hint is None or not self.sizes.hinted else hint
        with fast_linear(x_t.device):
            x = self.enter(torch.cat([seen, hint], 2)) + self.place.weight[:slots]
            waves = sinusoids(0.5 + log_snr / _LOG_SNRS, self.sizes.hidden).to(x.dtype)
            by = self.time(waves).unflatten(1, (6, -1))
            x = self._layers(x, attend, by, self._given(condition, x))
            output = self.leave(self.norm(x[:, :slots]))
        return PARAMETERIZATIONS[self.sizes.predicts].clean(output, x_t, at)

    def _given(
        self, condition: Condition | None, x: Float[Tensor, "B S W"]
    ) -> tuple[Tensor, Tensor] | None:
        """The condition as slots, the first of which means that there is none."""
        if self.sizes.reading == "none":
            return None
        nothing = self.nothing.expand(len(x), -1, -1)
        always = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        if condition is None:
            return nothing, always
        latents = condition.latents[:, : self.sizes.slots].to(x.dtype)
        read = self.read(latents) + self.read_place.weight[: latents.shape[1]]
        exists = condition.attend[:, : self.sizes.slots]
        return torch.cat([nothing, read], 1), torch.cat([always, exists], 1)

    def _layers(
        self,
        x: Float[Tensor, "B S W"],
        attend: Bool[Tensor, "B S"] | None,
        by: Float[Tensor, "B 6 W"],
        given: tuple[Tensor, Tensor] | None,
    ) -> Float[Tensor, "B S2 W"]:
        if self.sizes.reading == "beside" and given is not None:
            beside, exists = given
            own = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            attend = torch.cat([own if attend is None else attend, exists], 1)
            x, given = torch.cat([x, beside], 1), None
        kept: list[Tensor] = []
        half = len(self.layers) // 2
        for number, layer in enumerate(self.layers):
            if number >= len(self.layers) - half:
                x = x + kept.pop()
            x = layer(x, attend, by, given)
            if number < half:
                kept.append(x)
        return x
