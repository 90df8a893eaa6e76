"""What follows the last attention, and the projection, run on the selected rows only."""

from __future__ import annotations

import pytest
import torch
from tests.models import networks
from tests.models.networks import LENGTH, SIZE
from torch import nn

from sfumato.models.parts.families import FAMILIES
from sfumato.models.parts.projection import fast_linear

RESTRICTED = ["bert", "roberta", "xlm-roberta", "modernbert", "distilbert", "electra", "deberta-v2"]


@pytest.mark.parametrize("name", RESTRICTED)
def test_the_last_feed_forward_sees_the_selected_rows_only(name: str) -> None:
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
    denoiser(x_t, where)
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
