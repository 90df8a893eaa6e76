"""A run that goes on from any step ends as the one that was never stopped, bit for bit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training import worlds
from torch import Tensor

from sfumato.models.scratch import new_encoder
from sfumato.training.objectives import ClippedWeighting, Learning
from sfumato.training.trainer import DiffusionTrainer

STEPS = 9  # of four texts each at least: more than one pass over the 13 that are trained on


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a run trains."""

    accumulation: int
    muon: bool
    decay: float
    dropout: float
    curriculum: bool
    workers: int = 0


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """An objective that clips the weights less and less."""

    plain: Learning

    def at(self, done: float) -> Learning:
        return replace(self.plain, weighting=ClippedWeighting(cap=1 + 4 * done))

    def prepare(self, batch: object, generator: torch.Generator) -> object:
        return self.plain.prepare(batch, generator)

    def __call__(self, denoiser: object, prepared: object) -> Tensor:
        return self.plain(denoiser, prepared)


def trainer(folder: Path, way: Way, **changes: object) -> DiffusionTrainer:
    """Texts of different lengths, in buckets; the last batch of a pass is short."""
    plain = worlds.objective()
    return DiffusionTrainer(
        new_encoder(
            worlds.WORDS, width=16, layers=1, heads=2, max_length=40, seed=0, dropout=way.dropout
        ),
        objective=Curriculum(plain=plain) if way.curriculum else plain,
        examples=worlds.EXAMPLES[:13],
        compose=worlds.lay,
        args=worlds.arguments(
            folder,
            max_steps=STEPS,
            per_device_train_batch_size=4 // way.accumulation,
            gradient_accumulation_steps=way.accumulation,
            dataloader_num_workers=way.workers,
            lr_scheduler_type="cosine",
            logging_steps=2,
            **changes,
        ),
        muon=way.muon,
        decay=way.decay,
    )


def ended(run: DiffusionTrainer) -> dict[str, Tensor]:
    """Weights, average and states of the optimiser."""
    found = {f"model {n}": v.clone() for n, v in run.model.state_dict().items()}
    found |= {f"best {n}": v.clone() for n, v in run.best_weights.state_dict().items()}
    for number, state in run.optimizer.state_dict()["state"].items():
        found |= {f"{number} {name}": value.clone() for name, value in state.items()}
    return {**found, "random": torch.get_rng_state()}


def journal(run: DiffusionTrainer) -> list[tuple[object, ...]]:
    return [(e["step"], e["loss"], e["grad_norm"]) for e in run.journal.read() if "loss" in e]


@cache
def whole(way: Way) -> tuple[Path, dict[str, Tensor], list[tuple[object, ...]]]:
    """The run that is never stopped, with a checkpoint after each step."""
    folder = Path(tempfile.mkdtemp())
    run = trainer(folder, way, save_strategy="steps", save_steps=1)
    run.train()
    return folder, ended(run), journal(run)


def check_resumed(way: Way, step: int) -> None:
    folder, expected, losses = whole(way)
    torch.manual_seed(99)  # a new process would stand elsewhere as well
    again = trainer(folder, way)
    again.resume(folder / f"checkpoint-{step}")
    found = ended(again)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert journal(again) == losses


WAYS = st.builds(
    Way,
    accumulation=st.sampled_from([1, 2]),
    muon=st.booleans(),
    decay=st.sampled_from([0.0, 0.9]),
    dropout=st.sampled_from([0.0, 0.2]),
    curriculum=st.booleans(),
)


@settings(max_examples=3)
@given(way=WAYS, step=st.integers(1, STEPS - 1))
def test_going_on_from_any_step_changes_nothing(way: Way, step: int) -> None:
    check_resumed(way, step)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=40)
@given(way=WAYS, step=st.integers(1, STEPS - 1))
def test_going_on_from_any_step_changes_nothing_at_length(way: Way, step: int) -> None:
    check_resumed(way, step)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("step", [2, 3, 6])
def test_workers_that_fetch_examples_change_nothing(step: int) -> None:
    """Two workers, across the end of a pass: the steps of none at all."""
    alone = Way(accumulation=2, muon=True, decay=0.9, dropout=0.2, curriculum=False)
    two = replace(alone, workers=2)
    check_resumed(two, step)
    one, other = whole(alone)[1], whole(two)[1]
    assert all(torch.equal(value, other[name]) for name, value in one.items())
