"""f-divergences and their links: how a log-ratio of policy and reference becomes a score.

    max_π  E_π r − β E_ref f(u),  u = π(y|x) / π_ref(y|x)   ⇒   r = β f′(u) + λ(x)
    ℓ = log u  ─▶  h(ℓ) = f′(e^ℓ) − f′(1)  ─▶  score of a candidate                    (f-DPO)

Every candidate's own ratio goes through the link. All rows are made of two links and their sums:

    power α      f′ ∝ (1 − u^−α) / α       reverse KL at α = 0, forward KL at α = 1
    JS           f′ = log(2u / (1 + u))    the same loss as the GAN's divergence

Wang et al. 2023, arXiv 2309.16240. f is taken with f(1) = f′(1) = 0, which changes no divergence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class PowerLink:
    """h(ℓ) = (1 − e^−αℓ) / α, and ℓ at α = 0 (Cressie and Read).

    Outside `|ℓ| ≤ log(slope) / |α|` it goes on as a straight line: values and gradients stay finite
    and never 0, so that an answer that fell far behind can return; the line is increasing, hence
    the whole is a link too.

    Attributes:
        alpha: α. 0 is the reverse KL, ½ Hellinger's shape, 1 the forward KL; below 0 the penalty
            of losing an answer is finite, and f-DPO may drive its probability to 0.
        slope: the steepest slope.

    Raises:
        UsageError: α is not finite, or a slope of at most 1.

    Example:
        >>> PowerLink(alpha=1.0)(torch.tensor([0.0, math.log(2)]))
        tensor([0.0000, 0.5000])
    """

    alpha: float
    slope: float = 1e3

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha) or not self.slope > 1:
            raise UsageError(f"expected a finite α and a slope > 1, got {self.alpha}, {self.slope}")

    @property
    def valid(self) -> bool:
        """Whether f′(0⁺) = −∞, so that the optimum keeps every answer of the reference."""
        return self.alpha >= 0

    @property
    def curvature(self) -> float:
        """f″(1): how strongly equal β holds the policy near the reference."""
        return 1.0

    @property
    def noisy(self) -> bool:
        """Whether the slope exceeds 1 somewhere, so that noise on ℓ biases the score."""
        return self.alpha != 0

    def f(self, u: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The generator, for u > 0."""
        if self.alpha == 0:
            return u * u.log() - u + 1
        if self.alpha == 1:
            return u - 1 - u.log()
        a = self.alpha
        return (u.pow(1 - a) - (1 - a) * u - a) / (a * (a - 1))

    def __call__(self, log_ratio: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """h(ℓ)."""
        if self.alpha == 0:
            return log_ratio
        end = math.log(self.slope) / abs(self.alpha)
        return _straightened(log_ratio, -end, end, self._h, lambda c: torch.exp(-self.alpha * c))

    def _h(self, log_ratio: Tensor) -> Tensor:
        return -torch.expm1(-self.alpha * log_ratio) / self.alpha


@dataclass(frozen=True, kw_only=True)
class JensenShannonLink:
    """h(ℓ) = log σ(ℓ) + log 2: bounded above, slope at most 1.

    Beyond ℓ = log(slope), where its slope has become 1 / slope, it goes on as a straight line.

    Attributes:
        slope: the inverse of the least slope.

    Raises:
        UsageError: a slope of at most 2.

    Example:
        >>> JensenShannonLink()(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.3799])
    """

    slope: float = 1e3

    def __post_init__(self) -> None:
        if not self.slope > 2:
            raise UsageError(f"expected a slope > 2, got {self.slope}")

    @property
    def valid(self) -> bool:
        """Whether f′(0⁺) = −∞."""
        return True

    @property
    def curvature(self) -> float:
        """f″(1)."""
        return 0.5

    @property
    def noisy(self) -> bool:
        """Whether the slope exceeds 1 somewhere."""
        return False

    def f(self, u: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The generator, for u > 0."""
        return u * u.log() - (u + 1) * ((u + 1) / 2).log()

    def __call__(self, log_ratio: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """h(ℓ)."""
        end = math.log(self.slope - 1)
        return _straightened(log_ratio, -math.inf, end, self._h, lambda c: torch.sigmoid(-c))

    def _h(self, log_ratio: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(log_ratio) + math.log(2)


@dataclass(frozen=True, kw_only=True)
class MixtureLink:
    """Σ w · h: the link of a weighted sum of divergences.

    Attributes:
        parts: weights and links.

    Raises:
        UsageError: no parts, or a weight that is not positive.

    Example:
        >>> jeffrey = MixtureLink(parts=((1.0, REVERSE_KL), (1.0, PowerLink(alpha=1.0))))
        >>> jeffrey(torch.tensor([math.log(2)]))
        tensor([1.1931])
    """

    parts: tuple[tuple[float, PowerLink | JensenShannonLink], ...]

    def __post_init__(self) -> None:
        if not self.parts or any(not 0 < weight < math.inf for weight, _ in self.parts):
            raise UsageError(f"expected parts with positive weights, got {self.parts}")

    @property
    def valid(self) -> bool:
        """Whether f′(0⁺) = −∞: one part that is valid is enough."""
        return any(link.valid for _, link in self.parts)

    @property
    def curvature(self) -> float:
        """f″(1)."""
        return sum(weight * link.curvature for weight, link in self.parts)

    @property
    def noisy(self) -> bool:
        """Whether the slope of a part exceeds 1 somewhere."""
        return any(link.noisy for _, link in self.parts)

    def f(self, u: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The generator, for u > 0."""
        return torch.stack([weight * link.f(u) for weight, link in self.parts]).sum(0)

    def __call__(self, log_ratio: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """h(ℓ)."""
        return torch.stack([weight * link(log_ratio) for weight, link in self.parts]).sum(0)


Link = PowerLink | JensenShannonLink | MixtureLink
REVERSE_KL = PowerLink(alpha=0.0)


def _mixed(*parts: tuple[float, float]) -> MixtureLink:
    return MixtureLink(parts=tuple((weight, PowerLink(alpha=alpha)) for weight, alpha in parts))


_JS = JensenShannonLink()
_PENALTY = (
    "the penalty of losing an answer is finite, so a probability may be driven to 0 and the "
    "minimum of the loss is not the optimum that it stands for"
)
_TABLE: Mapping[str, tuple[Link | None, str]] = MappingProxyType(
    {
        "reverse_kl": (REVERSE_KL, ""),
        "forward_kl": (PowerLink(alpha=1.0), ""),
        "js_divergence": (_JS, ""),
        "gan": (_JS, ""),
        "hellinger": (_mixed((0.5, 0.5)), ""),
        "neyman_chi2": (_mixed((2.0, 2.0)), ""),
        "jeffrey": (_mixed((1.0, 0.0), (1.0, 1.0)), ""),
        "chi_po": (_mixed((1.0, 0.0), (1.0, -1.0)), ""),
        "pearson_chi2": (_mixed((2.0, -1.0)), _PENALTY),
        "total_variation": (None, "its link is constant but for a jump: no gradient"),
    }
)
DIVERGENCES = tuple(name for name, (_, refusal) in _TABLE.items() if not refusal)


def divergence(name: str, *, alpha: float | None = None, insist: bool = False) -> Link:
    """The link of a divergence by its name; TRL's names where it has one.

    Args:
        name: one of `DIVERGENCES`, or "alpha_divergence".
        alpha: α of "alpha_divergence", which needs it, and nothing else takes it. TRL's
            `f_alpha_divergence_coef` is 1 − α.
        insist: give the Pearson χ² too, whose minimum is not the optimum.

    Raises:
        UsageError: no such name, an α too many or missing, or a divergence that f-DPO cannot use.

    Example:
        >>> divergence("forward_kl")
        PowerLink(alpha=1.0, slope=1000.0)
        >>> divergence("total_variation")
        Traceback (most recent call last):
        sfumato.errors.UsageError: total_variation cannot be used: its link is constant but for ...
    """
    if (alpha is not None) != (name == "alpha_divergence"):
        raise UsageError(f"alpha goes with alpha_divergence and only with it, got {name}, {alpha}")
    if alpha is not None:
        link: Link | None = PowerLink(alpha=alpha)
        refusal = "" if alpha >= 0 else f"with α = {alpha:g} {_PENALTY}"
    elif name in _TABLE:
        link, refusal = _TABLE[name]
    else:
        known = ", ".join((*DIVERGENCES, "alpha_divergence"))
        raise UsageError(f"there is no divergence {name!r}; expected one of {known}")
    if link is None or (refusal and not insist):
        raise UsageError(f"{name} cannot be used: {refusal}; reverse_kl is the usual choice")
    return link


def _straightened(
    x: Tensor,
    low: float,
    high: float,
    value: Callable[[Tensor], Tensor],
    slope: Callable[[Tensor], Tensor],
) -> Tensor:
    """A function between two ends, and its tangents outside; float32 at least."""
    x = x if x.dtype == torch.float64 else x.float()
    inside = x.clamp(low, high)
    return value(inside) + slope(inside.detach()) * (x - inside)
