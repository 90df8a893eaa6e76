"""The interfaces that packages meet in: at most seven, at most three methods each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.types import Condition, Corrupted, Draw, Routes


@runtime_checkable
class Schedule(Protocol):
    """α(t), the share of clean signal at time t: decreasing, α(0) = 1, α(1) = 0."""

    def alpha(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """α(t)."""
        ...

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """α′(t) ≤ 0."""
        ...

    def inverse(self, alpha: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The t at which α(t) equals `alpha`."""
        ...


@runtime_checkable
class TimeSampler(Protocol):
    """Chooses times and the positions that noise hits, for a whole batch at once."""

    def draw(
        self, editable: Bool[Tensor, "B L"], schedule: Schedule, generator: torch.Generator
    ) -> Draw:
        """Draws times and hits; only editable positions are hit."""
        ...


@runtime_checkable
class Process(Protocol):
    """A forward noise on tokens and what its reverse needs."""

    @property
    def schedule(self) -> Schedule:
        """The schedule α(t)."""
        ...

    def corrupt(
        self, x_0: Int[Tensor, "B L"], editable: Bool[Tensor, "B L"], draw: Draw
    ) -> Corrupted:
        """Applies a draw to clean ids."""
        ...

    def elbo(
        self,
        log_p: Float[Tensor, "M V"],
        x_0: Int[Tensor, "M"],
        x_t: Int[Tensor, "M"],
        t: Float[Tensor, "M"],
        rate: Float[Tensor, "M"],
    ) -> Float[Tensor, "M"]:
        """Each position's term of the negative ELBO, nats; its mean over draws is a bound."""
        ...

    def routes(
        self,
        x_t: Int[Tensor, "M"],
        x_0: Int[Tensor, "M"],
        alpha_t: Float[Tensor, "M"],
        alpha_s: Float[Tensor, "M"],
    ) -> Routes:
        """How a reverse step from t to s < t splits into stay, clean and noise, given x̂₀."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """The network: a corrupted canvas → logits of the clean tokens, only where asked."""

    def __call__(
        self,
        x_t: Int[Tensor, "B L"],
        where: Bool[Tensor, "B L"],
        *,
        attend: Bool[Tensor, "B L"] | None = None,
        t: Float[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "M V"]:
        """Float32 logits of the positions in `where`, row-major; the mask token's are −∞.

        Args:
            x_t: noised ids.
            where: positions to predict; the vocabulary projection runs on these only, and a row
                without any costs nothing.
            attend: positions that exist; None means all.
            t: time of each row; masked denoisers ignore it.
        """
        ...


@runtime_checkable
class LatentDenoiser(Protocol):
    """The network of Gaussian noise: noisy vectors → the clean ones."""

    def __call__(
        self,
        x_t: Float[Tensor, "B S D"],
        log_snr: Float[Tensor, "B"],
        *,
        attend: Bool[Tensor, "B S"] | None = None,
        condition: Condition | None = None,
        hint: Float[Tensor, "B S D"] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """x̂_0, whatever the network was trained to predict.

        Args:
            x_t: noisy vectors.
            log_snr: λ of each row.
            attend: slots that exist; None means all.
            condition: a text that is given; None writes without one.
            hint: an earlier x̂_0 of the same run (self-conditioning); None at the first step.
        """
        ...


@runtime_checkable
class Codec(Protocol):
    """Token ids ↔ vectors."""

    @property
    def width(self) -> int:
        """Length of a vector."""
        ...

    @property
    def latents(self) -> int | None:
        """Vectors of a text, whatever its length; None for one a token."""
        ...

    def encode(
        self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B N D"]:
        """Vectors from the attended tokens alone; if one a token, zero at the others."""
        ...

    def told(self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]) -> Condition:
        """The attended tokens as a condition for the denoiser."""
        ...

    def decode(
        self, latents: Float[Tensor, "B N D"], attend: Bool[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B S V"]:
        """Logits of a token for every vector; for every slot, if there are fewer vectors."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Texts → numbers: a metric, a reward or a discriminator. Higher is more of it."""

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One number a text."""
        ...
