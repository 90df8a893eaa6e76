"""The gain in denoising is the log-ratio of the laws, on an exact model of words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from tests.sampling.latents import Words
from tests.sampling.test_travelling import KNOWN, MODEL, WORDS
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.tasks.belonging import DenoisingGain
from sfumato.types import Condition

RED, CAT = WORDS.encode("red")[0], WORDS.encode("a cat")[0]


def law(likely: int) -> Tensor:
    """Weights of tokens, one of them four times as likely as the others."""
    found = torch.full((WORDS.size,), 1e-12)
    found[KNOWN] = 1.0
    found[likely] = 4.0
    return found / found.sum()


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """Told anything it expects `RED`, else `CAT`."""

    free: Words
    given: Words

    def __call__(
        self, x_t: Tensor, log_snr: Tensor, *, condition: Condition | None = None
    ) -> Tensor:
        found: Tensor = (self.free if condition is None else self.given)(x_t, log_snr)
        return found


MODEL_OF_PAIRS = replace(
    MODEL,
    denoiser=Told(
        free=replace(MODEL.denoiser, weights=law(CAT)),
        given=replace(MODEL.denoiser, weights=law(RED)),
    ),
)


@pytest.mark.parametrize("text", ["red", "red red blue", "a cat", "blue"])
def test_the_gain_is_the_log_ratio(text: str) -> None:
    ids = [*WORDS.encode(text), WORDS.eos]
    ids += [WORDS.pad] * (8 - len(ids))
    ratio = law(RED) / law(CAT)
    expected = sum(math.log(ratio[token]) for token in ids)
    gain = DenoisingGain(model=MODEL_OF_PAIRS, prompt="a dog", slots=8, levels=40, draws=60)
    (found,) = gain([text])
    assert found == pytest.approx(expected, abs=0.25)


def test_more_of_what_is_expected_gains_more() -> None:
    gain = DenoisingGain(model=MODEL_OF_PAIRS, prompt="a dog", slots=8, batch_size=2)
    scores = gain(["red red red", "blue red", "blue blue", "a cat a cat"])
    assert scores == sorted(scores, reverse=True)
    assert scores[1:2] == pytest.approx(gain(["blue red"]), abs=1e-4)


def test_numbers_below_one_are_refused() -> None:
    for wrong in ({"levels": 0}, {"draws": 0}, {"slots": 0}):
        with pytest.raises(UsageError, match="≥ 1"):
            DenoisingGain(**{"model": MODEL_OF_PAIRS, "prompt": "a", "slots": 8, **wrong})
