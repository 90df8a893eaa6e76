"""Edits, rewrites, middles and bridges, with models that say what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sampling.fakes import Counter, Whim
from tests.text import vocabularies
from tests.text.test_words import TEXTS
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Denoiser, Process
from sfumato.sampling.tasks import (
    Attribution,
    Judge,
    PseudoLikelihood,
    Surprise,
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
from sfumato.sampling.tasks.between import trimmed
from sfumato.sampling.tasks.choosing import allowed, choose_spans
from sfumato.text.batching import encode, prompt_ids
from sfumato.text.dialogue import Message
from sfumato.text.records import DialogueRecord, PairRecord
from sfumato.text.spans import cut, merge_spans, open_spans, spans_of, without
from sfumato.text.template import lay_fill
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary
from sfumato.text.words import word_spans

WORDS = learn_vocabulary(["the cat sat on the mat and the stupid dog ran home"] * 4, size=330)


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    denoiser: Denoiser
    vocabulary: Vocabulary = WORDS
    process: Process = field(default_factory=lambda: MaskedProcess(mask=WORDS.mask))
    metadata: Mapping[str, object] = field(default_factory=dict)


def whimsical(words: Vocabulary = WORDS, **more: object) -> Model:
    process = MaskedProcess(mask=words.mask)
    return Model(denoiser=Whim(size=words.size), vocabulary=words, process=process, **more)


@dataclass(frozen=True, kw_only=True)
class Told:
    """Believes that each position holds a given id, and nothing where it was told nothing."""

    ids: Mapping[int, int]

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        places = where.nonzero()[:, 1].tolist()
        logits = torch.zeros(len(places), WORDS.size)
        for row, position in enumerate(places):
            logits[row, self.ids.get(position, WORDS.pad)] = 40.0
        return logits


def told(start: int, text: str) -> Model:
    """A model that writes a text from a position on, and nothing after it."""
    return Model(denoiser=Told(ids=dict(enumerate(WORDS.encode(text), start))))


def in_span(text: str, span: tuple[int, int], written: str, extra: int = 2) -> Model:
    """A model that writes into the first span of an opened text."""
    return told(open_spans(text, [span], WORDS, extra=extra).fill.holes[0][0], written)


TEXT = "the stupid dog sat on the mat"
SPAN = spans_of(TEXT, "stupid")[0]


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


@given(case=spanned(), extra=st.integers(1, 4), name=st.sampled_from(sorted(vocabularies.SMALL)))
@settings(max_examples=40)
def test_edit_keeps_what_is_outside_its_spans(
    case: tuple[str, list[tuple[int, int]]], extra: int, name: str
) -> None:
    """Any text, any spans, any vocabulary, and a model that writes anything."""
    text, spans = case
    for one in edit(whimsical(vocabularies.SMALL[name]()), text, spans=spans, extra=extra, n=2):
        assert loses_only_joining_spaces(cut(text, merge_spans(text, spans)), one.text)
        assert "".join(s.text for s in one.segments if s.kind != "written") == text


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


@dataclass(frozen=True, kw_only=True)
class Expects:
    """Gives a token at a position the probability 0.9 if it stands in a text, else little."""

    text: str

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        ids = torch.tensor([WORDS.bos, *WORDS.encode(self.text), WORDS.eos])
        share = torch.full((int(where.sum()), WORDS.size), 0.1 / (WORDS.size - 1))
        places = where.nonzero()[:, 1].clamp(max=len(ids) - 1)
        return share.scatter(1, ids[places][:, None], 0.9).log()


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
    nats = PseudoLikelihood(model=model)([source, good])
    share = torch.tensor(nats).exp()
    assert best == pytest.approx(float(share[1] / share.sum()))


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


@pytest.mark.parametrize(
    ("prefix", "middle", "suffix", "left"),
    [
        ("f(", "(x)", ")", "(x)"),
        ("the mat ", "the mat", " the mat", "the mat"),
        ("on the warm mat", " and on the", " on the warm mat", " and on the"),
        ("sat on the mat", " sat on the mat and", " ran", " and"),
        ("a", " b sat on the", " sat on the mat", " b"),
        ("x\n", "    return value\n", "    return value\nend", ""),
        ("", "", "", ""),
    ],
)
def test_overlap_is_trimmed_only_where_it_tells(
    prefix: str, middle: str, suffix: str, left: str
) -> None:
    assert trimmed(prefix, middle, suffix) == left


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
