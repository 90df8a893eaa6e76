"""Vary and interpolate on an exact model: independent slots, each one of a few words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from tests.sampling.latents import PROCESS, Table, Words

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.tasks import interpolate, vary
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary

WORDS = learn_vocabulary(["red blue green", "a cat a dog"] * 3, size=320)
CODEC = Table(
    width=24,
    table=torch.randn(WORDS.size, 24, generator=torch.Generator().manual_seed(0)),
)
KNOWN = [*WORDS.encode("red blue green"), *WORDS.encode("a cat a dog"), WORDS.eos, WORDS.pad]


def weights() -> torch.Tensor:
    found = torch.full((WORDS.size,), 1e-9)
    found[KNOWN] = 1.0 / len(KNOWN)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """What a task needs of a latent checkpoint."""

    denoiser: Words
    codec: Table
    vocabulary: Vocabulary
    process: GaussianProcess
    answers: tuple[int, ...] = (8,)


MODEL = Model(
    denoiser=Words(codec=CODEC, process=PROCESS, weights=weights()),
    codec=CODEC,
    vocabulary=WORDS,
    process=PROCESS,
)
POLICY = Descent(process=PROCESS, codec=CODEC, steps=60)


def test_a_little_noise_keeps_a_text_and_much_forgets_it() -> None:
    text = "red blue green"
    near = vary(MODEL, text, by=0.05, n=10, policy=POLICY)
    far = vary(MODEL, text, by=1.0, n=10, policy=POLICY)
    assert [one.text for one in near] == [text] * 10
    assert sum(one.text == text for one in far) < 3
    assert [one.seed for one in far] == list(range(10))


def test_the_ends_of_an_interpolation_are_its_texts() -> None:
    first, last = "red blue green", "a cat a dog"
    found = [one.text for one in interpolate(MODEL, first, last, n=5, policy=POLICY)]
    assert (found[0], found[-1]) == (first, last)
    assert len(found) == 5
    assert len(set(found)) > 2


def test_what_both_ends_share_stays() -> None:
    texts = interpolate(MODEL, "red cat blue", "red dog blue", n=7, policy=POLICY)
    words = [one.text.split() for one in texts]
    assert all(one[0] == "red" and one[-1] == "blue" for one in words)
    assert {one[1] for one in words} >= {"cat", "dog"}


def test_the_same_text_twice_does_not_move() -> None:
    found = interpolate(MODEL, "a dog", "a dog", n=3, policy=POLICY)
    assert [one.text for one in found] == ["a dog"] * 3


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="n ≥ 2"):
        interpolate(MODEL, "a", "a", n=1)
    with pytest.raises(UsageError, match="shorten it"):
        vary(MODEL, "a cat a dog a cat a dog a cat", by=0.5)
    with pytest.raises(UsageError, match="begin in"):
        vary(MODEL, "a cat", by=0.0)
    short = replace(MODEL, answers=())
    assert vary(short, "a cat a dog", by=0.05, policy=POLICY)[0].text == "a cat a dog"
