from __future__ import annotations

import random
import sys
from collections.abc import Callable

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import MissingExtraError, UsageError
from sfumato.evaluation.likeness.overlap import alphanumeric, bleu, rouge, self_bleu
from sfumato.evaluation.likeness.references import fingerprint, listed
from sfumato.evaluation.likeness.simplification import sari
from sfumato.evaluation.records import Metric, difference
from sfumato.evaluation.resampling import pooled

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d."]), max_size=7).map(" ".join)
PAIRS = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=2, max_size=2)), min_size=1, max_size=5)
TEXT = "the cat sat on the mat"
REFERENCE = "the cat is on the mat"


def test_rouge_by_hand() -> None:
    """5 of 6 words, 3 of 5 bigrams (the-cat on-the the-mat), a longest subsequence of 5."""
    found = rouge([TEXT], [REFERENCE], seed=1, reference="r")
    assert [metric.name for metric in found] == ["rouge1", "rouge2", "rougeL"]
    assert [metric.value for metric in found] == pytest.approx([5 / 6, 3 / 5, 5 / 6])
    assert found[0].settings == {"tokens": "alphanumeric", "stemmer": False}
    assert (found[0].n, found[0].seed, found[0].reference) == (1, 1, "r")


def test_rouge_is_a_mean_over_texts_and_takes_the_best_reference() -> None:
    one, _, _ = rouge([TEXT, "dog"], [["a dog", REFERENCE], "cat"])
    assert one.value == pytest.approx((5 / 6 + 0) / 2)
    assert one.stderr == pytest.approx(5 / 12)


def test_rouge_keeps_cyrillic_unless_asked_otherwise() -> None:
    texts, references = ["Мама мыла раму"], ["Мама мыла окно, 2 раза"]
    assert rouge(texts, references)[0].value == pytest.approx(2 * 2 / (3 + 5))
    theirs = rouge(texts, references, tokens=None)[0]
    assert theirs.value == 0
    assert theirs.settings["tokens"] == "rouge_score"
    with pytest.raises(UsageError, match="setting tokens"):
        difference(theirs, rouge(texts, references)[0])


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_text_has_the_words_of_rouge_score(text: str) -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    assert alphanumeric(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)


def test_a_letter_is_one_however_it_is_written() -> None:
    """й as one code point and as и with a breve."""
    assert alphanumeric("мой") == alphanumeric("мо\u0438\u0306")


@settings(max_examples=60)
@given(PAIRS)
def test_bleu_is_that_of_sacrebleu(pairs: list[tuple[str, list[str]]]) -> None:
    """Two references a text; empty texts, orders without a match and short corpora included."""
    texts, references = [text for text, _ in pairs], [several for _, several in pairs]
    columns = [list(column) for column in zip(*references, strict=True)]
    expected = sacrebleu.corpus_bleu(texts, columns).score
    found = bleu(texts, references)
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.parts is not None
    assert pooled(found.parts) == found.value


def test_bleu_has_the_error_of_its_texts() -> None:
    """The jackknife, against the spread over fresh corpora of the same kind."""
    source = random.Random(0)

    def corpus() -> Metric:
        references = [" ".join(source.choices("abcdef", k=12)) for _ in range(60)]
        texts = [
            " ".join(
                word if source.random() < 0.7 else source.choice("abcdef") for word in r.split()
            )
            for r in references
        ]
        return bleu(texts, references, tokenizer="none")

    found = [corpus() for _ in range(40)]
    mean = sum(metric.value for metric in found) / 40
    spread = (sum((metric.value - mean) ** 2 for metric in found) / 39) ** 0.5
    assert found[0].settings["tokens"] == "none"
    errors = [metric.stderr for metric in found if metric.stderr is not None]
    assert sum(errors) / 40 == pytest.approx(spread, rel=0.3)


@settings(max_examples=40)
@given(st.lists(WORDS, min_size=2, max_size=6))
def test_self_bleu_by_brute_force(texts: list[str]) -> None:
    """Each text against all the others, by sacreBLEU itself."""
    scorer = sacrebleu.BLEU(effective_order=True)
    scores = [
        scorer.sentence_score(text, texts[:i] + texts[i + 1 :]).score
        for i, text in enumerate(texts)
    ]
    assert self_bleu(texts).value == pytest.approx(sum(scores) / len(scores), abs=1e-9)


