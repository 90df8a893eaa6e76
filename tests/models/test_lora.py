"""Adapters start without effect, train alone, and fold back into plain weights."""

from __future__ import annotations

import pytest
import torch
from tests.models import networks
from tests.models.networks import MASK, SIZE

from sfumato.errors import UsageError
from sfumato.models.lora import merged, with_lora


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_adapters(name: str) -> None:
    plain = networks.denoiser(name)
    adapted = with_lora(plain, rank=2).eval()
    x_t = torch.randint(5, SIZE, (2, 6), generator=torch.Generator().manual_seed(0))
    where = torch.ones_like(x_t, dtype=torch.bool)
    others = [index for index in range(SIZE) if index != MASK]
    before = plain(x_t, where).detach()
    torch.testing.assert_close(adapted(x_t, where), before)

    adapted(x_t, where)[:, others].square().mean().backward()
    trained = {n for n, p in adapted.named_parameters() if p.grad is not None}
    assert trained
    assert all("lora_" in parameter for parameter in trained)
    with torch.no_grad():
        for parameter_name, parameter in adapted.named_parameters():
            if "lora_B" in parameter_name:
                parameter.normal_(0.0, 0.2)
    after = adapted(x_t, where).detach()
    assert not torch.allclose(after[:, others], before[:, others], atol=1e-2)

    folded = merged(adapted)
    torch.testing.assert_close(folded(x_t, where), after, atol=1e-4, rtol=1e-4)
    names = [parameter_name for parameter_name, _ in plain.named_parameters()]
    assert [parameter_name for parameter_name, _ in folded.named_parameters()] == names
    assert all(parameter.requires_grad for parameter in folded.parameters())
    torch.testing.assert_close(plain(x_t, where), before)
    torch.testing.assert_close(adapted(x_t, where), after)


def test_without_adapters_there_is_nothing_to_merge() -> None:
    plain = networks.denoiser("bert")
    assert merged(plain) is plain


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="rank"):
        with_lora(networks.denoiser("bert"), rank=0)


def test_adapters_start_from_their_seed() -> None:
    plain = networks.denoiser("bert")

    def start(seed: int) -> list[torch.Tensor]:
        adapted = with_lora(plain, rank=2, seed=seed)
        return [p for name, p in adapted.named_parameters() if "lora_A" in name]

    state = torch.random.get_rng_state()
    same = zip(start(1), start(1), start(2), strict=True)
    for one, again, other in same:
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        bound = one.shape[1] ** -0.5  # kaiming's rule for a = √5: U(±1/√fan_in)
        assert bound * 0.5 < float(one.detach().abs().max()) <= bound
    torch.random.set_rng_state(state)
