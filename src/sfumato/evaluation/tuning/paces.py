"""A pace: which positions of masked text go first, and how many in one pass.

{"order": "margin", "distinct": true, "quota": "Factor", "factor": 2.0, "guidance": 1.0}

Bold paces lose touch with the prompt first; a stronger guidance can pay for a bolder pace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from sfumato.errors import DataError, UsageError
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.planners import Order
from sfumato.sampling.parts.quotas import EntropyBound, Factor, Fixed, Threshold
from sfumato.sampling.policies import ORDERS

Sure = Fixed | Threshold | Factor | EntropyBound
_QUOTAS: Mapping[str, type[Sure]] = {
    kind.__name__: kind for kind in (Fixed, Threshold, Factor, EntropyBound)
}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """An order and a quota; the default writes one token a pass, the surest first.

    Attributes:
        order: which positions go first.
        quota: how many in one pass.
        guidance: scale of classifier-free guidance; None leaves that of the policy.

    Example:
        >>> Pace(quota=Fixed(size=2)).as_json()
        {'order': 'max_prob', 'distinct': False, 'spacing': None, 'quota': 'Fixed', 'size': 2}
    """

    order: Order = field(default_factory=Order)
    quota: Sure = field(default_factory=Fixed)
    guidance: float | None = None

    def of(self, policy: DecodingPolicy) -> DecodingPolicy:
        """The policy at this pace; whatever else it says stays."""
        paced = replace(policy, order=self.order, quota=self.quota)
        if self.guidance is None:
            return paced
        return replace(paced, guidance=ClassifierFree(scale=self.guidance))

    def as_json(self) -> dict[str, object]:
        """Plain JSON types; `pace_from_json` reads them back.

        Raises:
            UsageError: an order that has no name, or a temperature.
        """
        name = next((name for name, score in ORDERS.items() if score is self.order.by), None)
        if name is None or self.order.temperature:
            raise UsageError(
                f"{self.order} cannot be written down: expected one of {', '.join(ORDERS)} "
                "without a temperature"
            )
        waits = {"distinct": self.order.distinct, "spacing": self.order.spacing}
        bent = {} if self.guidance is None else {"guidance": self.guidance}
        quota = {"quota": type(self.quota).__name__, **asdict(self.quota)}
        return {"order": name, **waits, **quota, **bent}


def pace_from_json(record: Mapping[str, object]) -> Pace:
    """Reads back what `Pace.as_json` wrote.

    Raises:
        DataError: a name or a number that it does not know.

    Example:
        >>> pace_from_json(Pace().as_json()) == Pace()
        True
    """
    values = dict(record)
    try:
        score = ORDERS[str(values.pop("order"))]
        waits = {name: values.pop(name) for name in ("distinct", "spacing")}
        order = Order(by=score, **waits)  # type: ignore[arg-type]
        bent = values.pop("guidance", None)
        scale = None if bent is None else float(str(bent))
        quota = _QUOTAS[str(values.pop("quota"))](**values)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise DataError(
            f"{dict(record)} is no pace: expected order, distinct, spacing and quota ("
            f"{', '.join(_QUOTAS)}) with its number, and perhaps guidance: {error}"
        ) from error
    return Pace(order=order, quota=quota, guidance=scale)


@dataclass(frozen=True, kw_only=True)
class Paces:
    """What may be chosen among.

    Attributes:
        careful: the pace that the others are measured against.
        families: the others, each family from the careful to the bold.
    """

    careful: Pace
    families: tuple[tuple[Pace, ...], ...]

    @property
    def all(self) -> list[Pace]:
        """Every pace, the careful one first."""
        return [self.careful, *(pace for family in self.families for pace in family)]


def paces(order: Order | None = None, guidances: Sequence[float] = ()) -> Paces:
    """One token a pass, and by the same order thresholds, entropy bounds and factors.

    The others write a word in one place a pass, and no neighbours at once: bold ones would stutter
    without the former and run phrases into each other without the latter.

    Args:
        order: which positions go first; if not given, the surest.
        guidances: scales to try all of them with too, beside the policy's own.

    Example:
        >>> [len(family) for family in paces(guidances=[1.0]).families]
        [8, 8, 8, 8, 8, 8]
    """
    chosen = order or Order()
    quotas: tuple[Sequence[Sure], ...] = (
        [Threshold(probability=p) for p in (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)],
        [EntropyBound(gamma=g) for g in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0)],
        [Factor(factor=f) for f in (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)],
    )
    several = replace(chosen, distinct=True, spacing=chosen.spacing or 2)
    families = tuple(
        tuple(Pace(order=several, quota=one, guidance=scale) for one in kind)
        for scale in (None, *guidances)
        for kind in quotas
    )
    return Paces(careful=Pace(order=chosen), families=families)
