"""A tiny model and corpus that trainings in tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import TrainingArguments

from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.scratch import new_encoder
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.times import ExactCount
from sfumato.text.batching import Batch, Example, compose, encode
from sfumato.text.records import TextRecord
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary
from sfumato.training.objectives import Objective
from sfumato.training.trainer import DiffusionTrainer

TEXTS = [
    f"{who} {does} {what}."
    for who in ("Ann", "Bob", "Eve", "Tom")
    for does in ("sees", "likes")
    for what in ("tea", "a cat", "the old house", "rain")
]
WORDS = learn_vocabulary(TEXTS, size=300)
EXAMPLES = [encode(TextRecord(text=text), WORDS, max_length=24) for text in TEXTS]


def tiny(seed: int = 0) -> EncoderDenoiser:
    """A BERT of one layer."""
    return new_encoder(WORDS, width=16, layers=1, heads=2, max_length=40, seed=seed)


def objective(words: Vocabulary = WORDS) -> Objective:
    """The default objective."""
    return Objective(process=MaskedProcess(mask=words.mask), times=ExactCount())


def lay(examples: Sequence[Example], generator: torch.Generator) -> Batch:
    """Texts with tails and holes."""
    return compose(examples, WORDS, generator, slack=3, holes=0.5)


def arguments(folder: Path, **changes: object) -> TrainingArguments:
    """Trainer arguments for a short, deterministic run on the CPU."""
    values: dict[str, object] = {
        "output_dir": str(folder),
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "seed": 3,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(**{**values, **changes})


def trainer(
    folder: Path, *, muon: bool = False, decay: float = 0.0, **changes: object
) -> DiffusionTrainer:
    """A trainer on the tiny world."""
    return DiffusionTrainer(
        tiny(),
        objective=objective(),
        examples=EXAMPLES,
        compose=lay,
        args=arguments(folder, **changes),
        muon=muon,
        decay=decay,
    )
