"""What `sfumato align` was asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sfumato.alignment.learning.divergences import Link, divergence
from sfumato.alignment.learning.losses import Pairs
from sfumato.alignment.learning.presets import Method, method


@dataclass(frozen=True, kw_only=True)
class AlignPlan:
    """The options of a run; what each means stands at `recipes.align`."""

    data: list[str]
    out: Path
    model: str | None
    method: str
    beta: float | None
    f_divergence_type: str
    f_alpha_divergence_coef: float | None
    pairs: Pairs | None
    anchor: float | None
    draws: int | None
    lora: int
    valid: list[str] | None
    valid_fraction: float
    valid_texts: int
    minutes: float | None
    steps: int | None
    epochs: float
    batch: int
    accumulation: int
    learning_rate: float | None
    weight_decay: float
    max_length: int
    slack: int
    evaluate_every: int
    bf16: bool
    on_bad_line: str
    seed: int
    resume: bool

    @property
    def settings(self) -> dict[str, Any]:
        """The options as a preset holds them."""
        chosen = {n: v for n, v in asdict(self).items() if v is not None and n != "resume"}
        return {n: str(v) if isinstance(v, Path) else v for n, v in chosen.items()}

    def chosen(self) -> Method:
        """The method with what the options change of it.

        Raises:
            UsageError: options that do not go together.
        """
        found = method(self.method, beta=self.beta, pairs=self.pairs)
        return replace(
            found,
            anchor=found.anchor if self.anchor is None else self.anchor,
            draws=found.draws if self.draws is None else self.draws,
        )

    def link(self) -> Link:
        """The divergence's.

        Raises:
            UsageError: a coefficient without its divergence, or one that cannot be used.
        """
        coefficient = self.f_alpha_divergence_coef
        alpha = None if coefficient is None else 1 - coefficient
        return divergence(self.f_divergence_type, alpha=alpha)
