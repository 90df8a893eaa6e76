"""Half of the sets of facts chooses, the other half reports."""

from __future__ import annotations

import tuning

from sfumato.evaluation.records import Parts
from sfumato.evaluation.tuning.choice import Tried

CAREFUL = Tried(
    parts=Parts(pool="ratio", columns=((4.0, 2.0, 6.0), (4.0, 2.0, 6.0))), passes=(9.0,) * 6
)
BOLD = Tried(
    parts=Parts(pool="ratio", columns=((2.0, 2.0, 5.0), (4.0, 2.0, 6.0))),
    passes=(3.0, 3.0, 3.0, 3.0, 6.0, 6.0),
)


def test_some_sets_keep_their_own_texts() -> None:
    last = tuning.some(BOLD, slice(2, 3), texts=2)
    assert last.parts.columns == ((5.0,), (6.0,))
    assert last.passes == (6.0, 6.0)


def test_two_halves_are_reported_together() -> None:
    halves = [tuning.some(BOLD, slice(0, 2), 2), tuning.some(CAREFUL, slice(2, 3), 2)]
    found = tuning.report(halves, CAREFUL, (5.0, 5.0, 10.0))
    assert (found["sets"], found["texts"]) == (3, 6)
    assert found["facts"] == 0.5
    assert found["share of careful"] == round(10 / 12, 4)
    assert found["passes"] == 5.0
    assert found["times fewer"] == 1.8


def test_numbers_of_a_prompt_are_taken_together() -> None:
    assert tuning.summed([1.0, 2.0, 3.0], ["a", "a", "b"]) == (3.0, 3.0)
