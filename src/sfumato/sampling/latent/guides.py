"""What bends a clean prediction: a second model, a gradient, a bound on its size, the next word.

    x̂_0 ─▶ Contrast ─▶ Gradient ─▶ Threshold ─▶ Snap ─▶ x̂_0′

For a target p(x)·p(y|x)^w the score gains w·g with g = ∇_x log p(y|x_t), and by Tweedie's formula
x̂_0 gains w·(σ²/α)·g; in the other parameterisations ε̂ loses wσg, v and u lose what follows from
that. The factor grows without bound as α → 0, so a gradient may be clipped, and a window keeps it
away from nearly pure noise.

Legend of shapes: `B` batch, `S` slots, `D` width of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.noise.gaussian import Scales
from sfumato.protocols import LatentDenoiser
from sfumato.sampling.parts.guidance import extrapolate

LogP = Callable[[Tensor, Tensor], Tensor]
Window = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What a guide sees of a step.

    Attributes:
        x_t: the state, *shape* `B S D`.
        clean: x̂_0 so far, *shape* `B S D`.
        at: α and σ, numbers.
        log_snr: λ.
        predict: x̂_0 of the model at this time for another state; differentiable, and a pass.
    """

    x_t: Float[Tensor, "B S D"]
    clean: Float[Tensor, "B S D"]
    at: Scales
    log_snr: float
    predict: Callable[[Tensor], Tensor]


@runtime_checkable
class Guide(Protocol):
    """Bends x̂_0."""

    def passes(self, log_snr: float) -> int:
        """Evaluations of the denoiser that it asks for at λ."""
        ...

    def bend(self, view: View) -> Float[Tensor, "B S D"]:
        """x̂_0′."""
        ...


