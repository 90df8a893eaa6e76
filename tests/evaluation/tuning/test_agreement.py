"""Agreement along careful runs, with denoisers for which it is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from tests.sampling.told import WORDS, Model, whimsical
from torch import Tensor

from sfumato.evaluation.tuning.agreement import walks
from sfumato.evaluation.tuning.openings import openings
from sfumato.evaluation.tuning.paces import Pace
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.parts.quotas import Fixed, Threshold
from sfumato.sampling.tasks.jobs import How, run
from sfumato.text.dialogue import Message
from sfumato.text.records import DialogueRecord, InfillRecord, PairRecord, TextRecord

PAIRS = [PairRecord(prompt=f"the {word}", completion=" sat") for word in ("cat", "dog", "mat")]


@dataclass(frozen=True, kw_only=True)
class Deaf:
    """Sure of a token at every position, whatever stands around it."""

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        logits = torch.zeros(int(where.sum()), WORDS.size)
        wanted = 40 + where.nonzero()[:, 1]
        return logits.scatter(1, wanted[:, None], 5.0)


@pytest.mark.parametrize(
    "policy",
    [
        DecodingPolicy(),
        DecodingPolicy(blocks=Blocks(size=3)),
        DecodingPolicy(guidance=ClassifierFree(scale=1.0)),
        DecodingPolicy(tokens=TokenSampler(temperature=0.5)),
    ],
)
def test_the_careful_pace_agrees_with_itself(policy: DecodingPolicy) -> None:
    """One token a state of its own run: all agree, and it stops as often as the run has steps."""
    model = whimsical()
    rows = openings(model, PAIRS, length=7)
    (found,) = walks(model, rows, policy, [Pace()], batch_size=2)
    greedy = replace(policy, tokens=TokenSampler(temperature=0.0))
    samples = run(model, rows, How(policy=greedy))
    cost = 2 if policy.guidance else 1
    assert [one.agreed for one in found] == [one.written for one in found]
    assert [cost * one.steps for one in found] == [one.passes for one in samples]


def test_what_does_not_depend_is_written_at_once() -> None:
    """A denoiser that reads no context loses nothing by any pace: seven tokens in one pass."""
    model = Model(denoiser=Deaf())
    rows = openings(model, PAIRS, length=7)
    bold = Pace(quota=Threshold(probability=0.01))
    (found,) = walks(model, rows, DecodingPolicy(), [bold])
    assert {(one.agreed, one.written, one.steps) for one in found} == {(7, 7, 1)}


def test_what_depends_is_lost() -> None:
    """Where any token changes all predictions, of two at once at best the first is the same."""
    model = whimsical()
    rows = openings(model, PAIRS, length=9)
    pairs, fours = walks(
        model, rows, DecodingPolicy(), [Pace(quota=Fixed(size=2)), Pace(quota=Fixed(size=4))]
    )
    for mild, bold in zip(pairs, fours, strict=True):
        assert mild.steps > bold.steps
        assert mild.agreed / mild.written > bold.agreed / bold.written
        assert bold.agreed >= bold.steps  # the first of each state is what the run writes there


def test_every_kind_of_record_is_opened() -> None:
    """What is open is the answer, the text or the middle, and what is given stays."""
    turns = [Message(role="user", content="the cat"), Message(role="assistant", content="sat")]
    records = [
        TextRecord(text="the cat"),
        PairRecord(prompt="the cat", completion=" sat"),
        DialogueRecord(messages=(*turns, *turns)),
        InfillRecord(prefix="the cat", middle=" sat", suffix=" on the mat"),
    ]
    text, pair, dialogue, middle = (
        row.canvas for row in openings(whimsical(), records, length=5, seed=3)
    )
    for canvas in (text, pair, dialogue, middle):
        assert int(canvas.editable.sum()) == 5
    assert text.ids.shape[1] < pair.ids.shape[1] < dialogue.ids.shape[1]
    given = WORDS.decode(dialogue.ids[0][~dialogue.editable[0]].tolist())
    assert given.count("sat") == 1
    assert not middle.editable[0, -1]
    assert [row.seed for row in openings(whimsical(), records, length=5, seed=3)] == [3, 4, 5, 6]
