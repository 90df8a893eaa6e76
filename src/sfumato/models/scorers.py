"""Scorers from text classifiers of transformers, from lists of words, from other candidates.

    texts ──► tokenizer ──► …ForSequenceClassification ──► probability of one label

Legend of shapes: `B` batch, `C` labels.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sfumato.errors import ModelError, UsageError
from sfumato.models.storage import folders
from sfumato.text.words import word_spans

_LONGEST = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A text classifier as a scorer: the probability of one label.

    Attributes:
        network: a `…ForSequenceClassification` model, in evaluation mode.
        tokenizer: its tokenizer.
        column: number of the label.
        independent: each label is a question of its own (sigmoid), not one of several (softmax).
        max_length: tokens read of a text; the rest is cut.
        batch_size: texts judged side by side.
    """

    network: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    column: int
    independent: bool
    max_length: int
    batch_size: int = 32

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One probability a text; texts of similar length share a batch."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = [0.0] * len(texts)
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            scores = self._probabilities([texts[i] for i in rows])[:, self.column].tolist()
            for row, score in zip(rows, scores, strict=True):
                found[row] = score
        return found

    @torch.inference_mode()
    def _probabilities(self, texts: list[str]) -> Float[Tensor, "B C"]:
        encoded = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        logits: Tensor = self.network(**encoded.to(self.network.device)).logits.float()
        return logits.sigmoid() if self.independent else logits.softmax(1)


def classifier(
    name: str | Path,
    *,
    label: str,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Opens a text classifier of transformers as a scorer. No code of the checkpoint is run.

    Labels of a multi-label classifier, and a single label, are scored by a sigmoid; labels that
    exclude each other by a softmax.

    Args:
        name: folder or hub name.
        label: the label whose probability is the score, by its name or its number.
        batch_size: texts judged side by side.
        device: where the weights go, as float32.

    Raises:
        ModelError: there is no such checkpoint, it is no classifier or broken, or it has no such
            label.

    Example:
        >>> classifier("/no/such/folder", label="toxic")
        Traceback (most recent call last):
        sfumato.errors.ModelError: /no/such/folder: there is no such folder; ...
    """
    folder = folders.locate(name)
    folders.read_config(folder)
    tokenizer = folders.read_tokenizer(folder)
    opened = folders.read_network(folder, kind=AutoModelForSequenceClassification)
    if opened.missing:
        raise ModelError(
            f"{name} has no weights for a classifier ({', '.join(opened.missing[:3])} …): expected "
            "a …ForSequenceClassification checkpoint, fine-tuned for the labels that you want"
        )
    config = opened.network.config
    kind = getattr(config, "problem_type", None)
    opened.network.to(torch.device(device))  # type: ignore[arg-type]
    labels = {int(number): text for number, text in (config.id2label or {}).items()}
    return Classifier(
        network=opened.network,
        tokenizer=tokenizer,
        column=_column(str(name), label, labels),
        independent=kind == "multi_label_classification" or config.num_labels == 1,
        max_length=room(opened.network, tokenizer),
        batch_size=batch_size,
    )


def room(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The most tokens that a network of transformers reads.

    Args:
        network: the network.
        tokenizer: its tokenizer, which may know a lower bound.
    """
    config = network.config
    positions = getattr(config, "max_position_embeddings", None) or _LONGEST
    # RoBERTa counts positions from its padding token on, so two of them are never used.
    usable = positions - 2 if config.model_type in ("roberta", "xlm-roberta") else positions
    return min(usable, tokenizer.model_max_length)


def _column(name: str, label: str, labels: Mapping[int, str]) -> int:
    """The number of a label, by its name or number."""
    numbers = {text.casefold(): int(number) for number, text in labels.items()}
    wanted = label.strip().casefold()
    if wanted not in numbers and wanted.isdecimal() and int(wanted) in numbers.values():
        return int(wanted)
    if wanted not in numbers:
        known = ", ".join(labels[number] for number in sorted(labels))
        raise ModelError(f"{name} has no label {label!r}; its labels are {known}")
    return numbers[wanted]


@dataclass(frozen=True, kw_only=True)
class WordList:
    """A scorer: the share of a text's words that are on a list, or in a phrase on it.

    Words match whole and without regard to case, in any script; forms of a word are words of
    their own.

    Attributes:
        phrases: words, or phrases of several words.

    Raises:
        UsageError: no phrase holds a word.

    Example:
        >>> WordList(phrases=("bad", "Go away"))(["Bad Badger, go AWAY!", "hello"])
        [0.75, 0.0]
    """

    phrases: tuple[str, ...]
    _known: Mapping[str, list[tuple[str, ...]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known: dict[str, list[tuple[str, ...]]] = {}
        for phrase in dict.fromkeys(map(_words, self.phrases)):
            if phrase:
                known.setdefault(phrase[0], []).append(phrase)
        if not known:
            raise UsageError(f"expected words to look for, got {list(self.phrases)[:3]}")
        object.__setattr__(self, "_known", known)

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One share a text, 0 for a text without words."""
        return [self._share(_words(text)) for text in texts]

    def _share(self, words: tuple[str, ...]) -> float:
        listed = [False] * len(words)
        for start, word in enumerate(words):
            for phrase in self._known.get(word, ()):
                if words[start : start + len(phrase)] == phrase:
                    listed[start : start + len(phrase)] = [True] * len(phrase)
        return sum(listed) / max(1, len(words))


def word_list(lines: Iterable[str]) -> WordList:
    r"""A word-list scorer from lines, one word or phrase each; empty lines do not count.

    Example:
        >>> word_list(["bad\n", "\n"]).phrases
        ('bad',)
    """
    return WordList(phrases=tuple(filter(None, map(str.strip, lines))))


def _words(text: str) -> tuple[str, ...]:
    """The words of a text in the form in which they are compared."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return tuple(plain[start:stop] for start, stop in word_spans(plain))


def consensus(texts: Sequence[str]) -> list[float]:
    """How much of each text the others say too: the mean F1 of shared words and pairs of words.

    The candidate with the highest score has the least expected risk under that similarity if the
    others are draws from the model (minimum Bayes risk; Eikema and Aziz, arXiv 2108.04718).

    Args:
        texts: candidates for one prompt; a single one scores 0.

    Example:
        >>> scores = consensus(["a red cat", "a red dog", "it rains"])
        >>> scores.index(max(scores)), scores[2]
        (0, 0.0)
    """
    bags = [_bag(_words(text)) for text in texts]
    found = []
    for place, bag in enumerate(bags):
        others = bags[:place] + bags[place + 1 :]
        alike = [2 * (bag & o).total() / max(1, bag.total() + o.total()) for o in others]
        found.append(sum(alike) / max(1, len(alike)))
    return found


def _bag(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Words and pairs of neighbours."""
    return Counter((word,) for word in words) + Counter(pairwise(words))
