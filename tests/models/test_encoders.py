"""The projection on selected rows equals the full one; padding is either content or nothing."""

from __future__ import annotations

import subprocess
import sys
from shutil import which

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import networks
from tests.models.networks import CONFIGS, LENGTH, MASK, PAD, SIZE
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    ElectraConfig,
    ElectraForPreTraining,
    T5Config,
    T5EncoderModel,
)

from sfumato.errors import ModelError, UsageError
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.parts.conditioning import TimeEmbedding

ALL = sorted(CONFIGS)
GATHERING = [name for name in ALL if name != "deberta-v2, new head"]


def _ids(rows: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, SIZE, (rows, length), generator=generator)


def _full(model: nn.Module, x_t: Tensor, attend: Tensor) -> Tensor:
    """What transformers computes at every position, with the mask token forbidden."""
    positions = torch.arange(x_t.shape[1])[None]
    if model.config.model_type in {"roberta", "xlm-roberta"}:
        positions = positions + PAD + 1
    with torch.no_grad():
        logits = model(input_ids=x_t, attention_mask=attend.long(), position_ids=positions).logits
    logits[..., MASK] = -torch.inf
    return logits


@pytest.mark.parametrize("name", ALL)
def test_selected_rows_equal_the_full_projection(name: str) -> None:
    denoiser = networks.denoiser(name)

    @settings(max_examples=5)
    @given(seed=st.integers(0, 999), rows=st.integers(1, 3), length=st.integers(1, LENGTH))
    def check(seed: int, rows: int, length: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        x_t = _ids(rows, length, seed)
        where = torch.rand(rows, length, generator=generator) < 0.5
        full = _full(denoiser.network, x_t, torch.ones_like(x_t))
        with torch.no_grad():
            logits = denoiser(x_t, where)
        assert logits.dtype is torch.float32
        assert (logits[:, MASK] == -torch.inf).all()
        torch.testing.assert_close(logits, full[where], atol=2e-5, rtol=1e-5)

    check()


@pytest.mark.parametrize("name", GATHERING)
def test_the_projection_sees_the_selected_rows_only(name: str) -> None:
    denoiser = networks.denoiser(name)
    seen: list[int] = []
    output = denoiser.network.get_output_embeddings()
    output.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[:-1].numel()))
    x_t = _ids(2, 6)
    where = torch.zeros_like(x_t, dtype=torch.bool)
    where[0, 1] = where[1, 3] = where[1, 4] = True
    denoiser(x_t, where)
    assert seen == [3]


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_body_and_head_and_no_parameter_becomes_nan(name: str) -> None:
    denoiser = networks.denoiser(name).train()
    x_0 = _ids(2, 8)
    where = torch.zeros_like(x_0, dtype=torch.bool)
    where[:, ::2] = True
    logits = denoiser(x_0.masked_fill(where, MASK), where)
    nn.functional.cross_entropy(logits, x_0[where]).backward()
    gradients = {n: p.grad for n, p in denoiser.named_parameters() if p.grad is not None}
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
    words = denoiser.network.get_input_embeddings().weight.grad
    assert words is not None
    assert bool((words[MASK] != 0).any()), "the body's input gets no gradient"
    assert any("layer" in name and bool((g != 0).any()) for name, g in gradients.items())


@pytest.mark.parametrize("name", ALL)
def test_a_pad_in_the_middle_is_a_token_like_any_other(name: str) -> None:
    """It neither shifts the positions after it nor is it ignored nor lacks a gradient."""
    denoiser = networks.denoiser(name)
    x_t = _ids(1, 8)
    x_t[0, 3] = PAD
    where = torch.ones_like(x_t, dtype=torch.bool)
    full = _full(denoiser.network, x_t, torch.ones_like(x_t))
    torch.testing.assert_close(denoiser(x_t, where), full[where], atol=2e-5, rtol=1e-5)
    words = denoiser.network.get_input_embeddings().weight
    before = denoiser(x_t, where).detach()
    with torch.no_grad():
        words[PAD] += torch.linspace(-1.0, 1.0, words.shape[1]) ** 3
    after = denoiser(x_t, where)
    others = [index for index in range(SIZE) if index not in {MASK, PAD}]
    assert not torch.allclose(before[:, others], after[:, others])
    after[:, 7].sum().backward()
    assert words.grad is not None
    assert bool((words.grad[PAD] != 0).any())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("side", ["left", "right"])
