"""Featuriser, BERTScore and MAUVE on a real sentence encoder, and by hand."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5EncoderModel

from sfumato.errors import MissingExtraError, ModelError, UsageError
from sfumato.evaluation.likeness import distribution
from sfumato.evaluation.likeness.distribution import frontier_area, mauve, mauve_of_features
from sfumato.evaluation.likeness.encodings import Encoder, encoder
from sfumato.evaluation.likeness.semantics import bert_score
from sfumato.evaluation.records import difference

TEXTS = ["A cat sat on the mat.", "The weather is nice today, is it not?", "Мама мыла раму."]
REFERENCES = ["A kitten lay on a rug.", "It is sunny outside.", "Мама мыла окно."]


def test_a_text_is_the_mean_of_its_states(minilm: Encoder) -> None:
    """As by hand, one text at a time without padding; alike in a batch and in any order."""
    found = minilm(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        encoded = minilm.tokenizer([text], return_tensors="pt")
        with torch.inference_mode():
            states = minilm.network(**encoded).last_hidden_state[0]
        assert torch.allclose(row, states.mean(0), atol=1e-5)
    one_by_one = Encoder(**{**vars(minilm), "batch_size": 1})(TEXTS[::-1]).flip(0)
    assert torch.allclose(found, one_by_one, atol=1e-5)
    assert minilm.name == "model"


def test_a_layer_is_chosen(minilm: Encoder) -> None:
    folder = minilm.network.config.name_or_path
    third = encoder(folder, layer=3)
    assert not torch.allclose(third(TEXTS), minilm(TEXTS), atol=0.1)
    with pytest.raises(ModelError, match="no layer 7: expected 0, the embeddings, to 6"):
        encoder(folder, layer=7)


def test_the_encoder_of_an_encoder_decoder_is_taken(minilm: Encoder, tmp_path: Path) -> None:
    config = T5Config(
        vocab_size=minilm.network.config.vocab_size,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=2,
        num_heads=2,
    )
    T5EncoderModel(config).save_pretrained(tmp_path)
    minilm.tokenizer.save_pretrained(tmp_path)
    assert encoder(tmp_path)(TEXTS).shape == (3, 16)


def test_what_is_no_encoder_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        encoder(tmp_path)


def test_bert_score_by_brute_force(minilm: Encoder) -> None:
    """Greedy matching of the cosines of tokens that are not special, one by one."""
    found = bert_score(TEXTS, REFERENCES, minilm)
    for row in range(len(TEXTS)):
        left, right = minilm.encode([TEXTS[row]])[0], minilm.encode([REFERENCES[row]])[0]
        inner = [one.states[1:-1] for one in (left, right)]
        cosine = [[float(torch.cosine_similarity(a, b, dim=0)) for b in inner[1]] for a in inner[0]]
        precision = sum(max(cells) for cells in cosine) / len(cosine)
        recall = sum(max(cells) for cells in zip(*cosine, strict=True)) / len(cosine[0])
        f1 = 2 * precision * recall / (precision + recall)
        for metric, expected in zip(found, (precision, recall, f1), strict=True):
            assert metric.parts is not None
            assert metric.parts.columns[0][row] == pytest.approx(expected, abs=1e-5)


def test_bert_score_of_the_same_text_is_one(minilm: Encoder) -> None:
    assert [metric.value for metric in bert_score(TEXTS, TEXTS, minilm)] == pytest.approx([1.0] * 3)


def test_precision_is_the_recall_of_the_other_side(minilm: Encoder) -> None:
    there, back = bert_score(TEXTS, REFERENCES, minilm), bert_score(REFERENCES, TEXTS, minilm)
    assert there[0].value == pytest.approx(back[1].value)
    assert there[2].value == pytest.approx(back[2].value)


def test_options_of_bert_score_change_it_and_are_recorded(minilm: Encoder) -> None:
    plain = bert_score(TEXTS, REFERENCES, minilm)[2]
    for options in ({"idf": True}, {"specials": True}):
        other = bert_score(TEXTS, REFERENCES, minilm, **options)[2]
        assert other.value != plain.value
        with pytest.raises(UsageError, match="not comparable: setting"):
            difference(other, plain)
    assert plain.settings["encoder"] == "model"
    assert plain.settings["layer"] == 6


def test_the_best_reference_counts_and_an_empty_text_has_none(minilm: Encoder) -> None:
    several = [[REFERENCES[0], TEXTS[0]], REFERENCES[1]]
    found = bert_score([TEXTS[0], " "], several, minilm)
    assert found[2].parts is not None
    assert found[2].parts.columns[0] == pytest.approx([1.0, 0.0])


def test_the_frontier_in_closed_form() -> None:
    """Nothing in common: x = (1 − λ)^c, y = λ^c. With c = 1 a line from (0, 1) to (1, 0), half
    of the square; with c = 5 the area is 5·B(6, 5) = 1/252, which 25 mixtures approach."""
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    assert float(frontier_area(p, q, scaling=1.0)) == pytest.approx(0.5, abs=1e-5)
    assert float(frontier_area(p, q)) == pytest.approx(1 / 252, rel=0.05)
    assert float(frontier_area(p, p)) == pytest.approx(1.0, abs=1e-5)
    assert float(frontier_area(p, q)) == pytest.approx(float(frontier_area(q, p)), abs=1e-6)


def test_the_variance_is_the_jackknife_over_texts() -> None:
    """Each text of either set left out in turn, as Σ (n − 1)/n · Σ (θ₍ᵢ₎ − θ̄)²."""
    left, right = torch.tensor([4.0, 0.0, 3.0]).double(), torch.tensor([1.0, 5.0, 2.0]).double()
    value, variance = distribution._with_variance(left, right, 5.0)
    expected = 0.0
    for counts, fixed in ((left, right), (right, left)):
        n = int(counts.sum())
        areas = []
        for cluster, times in enumerate(counts.int().tolist()):
            less = counts - torch.eye(3).double()[cluster]
            if times:
                areas += [float(frontier_area(less / (n - 1), fixed / fixed.sum()))] * times
        mean = sum(areas) / n
        expected += (n - 1) / n * sum((area - mean) ** 2 for area in areas)
    assert value == pytest.approx(float(frontier_area(left / 7, right / 8)))
    assert variance == pytest.approx(expected, rel=1e-6)


def test_the_error_of_mauve_is_its_spread_over_fresh_texts() -> None:
    """40 pairs of samples of two Gaussians: the mean error against the standard deviation."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(40):
        left, right = (torch.randn(200, 8, generator=generator) for _ in range(2))
        found.append(mauve_of_features(left, right + 0.5, clusters=10, clusterings=2))
    values = torch.tensor([metric.value for metric in found])
    errors = [metric.stderr for metric in found if metric.stderr is not None]
    assert sum(errors) / 40 == pytest.approx(float(values.std()), rel=0.4)


