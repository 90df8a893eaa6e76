"""Edits, rewrites and detox, with models that say what they are told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sampling.fakes import Counter, Whim
from tests.sampling.told import SPAN, TEXT, WORDS, Expects, Model, in_span, told, whimsical
from tests.text import vocabularies
from tests.text.test_words import TEXTS

from sfumato.errors import ModelError, UsageError
from sfumato.sampling.tasks import (
    Attribution,
    Judge,
    best_first,
    bridge,
    complete,
    detox,
    detox_each,
    edit,
    fill,
    fim,
    rewrite,
    write,
)
from sfumato.sampling.tasks.choosing import choose_spans
from sfumato.text.batching import encode, prompt_ids
from sfumato.text.dialogue import Message
from sfumato.text.records import DialogueRecord, PairRecord
from sfumato.text.spans import cut, merge_spans, without


@pytest.mark.parametrize(
    ("written", "result", "kept"),
    [
        ("", "the dog sat on the mat", 6 / 7),
        (" cat", "the cat dog sat on the mat", 6 / 7),
        (" cat and the", "the cat and the dog sat on the mat", 6 / 7),
        (" stupid", TEXT, 1.0),
    ],
)
def test_a_span_is_deleted_replaced_grown_or_kept(written: str, result: str, kept: float) -> None:
    (one,) = edit(in_span(TEXT, SPAN, written, extra=4), TEXT, spans=[SPAN], extra=4)
    assert one.text == one.trace.text == result
    assert one.kept == pytest.approx(kept)
    assert "".join(s.text for s in one.segments if s.kind != "written") == TEXT
    assert "".join(s.text for s in one.segments if s.kind != "removed") == result
    assert one.passes >= 1


def test_a_word_is_inserted_at_an_empty_span() -> None:
    text = "the cat sat"
    for at in (3, 4):
        (one,) = edit(in_span(text, (at, at), " stupid"), text, spans=[(at, at)])
        assert one.text == "the stupid cat sat"
        assert one.kept == 1
    (same,) = edit(in_span(text, (3, 3), ""), text, spans=[(3, 3)])
    assert same.text == text


def test_nothing_to_change_changes_nothing() -> None:
    for text, options in (("", {}), ("the cat", {"spans": []}), ("the cat", {"budget": 0})):
        (one,) = edit(whimsical(), text, **options)
        assert (one.text, one.kept, one.passes) == (text, 1.0, 0)


@st.composite
def spanned(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    text = draw(TEXTS)
    places = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(places, places), max_size=3))
    return text, [(min(pair), max(pair)) for pair in pairs]


def loses_only_joining_spaces(literals: Sequence[str], text: str) -> bool:
    """Whether the literals stand in a text in order, at most one space short at inner edges."""
    place = 0
    for index, literal in enumerate(literals):
        short = literal
        if index and short.startswith(" "):
            short = short[1:]
        if index < len(literals) - 1 and short.endswith(" "):
            short = short[:-1]
        found = text.find(short, place)
        if found < 0 or (index == 0 and found > 0):
            return False
        place = found + len(short)
    return text.endswith(literals[-1].removeprefix(" ") if len(literals) > 1 else literals[-1])


@given(
    case=spanned(),
    extra=st.integers(1, 4),
    name=st.sampled_from(sorted(vocabularies.SMALL)),
    prompt=st.none() | TEXTS,
)
@settings(max_examples=60)
def test_edit_keeps_what_is_outside_its_spans(
    case: tuple[str, list[tuple[int, int]]], extra: int, name: str, prompt: str | None
) -> None:
    """Any text, any spans, any vocabulary, any prompt, and a model that writes anything."""
    text, spans = case
    model = whimsical(vocabularies.SMALL[name]())
    for one in edit(model, text, spans=spans, extra=extra, n=2, prompt=prompt):
        assert loses_only_joining_spaces(cut(text, merge_spans(text, spans)), one.text)
        assert "".join(s.text for s in one.segments if s.kind != "written") == text


@given(text=TEXTS)
@settings(max_examples=8)
def test_detox_keeps_the_words_that_are_not_toxic(text: str) -> None:
    """Whatever the model proposes, words outside the spans stand in the result, in order."""
    source = f"{text} stupid {text}"

    def rude(texts: Sequence[str]) -> list[float]:
        return [float("stupid" in each) for each in texts]

    (one,) = detox(whimsical(), source, rude, proposals=2, rounds=1, budget=1)
    if one.text != source:
        spans = choose_spans(source, Attribution(scorer=rude), budget=1)
        assert loses_only_joining_spaces(cut(source, spans), one.text)


def test_results_do_not_depend_on_their_batch() -> None:
    together = edit(whimsical(), TEXT, spans=[SPAN], n=5, seed=3)
    apart = edit(whimsical(), TEXT, spans=[SPAN], n=5, seed=3, batch_size=2)
    assert [one.text for one in together] == [one.text for one in apart]
    assert [one.seed for one in together] == [3, 4, 5, 6, 7]
    (last,) = edit(whimsical(), TEXT, spans=[SPAN], seed=7)
    assert last.text == together[4].text


def rude(texts: Sequence[str]) -> list[float]:
    """0.6 for a bad word and more for each further one."""
    counts = [text.count("stupid") + text.count("bad") for text in texts]
    return [min(1.0, 0.3 * bool(count) + 0.3 * count) for count in counts]


def test_detox_prefers_a_fluent_rewrite_to_a_deletion() -> None:
    """A judge that loves cats: the rewrite beats the plain deletion, and both the source."""
    text = "the stupid dog sat"
    model = in_span(text, (4, 10), " cat")
    fluent = Judge(
        toxic=rude,
        meaning=lambda a, b: 1.0,
        fluent=lambda ts: [1.0 if "cat" in t else 0.5 for t in ts],
    )
    best, second, third = detox(model, text, fluent, n=3)
    assert [one.text for one in (best, second, third)] == ["the cat dog sat", "the dog sat", text]
    assert best.verdict.joint == 1.0
    assert best.verdict.clean
    assert third.verdict.toxicity == 0.6
    assert best.trace is not None
    assert second.trace is None
    (kept,) = detox(model, text, Judge(toxic=rude, fluent=lambda texts: [1.0] * len(texts)))
    assert kept.text == "the dog sat"  # by spelling, a deletion keeps more


def test_fluency_tells_rewrites_apart_when_the_source_is_unlikely() -> None:
    """A toxic source is unlikely, and still the likelier of two rewrites is the more fluent."""
    model = Model(denoiser=Expects(text="the cat sat on the mat"))
    source, good, worse = "the stupid stupid dog ran", "the cat sat on the mat", "the cat sat home"
    nothing = Judge(toxic=lambda texts: [0.0] * len(texts))
    pairs = [(source, source), (source, good), (source, worse)]
    same, best, second = (v.fluency for v in nothing.verdicts(model, pairs))
    assert same == 0.5 < second < best < 1


def test_fluency_charges_for_what_is_added() -> None:
    """Any token has 1 / V: p of k tokens is V^(−k / tokens of the source)."""
    model = Model(denoiser=lambda x_t, where, **_: torch.zeros(int(where.sum()), WORDS.size))
    judge = Judge(toxic=lambda texts: [0.0] * len(texts))
    source, *forms = texts = ["the stupid dog sat", "the dog sat", "the cat and the dog sat"]
    size, *sizes = [len(WORDS.encode(text)) + 1 for text in texts]
    found = [one.fluency for one in judge.verdicts(model, [(source, form) for form in forms])]
    exact = [1 / (1 + WORDS.size ** ((k - size) / size)) for k in sizes]
    assert found == pytest.approx(exact)
    assert found[0] > 0.5 > found[1]


def test_a_clean_text_costs_nothing() -> None:
    counter = Counter(Whim(size=WORDS.size))
    (one,) = detox(Model(denoiser=counter), "the dog sat", rude)
    assert (one.text, one.passes, counter.calls) == ("the dog sat", 0, 0)


def test_detox_never_makes_a_text_worse() -> None:
    """A model that writes more of the same, and a scorer that finds everything toxic."""
    model = in_span(TEXT, SPAN, " stupid")
    always = Judge(toxic=lambda texts: [0.9 + 0.01 * len(t.split()) / 100 for t in texts])
    (one,) = detox(model, TEXT, always, budget=1)
    assert one.verdict.joint >= (1 - 0.9) * 0.99 / 2
    (gone,) = detox(model, "stupid", rude)
    assert gone.text == "stupid"  # nothing at all keeps no meaning


def test_detox_goes_on_while_the_budget_lasts() -> None:
    """One word a round is allowed to change at most: two bad words need a budget of two."""
    text = "a stupid dog and a bad cat"
    nothing = told(0, "")
    assert detox(nothing, text, rude, budget=1)[0].text.count("stupid") == 0
    assert "bad" in detox(nothing, text, rude, budget=1)[0].text
    assert detox(nothing, text, rude, budget=2)[0].text == "a dog and a cat"


def test_several_texts_get_what_they_get_alone() -> None:
    texts = [TEXT, "the dog sat", "a bad cat and a stupid dog", ""]
    together = detox_each(whimsical(), texts, rude, proposals=3, seed=4)
    alone = [detox(whimsical(), text, rude, proposals=3, seed=4) for text in texts]
    assert [[one.text for one in found] for found in together] == [
        [one.text for one in found] for found in alone
    ]
    assert [found[0].passes for found in together] == [found[0].passes for found in alone]


def test_a_broken_scorer_is_named() -> None:
    for broken in (lambda texts: [], lambda texts: [float("nan")] * len(texts)):
        with pytest.raises(ModelError, match="one number for each of"):
            detox(whimsical(), TEXT, broken)
    with pytest.raises(UsageError, match="proposals"):
        detox(whimsical(), TEXT, rude, proposals=0)


def test_rewrite_takes_the_prompt_that_training_puts_before_the_answer() -> None:
    pair = PairRecord(prompt="the cat", completion=" the dog ran")
    example = encode(pair, WORDS, max_length=64)
    start = example.trained.index(True)
    model = told(start, " the dog ran")
    (one,) = rewrite(model, "the cat", length=8)
    assert one.text == "the dog ran"
    assert tuple(slot.id for slot in one.trace.slots[:start]) == example.ids[:start]

    turns = (
        Message(role="user", content="shorter\n\nthe cat"),
        Message(role="assistant", content="cat"),
    )
    example = encode(DialogueRecord(messages=turns), WORDS, max_length=64)
    start = example.trained.index(True)
    (one,) = rewrite(told(start, "cat"), "the cat", instruction="shorter", length=8)
    assert one.text == "cat"
    assert tuple(slot.id for slot in one.trace.slots[:start]) == example.ids[:start]

    asked = prompt_ids([Message(role="user", content="the cat")], WORDS)
    (one,) = rewrite(whimsical(metadata={"dialogues": True}), "the cat")
    assert tuple(slot.id for slot in one.trace.slots[: len(asked)]) == asked


def shortest(texts: Sequence[str]) -> list[float]:
    return [-float(len(text)) for text in texts]


def test_every_task_ranks_its_candidates() -> None:
    model = whimsical()
    options = {"n": 4, "rank": shortest}
    for found in (
        write(model, length=8, **options),
        fill(model, "the {4} sat", **options),
        edit(model, TEXT, spans=[SPAN], **options),
        fim(model, "the", "sat", length=4, **options),
        bridge(model, "the", "sat", length=4, **options),
        rewrite(model, TEXT, length=8, **options),
    ):
        lengths = [len(one.text) for one in found]
        assert lengths == sorted(lengths)
        assert len(found) == 4
        assert [one.score for one in found] == [-float(size) for size in lengths]
        assert sorted(one.seed for one in found) == [0, 1, 2, 3]
    lengths = [len(one.text) for one in complete(model, "the cat", length=8, **options)]
    assert lengths == sorted(lengths)
    assert best_first([], shortest) == []


def test_options_are_checked() -> None:
    for call in (
        lambda: edit(whimsical(), TEXT, n=0),
        lambda: edit(whimsical(), TEXT, batch_size=0),
        lambda: fim(whimsical(), "a", "b", n=0, length=4),
        lambda: fim(whimsical(), "a", "b", length=0),
        lambda: bridge(whimsical(), "a", "b", length=0),
        lambda: rewrite(whimsical(), "a", length=0),
    ):
        with pytest.raises(UsageError, match="expected"):
            call()


def test_banned_words_are_not_written() -> None:
    for one in edit(whimsical(), TEXT, spans=[SPAN], n=6, extra=8, ban=["cat", "the"]):
        new = "".join(s.text for s in one.segments if s.kind == "written")
        assert "cat" not in new
        assert "the" not in new
    assert without(TEXT, [SPAN]) == "the dog sat on the mat"