def test_texts_that_repeat_each_other_have_a_high_self_bleu() -> None:
    same = self_bleu([TEXT] * 4, seed=2)
    assert same.value == pytest.approx(100)
    assert same.seed == 2
    assert self_bleu([TEXT, "a dog ran off at dawn"]).value < 10


def test_sari_by_hand() -> None:
    """Source "a b", text "a c", references "a c" and "a b"; orders 3 and 4 have nothing.

    Added: c, a-c of c, a-c: P = R = (1 + 1 + 0 + 0)/4. Kept: a of a, and of b the references
    keep a half: P = (1 + 0)/4, R = (1/1.5 + 0)/4, F = 0.2. Deleted: b and a-b, of which the
    references delete a half: P = (0.5 + 0.5)/4.
    As EASSE: F of orders 1, 2: added 1, 1; kept 0.8, 0; deleted 2/3, 2/3.
    """
    found = sari(["a b"], ["a c"], [["a c", "a b"]], seed=4, reference="r")
    assert found.value == pytest.approx(100 * (0.5 + 0.2 + 0.25) / 3)
    assert (found.name, found.seed, found.reference, found.stderr) == ("sari", 4, "r", None)
    easse = sari(["a b"], ["a c"], [["a c", "a b"]], easse=True)
    assert easse.value == pytest.approx(100 * (0.5 + 0.2 + 1 / 3) / 3)
    with pytest.raises(UsageError, match="setting easse"):
        difference(found, easse)


def test_sari_rewards_the_reference_most() -> None:
    source = "He was formerly married to her in the small town."
    wanted = "He was once her husband in the small town."
    values = [sari([source], [text], [wanted]).value for text in (wanted, source, "A dog ran.")]
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("measure", [bleu, lambda t, r: rouge(t, r)[0], self_bleu])
def test_values_at_different_n_are_not_compared(measure: Callable[..., Metric]) -> None:
    few, many = [TEXT] * 3, [TEXT] * 5
    arguments = ((few,), (many,)) if measure is self_bleu else ((few, few), (many, many))
    with pytest.raises(UsageError, match="n 5 against 3"):
        difference(measure(*arguments[1]), measure(*arguments[0]))


def test_texts_and_references_go_together() -> None:
    with pytest.raises(UsageError, match="2 texts and 1 entries"):
        rouge(["a", "b"], ["a"])
    with pytest.raises(UsageError, match="0 texts"):
        bleu([], [])
    with pytest.raises(UsageError, match="text 1 has no reference"):
        listed(["a", "b"], ["a", []])
    with pytest.raises(UsageError, match="one source a text, got 1 for 2"):
        sari(["a"], ["a", "b"], ["a", "b"])
    with pytest.raises(UsageError, match="at least two texts"):
        self_bleu(["a"])
    with pytest.raises(UsageError, match="no tokenizer 'latin'; known are"):
        bleu(["a"], ["a"], tokenizer="latin")


def test_a_fingerprint_is_of_what_is_said() -> None:
    assert fingerprint(["a", "b"]) != fingerprint(["ab"])
    assert fingerprint(["a"], ["b"]) != fingerprint(["b"], ["a"])
    assert fingerprint("\ud800") != fingerprint("?")


@pytest.mark.parametrize(
    ("module", "package", "call"),
    [
        ("rouge_score.rouge_scorer", "rouge-score", lambda: rouge(["a"], ["a"])),
        ("sacrebleu.metrics.bleu", "sacrebleu", lambda: bleu(["a"], ["a"])),
        ("sacrebleu.metrics.bleu", "sacrebleu", lambda: self_bleu(["a", "b"])),
        ("sacrebleu.metrics.bleu", "sacrebleu", lambda: sari(["a"], ["a"], ["a"])),
    ],
)
def test_without_the_extra_the_error_names_it(
    module: str, package: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*sfumato\[metrics\]"):
        call()
