"""Middles and bridges: what stands between two texts, with models that say what they are told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sampling.fakes import Whim
from tests.sampling.told import WORDS, Model, told, whimsical
from tests.text import vocabularies
from tests.text.test_words import TEXTS
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.tasks import (
    bridge,
    fim,
)
from sfumato.text.template import lay_fill


@given(first=TEXTS, second=TEXTS, name=st.sampled_from(sorted(vocabularies.SMALL)))
@settings(max_examples=8)
def test_fim_and_bridge_keep_both_ends(first: str, second: str, name: str) -> None:
    model = whimsical(vocabularies.SMALL[name]())
    (middle,) = fim(model, first, second, length=4)
    assert middle.text == first + middle.middle + second
    (between,) = bridge(model, first, second, length=4)
    assert between.text.startswith(first)
    assert between.text.endswith(second)
    assert len(between.text) >= len(first) + len(second)


def middle_at(prefix: str, suffix: str, written: str, width: int) -> Model:
    from sfumato.text.canvas import Hole

    fill = lay_fill((prefix, suffix), [Hole(slots=width, optional=True)], WORDS)
    return told(fill.holes[0][0], written)


def test_indentation_survives() -> None:
    prefix, suffix = "def f(x):\n", "\n    return y\n"
    (one,) = fim(middle_at(prefix, suffix, "    y = x", 12), prefix, suffix, length=12)
    assert one.text == "def f(x):\n    y = x\n    return y\n"
    prefix = "def f(x):\n    "
    (one,) = fim(middle_at(prefix, suffix, " y = x", 12), prefix, suffix, length=12)
    assert one.text == "def f(x):\n    y = x\n    return y\n"


def test_a_middle_stops_where_the_suffix_goes_on() -> None:
    prefix, suffix = "the cat", " sat on the mat and ran"
    model = middle_at(prefix, suffix, " and the dog sat on the mat and ran home", 24)
    (one,) = fim(model, prefix, suffix, length=24)
    assert one.text == "the cat and the dog sat on the mat and ran"
    (whole,) = fim(model, prefix, suffix, length=24, trim=False)
    assert whole.middle == " and the dog sat on the mat and ran home"


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """Reads twenty tokens, and remembers what it read."""

    denoiser: Whim
    seen: list[list[int]] = field(default_factory=list)
    max_length: int = 20

    def __call__(self, x_t: Tensor, where: Tensor, **rest: Tensor) -> Tensor:
        assert x_t.shape[1] <= self.max_length
        self.seen.append(x_t[0].tolist())
        return self.denoiser(x_t, where, **rest)


@pytest.mark.parametrize("length", [4, None])
def test_a_long_text_is_read_near_its_gap(length: int | None) -> None:
    prefix, suffix = "the dog ran home and" * 9, " the cat sat on the mat" * 9
    model = Model(denoiser=Narrow(denoiser=Whim(size=WORDS.size)))
    (one,) = fim(model, prefix, suffix, length=length)
    assert one.text == prefix + one.middle + suffix
    row = model.denoiser.seen[0]
    hole = row.index(WORDS.mask)
    assert row[0] == WORDS.bos
    assert prefix.endswith(WORDS.decode(row[1:hole]))
    assert suffix.startswith(WORDS.continuation([i for i in row[hole:] if i != WORDS.mask]))
    assert WORDS.eos not in row
    (joined,) = bridge(model, prefix, suffix, length=4)
    assert joined.text == prefix + " " + joined.text[len(prefix) + 1 : -len(suffix)] + suffix


def test_a_hole_that_leaves_no_room_for_its_surroundings_is_refused() -> None:
    model = Model(denoiser=Narrow(denoiser=Whim(size=WORDS.size)))
    with pytest.raises(UsageError, match="reads 20 tokens: expected length ≤ 12, got 13"):
        fim(model, "the", " cat", length=13)


@dataclass(frozen=True, kw_only=True)
class Long:
    """Fills the hole after [CLS] the with cats; sure of them if there are `slots` of them."""

    slots: int

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        exists = torch.ones_like(where) if attend is None else attend
        start = 1 + len(WORDS.encode("the"))
        sizes = exists.sum(1) - start - len(WORDS.encode(" sat")) - 1
        row, position = where.nonzero(as_tuple=True)
        inside = (position >= start) & (position < start + sizes[row])
        belief = torch.where(sizes[row] == self.slots, 12.0, 6.5) * inside
        logits = torch.zeros(len(row), WORDS.size)
        logits[:, WORDS.encode(" cat")[0]] = belief
        return logits


@pytest.mark.parametrize("slots", [4, 12, 32])
def test_a_free_length_is_the_one_that_fits(slots: int) -> None:
    model = Model(denoiser=Long(slots=slots))
    (one,) = fim(model, "the", " sat", trim=False)
    assert one.middle == " cat" * slots
    (again,) = fim(model, "the", " sat", trim=False, length=slots)
    assert again.middle == one.middle
    assert again.passes < one.passes


def test_a_bridge_writes_something_and_keeps_the_joints() -> None:
    nothing = told(0, "")
    (one,) = bridge(nothing, "the cat.", "the dog.", length=4)
    assert one.text.startswith("the cat. ")
    assert one.text.endswith(" the dog.")
    assert one.middle
    (two,) = bridge(nothing, "the cat.\n", "the dog.", joint="\n\n", length=4)
    assert two.text == "the cat.\n" + two.middle + "\n\nthe dog."
