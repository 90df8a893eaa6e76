"""A network in the shape of a larger one says the same."""

from __future__ import annotations

from dataclasses import replace

import networks
import pytest
import torch
from widening import widened

SMALL = networks.Size(name="small", vocabulary=50, width=16, layers=4, heads=2, inner=20)
LARGE = networks.Size(name="large", vocabulary=70, width=48, layers=7, heads=6, inner=33)


@torch.no_grad()
def test_it_says_the_same_at_another_size() -> None:
    network = networks.modernbert(SMALL)
    network.get_output_embeddings().bias.normal_()
    ids = torch.randint(0, 50, (2, 200), generator=torch.Generator().manual_seed(0))
    wide = widened(network, LARGE)
    assert (wide.config.hidden_size, wide.config.num_hidden_layers) == (48, 7)
    logits = wide(input_ids=ids).logits
    torch.testing.assert_close(
        logits[..., :50], network(input_ids=ids).logits, atol=1e-3, rtol=1e-4
    )
    assert bool((logits[..., 50:] == -torch.inf).all())


def test_a_size_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        widened(networks.modernbert(SMALL), replace(LARGE, width=40))
