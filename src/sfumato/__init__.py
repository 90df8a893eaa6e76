"""Text diffusion for encoders: models that read become models that write and rewrite.

Names are imported when they are first asked for, so `import sfumato` stays cheap:

    >>> import sfumato
    >>> sfumato.Hole(slots=3)
    Hole(slots=3, optional=False)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_NAMES = {
    "errors": (
        "DataError",
        "MissingExtraError",
        "ModelError",
        "ResourceError",
        "SfumatoError",
        "UsageError",
    ),
    "text.canvas": ("Canvas", "Draft", "Hole", "Locked", "lay_out", "stack"),
    "text.vocabulary": ("Vocabulary", "learn_vocabulary"),
    "text.dialogue": ("Message",),
    "text.corpora": ("DialogueRecord", "PairRecord", "Source", "TextRecord"),
    "noise.schedules": ("Cosine", "Geometric", "Linear", "LogLinear", "Polynomial"),
    "noise.masked": ("MaskedProcess",),
    "noise.uniform": ("UniformProcess",),
    "noise.times": ("ExactCount", "Stratified"),
    "models.encoders": ("EncoderDenoiser",),
    "models.checkpoints": ("Checkpoint", "load", "save"),
    "models.scratch": ("new_encoder", "warm_start"),
    "models.probe": ("probe",),
    "sampling.logits": ("TokenSampler",),
    "sampling.policies": ("DecodingPolicy",),
    "sampling.loop": ("Frame", "Trajectory", "sample"),
    "sampling.tasks": ("Sample", "complete", "fill", "write"),
    "evaluation.records": ("Metric",),
    "evaluation.perplexity": ("elbo",),
}
_HOME = {name: f"sfumato.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one table, no second list to keep in step

if not TYPE_CHECKING:

    def __getattr__(name):  # noqa: ANN001, ANN202
        if name not in _HOME:
            raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
