"""Distillation: targets on laws that are known, and a student that needs fewer steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.training.test_latents import PROCESS, batch_of, generator, learner
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.times import ExactCount
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.tasks import specials_of
from sfumato.text.batching import Example, compose
from sfumato.text.vocabulary import learn_vocabulary
from sfumato.training.consistency import (
    LatentConsistency,
    ThroughTime,
    UnderGuidance,
    divergence,
)
from sfumato.types import Condition

WORDS = learn_vocabulary(["a b c"], size=300)


def consistency(levels: int = 5) -> LatentConsistency:
    return LatentConsistency(process=PROCESS, teacher=learner(), levels=levels, dropping=0.0)


def test_places_lie_on_the_grid() -> None:
    prepared = consistency().prepare(batch_of(), generator())
    level = PROCESS.log_snr(prepared.t.double())
    low, high = PROCESS.reach
    place = (level - low) / (high - low) * 4
    torch.testing.assert_close(place, place.round(), atol=1e-3, rtol=0)
    assert len(set(place.round().tolist())) == 5


def test_the_target_at_the_last_level_is_the_text() -> None:
    objective = consistency()
    prepared = objective.prepare(batch_of(), generator())
    last = torch.full_like(prepared.t, float(PROCESS.time(torch.tensor(PROCESS.reach[1]))))
    model = learner()
    said = model(prepared, PROCESS)
    assert torch.equal(objective._target(model, last, said), said.x_0)


def test_a_consistent_student_has_no_loss() -> None:
    """All texts are one, the teacher knows it, and the student says it at every level."""
    objective = consistency()
    batch = batch_of(1)
    model = learner()
    vectors = model.codec.encode(batch.ids, torch.ones_like(batch.ids, dtype=torch.bool)).detach()

    class Knows(nn.Module):
        sizes = model.denoiser.sizes

        def forward(self, x_t: Tensor, log_snr: Tensor, **_: object) -> Tensor:
            return vectors.expand(len(x_t), -1, -1)

    model.denoiser = Knows()  # type: ignore[assignment]
    objective.teacher.denoiser = Knows()  # type: ignore[assignment]
    for seed in range(10):
        loss = objective(model, objective.prepare(batch, generator(seed)))
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-5)


def test_a_student_that_disagrees_with_itself_has_a_loss() -> None:
    objective, model = consistency(), learner()
    torch.nn.init.normal_(model.denoiser.leave.weight, std=0.5)
    assert float(objective(model, objective.prepare(batch_of(), generator())).detach()) > 1.0


def test_a_grid_needs_two_levels() -> None:
    with pytest.raises(UsageError, match="levels ≥ 2"):
        consistency(levels=1)


class Table(nn.Module):
    """A denoiser of two hidden positions whose second depends on the first: both a, or both b."""

    def __init__(self) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.zeros(2, WORDS.size))

    def forward(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        return self.free[where.nonzero()[:, 1] - 1]


class Teacher(nn.Module):
    """Says a or b with 0.7 and 0.3 where nothing is seen, and what it sees for certain."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        probability = torch.full((*x_t.shape, WORDS.size), 1e-9)
        probability[..., self.a], probability[..., self.b] = 0.7, 0.3
        for token in (self.a, self.b):
            seen = (x_t == token).any(1)
            probability[seen] = 1e-9
            probability[seen, :, token] = 1.0
        return probability[where].log()


def test_the_student_learns_the_law_over_two_steps() -> None:
    """Where the teacher writes one position first, the law of the other is the same mixture."""
    a, b = WORDS.encode("a b")[0], WORDS.encode("a b")[1]
    objective = ThroughTime(
        process=MaskedProcess(mask=WORDS.mask), times=ExactCount(), teacher=Teacher(a, b)
    )
    examples = [Example(ids=(WORDS.bos or 0, a, a), trained=(False, True, True))] * 64
    model = Table()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for step in range(150):
        batch = compose(examples, WORDS, generator(step), slack=0, holes=0.0)
        prepared = objective.prepare(batch, generator(step))
        both = prepared.where.sum(1) == 2
        prepared = replace(prepared, weight=prepared.weight * both[:, None])
        loss = objective(model, prepared) / prepared.items
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    law = model.free.softmax(1).detach()
    torch.testing.assert_close(law[:, a], torch.full((2,), 0.7), atol=0.06, rtol=0)
    torch.testing.assert_close(law[:, b], torch.full((2,), 0.3), atol=0.06, rtol=0)


