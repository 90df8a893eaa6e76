"""What `sfumato latent` was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise import log_snr
from sfumato.noise.gaussian import GaussianProcess
from sfumato.noise.times import EvenLogSnrs, EvenTimes, LevelSampler
from sfumato.presets import embedding, latent
from sfumato.protocols import Codec
from sfumato.training.latents import (
    LatentObjective,
    MinSnr,
    clean_weighting,
    noise_weighting,
    velocity_weighting,
)

_SCHEDULES: dict[str, log_snr.LogSnr] = {
    "tangent": log_snr.Tangent(slope=9.0),
    "cosine": log_snr.Tangent(slope=1.0),
    "square-root": log_snr.SquareRoot(),
    "linear": log_snr.LinearBeta(),
    "flow": log_snr.Odds(),
}
_TIMES: dict[str, LevelSampler] = {"time": EvenTimes(), "log-snr": EvenLogSnrs()}
_WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "clean": clean_weighting,
    "noise": noise_weighting,
    "velocity": velocity_weighting,
    "min-snr": MinSnr(),
}


@dataclass(frozen=True, kw_only=True)
class LatentPlan:
    """The options of a run; what each means stands at `recipes.latent`."""

    data: list[str]
    out: Path
    model: str | None
    layer: int
    mix: str | None
    valid: list[str] | None
    valid_fraction: float
    valid_texts: int
    minutes: float | None
    steps: int | None
    epochs: float
    decoder_steps: int | None
    batch: int
    accumulation: int
    learning_rate: float | None
    optimizer: str
    weight_decay: float
    average: float
    slots: int
    schedule: str | None
    predicts: str
    times: str
    weighting: str
    hinting: float
    dropping: float
    reading: str | None
    vocabulary: int
    latents: int | None
    width: int
    hidden: int
    layers: int
    heads: int
    dropout: float
    evaluate_every: int
    answers: int
    bf16: bool
    cache: float
    on_bad_line: str
    max_line_bytes: int
    max_nonfinite: int
    seed: int
    resume: bool

    def __post_init__(self) -> None:
        if self.latents is not None and (self.model is None or self.latents < 1):
            raise UsageError(
                f"--latents {self.latents} compresses what an encoder says: expected a number of "
                "at least 1, and --model"
            )

    @property
    def process(self) -> GaussianProcess:
        """The noise."""
        schedule = None if self.schedule is None else _SCHEDULES[self.schedule]
        return embedding(schedule=schedule) if self.model is None else latent(schedule=schedule)

    @property
    def muon(self) -> bool:
        """Whether the matrices are trained by Muon."""
        return self.optimizer == "muon"

    @property
    def peak(self) -> float:
        """The peak step size. Vectors that are learnt fall together under Muon's usual one."""
        if self.muon:
            return self.learning_rate or (3e-3 if self.model is None else 1e-2)
        return self.learning_rate or 2e-4

    def objective(self, process: GaussianProcess, codec: Codec) -> LatentObjective:
        """What the denoiser is trained on."""
        return LatentObjective(
            process=process,
            width=codec.width,
            latents=codec.latents,
            times=_TIMES[self.times],
            weighting=_WEIGHTINGS[self.weighting],
            hinting=self.hinting,
            dropping=self.dropping,
        )
