"""Overlap of words: BLEU by sacreBLEU, ROUGE by rouge-score, self-BLEU.

Both packages come with the extra `metrics`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfumato.errors import MissingExtraError, UsageError
from sfumato.evaluation.likeness.references import References, listed
from sfumato.evaluation.records import Metric, Parts, mean_metric
from sfumato.evaluation.resampling import jackknife, pooled

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

_ALPHANUMERIC = re.compile(r"[^\W_]+")
_ORDER = 4
_ROUGE = ("rouge1", "rouge2", "rougeL")


def alphanumeric(text: str) -> list[str]:
    """Stretches of letters and digits of any script, in lower case.

    On ASCII text these are the tokens of rouge-score, which drops all other letters.

    Example:
        >>> alphanumeric("Мама мыла раму, 2 раза.")
        ['мама', 'мыла', 'раму', '2', 'раза']
    """
    return _ALPHANUMERIC.findall(unicodedata.normalize("NFC", text).lower())


@dataclass(frozen=True, kw_only=True)
class _Tokenizer:
    """A function as rouge-score wants its tokenizer."""

    tokens: Callable[[str], list[str]]

    def tokenize(self, text: str) -> list[str]:
        return self.tokens(text)


def rouge(
    texts: Sequence[str],
    references: References,
    *,
    tokens: Callable[[str], list[str]] | None = alphanumeric,
    seed: int | None = None,
    reference: str | None = None,
) -> tuple[Metric, Metric, Metric]:
    """F of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), a mean over texts in 0 … 1.

    `rouge1`, `rouge2`, `rougeL` by the package rouge-score, without a stemmer. Of several
    references the best counts, for each of the three on its own. An empty text has 0.

    Args:
        texts: texts to judge.
        references: for each text a reference or several.
        tokens: what a word is; None takes rouge-score's own words, which are of the letters a–z
            and digits only and leave nothing of Cyrillic text.
        seed: seed that the texts were drawn with, for the record.
        reference: what the references are, for the record.

    Raises:
        MissingExtraError: rouge-score is not installed.
        UsageError: see `listed`.

    Example:
        >>> found = rouge(["the cat sat"], ["the cat sat down"])  # P = 3/3, R = 3/4; 2/2, 2/3
        >>> [round(metric.value, 4) for metric in found]
        [0.8571, 0.8, 0.8571]
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError("rouge-score", "metrics") from error
    wanted = listed(texts, references)
    tokenizer = None if tokens is None else _Tokenizer(tokens=tokens)
    scorer = RougeScorer(list(_ROUGE), use_stemmer=False, tokenizer=tokenizer)
    found = [scorer.score_multi(r, text) for text, r in zip(texts, wanted, strict=True)]
    name = "rouge_score" if tokens is None else tokens.__name__
    one, two, longest = (
        mean_metric(
            kind,
            [float(scores[kind].fmeasure) for scores in found],
            seed=seed,
            reference=reference,
            settings={"tokens": name, "stemmer": False},
        )
        for kind in _ROUGE
    )
    return one, two, longest


def bleu(
    texts: Sequence[str],
    references: References,
    *,
    tokenizer: str = "13a",
    seed: int | None = None,
    reference: str | None = None,
) -> Metric:
    """BLEU-4 of the corpus in points, 0 … 100, by sacreBLEU (Papineni et al. 2002; Post 2018).

    With case, `exp` smoothing. The standard error is the jackknife's, over texts.

    Args:
        texts: texts to judge.
        references: for each text a reference or several.
        tokenizer: sacreBLEU's name of it: 13a, intl, char, zh, none …
        seed: seed that the texts were drawn with, for the record.
        reference: what the references are, for the record.

    Raises:
        MissingExtraError: sacrebleu is not installed.
        UsageError: no such tokenizer, or see `listed`.

    Example:
        >>> found = bleu(["the cat sat on the mat"], ["the cat sat on the red mat"])
        >>> round(found.value, 2)  # (6/6 · 4/5 · 3/4 · 2/3)^¼ · exp(1 − 7/6)
        67.32
    """
    wanted = listed(texts, references)
    scorer = _scorer(tokenizer)
    rows = []
    for text, several in zip(texts, wanted, strict=True):
        score = scorer.sentence_score(text, several)
        rows.append((*score.counts, *score.totals, score.sys_len, score.ref_len))
    parts = Parts(pool="bleu", columns=tuple(zip(*rows, strict=True)))
    return Metric(
        name="bleu",
        value=pooled(parts),
        n=len(texts),
        seed=seed,
        reference=reference,
        settings={"tokens": tokenizer, "smoothing": "exp"},
        stderr=jackknife(parts),
        parts=parts,
    )