def test_a_row_is_taught_the_same_alone_and_in_a_batch() -> None:
    a, b = WORDS.encode("a b")[0], WORDS.encode("a b")[1]
    objective = ThroughTime(
        process=MaskedProcess(mask=WORDS.mask), times=ExactCount(), teacher=Teacher(a, b)
    )
    examples = [Example(ids=(WORDS.bos or 0, a, a), trained=(False, True, True))] * 16
    prepared = objective.prepare(
        compose(examples, WORDS, generator(), slack=0, holes=0.0), generator()
    )
    model = Table()
    torch.nn.init.normal_(model.free, generator=generator(1))
    parts = [objective(model, prepared.rows(i, i + 4)) for i in range(0, 16, 4)]
    torch.testing.assert_close(sum(parts), objective(model, prepared))


class Prompted(nn.Module):
    """Prefers a to b by 1 nat where it sees c, by 0.4 where it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (WORDS.encode(text)[0] for text in ("a", "b", "c"))

    def forward(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        logits = torch.full((*x_t.shape, WORDS.size), -9.0)
        logits[..., self.b] = 0.0
        logits[..., self.a] = torch.where((x_t == self.c).any(1), 1.0, 0.4)[:, None]
        return logits[where]


def test_the_student_learns_the_guided_law() -> None:
    """0.4 + (1 + 2)·(1 − 0.4) = 2.2 nats for a over b, and nothing for what is never written."""
    teacher = Prompted()
    objective = UnderGuidance(
        process=MaskedProcess(mask=WORDS.mask),
        times=ExactCount(),
        teacher=teacher,
        guidance=ClassifierFree(scale=2.0),
        specials=specials_of(WORDS),
    )
    ids = (WORDS.bos or 0, teacher.c, teacher.a, teacher.b)
    examples = [Example(ids=ids, trained=(False, False, True, True))] * 32
    model = Table()
    model.free = nn.Parameter(torch.zeros(3, WORDS.size))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for step in range(150):
        batch = compose(examples, WORDS, generator(step), slack=0, holes=0.0)
        prepared = objective.prepare(batch, generator(step))
        assert (prepared.null[:, 1] == WORDS.mask).all()
        loss = objective(model, prepared) / prepared.items
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    law = model.free[1:].log_softmax(1).detach()
    gap = law[:, teacher.a] - law[:, teacher.b]
    torch.testing.assert_close(gap, torch.full((2,), 2.2), atol=0.05, rtol=0)
    assert float(law[:, WORDS.mask].exp().max()) < 1e-2
    parts = [objective(model, prepared.rows(i, i + 8)) for i in range(0, 32, 8)]
    torch.testing.assert_close(sum(parts), objective(model, prepared))


def test_the_divergence_is_that_of_two_laws() -> None:
    target, logits = torch.tensor([[0.75, 0.25, 0.0]]), torch.tensor([[0.0, 0.0, 9.0]])
    log_p = logits.log_softmax(1)[0, :2]
    expected = 0.75 * (0.75 / log_p[0].exp()).log() + 0.25 * (0.25 / log_p[1].exp()).log()
    torch.testing.assert_close(divergence(target, logits)[0], expected)


def test_a_guided_teacher_of_vectors_steps_further() -> None:
    """The step is taken from weak + (1 + w)·(strong − weak)."""
    plain, guided = consistency(), replace(consistency(), guidance=2.0)

    class Hears(nn.Module):
        sizes = plain.teacher.denoiser.sizes

        def forward(self, x_t: Tensor, log_snr: Tensor, *, condition: object = None) -> Tensor:
            return torch.full_like(x_t, 1.0 if condition is not None else 0.5)

    guided.teacher.denoiser = Hears()  # type: ignore[assignment]
    x_t, level = torch.zeros(2, 3, 4), torch.zeros(2)
    told = Condition(latents=x_t, attend=torch.ones(2, 3, dtype=torch.bool))
    assert guided._taught(x_t, level, told)[0, 0, 0] == 2.0
    assert guided._taught(x_t, level, None)[0, 0, 0] == 0.5
    guided = replace(guided, guidance=0.0)
    assert guided._taught(x_t, level, told)[0, 0, 0] == 1.0
