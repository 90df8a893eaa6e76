"""Constraints: tokens that a position must not take, found from what is written around it.

A constraint returns (row, token) pairs, and these few logits are lowered in place; no pass over
the vocabulary is made. Text lies on both sides of a position, so every rule looks to both.

    written      the  cat   ▒    the   cat   sat
                       └ forbidden here by Repetition(size=2): "the", which would make a second
                         "the cat" with its right neighbour … and whatever follows "cat" elsewhere

Positions written in one step do not see each other: `violations` asks the same rules again with
the new tokens in place, and all but the best ranked of the offenders wait.

    scene.py      what a constraint sees and says; how that is applied
    ends.py       where a text may end and a slot stay empty: always in force
    bans.py       Ban: tokens and phrases
    repeats.py    Repetition, Loops
"""

from __future__ import annotations

from sfumato.sampling.parts.constraints.bans import Ban
from sfumato.sampling.parts.constraints.ends import closed, ends_in_place, holes, outranked
from sfumato.sampling.parts.constraints.repeats import Loops, Repetition
from sfumato.sampling.parts.constraints.scene import (
    Constraint,
    Forbidden,
    Scene,
    apply,
    scene,
    violations,
)

__all__ = [
    "Ban",
    "Constraint",
    "Forbidden",
    "Loops",
    "Repetition",
    "Scene",
    "apply",
    "closed",
    "ends_in_place",
    "holes",
    "outranked",
    "scene",
    "violations",
]