def test_batch_padding_does_not_change_a_row(name: str, side: str) -> None:
    denoiser = networks.denoiser(name)
    row, other, width = _ids(1, 6, seed=1), _ids(1, 10, seed=2), 10
    padding = (4, 0) if side == "left" else (0, 4)
    x_t = torch.cat((nn.functional.pad(row, padding, value=PAD), other))
    attend = torch.cat(
        (
            nn.functional.pad(torch.ones_like(row), padding).bool(),
            torch.ones(1, width, dtype=torch.bool),
        )
    )
    where = attend.clone()
    where[1] = False
    with torch.no_grad():
        alone = denoiser(row, torch.ones_like(row, dtype=torch.bool))
        batched = denoiser(x_t, where, attend=attend)
    torch.testing.assert_close(batched, alone, atol=2e-5, rtol=1e-5)


def test_a_family_outside_the_table_runs_whole() -> None:
    network = networks.fnet()
    denoiser = EncoderDenoiser(network, mask=MASK)
    x_t = _ids(2, LENGTH)
    where = x_t > 12
    with torch.no_grad():
        logits, full = denoiser(x_t, where), network(input_ids=x_t).logits
    full[..., MASK] = -torch.inf
    torch.testing.assert_close(logits, full[where])
    with pytest.raises(ModelError, match="cannot be called alone"):
        denoiser.project(torch.zeros(2, 16))


def test_no_positions_asked_for_gives_no_rows() -> None:
    denoiser = networks.denoiser("bert")
    x_t = _ids(2, 5)
    assert denoiser(x_t, torch.zeros_like(x_t, dtype=torch.bool)).shape == (0, SIZE)


def test_time_is_added_to_the_input_and_starts_without_effect() -> None:
    network = networks.network("bert")
    plain = EncoderDenoiser(network, mask=MASK).eval()
    timed = EncoderDenoiser(network, mask=MASK, time=TimeEmbedding(width=16)).eval()
    x_t = _ids(2, 5)
    where = torch.ones_like(x_t, dtype=torch.bool)
    early, late = torch.tensor([0.1, 0.1]), torch.tensor([0.1, 0.9])
    torch.testing.assert_close(timed(x_t, where, t=early), plain(x_t, where))
    assert timed.time is not None
    nn.init.normal_(timed.time.outer.weight)
    first, second = timed(x_t, where, t=early), timed(x_t, where, t=late)
    torch.testing.assert_close(first[:5], second[:5])
    assert not torch.allclose(first[5:, 5:], second[5:, 5:], atol=1e-3)
    with pytest.raises(UsageError, match="pass t"):
        timed(x_t, where)


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_a_text_longer_than_the_context_is_refused(name: str) -> None:
    denoiser = networks.denoiser(name)
    assert denoiser.max_length == LENGTH
    x_t = _ids(1, LENGTH + 1)
    with pytest.raises(UsageError, match=f"{LENGTH + 1} tokens long.*at most {LENGTH}"):
        denoiser(x_t, x_t > 0)


def _sizes() -> dict[str, int]:
    return {
        "vocab_size": SIZE,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }


def test_networks_without_a_head_for_tokens_are_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match="BertModel has no masked-language-model head"):
        EncoderDenoiser(BertModel(BertConfig(**_sizes())), mask=MASK)
    discriminator = ElectraForPreTraining(ElectraConfig(**_sizes(), embedding_size=8))
    with pytest.raises(ModelError, match="ElectraForPreTraining has no masked"):
        EncoderDenoiser(discriminator, mask=MASK)
    t5 = T5EncoderModel(
        T5Config(vocab_size=SIZE, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    )
    with pytest.raises(ModelError, match="T5EncoderModel"):
        EncoderDenoiser(t5, mask=MASK)
    with pytest.raises(ModelError, match="only to the left"):
        EncoderDenoiser(BertForMaskedLM(BertConfig(**_sizes(), is_decoder=True)), mask=MASK)
    with pytest.raises(ModelError, match=r"id is 23.*ids 0\.\.22"):
        EncoderDenoiser(networks.network("bert"), mask=SIZE)


COMPILED = """
import torch
from tests.models import networks
for name in ("bert", "modernbert"):
    denoiser = networks.denoiser(name)
    compiled = torch.compile(denoiser.forward)
    for length in (8, 9, 12):
        x_t = torch.arange(2 * length).view(2, length) % 18 + 5
        where = torch.arange(length).expand(2, -1) < 3
        with torch.no_grad():
            torch.testing.assert_close(compiled(x_t, where), denoiser(x_t, where))
print("the same")
"""


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="torch.compile needs a compiler")
@pytest.mark.timeout(600)
def test_a_compiled_denoiser_gives_the_same_logits() -> None:
    """In a process of its own: what checks shapes in these tests cannot be traced."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.stdout == "the same\n", done.stderr[-2000:]
