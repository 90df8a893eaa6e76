"""The objective: weights, reductions, micro-batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training import worlds

from sfumato.errors import UsageError
from sfumato.models import encoders
from sfumato.training.objectives import ClippedWeighting, Objective, Prepared, plain_weighting


def _prepared(rows: int = 6, seed: int = 0, **changes: object) -> tuple[Objective, Prepared]:
    generator = torch.Generator().manual_seed(seed)
    objective = replace(worlds.objective(), **changes)
    return objective, objective.prepare(worlds.lay(worlds.EXAMPLES[:rows], generator), generator)


class Even:
    """A denoiser that finds every token equally likely."""

    def __call__(self, x_t, where, *, attend=None, t=None):
        return torch.zeros(int(where.sum()), worlds.WORDS.size)


def test_loss_of_an_ignorant_model() -> None:
    """With p = 1/V everywhere each row's Σ rate·CE·weight is (n/k) · log V · Σ_{hit} weight."""
    objective, prepared = _prepared()
    expected = (prepared.rate[:, None] * prepared.weight * prepared.where).sum()
    expected = expected * torch.log(torch.tensor(float(worlds.WORDS.size)))
    torch.testing.assert_close(objective(Even(), prepared), expected)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 5), seed=st.integers(0, 99))
def test_micro_batches_add_up(cut: int, seed: int) -> None:
    """The sums of two parts equal the sum of the whole, and so do the items."""
    objective, whole = _prepared(seed=seed)
    parts = [whole.rows(0, cut), whole.rows(cut, 6)]
    denoiser = worlds.tiny().eval()
    with torch.no_grad():
        total = sum(objective(denoiser, part) for part in parts)
        torch.testing.assert_close(total, objective(denoiser, whole), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sum(part.items for part in parts), whole.items)


def test_a_loss_in_parts_is_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few logits at a time give the same loss and the same gradients as all of them."""
    objective, prepared = _prepared()
    denoiser = worlds.tiny()
    whole = objective(denoiser, prepared)
    expected = torch.autograd.grad(whole, [*denoiser.parameters()])
    monkeypatch.setattr(encoders, "_LOGITS_AT_ONCE", 5 * worlds.WORDS.size)
    seen: list[int] = []
    denoiser.network.get_output_embeddings().register_forward_hook(
        lambda _, rows, __: seen.append(len(rows[0]))
    )
    parts = replace(objective, in_parts=True)(denoiser, prepared)
    assert max(seen) == 5
    assert sum(seen) == int(prepared.where.sum())
    torch.testing.assert_close(parts, whole)
    found = torch.autograd.grad(parts, [*denoiser.parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_noise_stays_inside_the_canvas() -> None:
    """Context, batch padding and everything not trained are untouched."""
    generator = torch.Generator().manual_seed(1)
    batch = worlds.lay(worlds.EXAMPLES[:8], generator)
    prepared = worlds.objective().prepare(batch, generator)
    outside = ~batch.canvas.editable
    assert torch.equal(prepared.x_t[outside], batch.canvas.ids[outside])
    assert not (prepared.where & outside).any()


def test_weightings_change_the_weight_only() -> None:
    """Plain: all ones; clipped: never above the cap, equal below it."""
    _, elbo = _prepared()
    _, plain = _prepared(weighting=plain_weighting)
    _, clipped = _prepared(weighting=ClippedWeighting(cap=2.0))
    assert torch.equal(elbo.x_t, plain.x_t)
    assert torch.equal(plain.rate, torch.ones_like(plain.rate))
    assert torch.equal(clipped.rate, elbo.rate.clamp(max=2.0))
    assert float(elbo.rate.max()) > 2.0
    with pytest.raises(UsageError, match="positive"):
        ClippedWeighting(cap=0.0)


def test_per_sequence_gives_each_text_the_same_say() -> None:
    """Each row's weights add up to one, so the items are the number of rows."""
    _, prepared = _prepared(per_sequence=True)
    torch.testing.assert_close(prepared.weight.sum(1), torch.ones(6))