def self_bleu(
    texts: Sequence[str],
    *,
    tokenizer: str = "13a",
    seed: int | None = None,
    reference: str | None = None,
) -> Metric:
    """How like the texts are to each other, `self_bleu` in points, 0 … 100; low is diverse.

    BLEU-4 of each text against all the others as its references, averaged (Zhu et al. 2018,
    Texygen), with sacreBLEU's words, formula and `exp` smoothing. It grows with the
    number of texts. The standard error takes the texts' values as independent, which they are
    not quite, since every text is a reference of the others. Time is linear in the texts.

    Args:
        texts: at least two.
        tokenizer: sacreBLEU's name of it.
        seed: seed that the texts were drawn with, for the record.
        reference: what the texts are, for the record.

    Raises:
        MissingExtraError: sacrebleu is not installed.
        UsageError: fewer than two texts, or no such tokenizer.

    Example:
        >>> round(self_bleu(["a b c d e", "a b c d e", "v w x y z"]).value, 2)  # 100, 100 and 0
        66.67
    """
    if len(texts) < 2:
        raise UsageError(f"self_bleu needs at least two texts, got {len(texts)}")
    scorer = _scorer(tokenizer)
    split = [scorer.tokenizer(text.rstrip()).split() for text in texts]
    counts = [_grams(words) for words in split]
    first, second = _two_highest(counts)
    lengths = sorted(map(len, split))
    values = []
    for words, count in zip(split, counts, strict=True):
        matches, totals = [0] * _ORDER, [0] * _ORDER
        for gram, times in count.items():
            # The most that another text has: the second most, if this text has the most.
            others = second[gram] if times == first[gram] else first[gram]
            matches[len(gram) - 1] += min(times, others)
            totals[len(gram) - 1] += times
        score = scorer.compute_bleu(
            correct=matches,
            total=totals,
            sys_len=len(words),
            ref_len=_closest(lengths, len(words)),
            smooth_method="exp",
            effective_order=True,
        )
        values.append(float(score.score))
    return mean_metric(
        "self_bleu",
        values,
        seed=seed,
        reference=reference,
        settings={"tokens": tokenizer, "smoothing": "exp"},
    )


def _scorer(tokenizer: str) -> BLEU:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "metrics") from error
    if tokenizer not in BLEU.TOKENIZERS:
        known = ", ".join(BLEU.TOKENIZERS)
        raise UsageError(f"sacreBLEU has no tokenizer {tokenizer!r}; known are {known}")
    return BLEU(tokenize=tokenizer, effective_order=True)


def _grams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """How often each n-gram of orders 1 … 4 occurs."""
    found: Counter[tuple[str, ...]] = Counter()
    for order in range(1, _ORDER + 1):
        found.update(zip(*(words[shift:] for shift in range(order)), strict=False))
    return found


def _two_highest(
    counts: Sequence[Counter[tuple[str, ...]]],
) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    """Of each n-gram the highest count in a text, and the highest in another text."""
    first: Counter[tuple[str, ...]] = Counter()
    second: Counter[tuple[str, ...]] = Counter()
    for count in counts:
        for gram, times in count.items():
            if times > first[gram]:
                first[gram], second[gram] = times, first[gram]
            elif times > second[gram]:
                second[gram] = times
    return first, second


def _closest(lengths: Sequence[int], length: int) -> int:
    """The length nearest to a text's among the other texts, the shorter of two as near."""
    place = bisect_left(lengths, length)
    others = [*lengths[max(0, place - 1) : place], *lengths[place + 1 : place + 2]]
    return min(others, key=lambda other: (abs(other - length), other))
