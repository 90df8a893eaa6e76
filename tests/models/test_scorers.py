"""Scorers from classifiers of transformers and from lists of words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, set_seed

from sfumato.errors import ModelError, UsageError
from sfumato.models.scorers import WordList, classifier, consensus, word_list
from sfumato.models.storage.folders import pretrained_tokenizer
from sfumato.protocols import Scorer
from sfumato.text.vocabulary import learn_vocabulary

WORDS = learn_vocabulary(["a good cat and a bad dog"], size=300)
TEXTS = ["a bad dog", "a good cat and a bad dog and a good cat", "", "bad " * 90]


def saved(folder: Path, kind: type = BertForSequenceClassification, **settings: object) -> Path:
    set_seed(0)
    config = BertConfig(
        vocab_size=WORDS.size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        pad_token_id=WORDS.pad,
        **settings,
    )
    network = kind(config)
    if hasattr(network, "classifier"):
        torch.nn.init.normal_(network.classifier.weight, std=2.0)
    network.save_pretrained(folder)
    pretrained_tokenizer(WORDS).save_pretrained(folder)
    return folder


LABELS = {"id2label": {0: "neutral", 1: "Toxic"}, "label2id": {"neutral": 0, "Toxic": 1}}


def test_a_classifier_gives_the_probability_of_its_label(tmp_path: Path) -> None:
    """Softmax by hand over the network's own logits, in the order of the texts."""
    folder = saved(tmp_path, **LABELS)
    toxic, neutral = classifier(folder, label="toxic"), classifier(str(folder), label="neutral")
    assert isinstance(toxic, Scorer)
    found = toxic(TEXTS)
    network = BertForSequenceClassification.from_pretrained(folder).eval()
    for text, score in zip(TEXTS, found, strict=True):
        encoded = pretrained_tokenizer(WORDS)(
            text, truncation=True, max_length=40, return_tensors="pt"
        )
        logits = network(**encoded).logits
        assert score == pytest.approx(logits.softmax(1)[0, 1].item(), abs=1e-5)
    assert neutral(TEXTS) == pytest.approx([1 - score for score in found], abs=1e-5)
    assert classifier(folder, label="1", batch_size=1)(TEXTS) == pytest.approx(found, abs=1e-5)
    assert len(set(found)) == len(found)
    assert toxic([]) == []


def test_labels_that_do_not_exclude_each_other_are_sigmoids(tmp_path: Path) -> None:
    folder = saved(tmp_path, problem_type="multi_label_classification", **LABELS)
    both = [classifier(folder, label=label)(TEXTS) for label in ("neutral", "toxic")]
    assert any(abs(one + two - 1) > 0.05 for one, two in zip(*both, strict=True))


def test_a_single_label_is_a_sigmoid(tmp_path: Path) -> None:
    folder = saved(tmp_path, id2label={0: "toxic"}, label2id={"toxic": 0})
    assert all(0 < score < 1 for score in classifier(folder, label="toxic")(TEXTS))


def test_what_cannot_score_says_why(tmp_path: Path) -> None:
    folder = saved(tmp_path / "clf", **LABELS)
    with pytest.raises(ModelError, match="no label 'rude'; its labels are neutral, Toxic"):
        classifier(folder, label="rude")
    with pytest.raises(ModelError, match="no weights for a classifier"):
        classifier(saved(tmp_path / "mlm", BertForMaskedLM), label="toxic")
    with pytest.raises(ModelError, match="no such folder"):
        classifier("/no/such/folder", label="toxic")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("a bad dog", 1 / 3),
        ("BAD, bad!", 1.0),
        ("badger", 0.0),
        ("go away", 1.0),
        ("go go away", 2 / 3),
        ("go, away", 1.0),
        ("go", 0.0),
        ("Ёж и ДУРАК", 1 / 3),
        ("笨猫", 0.5),
        ("ｂａｄ", 1.0),
        ("", 0.0),
        ("...", 0.0),
    ],
)
def test_a_word_list_counts_whole_words(text: str, share: float) -> None:
    scorer = WordList(phrases=("bad", "go away", "дурак", "笨"))
    assert isinstance(scorer, Scorer)
    assert scorer([text, text]) == [pytest.approx(share)] * 2


def test_an_empty_list_is_refused() -> None:
    for lines in ([], ["\n", "  "], ["..."]):
        with pytest.raises(UsageError, match="expected words"):
            word_list(lines)


def test_consensus_is_the_mean_f1_of_words_and_pairs() -> None:
    """ "a b c" and "a b d" share a, b and (a, b) of 5 grams each: 2·3/10; with "x y" nothing."""
    assert consensus(["a b c", "a b d", "x y"]) == pytest.approx([0.3, 0.3, 0.0])
    assert consensus(["A b.", "a, b"]) == [1.0, 1.0]
    assert consensus(["alone"]) == [0.0]
    assert consensus(["", ""]) == [0.0, 0.0]
    assert consensus([]) == []
