"""What a request may cost, checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass

from sfumato.errors import UsageError
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.tasks.jobs import Work


class LimitError(UsageError):
    """A request that asks for more than this server gives.

    Attributes:
        code: of the error, as clients read it.
        param: the field that asks for too much.
    """

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds of one request.

    Attributes:
        body: bytes.
        n: texts.
        steps: denoising steps.
        length: tokens to write.
        texts: to be scored.
        draws: of the noise, for a score.
        seconds: from its arrival to its end.
        cost: passes × tokens on the canvas, over all texts.
    """

    body: int = 2**20
    n: int = 16
    steps: int = 1024
    length: int = 1024
    texts: int = 64
    draws: int = 64
    seconds: float = 120.0
    cost: int = 4_000_000

    def check(self, name: str, value: int | None) -> None:
        """Compares a field of a request with the limit of that name.

        Raises:
            LimitError: it asks for more.
        """
        most = getattr(self, name)
        if value is not None and value > most:
            raise LimitError(
                f"{name}: expected at most {most}, got {value}",
                code=f"{name}_limit_exceeded",
                param=name,
            )

    def check_work(self, work: Work, room: int | None) -> None:
        """Compares what a request would take with what there is.

        Args:
            work: the rows and how they are written.
            room: tokens that the model reads at once; None if that is not known.

        Raises:
            LimitError: a canvas is wider than the model reads, or the whole costs too much.
        """
        self.check_width(max((row.canvas.ids.shape[1] for row in work.rows), default=0), room)
        self.check_cost(cost_of(work))

    def check_width(self, width: int, room: int | None) -> None:
        """Compares tokens with those that the model reads at once.

        Raises:
            LimitError: there are more.
        """
        if room is not None and width > room:
            raise LimitError(
                f"the model reads at most {room} tokens, but the text and what is to be written "
                f"take {width}: shorten one of them",
                code="context_length_exceeded",
            )

    def check_cost(self, cost: int) -> None:
        """Compares an estimate with the budget.

        Raises:
            LimitError: it is above it.
        """
        if cost > self.cost:
            raise LimitError(
                f"this would cost {cost} (passes × tokens), more than the {self.cost} that a "
                "request may: ask for fewer texts, steps or tokens",
                code="cost_limit_exceeded",
            )


def cost_of(work: Work) -> int:
    """At most so many passes × tokens, over all rows."""
    policy, total = work.policy, 0
    for row in work.rows:
        slots = int(row.canvas.editable.sum())
        passes = slots + len(work.require)
        if isinstance(policy, DecodingPolicy):
            planned = policy.quota.planned
            passes = min(planned or slots, slots) * (2 if policy.guidance else 1)
        elif isinstance(policy, Ancestral | Descent):
            passes = policy.steps
        total += passes * int(row.canvas.ids.shape[1])
    return total
