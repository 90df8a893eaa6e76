"""What follows the last attention, and the projection, run on the selected rows only."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import networks
from tests.models.networks import LENGTH, SIZE
from torch import nn

from sfumato.models.parts.families import FAMILIES
from sfumato.models.parts.modernbert import rows_of_modernbert
from sfumato.models.parts.projection import fast_linear

RESTRICTED = ["bert", "roberta", "xlm-roberta", "modernbert", "distilbert", "electra", "deberta-v2"]


@pytest.mark.parametrize("name", RESTRICTED)
@pytest.mark.parametrize("training", [False, True])
def test_the_last_feed_forward_sees_the_selected_rows_only(name: str, training: bool) -> None:
    denoiser = networks.denoiser(name)
    family = FAMILIES[denoiser.network.config.model_type]
    layers = [*denoiser.network.base_model.get_submodule(family.layers).children()]
    rows: list[int] = []
    for layer in layers:
        linear = next(
            module
            for path, module in layer.get_submodule(family.stretches[1][0]).named_modules()
            if isinstance(module, nn.Linear)
        )
        linear.register_forward_hook(
            lambda _, inputs, __: rows.append(inputs[0].shape[:-1].numel())
        )
    x_t = torch.randint(5, SIZE, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    where = torch.zeros_like(x_t, dtype=torch.bool)
    where[0, 3] = where[1, 0] = where[1, 5] = True
    with torch.set_grad_enabled(training):
        denoiser.train(training)(x_t, where)
    assert rows == [2 * LENGTH, 3]
    denoiser.hidden(x_t)
    assert rows[2:] == [2 * LENGTH, 2 * LENGTH]


@pytest.mark.parametrize("name", RESTRICTED)
def test_gradients_equal_those_of_the_whole_layer(name: str) -> None:
    denoiser = networks.denoiser(name)
    x_t = torch.randint(5, SIZE, (2, 9), generator=torch.Generator().manual_seed(1))
    where = torch.rand(2, 9, generator=torch.Generator().manual_seed(2)) < 0.4
    logits = denoiser(x_t, where)[:, 5:]
    restricted = torch.autograd.grad(logits.square().sum(), denoiser.word_embeddings)[0]
    logits = denoiser.project(denoiser.hidden(x_t)[where])[:, 5:]
    whole = torch.autograd.grad(logits.square().sum(), denoiser.word_embeddings)[0]
    torch.testing.assert_close(restricted, whole, atol=1e-3, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_gradients_survive_activation_checkpointing(name: str) -> None:
    denoiser = networks.denoiser(name).train()
    x_t = torch.randint(5, SIZE, (2, 9), generator=torch.Generator().manual_seed(1))
    where = torch.rand(2, 9, generator=torch.Generator().manual_seed(2)) < 0.4
    logits = denoiser.eval()(x_t, where)[:, 5:]
    expected = torch.autograd.grad(logits.square().sum(), denoiser.word_embeddings)[0]
    denoiser.train().network.gradient_checkpointing_enable()
    for module in denoiser.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    logits = denoiser(x_t, where)[:, 5:]
    found = torch.autograd.grad(logits.square().sum(), denoiser.word_embeddings)[0]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_the_fast_projection_equals_the_plain_one(bias: bool) -> None:
    torch.manual_seed(0)
    layer, rows = nn.Linear(24, 500, bias=bias), torch.randn(7, 24)
    with torch.no_grad():
        plain = layer(rows)
        with fast_linear(rows):
            fast = layer(rows)
    torch.testing.assert_close(fast, plain)
    with fast_linear(rows):
        assert layer(rows).requires_grad


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), length=st.integers(1, LENGTH), padding=st.integers(0, LENGTH - 1))
def test_modernbert_is_modernbert(seed: int, length: int, padding: int) -> None:
    """Rows and gradients equal those of transformers' own layers; local attention too."""
    denoiser = networks.denoiser("modernbert")
    generator = torch.Generator().manual_seed(seed)
    x_t = torch.randint(5, SIZE, (2, length), generator=generator)
    attend = torch.ones_like(x_t, dtype=torch.bool)
    attend[1, max(1, length - padding) :] = False
    where = attend & (torch.rand(2, length, generator=generator) < 0.5)
    body, inputs = denoiser.network.base_model, denoiser._inputs(x_t, attend, None)
    rows = where.flatten().nonzero()[:, 0]
    whole = body(**inputs)[0].flatten(0, 1)[rows]
    learnt = [*body.parameters()]
    expected = torch.autograd.grad(whole.square().sum(), learnt, allow_unused=True)
    for kind in ("sdpa", "eager"):
        body.set_attn_implementation(kind)
        found = rows_of_modernbert(body, inputs, rows)
        assert found is not None
        torch.testing.assert_close(found, whole, atol=2e-5, rtol=1e-5)
        gradients = torch.autograd.grad(found.square().sum(), learnt, allow_unused=True)
        for ours, theirs in zip(gradients, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        with torch.no_grad():
            alone = rows_of_modernbert(body, inputs, rows)
        torch.testing.assert_close(alone, whole, atol=2e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable:FutureWarning")
def test_modernbert_is_left_to_transformers_where_layers_do_more() -> None:
    denoiser = networks.denoiser("modernbert")
    body, ids = denoiser.network.base_model, torch.tensor([[5, 4, 6]])
    inputs, rows = denoiser._inputs(ids, ids > 0, None), torch.tensor([1])
    assert rows_of_modernbert(body.train(), inputs, rows) is not None
    body.config.mlp_dropout = 0.1
    assert rows_of_modernbert(body, inputs, rows) is None
    assert rows_of_modernbert(body.eval(), inputs, rows) is not None
    body.config.mlp_dropout = 0.0
    denoiser.train().network.gradient_checkpointing_enable()
    assert rows_of_modernbert(body, inputs, rows) is None
