"""Attention in bfloat16 on a CPU: the definition, and who is told to use it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import networks
from torch import Tensor

from sfumato.models.parts.attention import (
    attention,
    attention_in_bands,
    mask_of_bands,
    pays_in_bands,
    spell_out_attention,
)


def heads(dtype: torch.dtype, *, slots: int = 7) -> list[Tensor]:
    """Queries, keys and values."""
    noise = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, 3, slots, 8, generator=noise).to(dtype).requires_grad_() for _ in range(3)
    ]


def test_the_definition_agrees_with_the_kernel_in_values_and_gradients() -> None:
    mask = torch.rand(2, 1, 1, 7, generator=torch.Generator().manual_seed(1)) < 0.7
    mask[..., 0] = True
    for shown in (None, mask):
        exact, rounded = heads(torch.float32), heads(torch.bfloat16)
        for parts in (exact, rounded):
            attention(*parts, shown).float().square().sum().backward()
        mixed = attention(*rounded, shown)
        assert mixed.dtype == torch.bfloat16
        torch.testing.assert_close(mixed.float(), attention(*exact, shown), atol=0.02, rtol=0.02)
        for one, other in zip(exact, rounded, strict=True):
            assert one.grad is not None
            assert other.grad is not None
            torch.testing.assert_close(other.grad.float(), one.grad, atol=0.1, rtol=0.05)


@pytest.mark.parametrize(("length", "expected"), [(256, "eager"), (257, "sdpa")])
def test_encoders_of_short_texts_are_spelled_out(length: int, expected: str) -> None:
    denoiser = networks.denoiser("modernbert")
    ids = torch.tensor([[0, 5, 4, 4, 2]])
    before = denoiser(ids, ids == networks.MASK)
    spell_out_attention(denoiser, length=length)
    assert denoiser.network.config._attn_implementation == expected
    torch.testing.assert_close(denoiser(ids, ids == networks.MASK), before)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    length=st.integers(130, 420),
    window=st.integers(1, 40),
    padding=st.integers(0, 120),
)
def test_bands_see_what_a_window_sees(seed: int, length: int, window: int, padding: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    parts = [torch.randn(2, 2, length, 4, generator=noise).requires_grad_() for _ in range(3)]
    exists = torch.ones(2, length, dtype=torch.bool)
    exists[1, length - padding :] = False
    columns = torch.arange(length)
    near = (columns[:, None] - columns).abs() <= window
    for seen in (None, exists):
        shown = near[None, None] if seen is None else near & seen[:, None, None]
        kept = exists[:, None, :, None]
        whole = attention(*parts, shown).where(kept, 0.0)
        mask = mask_of_bands(seen, length, window, columns.device)
        banded = attention_in_bands(*parts, mask, window=window).where(kept, 0.0)
        torch.testing.assert_close(banded, whole)
        for ours, theirs in zip(
            torch.autograd.grad(banded.square().sum(), parts),
            torch.autograd.grad(whole.square().sum(), parts),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)


def test_bands_pay_where_most_keys_are_out_of_sight() -> None:
    assert pays_in_bands(512, 64)
    assert not pays_in_bands(511, 64)
    assert not pays_in_bands(4096, None)


def test_long_rows_are_read_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    from sfumato.models.bodies import reading
    from sfumato.models.encoders import EncoderDenoiser

    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "intermediate_size": 24}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0}
    config = ModernBertConfig(
        **sizes,
        **ids,
        sep_token_id=2,
        num_attention_heads=2,
        local_attention=16,
        max_position_embeddings=400,
    )
    torch.manual_seed(0)
    denoiser = EncoderDenoiser(ModernBertForMaskedLM(config), mask=4).eval()
    x_t = torch.randint(5, 50, (2, 300), generator=torch.Generator().manual_seed(0))
    where = torch.rand(2, 300, generator=torch.Generator().manual_seed(1)) < 0.1
    attend = torch.ones_like(where)
    attend[1, 250:] = False
    where &= attend
    made: list[int] = []
    own = reading.attention_in_bands

    def counted(*parts: Tensor, **options: float) -> Tensor:
        made.append(1)
        return own(*parts, **options)

    monkeypatch.setattr(reading, "attention_in_bands", counted)
    expected = denoiser.project(denoiser.hidden(x_t, attend=attend)[where])
    found = denoiser(x_t, where, attend=attend)
    torch.testing.assert_close(found[:, 5:], expected[:, 5:], atol=1e-5, rtol=1e-4)
    assert len(made) == 2  # every third layer looks everywhere
