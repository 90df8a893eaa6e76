"""Muon: orthogonalisation, the split of the parameters, AdamW's part."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training import worlds

from sfumato.training.muon import Muon, orthogonalise, parameter_groups


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(2, 20), columns=st.integers(2, 20), seed=st.integers(0, 99))
def test_singular_values_end_near_one(rows: int, columns: int, seed: int) -> None:
    """The quintic's fixed band is about [0.7, 1.2]; the singular vectors stay."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(rows, rows, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(columns, columns, generator=generator))[0]
    rank = min(rows, columns)
    values = torch.linspace(0.2, 1.0, rank)
    matrix = left[:, :rank] @ torch.diag(values) @ right[:, :rank].T
    found = orthogonalise(matrix[None])[0]
    inner = left[:, :rank].T @ found @ right[:, :rank]
    assert ((inner.diagonal() > 0.6) & (inner.diagonal() < 1.3)).all()
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 1e-3


def test_bfloat16_iterates_give_nearly_the_same_update() -> None:
    """The direction differs by rounding, about a hundredth of its length; the weights stay."""
    start = torch.randn(12, 20, generator=torch.Generator().manual_seed(0))
    moved = []
    for dtype in (torch.float32, torch.bfloat16):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = Muon([{"params": [parameter], "orthogonal": True}], lr=0.1, iterates=dtype)
        (parameter**3).sum().backward()
        optimizer.step()
        assert parameter.dtype == torch.float32
        moved.append(parameter.detach() - start)
    difference = (moved[1] - moved[0]).norm() / moved[0].norm()
    assert 0 < difference < 0.03


def test_adamw_part_is_adamw() -> None:
    """Vectors follow torch's AdamW step for step."""
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    options = {"lr": 0.05, "betas": (0.9, 0.98), "weight_decay": 0.1}
    first = Muon([{"params": [ours]}], **options)
    second = torch.optim.AdamW([theirs], **options)
    for _ in range(5):
        for parameter, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            (parameter**4).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_every_parameter_is_in_one_group() -> None:
    """Matrices of the body are orthogonal; the tied embedding and the vectors are not."""
    model = worlds.tiny()
    groups = parameter_groups(model, lr=0.1, weight_decay=0.1, orthogonal=True)
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    table = model.network.get_input_embeddings().weight
    for group in groups:
        assert group["orthogonal"] == (group is groups[0])
        assert (id(table) in {id(p) for p in group["params"]}) == (group is groups[1])
    assert all(p.dim() < 2 for p in groups[2]["params"])
    assert groups[2]["weight_decay"] == 0.0


@pytest.mark.parametrize("option", ["lr", "momentum", "weight_decay"])
def test_each_option_of_muon_matters(option: str) -> None:
    """Changing one option changes the second update."""

    def run(**changes: float) -> torch.Tensor:
        weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3) / 7)
        options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, **changes}
        optimizer = Muon([{"params": [weight], "orthogonal": True}], **options)
        for power in (2, 3):
            optimizer.zero_grad()
            (weight**power).sum().backward()
            optimizer.step()
        return weight.detach()

    assert not torch.allclose(run(), run(**{option: 0.3}))
