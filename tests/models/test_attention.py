"""Attention in bfloat16 on a CPU: the definition, and who is told to use it."""

from __future__ import annotations

import pytest
import torch
from tests.models import networks
from torch import Tensor

from sfumato.models.parts.attention import attention, spell_out_attention


def heads(dtype: torch.dtype, *, slots: int = 7) -> list[Tensor]:
    """Queries, keys and values."""
    noise = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, 3, slots, 8, generator=noise).to(dtype).requires_grad_() for _ in range(3)
    ]


def test_the_definition_agrees_with_the_kernel_in_values_and_gradients() -> None:
    mask = torch.rand(2, 1, 1, 7, generator=torch.Generator().manual_seed(1)) < 0.7
    mask[..., 0] = True
    for given in (None, mask):
        exact, rounded = heads(torch.float32), heads(torch.bfloat16)
        for parts in (exact, rounded):
            attention(*parts, given).float().square().sum().backward()
        mixed = attention(*rounded, given)
        assert mixed.dtype == torch.bfloat16
        torch.testing.assert_close(mixed.float(), attention(*exact, given), atol=0.02, rtol=0.02)
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