def inside(window: Window | None, log_snr: float) -> bool:
    """Whether a guide acts at λ; None means always.

    Example:
        >>> inside((-2.0, 3.0), 0.0), inside((-2.0, 3.0), 4.0)
        (True, False)
    """
    return window is None or window[0] <= log_snr <= window[1]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """x̂ = x̂_weak + (1 + w)·(x̂ − x̂_weak): away from a prediction that knows less.

    Without `weak` the weaker prediction is the model's own without its condition: classifier-free
    guidance (arXiv 2207.12598). With one it is autoguidance (arXiv 2406.02507), by an earlier
    checkpoint or a smaller model.

    Attributes:
        scale: w; 0 changes nothing, −1 leaves the weaker prediction.
        weak: another denoiser, which is told the condition.
        window: λ between which it acts (arXiv 2404.07724); None means always.
        rescale: share φ of the way back to the standard deviation that x̂_0 had in each row
            (arXiv 2305.08891, §3.4), 0 to 1.

    Raises:
        UsageError: a share outside 0 to 1.

    Example:
        >>> strong, weak = torch.tensor([[[2.0]]]), torch.tensor([[[1.0]]])
        >>> Contrast(scale=1.0).combine(strong, weak)
        tensor([[[3.]]])
    """

    scale: float
    weak: LatentDenoiser | None = None
    window: Window | None = None
    rescale: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rescale <= 1 or not math.isfinite(self.scale):
            raise UsageError(
                f"expected a finite scale and rescale in [0, 1], got scale={self.scale}, "
                f"rescale={self.rescale}"
            )

    def passes(self, log_snr: float) -> int:
        """One inside its window."""
        return int(inside(self.window, log_snr))

    def combine(
        self, strong: Float[Tensor, "B S D"], weak: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B S D"]:
        """The formula."""
        bent = extrapolate(strong, weak, self.scale)
        if not self.rescale:
            return bent
        spread, was = (x.std((1, 2), keepdim=True) for x in (bent, strong))
        return bent * (1 + self.rescale * (was / spread.clamp(min=1e-12) - 1))


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """x̂_0′ = x̂_0 + w·(σ²/α)·∇ log p(y | x_t): guidance by a classifier, or any differentiable law.

    Dhariwal and Nichol (arXiv 2105.05233) for noisy x_t; with `through`, log p is asked about
    x̂_0(x_t) and differentiated through the denoiser (arXiv 2209.14687), so it need not know noise;
    with `clean` alone the gradient is taken at x̂_0 and weighs σ²/(α² + σ²), the posterior variance
    of data of unit variance.

    Attributes:
        log_p: x and λ of each row ↦ log p(y | x) of each row.
        scale: w.
        clean: ask about x̂_0 instead of x_t.
        through: ask about x̂_0 and differentiate through the denoiser.
        clip: the most that x̂_0 moves, as a root mean square over the row's numbers.
        window: λ between which it acts; None means always.
        signal: divide by α, as the formula says; without it the update is the one of TEncDM's
            guided descendants, which is weaker by α.

    Raises:
        UsageError: a clip that is not positive.
    """

    log_p: LogP
    scale: float = 1.0
    clean: bool = False
    through: bool = False
    clip: float | None = None
    window: Window | None = None
    signal: bool = True

    def __post_init__(self) -> None:
        if self.clip is not None and not self.clip > 0:
            raise UsageError(f"clip must be positive, got {self.clip}")

    def passes(self, log_snr: float) -> int:
        """One where the denoiser is differentiated."""
        return int(self.through and inside(self.window, log_snr))

    def bend(self, view: View) -> Float[Tensor, "B S D"]:
        """x̂_0 moved along the gradient."""
        if not inside(self.window, view.log_snr):
            return view.clean
        alpha, sigma = float(view.at.alpha), float(view.at.sigma)
        if self.clean and not self.through:
            factor = sigma**2 / (alpha**2 + sigma**2)
        else:
            factor = sigma**2 / (alpha if self.signal else 1.0)
        move = self.scale * factor * self._slope(view)
        if self.clip is not None:
            size = move.square().mean((1, 2), keepdim=True).sqrt()
            move = move * (self.clip / size.clamp(min=self.clip))
        return view.clean + move

    def _slope(self, view: View) -> Float[Tensor, "B S D"]:
        start = view.clean if self.clean and not self.through else view.x_t
        with torch.enable_grad():
            x = start.detach().requires_grad_()
            log_snr = x.new_full((len(x),), view.log_snr)
            value = self.log_p(view.predict(x) if self.through else x, log_snr)
            (slope,) = torch.autograd.grad(value.sum(), x)
        if not bool(torch.isfinite(slope).all()):
            raise ModelError("the gradient of log p is not finite: its model may be damaged")
        return slope


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Keeps x̂_0 within what clean vectors are: guidance that is too strong leaves them.

    Without a quantile every number is clamped to ±limit (static). With one, a row whose quantile q
    of |x̂_0| is above the limit is scaled by limit/q before it is clamped (dynamic; Imagen,
    arXiv 2205.11487, §2.3, with the data's own limit in the place of 1), which keeps its
    direction.

    Attributes:
        limit: the size that clean numbers rarely exceed.
        quantile: in (0, 1), such as 0.995; None is static.

    Raises:
        UsageError: a number out of range.

    Example:
        >>> row = torch.tensor([[[0.5, 4.0]]])
        >>> Threshold(limit=2.0).bounded(row)
        tensor([[[0.5000, 2.0000]]])
        >>> Threshold(limit=2.0, quantile=1 - 1e-9).bounded(row)
        tensor([[[0.2500, 2.0000]]])
    """

    limit: float
    quantile: float | None = None

    def __post_init__(self) -> None:
        if not self.limit > 0 or (self.quantile is not None and not 0 < self.quantile < 1):
            raise UsageError(
                f"expected limit > 0 and a quantile in (0, 1), got {self.limit}, {self.quantile}"
            )

    def passes(self, log_snr: float) -> int:
        """None."""
        return 0

    def bend(self, view: View) -> Float[Tensor, "B S D"]:
        """x̂_0 within its bounds."""
        return self.bounded(view.clean)

    def bounded(self, clean: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The same for a prediction alone."""
        if self.quantile is not None:
            size = clean.abs().flatten(1)
            rank = min(int(self.quantile * size.shape[1]), size.shape[1] - 1)
            found = size.kthvalue(rank + 1, dim=1).values[:, None, None]
            clean = clean * (self.limit / found.clamp(min=self.limit))
        return clean.clamp(-self.limit, self.limit)


@dataclass(frozen=True, kw_only=True)
class Snap:
    """x̂_0 replaced by the nearest vector of a token (Diffusion-LM's clamping, 2205.14217, §4.3).

    Attributes:
        nearest: vectors ↦ the nearest ones that a token has.
        window: λ between which it acts; None means always.

    Example:
        >>> Snap(nearest=torch.round).passes(0.0)
        0
    """

    nearest: Callable[[Tensor], Tensor]
    window: Window | None = None

    def passes(self, log_snr: float) -> int:
        """None."""
        return 0

    def bend(self, view: View) -> Float[Tensor, "B S D"]:
        """Tokens' vectors."""
        return self.nearest(view.clean) if inside(self.window, view.log_snr) else view.clean
