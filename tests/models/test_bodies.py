"""Bodies are read for the tokens that exist and the rows that are wanted: the same numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import networks
from tests.models.networks import LENGTH, SIZE
from torch import Tensor, nn

from sfumato.models.bodies.families import FAMILIES
from sfumato.models.bodies.grid import close_up, grid_of, whole_grid
from sfumato.models.encoders import EncoderDenoiser

SPELLED = ["bert", "roberta", "xlm-roberta", "modernbert", "distilbert", "electra"]


def noised(seed: int, length: int, padding: int, rows: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, positions that exist (the last row is padded) and some that are asked for."""
    generator = torch.Generator().manual_seed(seed)
    x_t = torch.randint(5, SIZE, (rows, length), generator=generator)
    attend = torch.ones_like(x_t, dtype=torch.bool)
    attend[-1, max(1, length - padding) :] = False
    where = attend & (torch.rand(rows, length, generator=generator) < 0.5)
    return x_t, attend, where


def by_transformers(
    denoiser: EncoderDenoiser, x_t: Tensor, attend: Tensor, where: Tensor
) -> Tensor:
    """Logits by transformers' own forward pass."""
    return denoiser.project(denoiser.hidden(x_t, attend=attend)[where])[:, 5:]


@pytest.mark.parametrize("name", SPELLED)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 999), length=st.integers(1, LENGTH), padding=st.integers(0, LENGTH - 1))
def test_logits_and_gradients_are_those_of_transformers(
    name: str, seed: int, length: int, padding: int
) -> None:
    denoiser = networks.denoiser(name)
    x_t, attend, where = noised(seed, length, padding)
    learnt = [*denoiser.network.parameters()]
    expected = by_transformers(denoiser, x_t, attend, where)
    wanted = torch.autograd.grad(expected.square().sum(), learnt, allow_unused=True)
    for kind in ("sdpa", "eager"):
        denoiser.network.set_attn_implementation(kind)
        found = denoiser(x_t, where, attend=attend)[:, 5:]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        gradients = torch.autograd.grad(found.square().sum(), learnt, allow_unused=True)
        scale = max(float(part.abs().max()) for part in wanted if part is not None)
        for ours, theirs in zip(gradients, wanted, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs, atol=1e-5 * max(1, scale), rtol=1e-3)
        with torch.no_grad():
            alone = denoiser(x_t, where, attend=attend)[:, 5:]
        torch.testing.assert_close(alone, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SPELLED)
def test_layers_run_on_existing_tokens_and_the_last_one_on_the_rows_asked_for(name: str) -> None:
    denoiser = networks.denoiser(name)
    spelling = FAMILIES[denoiser.network.config.model_type].spelling
    assert spelling is not None
    counts: list[int] = []
    for layer in denoiser.network.base_model.get_submodule(spelling.layers).children():
        linear = [module for module in layer.modules() if isinstance(module, nn.Linear)]
        for module in (linear[0], linear[-1]):
            module.register_forward_hook(lambda _, given, __: counts.append(len(given[0])))
    x_t, attend, _ = noised(0, LENGTH, 6, rows=3)
    where = torch.zeros_like(attend)
    where[0, 3] = where[2, 0] = where[2, 5] = True
    denoiser(x_t, where, attend=attend)
    tokens = 2 * LENGTH - 6  # the second row is asked for nothing
    assert counts == [tokens, tokens, tokens, 3]


@pytest.mark.parametrize("name", ["bert", "modernbert", "deberta-v2"])
def test_a_row_that_is_asked_for_nothing_changes_nothing(name: str) -> None:
    denoiser = networks.denoiser(name)
    x_t, attend, where = noised(3, LENGTH, 6, rows=3)
    where[1] = False
    some = torch.tensor([0, 2])
    alone = denoiser(x_t[some], where[some], attend=attend[some])
    torch.testing.assert_close(denoiser(x_t, where, attend=attend), alone)
    with torch.no_grad():
        assert denoiser(x_t, torch.zeros_like(where), attend=attend).shape == (0, SIZE)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("name", SPELLED)
def test_gradients_survive_activation_checkpointing(name: str) -> None:
    denoiser = networks.denoiser(name)
    x_t, attend, where = noised(1, 9, 4)
    logits = denoiser(x_t, where, attend=attend)[:, 5:]
    expected = torch.autograd.grad(logits.square().sum(), denoiser.word_embeddings)[0]
    denoiser.train().network.gradient_checkpointing_enable()
    for module in denoiser.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    logits = denoiser(x_t, where, attend=attend)[:, 5:]
    found = torch.autograd.grad(logits.square().sum(), denoiser.word_embeddings)[0]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", SPELLED)
def test_attention_is_dropped_while_training_only(name: str) -> None:
    denoiser = networks.denoiser(name)
    for module in denoiser.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    x_t, attend, where = noised(2, LENGTH, 5)
    still = denoiser.eval()(x_t, where, attend=attend)
    torch.testing.assert_close(denoiser.train()(x_t, where, attend=attend), still)
    own = denoiser.network.base_model
    for path, module in own.named_modules():
        if path.endswith(("attention.self.dropout", "attention.dropout")):
            module.p = 0.5
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    assert not torch.allclose(denoiser(x_t, where, attend=attend), still)
    torch.testing.assert_close(denoiser.eval()(x_t, where, attend=attend), still)


def test_layers_that_something_else_has_taken_over_are_left_to_transformers() -> None:
    denoiser = networks.denoiser("bert")
    x_t, attend, where = noised(4, LENGTH, 3)
    expected = denoiser(x_t, where, attend=attend)
    layer = denoiser.network.base_model.encoder.layer[0]
    called: list[int] = []
    layer.__class__ = type("Sharded", (type(layer),), {})
    layer.register_forward_hook(lambda *_: called.append(1))
    torch.testing.assert_close(denoiser(x_t, where, attend=attend), expected, atol=1e-4, rtol=1e-4)
    assert called


def test_a_grid_spreads_and_gathers() -> None:
    exists = torch.tensor([[True, False, True], [False, True, True]])
    line = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    grid = grid_of(exists)
    assert grid.spread(line)[..., 0].tolist() == [[1, 0, 2], [0, 3, 4]]
    assert torch.equal(grid.gather(grid.spread(line)), line)
    few = close_up(grid)
    assert few.whole
    assert few.spread(line)[..., 0].tolist() == [[1, 2], [3, 4]]
    whole = whole_grid(2, 2, line.device)
    assert whole.spread(line).data_ptr() == line.data_ptr()
    assert torch.equal(whole.index, torch.arange(4))
