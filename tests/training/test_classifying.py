"""Training a noisy classifier: negatives, levels and weights, and a world with a known answer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments

from sfumato.errors import UsageError
from sfumato.evaluation.classifying.levels import Decisions, calibration_error, joined, report
from sfumato.models.latent.classifier import ClassifierSizes, NoisyClassifier
from sfumato.noise.gaussian import GaussianProcess, Preserving
from sfumato.noise.log_snr import Tangent
from sfumato.noise.times import Curriculum, EvenLogSnrs, EvenTimes, Staged
from sfumato.text.batching import Example
from sfumato.training.classifying.batches import (
    LabelledVectors,
    Negatives,
    PairedVectors,
    derangements,
    nearest,
)
from sfumato.training.classifying.difficulty import ByDifficulty
from sfumato.training.classifying.objectives import (
    ClassifierLearner,
    LabelObjective,
    Levels,
    PairObjective,
    falling_weighting,
)
from sfumato.training.objectives import Objective, stage_of
from sfumato.training.trainer import DiffusionTrainer

PROCESS = GaussianProcess(schedule=Tangent(slope=2.0), path=Preserving())
LEVELS = Levels(process=PROCESS)
WIDTH, SLOTS = 4, 2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(levels: Levels = LEVELS, *, labels: int = 0, linear: bool = True) -> ClassifierLearner:
    sizes = ClassifierSizes(
        width=WIDTH,
        slots=SLOTS,
        labels=labels,
        given=SLOTS,
        hidden=16,
        layers=1,
        heads=2,
        linear=linear,
    )
    return ClassifierLearner(NoisyClassifier(sizes, path=PROCESS.path), levels.times)


def two_gaussians(rows: int, seed: int = 0) -> LabelledVectors:
    """Half of the rows around −m, half around m, with deviation ½ and m = (1, 0, 0, 0)."""
    drawn = generator(seed)
    label = torch.arange(rows) % 2
    x_0 = 0.5 * torch.randn(rows, SLOTS, WIDTH, generator=drawn)
    x_0[..., 0] += (2 * label - 1)[:, None]
    return LabelledVectors(x_0=x_0, label=label)


def exact_odds(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """log N(x_t; αm, s²) − log N(x_t; −αm, s²) = 2α⟨x_t, m⟩/s² with s² = α²/4 + σ²."""
    at = PROCESS.scales(t)
    return 2 * at.alpha * x_t[..., 0].sum(1) / (at.alpha**2 / 4 + at.sigma**2)


def similar_pairs(rows: int, seed: int = 0) -> PairedVectors:
    """x_0 is what is given, with a little noise."""
    drawn = generator(seed)
    given = torch.randn(rows, SLOTS, WIDTH, generator=drawn)
    x_0 = given + 0.2 * torch.randn(rows, SLOTS, WIDTH, generator=drawn)
    return PairedVectors(x_0=x_0, given=given, attend=torch.ones(rows, SLOTS, dtype=torch.bool))


def fit(objective, model, batch, *, steps: int, rate: float = 0.01) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        seeded = generator(step)
        noised = stage_of(objective, step / steps).prepare(batch(step), seeded)
        loss = objective(model, noised) / noised.items
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def test_a_trained_classifier_approaches_the_exact_log_odds() -> None:
    objective, model = LabelObjective(levels=LEVELS), learner(labels=2)
    fit(objective, model, lambda step: two_gaussians(256, step), steps=250)
    noised = objective.prepare(two_gaussians(2000, 9999), generator(9999))
    with torch.no_grad():
        logits, _ = model(noised, PROCESS)
        made = objective.judge(model, noised, torch.arange(2000))
    found, exact = logits[:, 1] - logits[:, 0], exact_odds(noised.x_t, noised.t)
    gap = (torch.sigmoid(found) - torch.sigmoid(exact)).abs()
    assert float(gap.mean()) < 0.03, float(gap.mean())
    bound = torch.nn.functional.softplus(-exact * (2 * noised.label - 1)).mean()
    assert float(made.loss.mean()) == pytest.approx(float(bound), abs=0.01)
    assert calibration_error(made.confidence, made.right) < 0.03


@pytest.mark.parametrize("loss", ["binary", "contrast"])
def test_pairs_are_learnt(loss) -> None:
    objective = PairObjective(levels=LEVELS, negatives=Negatives(shuffled=2), loss=loss)
    model = learner()
    first = objective.prepare(similar_pairs(64), generator())
    start = float(replace(objective, guess=0.0)(model, first).detach()) / 64
    fit(objective, model, lambda step: similar_pairs(64, step), steps=120)
    held = objective.prepare(similar_pairs(400, 777), generator(777))
    with torch.no_grad():
        made = objective.judge(model, held, torch.arange(400))
        after = float(replace(objective, guess=0.0)(model, held)) / 400
    clean = made.where(made.log_snr > 1)
    assert float(clean.right.double().mean()) > 0.85
    assert after < start - 0.1
    assert len(made.text) == (800 if loss == "binary" else 400)


@given(rows=st.integers(1, 9), count=st.integers(0, 10), seed=st.integers(0, 2**31))
def test_a_derangement_never_pairs_a_row_with_its_own_text(
    rows: int, count: int, seed: int
) -> None:
    found = derangements(rows, count, generator(seed))
    assert found.shape == (rows, min(count, rows - 1))
    assert not (found == torch.arange(rows)[:, None]).any()
    for column in found.T:
        assert sorted(column.tolist()) == list(range(rows))
    assert all(len(set(row)) == len(row) for row in found.tolist())


def test_equal_texts_do_not_count_as_wrong() -> None:
    pairs = similar_pairs(4)
    twin = replace(pairs, x_0=pairs.x_0[[0, 0, 2, 3]])
    noised = PairObjective(levels=LEVELS, negatives=Negatives(shuffled=3)).prepare(
        twin, generator()
    )
    assert noised.real.sum(1).tolist() == [3, 3, 4, 4]
    alone = replace(pairs, x_0=pairs.x_0[:1], given=pairs.given[:1], attend=pairs.attend[:1])
    objective = PairObjective(levels=LEVELS)
    single = objective.prepare(alone, generator())
    assert single.weight.tolist() == single.mass.tolist() == [0.0]
    assert float(objective(learner(), single).detach()) == 0.0


def test_hard_negatives_are_the_most_similar_others() -> None:
    x_0 = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 1.0]])[:, None]
    assert nearest(x_0, 1)[:, 0].tolist() == [1, 0, 3, 2]
    twins = x_0[[0, 0, 1, 2]]
    assert nearest(twins, 1)[:2, 0].tolist() == [2, 2]
    chosen = Negatives(shuffled=1, hard=2).choose(x_0, generator())
    assert chosen.shape == (4, 3)
    with pytest.raises(UsageError, match="at least one negative"):
        Negatives(shuffled=0)


@pytest.mark.parametrize("objective", [LabelObjective(levels=LEVELS), PairObjective(levels=LEVELS)])
def test_one_draw_is_the_same_however_it_is_cut(objective) -> None:
    labelled = isinstance(objective, LabelObjective)
    batch = two_gaussians(10) if labelled else similar_pairs(10)
    model = learner(labels=2 if labelled else 0)
    whole = objective.prepare(batch, generator())
    parts = [whole.rows(0, 4), whole.rows(4, 10)]
    torch.testing.assert_close(sum(objective(model, one) for one in parts), objective(model, whole))
    assert float(whole.items) == 10 == sum(float(part.items) for part in parts)


def test_falling_weights_are_one_minus_t_and_normalised_by_their_sum() -> None:
    plain = Levels(process=PROCESS, times=EvenTimes(), weighting=falling_weighting)
    t, weight, mass = plain.draw(100, generator())
    torch.testing.assert_close(weight, 1 - t)
    assert float(mass.sum()) == 100
    t, weight, mass = replace(plain, normalised=True).draw(100, generator())
    torch.testing.assert_close(mass, weight)
    model, objective = learner(), PairObjective(levels=replace(plain, normalised=True), guess=0.0)
    noised = objective.prepare(similar_pairs(50), generator())
    same = replace(noised, weight=torch.ones(50), mass=torch.ones(50))
    torch.nn.init.zeros_(model.classifier.means.trust)
    torch.nn.init.zeros_(model.classifier.means.say.weight)
    for one in (noised, same):  # a mean of log 2 with any weights
        assert float(objective(model, one).detach() / one.items) == pytest.approx(math.log(2))


def test_the_bound_of_a_curriculum_follows_its_formula() -> None:
    times = Curriculum(stages=10, warming=0.5)
    for done, until in (
        (0.0, 0.1),
        (0.049, 0.1),
        (0.051, 0.2),
        (0.449, 0.9),
        (0.5, 1.0),
        (1.0, 1.0),
    ):
        assert times.at(done).until == pytest.approx(until)
    drawn = times.at(0.2).levels(1000, PROCESS, generator())
    ends = PROCESS.time(torch.tensor(PROCESS.reach[::-1], dtype=torch.float64))
    share = (drawn - ends[0]) / (ends[1] - ends[0])
    assert 0.49 < float(share.max()) <= 0.5
    assert isinstance(times, Staged)
    objective = PairObjective(levels=replace(LEVELS, times=times))
    assert stage_of(objective, 0.3).levels.times.done == 0.3
    assert stage_of(PairObjective(levels=LEVELS), 0.3).levels == LEVELS
    for wrong in ({"stages": 0}, {"warming": 0.0}, {"done": 2.0}):
        with pytest.raises(UsageError, match="a curriculum needs"):
            Curriculum(**wrong)


def test_levels_by_difficulty_are_unbiased_after_weighting() -> None:
    times = ByDifficulty(bins=10, keep=0.9, even=0.2)
    t = EvenTimes().levels(2000, PROCESS, generator())
    times.observe(t, t**4, PROCESS)
    assert float(times.chances.sum()) == pytest.approx(1.0)
    drawn = times.levels(100_000, PROCESS, generator(1))
    weight = times.weight(drawn, PROCESS)
    assert float(weight.max()) <= 1 / 0.2 + 1e-6
    assert float(drawn.mean()) > 0.6
    even = EvenTimes().levels(100_000, PROCESS, generator(2))
    assert float(weight.mean()) == pytest.approx(1.0, abs=1e-3)
    for f in (torch.sin, torch.square, torch.exp):
        assert float((weight * f(drawn)).mean()) == pytest.approx(float(f(even).mean()), abs=2e-3)


def test_the_histogram_learns_in_training_only_and_is_saved_with_the_weights() -> None:
    times = ByDifficulty(bins=4)
    levels = replace(LEVELS, times=times)
    model, objective = learner(levels), PairObjective(levels=levels)
    noised = objective.prepare(similar_pairs(32), generator())
    before = times.squares.clone()
    with torch.no_grad():
        objective(model, noised)
    assert torch.equal(times.squares, before)
    objective(model, noised)
    assert not torch.equal(times.squares, before)
    assert torch.equal(model.state_dict()["times.squares"], times.squares)
    times.observe(torch.rand(50, generator=generator()), torch.zeros(50), PROCESS)
    assert times.chances.isfinite().all()
    with pytest.raises(UsageError, match="expected bins"):
        ByDifficulty(even=0.0)


def test_the_trainer_tells_how_much_is_done(tmp_path: Path) -> None:
    seen: list[float] = []

    class Watched(EvenLogSnrs):
        def at(self, done: float) -> Watched:
            seen.append(done)
            return self

    levels = replace(LEVELS, times=Watched())
    rows = similar_pairs(16)
    trainer = DiffusionTrainer(
        learner(levels),
        objective=PairObjective(levels=levels),
        examples=[Example(ids=(i,), trained=(True,)) for i in range(16)],
        compose=lambda examples, _: PairedVectors(
            **{n: v[[one.ids[0] for one in examples]] for n, v in vars(rows).items()}
        ),
        args=TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=4,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
        ),
    )
    trainer.train()
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_a_report_is_records_by_level() -> None:
    t = torch.tensor([0.05, 0.15, 0.15, 1.0])
    made = Decisions(
        text=torch.tensor([5, 5, 7, 7]),
        t=t,
        log_snr=torch.tensor([3.0, 0.5, 0.5, -6.0]),
        right=torch.tensor([True, True, False, False]),
        confidence=torch.tensor([0.9, 0.9, 0.6, 0.6]),
        loss=torch.tensor([0.1, 0.1, 1.0, 1.0]),
    )
    found = {m.name: m for m in report(made, seed=3, reference="x", settings={"task": "pairs"})}
    assert {name: m.value for name, m in found.items()} == {
        "accuracy": 0.5,
        "loss_nats": pytest.approx(0.55),
        "calibration_error": pytest.approx(0.35),
        "accuracy_at_t_0_to_0.1": 1.0,
        "accuracy_at_t_0.1_to_0.2": 0.5,
        "accuracy_at_t_0.9_to_1": 0.0,
        "accuracy_at_log_snr_-6_to_-4": 0.0,
        "accuracy_at_log_snr_0_to_1": 0.5,
        "accuracy_at_log_snr_2_to_5": 1.0,
    }
    assert (found["accuracy"].n, found["accuracy"].stderr) == (2, 0.5)
    assert found["accuracy_at_t_0_to_0.1"].n == 1
    assert joined([made, made]).text.tolist() == [5, 5, 7, 7] * 2
    with pytest.raises(UsageError, match="no text to judge"):
        joined([])


def test_the_objectives_of_tokens_have_no_stages(tmp_path: Path) -> None:
    assert not isinstance(Objective, Staged)
    with pytest.raises(UsageError, match="weight of the guess"):
        PairObjective(levels=LEVELS, guess=-1.0)