def test_mauve_falls_with_the_distance() -> None:
    draws = torch.randn(400, 16, generator=torch.Generator().manual_seed(1))
    values = [
        mauve_of_features(draws[:200], draws[200:] + shift, clusterings=2).value
        for shift in (0.0, 0.3, 1.0)
    ]
    assert values[0] > 0.85
    assert values[0] > values[1] > values[2]


def test_mauve_of_texts_says_all_that_it_depends_on(minilm: Encoder) -> None:
    draws = random.Random(0)
    real = [" ".join(draws.choices(["cat", "dog", "sat", "ran", "home"], k=6)) for _ in range(40)]
    other = ["The stock market fell on " + draws.choice(["Monday", "Friday"]) for _ in range(30)]
    near = mauve(real[:20], real[20:], minilm, clusterings=2, reference="held out")
    far = mauve([*other[1:], ""], real, minilm, clusterings=2, reference="held out")
    assert near.value > 0.6 > 0.1 > far.value
    assert far.n == 30
    assert far.settings == {
        "others": 40,
        "clusters": 3,
        "scaling": 5.0,
        "clusterings": 2,
        "features": "model",
    }
    with pytest.raises(UsageError, match="n 30 against 20"):
        difference(far, near)


def test_options_of_mauve_have_an_effect() -> None:
    draws = torch.randn(120, 8, generator=torch.Generator().manual_seed(2))
    left, right = draws[:60], draws[60:] + 0.4
    usual = mauve_of_features(left, right)
    assert usual.settings["clusters"] == 6
    for changed in (
        mauve_of_features(left, right, clusters=12),
        mauve_of_features(left, right, scaling=1.0),
        mauve_of_features(left, right, clusterings=1),
        mauve_of_features(left, right, seed=9),
    ):
        assert changed.value != usual.value
    assert mauve_of_features(left, right) == usual


def test_copies_are_no_trouble() -> None:
    """A model that writes one text only leaves most clusters empty, without a warning."""
    ones = torch.ones(30, 4)
    assert mauve_of_features(ones, ones).value == pytest.approx(1.0, abs=1e-4)
    draws = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    found = mauve_of_features(ones, draws)
    assert found.value < 0.3
    assert math.isfinite(found.stderr or 0)


def test_mauve_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    for options in ({"clusters": 1}, {"clusters": 13}, {"clusterings": 0}, {"scaling": 0.0}):
        with pytest.raises(UsageError, match="mauve needs"):
            mauve_of_features(draws, draws, **options)
    with pytest.raises(UsageError, match="both sides, got 0 to judge and 1 others"):
        mauve([], ["a"], lambda texts: torch.ones(len(texts), 2))
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match=r"sfumato\[metrics\]"):
        mauve_of_features(draws, draws)
