"""Micro-batches that do not fit into memory are cut: half the rows at once, twice as often.

The noise was drawn for the whole batch and the loss is a sum over rows, so the step stays the same.

Several processes end instead. Gradients are added up over them while the backward pass runs (and
weights gathered in both passes where they are sharded), so a process that fails has left the others
in the middle of an exchange that it cannot take part in again. To begin the step anew they would
have to exchange nothing until every backward pass is over, which is slower in every step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import ResourceError
from sfumato.training.objectives import Noised

_log = logging.getLogger(__name__)
Take = Callable[[Noised], Tensor]


class Room:
    """How many pieces a micro-batch is cut into.

    Args:
        rows: of a micro-batch.
        processes: that train together.
    """

    def __init__(self, *, rows: int, processes: int) -> None:
        self.rows = rows
        self.processes = processes
        self.pieces = 1
        self._taken: list[Noised] = []

    def begin(self) -> None:
        """A step begins."""
        self._taken = []

    def take(self, micro: Noised, take: Take, afresh: Callable[[], object]) -> Float[Tensor, ""]:
        """The loss of a micro-batch, whose gradients are added to those of the step.

        Args:
            micro: its rows.
            take: forward and backward through some rows; gives their loss.
            afresh: forgets the gradients of the step, which then begins anew in smaller pieces.

        Raises:
            ResourceError: it does not help; see `halve`.
        """
        self._taken.append(micro)
        again = [micro]
        while True:
            try:
                losses = [[take(piece) for piece in self.cut(one)] for one in again]
                return torch.stack(losses[-1]).sum()
            except RuntimeError as error:
                self.halve(error)
            afresh()
            clear_device_cache(garbage_collection=True)
            again = self._taken

    def cut(self, micro: Noised) -> list[Noised]:
        """The pieces of a micro-batch."""
        rows = len(next(iter(vars(micro).values())))
        count = min(self.pieces, rows)
        if count == 1:
            return [micro]
        ends = [rows * at // count for at in range(count + 1)]
        return [micro.rows(*pair) for pair in pairwise(ends)]

    def halve(self, error: RuntimeError) -> None:
        """Makes the pieces half as large, if the error is that memory gave out.

        Raises:
            RuntimeError: the same error, if it is another one.
            ResourceError: not even one row fits; or one of several processes lacks memory, while
                the others already wait for its gradients.
        """
        if not isinstance(error, torch.OutOfMemoryError) and not should_reduce_batch_size(error):
            raise error
        now = -(-self.rows // self.pieces)
        if self.processes > 1:
            raise ResourceError(
                f"out of memory with {now} rows at once in one of {self.processes} processes: go "
                "on with --resume, half the --batch and twice the --accumulation in all of them, "
                "which takes the same steps"
            ) from error
        if now == 1:
            raise ResourceError(
                "out of memory with a single row: choose a shorter --max-length, a smaller model "
                "or --lora"
            ) from error
        self.pieces *= 2
        half = -(-self.rows // self.pieces)
        _log.warning(
            "out of memory with %d rows at once: going on with %d, %d times as often; the steps "
            "stay the same",
            *(now, half, self.pieces),
        )
