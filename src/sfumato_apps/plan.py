"""What `sfumato train` and `sfumato convert` were asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The options of a run; what each means stands at `recipes.train` and `recipes.convert`.

    What has a default is an option of only one of the two.
    """

    recipe: str
    data: list[str]
    out: Path
    model: str | None
    mix: str | None
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
    average: float
    weighting: str
    max_length: int
    slack: int
    holes: float
    lora: int
    evaluate_every: int
    answers: int
    bf16: bool
    on_bad_line: str
    max_line_bytes: int
    max_nonfinite: int
    seed: int
    resume: bool
    optimizer: str | None = None
    noise: str = "masked"
    times: str | None = None
    vocabulary: int = 2048
    width: int = 192
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0
    architecture: str = "modernbert"
    answer_holes: float = 0.0
    probed: int | None = None
    force: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The options; a default that only one recipe knows is left out."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "recipe" and getattr(self, field.name) != field.default
        }

    @property
    def scratch(self) -> bool:
        """Whether the model is a new one."""
        return self.model is None

    @property
    def muon(self) -> bool:
        """Whether the matrices are trained by Muon."""
        return (self.optimizer or ("muon" if self.scratch else "adamw")) == "muon"
