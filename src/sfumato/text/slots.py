"""Examples as rows of slots: what a latent model writes, and the text that it is given.

    ids     he  goes  home  [SEP]  [PAD]  [PAD]      every row as wide as the model writes
    given   [CLS]  he  go  home .                    what is not trained

Legend of shapes: `B` batch, `S` slots, `L` positions of what is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.text.batching import Example


@dataclass(frozen=True, kw_only=True, eq=False)
class Slots:
    """A batch for a latent model.

    Attributes:
        ids: trained tokens, moved to the left, then padding, *shape* `B S`.
        given: the others, moved to the left, *shape* `B L`.
        attend: which of the given ones exist, *shape* `B L`.
    """

    ids: Int[Tensor, "B S"]
    given: Int[Tensor, "B L"]
    attend: Bool[Tensor, "B L"]


def lay_slots(examples: Sequence[Example], *, slots: int, pad: int) -> Slots:
    """Lays examples out; what does not fit into the slots is cut.

    Args:
        examples: at least one.
        slots: width of every row.
        pad: fills it.

    Raises:
        UsageError: no examples or no slots.

    Example:
        >>> example = Example(ids=(2, 7, 8, 3), trained=(False, False, True, True))
        >>> batch = lay_slots([example], slots=4, pad=0)
        >>> batch.ids.tolist(), batch.given.tolist()
        ([[8, 3, 0, 0]], [[2, 7]])
    """
    if not examples or slots < 1:
        raise UsageError(f"expected examples and slots, got {len(examples)} and {slots}")
    parts: dict[bool, list[list[int]]] = {True: [], False: []}
    for example in examples:
        for trained, rows in parts.items():
            pairs = zip(example.ids, example.trained, strict=True)
            rows.append([token for token, flag in pairs if flag is trained])
    width = max(1, *(len(row) for row in parts[False]))
    attend = [[place < len(row) for place in range(width)] for row in parts[False]]
    return Slots(
        ids=torch.tensor([_filled(row, slots, pad) for row in parts[True]]),
        given=torch.tensor([_filled(row, width, pad) for row in parts[False]]),
        attend=torch.tensor(attend),
    )


def _filled(row: Sequence[int], width: int, pad: int) -> list[int]:
    return [*row[:width], *[pad] * (width - len(row))]
