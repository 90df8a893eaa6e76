"""The last layer of an encoder, computed only at the positions that are predicted.

    attention mixes positions   ──► needs keys and values of all of them
    everything after it does not ──► needs the predicted rows only:

    hidden `B L D` ─ rows ─► `M D` ─ output projection, feed-forward ─► `M D` ─ back ─► `B L D`

The other positions get zeros from these parts; nobody reads them afterwards.

Legend of shapes: `B` batch, `L` positions, `D` width, `M` selected positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Int
from torch import Tensor, nn

Stretch = tuple[str, str]


@contextmanager
def only_rows(
    layer: nn.Module, stretches: Sequence[Stretch], rows: Int[Tensor, "M"], shape: torch.Size
) -> Iterator[None]:
    """Inside, stretches of a layer run on chosen rows; the weights stay where they are.

    Args:
        layer: the last layer of an encoder.
        stretches: names of two modules of the layer; from the input of the first to the output
            of the second no position sees another one, and no residual is added.
        rows: the positions, as indices into the flattened canvas.
        shape: of the canvas, `B L`.
    """

    def enter(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        return (arguments[0].flatten(0, 1).index_select(0, rows),)

    def leave(module: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
        whole = output.new_zeros(shape.numel(), output.shape[-1])
        return whole.index_copy(0, rows, output).view(*shape, -1)

    with ExitStack() as hooks:
        for first, last in stretches:
            hooks.callback(layer.get_submodule(first).register_forward_pre_hook(enter).remove)
            hooks.callback(layer.get_submodule(last).register_forward_hook(leave).remove)
        yield
