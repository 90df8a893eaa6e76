"""What a frozen context changes, as a share of tokens."""

from __future__ import annotations

from tests.sampling.told import WORDS, Model

from sfumato.evaluation.resampling import pooled
from sfumato.evaluation.tuning.context import same_tokens
from sfumato.evaluation.tuning.openings import openings
from sfumato.models.scratch import new_encoder
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import FrozenContext
from sfumato.text.records import TextRecord


def test_reading_all_at_every_pass_changes_nothing_and_reading_once_something() -> None:
    model = Model(denoiser=new_encoder(WORDS, width=16, layers=3, heads=2, max_length=64).eval())
    for parameter in model.denoiser.parameters():
        parameter.data.mul_(6)
    rows = openings(model, [TextRecord(text="the cat")] * 4, length=12)
    every = same_tokens(model, rows, DecodingPolicy(context=FrozenContext(refresh=1)))
    assert pooled(every) == 1
    assert all(1 <= slots <= 12 for slots in every.columns[1])
    once = same_tokens(model, rows, DecodingPolicy(context=FrozenContext()))
    assert pooled(once) < 1
