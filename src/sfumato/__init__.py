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
    "text.canvas": ("Canvas", "Draft", "Hole", "Locked", "lay_out"),
    "text.vocabulary": ("Vocabulary", "learn_vocabulary"),
    "text.dialogue": ("Message",),
    "text.records": ("DialogueRecord", "PairRecord", "TextRecord"),
    "text.corpora": ("Source",),
    "noise.schedules": ("Cosine", "Linear"),
    "noise.masked": ("MaskedProcess",),
    "noise.uniform": ("UniformProcess",),
    "noise.times": ("ExactCount", "Stratified"),
    "models.encoders": ("EncoderDenoiser",),
    "models.checkpoints": ("Checkpoint", "load", "save"),
    "models.scratch": ("new_encoder",),
    "models.probe": ("probe",),
    "sampling.parts.planners": ("Blocks", "Order"),
    "sampling.parts.quotas": ("EntropyBound", "Even", "Threshold"),
    "sampling.parts.logits": ("TokenSampler",),
    "sampling.parts.constraints.bans": ("Ban",),
    "sampling.parts.constraints.repeats": ("Repetition",),
    "sampling.parts.guidance": ("ClassifierFree",),
    "sampling.decoding": ("DecodingPolicy",),
    "sampling.ancestral": ("Ancestral",),
    "sampling.policies": ("named_policy",),
    "sampling.frames": ("Frame",),
    "sampling.loop": ("sample",),
    "sampling.tasks.writing": ("complete", "write"),
    "sampling.tasks.rewriting": ("rewrite",),
    "sampling.tasks.filling": ("fill",),
    "sampling.tasks.between": ("bridge", "fim"),
    "sampling.tasks.editing": ("edit",),
    "sampling.tasks.detoxing": ("detox",),
    "sampling.trace": ("Sample",),
    "evaluation.records": ("Metric",),
    "evaluation.perplexity": ("elbo",),
    "evaluation.diversity": ("distinct_n", "div"),
    "evaluation.loops": ("loop_rate",),
    "training.objectives": ("Objective",),
    "training.trainer": ("DiffusionTrainer",),
}
_HOME = {name: f"sfumato.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one table, no second list to keep in step

if TYPE_CHECKING:  # what __getattr__ finds, once more for type checkers and editors
    from sfumato.errors import DataError as DataError
    from sfumato.errors import MissingExtraError as MissingExtraError
    from sfumato.errors import ModelError as ModelError
    from sfumato.errors import ResourceError as ResourceError
    from sfumato.errors import SfumatoError as SfumatoError
    from sfumato.errors import UsageError as UsageError
    from sfumato.evaluation.diversity import distinct_n as distinct_n
    from sfumato.evaluation.diversity import div as div
    from sfumato.evaluation.loops import loop_rate as loop_rate
    from sfumato.evaluation.perplexity import elbo as elbo
    from sfumato.evaluation.records import Metric as Metric
    from sfumato.models.checkpoints import Checkpoint as Checkpoint
    from sfumato.models.checkpoints import load as load
    from sfumato.models.checkpoints import save as save
    from sfumato.models.encoders import EncoderDenoiser as EncoderDenoiser
    from sfumato.models.probe import probe as probe
    from sfumato.models.scratch import new_encoder as new_encoder
    from sfumato.noise.masked import MaskedProcess as MaskedProcess
    from sfumato.noise.schedules import Cosine as Cosine
    from sfumato.noise.schedules import Linear as Linear
    from sfumato.noise.times import ExactCount as ExactCount
    from sfumato.noise.times import Stratified as Stratified
    from sfumato.noise.uniform import UniformProcess as UniformProcess
    from sfumato.sampling.ancestral import Ancestral as Ancestral
    from sfumato.sampling.decoding import DecodingPolicy as DecodingPolicy
    from sfumato.sampling.frames import Frame as Frame
    from sfumato.sampling.loop import sample as sample
    from sfumato.sampling.parts.constraints.bans import Ban as Ban
    from sfumato.sampling.parts.constraints.repeats import Repetition as Repetition
    from sfumato.sampling.parts.guidance import ClassifierFree as ClassifierFree
    from sfumato.sampling.parts.logits import TokenSampler as TokenSampler
    from sfumato.sampling.parts.planners import Blocks as Blocks
    from sfumato.sampling.parts.planners import Order as Order
    from sfumato.sampling.parts.quotas import EntropyBound as EntropyBound
    from sfumato.sampling.parts.quotas import Even as Even
    from sfumato.sampling.parts.quotas import Threshold as Threshold
    from sfumato.sampling.policies import named_policy as named_policy
    from sfumato.sampling.tasks.between import bridge as bridge
    from sfumato.sampling.tasks.between import fim as fim
    from sfumato.sampling.tasks.detoxing import detox as detox
    from sfumato.sampling.tasks.editing import edit as edit
    from sfumato.sampling.tasks.filling import fill as fill
    from sfumato.sampling.tasks.rewriting import rewrite as rewrite
    from sfumato.sampling.tasks.writing import complete as complete
    from sfumato.sampling.tasks.writing import write as write
    from sfumato.sampling.trace import Sample as Sample
    from sfumato.text.canvas import Canvas as Canvas
    from sfumato.text.canvas import Draft as Draft
    from sfumato.text.canvas import Hole as Hole
    from sfumato.text.canvas import Locked as Locked
    from sfumato.text.canvas import lay_out as lay_out
    from sfumato.text.corpora import Source as Source
    from sfumato.text.dialogue import Message as Message
    from sfumato.text.records import DialogueRecord as DialogueRecord
    from sfumato.text.records import PairRecord as PairRecord
    from sfumato.text.records import TextRecord as TextRecord
    from sfumato.text.vocabulary import Vocabulary as Vocabulary
    from sfumato.text.vocabulary import learn_vocabulary as learn_vocabulary
    from sfumato.training.objectives import Objective as Objective
    from sfumato.training.trainer import DiffusionTrainer as DiffusionTrainer
else:

    def __getattr__(name):  # noqa: ANN001, ANN202
        if name not in _HOME:
            raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
