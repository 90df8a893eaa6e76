"""Methods by their names: which loss, which link, whether there is a reference.

dpo, f_dpo, ipo, hinge, robust_dpo      pairs against a reference
pl_dpo, vrpo                            lists; eight shared draws a candidate
diffusion_dpo                           pairs of vectors or images, one draw
cpo, simpo, cpo_simpo                   no reference: half the passes, and an anchor
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from sfumato.alignment.learning.losses import (
    Hinge,
    Ipo,
    Pairs,
    Pairwise,
    PlackettLuce,
    PreferenceLoss,
    Robust,
    Sigmoid,
)
from sfumato.errors import UsageError

_FLIPS, _LEAD = 0.1, 0.5


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to learn from preferences.

    Attributes:
        loss: of ranked scores.
        referred: whether scores are log-ratios to a reference.
        per_token: whether scores are divided by lengths.
        anchor: weight of −log π(best) over its length.
        draws: noise draws a candidate.
    """

    loss: PreferenceLoss
    referred: bool = True
    per_token: bool = False
    anchor: float = 0.0
    draws: int = 8


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A method that waits for its β; the numbers are the papers' where they name one."""

    beta: float
    build: Callable[[float], Method]


def _sigmoid(beta: float, *, smoothing: float = 0.0, lead: float = 0.0) -> PreferenceLoss:
    return Pairwise(loss=Sigmoid(beta=beta, label_smoothing=smoothing, margin=lead))


_METHODS: Mapping[str, _Row] = MappingProxyType(
    {
        "dpo": _Row(beta=0.1, build=lambda b: Method(loss=_sigmoid(b))),
        "f_dpo": _Row(beta=0.1, build=lambda b: Method(loss=_sigmoid(b), anchor=0.2)),
        "ipo": _Row(
            beta=0.1, build=lambda b: Method(loss=Pairwise(loss=Ipo(beta=b)), per_token=True)
        ),
        "hinge": _Row(beta=0.1, build=lambda b: Method(loss=Pairwise(loss=Hinge(beta=b)))),
        "robust_dpo": _Row(
            beta=0.1,
            build=lambda b: Method(loss=Pairwise(loss=Robust(beta=b, label_smoothing=_FLIPS))),
        ),
        "cpo": _Row(beta=0.1, build=lambda b: Method(loss=_sigmoid(b), referred=False, anchor=1.0)),
        "simpo": _Row(
            beta=2.0,
            build=lambda b: Method(loss=_sigmoid(b, lead=_LEAD), referred=False, per_token=True),
        ),
        "cpo_simpo": _Row(
            beta=2.0,
            build=lambda b: Method(
                loss=_sigmoid(b, lead=_LEAD), referred=False, per_token=True, anchor=1.0
            ),
        ),
        "pl_dpo": _Row(beta=0.1, build=lambda b: Method(loss=PlackettLuce(beta=b), anchor=0.2)),
        "diffusion_dpo": _Row(beta=2000.0, build=lambda b: Method(loss=_sigmoid(b), draws=1)),
        "vrpo": _Row(beta=0.1, build=lambda b: Method(loss=_sigmoid(b), anchor=0.2)),
    }
)
METHODS = tuple(_METHODS)


def method(name: str, *, beta: float | None = None, pairs: Pairs | None = None) -> Method:
    """A method by its name.

    Args:
        name: one of `METHODS`.
        beta: β; the method's usual one if None.
        pairs: which pairs of a list, for methods of pairs.

    Raises:
        UsageError: no such name, or pairs for a method of lists.

    Example:
        >>> method("hinge", beta=0.5).loss
        Pairwise(loss=Hinge(beta=0.5, margin=0.0), pairs='all', by_place=False)
    """
    row = _METHODS.get(name)
    if row is None:
        raise UsageError(f"there is no method {name!r}; expected one of {', '.join(METHODS)}")
    found = row.build(row.beta if beta is None else beta)
    if pairs is None:
        return found
    if not isinstance(found.loss, Pairwise):
        raise UsageError(f"{name} takes whole lists; which pairs count is for methods of pairs")
    return replace(found, loss=replace(found.loss, pairs=pairs))
