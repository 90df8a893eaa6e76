"""What `sfumato align` and `sfumato align image` were asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sfumato.alignment.learning.divergences import Link, divergence
from sfumato.alignment.learning.presets import Method, method
from sfumato_apps.aligning.options import Preferring
from sfumato_apps.runs import preset


@dataclass(frozen=True, kw_only=True)
class TextPlan:
    """The options of a run; what each means stands at `recipes.align`."""

    data: list[str]
    out: Path
    model: str | None
    complementary: bool
    adversary: str | None
    adversarial: float
    max_length: int
    slack: int
    learning: Preferring


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """The options of a run; what each means stands at `recipes.align_image`."""

    pipeline: str
    data: list[str]
    out: Path
    most: int | None
    timesteps: list[int] | None
    adversary: str | None
    adversarial: float
    learning: Preferring


Plan = TextPlan | ImagePlan


def settings(plan: Plan) -> dict[str, Any]:
    """The options as a preset holds them.

    Args:
        plan: of a run.
    """
    every = asdict(plan)
    return preset(every | every.pop("learning"))


def method_of(learning: Preferring) -> Method:
    """The method with what the options change of it.

    Args:
        learning: the options.

    Raises:
        UsageError: options that do not go together.
    """
    found = method(learning.method, beta=learning.beta, pairs=learning.pairs)
    return replace(
        found,
        anchor=found.anchor if learning.anchor is None else learning.anchor,
        draws=found.draws if learning.draws is None else learning.draws,
    )


def link_of(learning: Preferring) -> Link:
    """The divergence's.

    Args:
        learning: the options.

    Raises:
        UsageError: a coefficient without its divergence, or one that cannot be used.
    """
    coefficient = learning.f_alpha_divergence_coef
    alpha = None if coefficient is None else 1 - coefficient
    return divergence(learning.f_divergence_type, alpha=alpha)
