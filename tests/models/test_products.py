"""Products by oneDNN: the same values and gradients as PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sfumato.models.parts import products
from sfumato.models.parts.products import Packed, fast_linear

CPU = torch.device("cpu")


@pytest.fixture(params=[False, True], ids=["MKL is fast", "MKL is slow"])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    found: bool = request.param
    monkeypatch.setattr(products, "mkl_is_slow", lambda: found)
    return found


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7,), (70,), (2, 50), (0,)])
def test_values_and_gradients_are_pytorchs(slow: bool, bias: bool, shape: tuple[int, ...]) -> None:
    noise = torch.Generator().manual_seed(0)
    layer = nn.Linear(24, 50, bias=bias)
    rows = torch.randn(*shape, 24, generator=noise, requires_grad=True)
    learnt = [rows, *layer.parameters()]

    def gradients() -> tuple[Tensor, tuple[Tensor, ...]]:
        product = layer(rows)
        return product, torch.autograd.grad(product.square().sum(), learnt)

    plain, expected = gradients()
    with fast_linear(CPU):
        fast, found = gradients()
        with torch.no_grad():
            torch.testing.assert_close(layer(rows), plain)
    torch.testing.assert_close(fast, plain)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the products that oneDNN makes."""
    made: list[int] = []
    own = products._ONEDNN
    monkeypatch.setattr(products, "_ONEDNN", lambda *given: (made.append(1), own(*given))[1])
    return made


def test_many_rows_are_left_to_a_fast_mkl(slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made, layer = calls(monkeypatch), nn.Linear(8, 8)
    with fast_linear(CPU), torch.no_grad():
        layer(torch.ones(64, 8))
        assert len(made) == 1
        layer(torch.ones(65, 8))
        assert len(made) == 1 + slow


def test_other_precisions_and_devices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(monkeypatch)
    with fast_linear(CPU), torch.no_grad():
        nn.Linear(8, 8).bfloat16()(torch.ones(3, 8).bfloat16())
        nn.Linear(8, 8).double()(torch.ones(3, 8).double())
    with torch.autocast("cpu", dtype=torch.bfloat16), fast_linear(CPU):
        assert nn.Linear(8, 8)(torch.ones(3, 8)).dtype == torch.bfloat16
    with fast_linear(torch.device("meta")):
        nn.Linear(8, 8)(torch.ones(3, 8))
    assert not made


def test_frozen_weights_get_no_gradient(slow: bool) -> None:
    layer = nn.Linear(8, 8).requires_grad_(False)
    rows = torch.ones(3, 8, requires_grad=True)
    with fast_linear(CPU):
        layer(rows).sum().backward()
    assert rows.grad is not None
    assert layer.weight.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 16, 100])
def test_packed_weights_give_the_same_products(rows: int, dtype: torch.dtype) -> None:
    layer = nn.Linear(24, 51).to(dtype)
    inputs = torch.randn(rows, 24, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad(), fast_linear(CPU, Packed.of(layer)):
        found = layer(inputs)
    torch.testing.assert_close(found, layer(inputs).detach())


def test_packed_weights_are_laid_out_once_and_again_when_they_have_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    own = products._LAY_OUT
    monkeypatch.setattr(products, "_LAY_OUT", lambda *given: (made.append(1), own(*given))[1])
    layer, inputs = nn.Linear(5, 3), torch.ones(2, 5)
    for change in (0.0, 0.0, 1e-6):
        layer.weight.data[2, 4] += change  # a change that autograd's counter does not see
        with torch.no_grad(), fast_linear(CPU, Packed.of(layer)):
            found = [layer(inputs), layer(inputs)]
        torch.testing.assert_close(found, [layer(inputs).detach()] * 2, rtol=0, atol=1e-7)
    assert len(made) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("inputs", [6, 7, 8])
def test_packed_weights_notice_rows_that_changed_places(inputs: int, dtype: torch.dtype) -> None:
    layer, rows = nn.Linear(inputs, 4).to(dtype), torch.ones(2, inputs, dtype=dtype)
    with torch.no_grad(), fast_linear(CPU, Packed.of(layer)):
        before = layer(rows)
    layer.weight.data = layer.weight.data.clone()
    layer.weight.data[:] = layer.weight.data.flip(0)
    with torch.no_grad(), fast_linear(CPU, Packed.of(layer)):
        after = layer(rows)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, layer(rows).detach())


def test_packed_weights_do_not_enter_gradients() -> None:
    layer = nn.Linear(5, 3)
    with fast_linear(CPU, Packed.of(layer)):
        layer(torch.ones(2, 5)).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, torch.full((3, 5), 2.0))
