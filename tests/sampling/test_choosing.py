"""Which words to change, with models that expect a text or write one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from tests.sampling.fakes import Counter, Whim
from tests.sampling.told import SPAN, TEXT, WORDS, Expects, Model, told, whimsical

from sfumato.errors import UsageError
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.tasks import (
    Attribution,
    PseudoLikelihood,
    Surprise,
    detox,
    edit,
)
from sfumato.sampling.tasks.choosing import allowed
from sfumato.text.batching import prompt_ids
from sfumato.text.spans import open_spans
from sfumato.text.words import word_spans


def test_surprise_by_hand() -> None:
    """The word that stands elsewhere has −log(0.1/(V − 1)), each other word −log 0.9 a token."""
    expected = "the cat sat on the mat"
    model = Model(denoiser=Expects(text=expected))
    found = Surprise(model=model, batch_size=2)("the dog sat on the mat", word_spans(expected))
    sizes = [len(WORDS.encode(("" if i == 0 else " ") + w)) for i, w in enumerate(expected.split())]
    assert sizes[1] == len(WORDS.encode(" dog")) == 1
    exact = [-torch.tensor(0.9).log().item() * size for size in sizes]
    exact[1] = -torch.tensor(0.1 / (WORDS.size - 1)).log().item()
    assert found == pytest.approx(exact, rel=1e-4)
    (one,) = edit(model, "the dog sat on the mat", budget=2, extra=0)
    assert one.text == expected
    (same,) = edit(model, expected, budget=2)
    assert same.text == expected
    assert same.passes == 0


@pytest.mark.parametrize("prompt", ["a dog ran\n", "a dog ran "])
def test_a_model_of_pairs_reads_its_prompt_before_the_text(prompt: str) -> None:
    """Surprise and edit see the text where training puts the completion."""
    expected, text = "the cat sat on the mat", "the dog sat on the mat"
    lead = " " * prompt.endswith(" ")
    model = Model(denoiser=Expects(text=lead + expected, prompt=prompt.removesuffix(" ")))
    alone = Surprise(model=Model(denoiser=Expects(text=expected)))(text, word_spans(text))
    found = Surprise(model=model, prompt=prompt)(text, word_spans(text))
    assert found[1:] == pytest.approx(alone[1:], rel=1e-4)
    (one,) = edit(model, text, prompt=prompt, budget=2, extra=0)
    assert (one.text, one.source) == (expected, text)
    head = prompt_ids(prompt.removesuffix(" "), WORDS)
    assert tuple(slot.id for slot in one.trace.slots[: len(head)] if slot.locked) == head
    (same,) = edit(model, expected, prompt=prompt)
    assert (same.text, same.passes) == (expected, 0)
    (other,) = edit(model, text, budget=2, extra=0)
    assert other.text != expected


def test_words_hidden_together_do_not_vouch_for_each_other() -> None:
    """One row instead of one a word, and nothing of the text but its marks is seen."""
    text = "the cat, the dog"
    words = word_spans(text)
    for blind, rows in ((False, 4), (True, 1)):
        counter = Counter(Whim(size=WORDS.size))
        judge = Surprise(model=Model(denoiser=counter), prompt="a dog\n", blind=blind)
        found = judge(text, words)
        assert (len(found), counter.rows) == (4, rows)
        other = judge("the mat, the dog", words)
        assert (found[0] == other[0]) == blind
    exact = Surprise(model=Model(denoiser=Expects(text=text)), blind=True)(text, words)
    assert exact == pytest.approx(
        Surprise(model=Model(denoiser=Expects(text=text)))(text, words), rel=1e-4
    )


def test_attribution_is_the_loss_without_the_word() -> None:
    def length(texts: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in texts]

    assert Attribution(scorer=length)("a bad cat", word_spans("a bad cat")) == [2.0, 4.0, 4.0]


def test_attribution_of_a_word_that_stands_twice() -> None:
    def rude(texts: Sequence[str]) -> list[float]:
        return [float("bad" in text) for text in texts]

    assert Attribution(scorer=rude)("bad bad cat", word_spans("bad bad cat")) == [1.0, 1.0, 0.0]
    (one,) = detox(whimsical(), "bad bad cat", rude, proposals=1, budget=2)
    assert "bad" not in one.text


@pytest.mark.parametrize("budget", [-1, -0.5, 1.5])
def test_a_budget_is_checked(budget: float) -> None:
    with pytest.raises(UsageError, match="expected a budget"):
        edit(whimsical(), TEXT, budget=budget)
    assert allowed(5, 3) == 3


def test_pseudo_likelihood_counts_every_token_once() -> None:
    """All tokens as expected have log 0.9 on average, in however many passes."""
    text = "the cat sat on the mat"
    counter = Counter(Expects(text=text))
    model = Model(denoiser=counter)
    for folds in (1, 3, 50):
        counter.positions = 0
        (found,) = PseudoLikelihood(model=model, folds=folds)([text])
        assert found == pytest.approx(torch.tensor(0.9).log().item(), rel=1e-4)
        assert counter.positions == len(WORDS.encode(text)) + 1
    best, worse = PseudoLikelihood(model=model)([text, "the cat sat on the dog"])
    assert best > worse


def test_noise_without_marks_says_so() -> None:
    process = UniformProcess(size=WORDS.size, excluded=tuple(sorted(WORDS.unwritable)))
    model = Model(denoiser=Whim(size=WORDS.size), process=process)
    with pytest.raises(UsageError, match="no mask to hide a word behind"):
        edit(model, TEXT)
    assert edit(model, TEXT, spans=[SPAN])[0].text.startswith("the")


def test_after_a_prompt_words_are_chosen_blind_and_do_not_grow() -> None:
    """Only what the model writes otherwise is opened, with the slots that it had."""
    text, prompt = "the stupid dog sat", "the stupid dog sat\n"
    model = told(len(prompt_ids(prompt, WORDS)), "the stupid cat sat")
    (one,) = edit(model, text, prompt=prompt)
    assert [part.text.strip() for part in one.segments if part.kind == "removed"] == ["dog"]
    opened = open_spans(text, [(11, 14)], WORDS, extra=0, prompt=prompt).fill.canvas
    assert one.passes <= int(opened.editable.sum())
