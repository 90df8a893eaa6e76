"""What `sfumato classifier` was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sfumato.models.latent.classifier import Beside, ClassifierSizes
from sfumato.noise.gaussian import GaussianProcess
from sfumato.noise.times import Curriculum, EvenLogSnrs, EvenTimes, LevelSampler
from sfumato.training.classifying.batches import Negatives
from sfumato.training.classifying.difficulty import ByDifficulty
from sfumato.training.classifying.objectives import (
    LabelObjective,
    Levels,
    PairLoss,
    PairObjective,
    even_weighting,
    falling_weighting,
)

Strategy = Literal["log-snr", "time", "falling", "falling-normalised", "curriculum", "difficulty"]
_TIMES: dict[Strategy, Callable[[], LevelSampler]] = {
    "log-snr": EvenLogSnrs,
    "curriculum": Curriculum,
    "difficulty": ByDifficulty,
}
_FALLING: dict[Strategy, bool] = {"falling": False, "falling-normalised": True}


@dataclass(frozen=True, kw_only=True)
class ClassifierPlan:
    """The options of a run; what each means stands at `recipes.classifier`."""

    model: str
    data: list[str]
    out: Path
    label: str | None
    field: str
    valid: list[str] | None
    valid_fraction: float
    valid_texts: int
    strategy: Strategy
    loss: PairLoss
    shuffled: int
    hard: int
    guess: float
    minutes: float | None
    steps: int | None
    epochs: float
    batch: int
    accumulation: int
    learning_rate: float
    weight_decay: float
    average: float
    given: int
    reading: Beside
    linear: bool
    hidden: int
    layers: int
    heads: int
    dropout: float
    evaluate_every: int
    draws: int
    bf16: bool
    cache: float
    on_bad_line: str
    max_line_bytes: int
    max_nonfinite: int
    seed: int
    resume: bool

    def objective(self, process: GaussianProcess) -> LabelObjective | PairObjective:
        """What the classifier is trained on."""
        levels = Levels(
            process=process,
            times=_TIMES.get(self.strategy, EvenTimes)(),
            weighting=falling_weighting if self.strategy in _FALLING else even_weighting,
            normalised=_FALLING.get(self.strategy, False),
        )
        if self.label is not None:
            return LabelObjective(levels=levels)
        return PairObjective(
            levels=levels,
            negatives=Negatives(shuffled=self.shuffled, hard=self.hard),
            loss=self.loss,
            guess=self.guess,
        )

    def sizes(self, *, width: int, slots: int, labels: int) -> ClassifierSizes:
        """What to build over vectors of this width."""
        return ClassifierSizes(
            width=width,
            slots=slots,
            labels=labels,
            given=self.given,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            reading=self.reading,
            linear=self.linear,
            dropout=self.dropout,
        )
