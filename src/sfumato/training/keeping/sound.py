"""Steps that are not finite are left out before the optimiser sees them.

    loss ─► × 1 if it is finite, × nan if not ─► gradients, summed over processes ─► their norm
                                                                                        │
                   optimizer.step: with the gradients, or with none at all ◄── finite? ─┘

The norm is the same in every process, so all of them leave a step out or none does.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import ResourceError

_NAMED = 8
_log = logging.getLogger(__name__)
Tell = Callable[[str, int, Mapping[str, Any]], None]


def poisoned(loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The loss with gradients that are nan if the loss is not finite, without waiting for it.

    A loss may be infinite where its gradient is not; nobody else would notice.

    Example:
        >>> x = torch.tensor(2.0, requires_grad=True)
        >>> poisoned(x + torch.inf).backward()
        >>> x.grad
        tensor(nan)
    """
    found: Tensor = loss * (1 + 0 * loss.detach())
    return found


class SoundSteps:
    """Looks at the gradients of a step; counts those that are left out.

    Args:
        most: how many steps of a run may be left out, in a row or not; one more ends it.
        tell: writes an entry into the journal: kind, step, values.
    """

    def __init__(self, *, most: int, tell: Tell) -> None:
        self.most = most
        self.skipped = 0
        self._tell = tell
        self._norm = 0.0
        self._loss: Tensor | float = 0.0
        self._finite: Tensor | float = 0.0
        self._rows: Callable[[], list[str]] = list
        self._step = 0

    def begin(self, step: int, rows: Callable[[], list[str]]) -> None:
        """A step begins.

        Args:
            step: its number.
            rows: says where the examples of its batch come from.
        """
        self._step, self._rows, self._loss = step, rows, 0.0

    def heard(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Takes note of the loss of a micro-batch.

        Returns:
            what is to be logged: the loss, or the last one that was finite.
        """
        self._loss = self._loss + loss
        last = torch.as_tensor(self._finite).to(loss)
        self._finite = torch.where(torch.isfinite(loss), loss, last)
        return self._finite

    def measured(self, norm: float) -> None:
        """The norm of the gradient of all processes."""
        self._norm = norm

    def before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Takes the gradients away if their norm is not finite: nothing moves, nothing decays.

        Raises:
            ResourceError: as many steps have been left out as may be.
        """
        norm, self._norm = self._norm, 0.0
        if math.isfinite(norm):
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        self.skipped += 1
        loss = float(self._loss)
        what = f"gradient has norm {norm}" if math.isfinite(loss) else f"loss is {loss}"
        rows = self._rows()
        entry = {"reason": what, "skipped": self.skipped, "rows": rows}
        self._tell("skipped", self._step, entry)
        said = f"the {what} at step {self._step}, in the batch of {_listed(rows)}"
        if self.skipped > self.most:
            raise ResourceError(
                f"{said}; {self.skipped - 1} steps were left out before: the learning rate may be "
                "too high, or the data broken; the weights of the last good step are kept, and "
                "the journal names all rows"
            )
        _log.warning("%s: the step is left out (%d of %d)", said, self.skipped, self.most)


def named(examples: Sequence[Any], among: Sequence[Any]) -> list[str]:
    """Where examples come from: file and line, or else their place in the training set.

    Example:
        >>> named([7.5, "a"], [2.5, "a", 7.5])
        ['example 2', 'example 1']
    """
    places = {id(one): place for place, one in enumerate(among)}
    return [getattr(one, "origin", "") or f"example {places.get(id(one), '?')}" for one in examples]


def _listed(rows: Sequence[str]) -> str:
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return ", ".join(rows[:_NAMED]) + more
