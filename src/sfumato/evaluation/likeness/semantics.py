"""BERTScore: each token is matched with the most similar one of the other text.

Legend of shapes: `L` tokens of the text, `M` tokens of the reference, `D` width of the encoder.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from sfumato.evaluation.likeness.encodings import Encoder, Encoding
from sfumato.evaluation.likeness.references import References, listed
from sfumato.evaluation.records import Metric, mean_metric


def bert_score(
    texts: Sequence[str],
    references: References,
    encoder: Encoder,
    *,
    idf: bool = False,
    specials: bool = False,
    seed: int | None = None,
    reference: str | None = None,
) -> tuple[Metric, Metric, Metric]:
    """Precision, recall and F of BERTScore (Zhang et al. 2020, §3), means over texts.

    `bert_score_precision`, `bert_score_recall`, `bert_score_f1`: a token of one text counts
    with the cosine of its contextual state and the most similar one of the other text. Without
    rescaling by a baseline, so that even unlike texts score far above 0: put a floor beside it.
    Of several references the one with the highest F counts. A text without tokens has 0.

    Args:
        texts: texts to judge.
        references: for each text a reference or several.
        encoder: gives the states; its name and layer go into the record.
        idf: weigh each token by −log of the share of references that hold it (plus one).
        specials: let a token be matched with [CLS] and [SEP] too, as the package bert-score
            does; they have no weight of their own either way. That gives its figures, but for
            tokens unlike all others: in its batches padding stands in for them, with cosine 0.
        seed: seed that the texts were drawn with, for the record.
        reference: what the references are, for the record.

    Raises:
        UsageError: see `listed`.
    """
    wanted = listed(texts, references)
    weights = _idf(encoder, wanted) if idf else None
    triples = [(0.0, 0.0, 0.0)] * len(texts)
    for row, triple in _triples(texts, wanted, encoder, weights, specials):
        triples[row] = max(triples[row], triple, key=lambda scores: scores[2])
    record = partial(
        mean_metric,
        seed=seed,
        reference=reference,
        settings={
            "encoder": encoder.name,
            "layer": encoder.layer,
            "idf": idf,
            "specials": specials,
            "max_length": encoder.max_length,
        },
    )
    precision, recall, f1 = (list(column) for column in zip(*triples, strict=True))
    return (
        record("bert_score_precision", precision),
        record("bert_score_recall", recall),
        record("bert_score_f1", f1),
    )


def _triples(
    texts: Sequence[str],
    wanted: Sequence[Sequence[str]],
    encoder: Encoder,
    weights: Mapping[int, float] | None,
    specials: bool,
) -> Iterator[tuple[int, tuple[float, float, float]]]:
    """Row, and precision, recall and F against one of its references; alike lengths together."""
    pairs = [(row, one) for row, several in enumerate(wanted) for one in several]
    pairs.sort(key=lambda pair: len(texts[pair[0]]) + len(pair[1]))
    for start in range(0, len(pairs), encoder.batch_size):
        group = pairs[start : start + encoder.batch_size]
        left = encoder.encode([texts[row] for row, _ in group])
        right = encoder.encode([one for _, one in group])
        for (row, _), one, other in zip(group, left, right, strict=True):
            yield row, _scores(one, other, weights, specials)


def _scores(
    text: Encoding, reference: Encoding, weights: Mapping[int, float] | None, specials: bool
) -> tuple[float, float, float]:
    if bool(text.special.all()) or bool(reference.special.all()):
        return 0.0, 0.0, 0.0
    cosine = _unit(text.states) @ _unit(reference.states).T
    kept = [~one.special | specials for one in (text, reference)]
    best_of_text = cosine[:, kept[1]].amax(1)[~text.special]
    best_of_reference = cosine[kept[0]].amax(0)[~reference.special]
    precision = _mean(best_of_text, text, weights)
    recall = _mean(best_of_reference, reference, weights)
    whole = precision + recall
    return precision, recall, 2 * precision * recall / whole if whole > 0 else 0.0


def _unit(states: Tensor) -> Tensor:
    return torch.nn.functional.normalize(states, dim=-1)


def _mean(best: Tensor, one: Encoding, weights: Mapping[int, float] | None) -> float:
    """The mean over tokens that are not special, weighted; 0 if no token has any weight."""
    if weights is None:
        return float(best.mean())
    weight = best.new_tensor([weights.get(i, weights[-1]) for i in one.ids[~one.special].tolist()])
    return float((best * weight).sum() / weight.sum()) if float(weight.sum()) > 0 else 0.0


def _idf(encoder: Encoder, wanted: Sequence[Sequence[str]]) -> dict[int, float]:
    """log((M + 1)/(df + 1)) of each token over all M references; -1 stands for any other."""
    held: Counter[int] = Counter()
    documents = [one for several in wanted for one in several]
    for document in documents:
        ids = encoder.tokenizer(
            document, truncation=True, max_length=encoder.max_length, add_special_tokens=False
        )["input_ids"]
        held.update(set(ids))
    found = {token: math.log((len(documents) + 1) / (df + 1)) for token, df in held.items()}
    return {**found, -1: math.log(len(documents) + 1)}
