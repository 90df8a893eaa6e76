"""SARI: a rewritten text by what it added, kept and deleted of its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from sfumato.errors import MissingExtraError, UsageError
from sfumato.evaluation.likeness.references import References, listed
from sfumato.evaluation.records import Metric, Number, Parts
from sfumato.evaluation.resampling import jackknife, pooled

_ORDERS = (1, 2, 3, 4)
Gram = tuple[str, ...]
Counts = tuple[Number, Number, Number]


def sari(
    sources: Sequence[str],
    texts: Sequence[str],
    references: References,
    *,
    easse: bool = False,
    seed: int | None = None,
    reference: str | None = None,
) -> Metric:
    """SARI of the corpus in points, 0 … 100 (Xu et al. 2016).

    (F_add + F_keep + P_del) / 3, where the precision and the recall of an operation are means
    over the orders 1 … 4 of n-grams. An n-gram that some of R references keep counts as its
    share of them; added n-grams count once. Counts are summed over the texts, nothing out of
    nothing is 0. Words are sacreBLEU's 13a, in lower case.

    Args:
        sources: what was rewritten.
        texts: texts to judge.
        references: for each text a reference or several.
        easse: average F over the orders, instead of precision and recall, and take F for
            deletions too: what EASSE (Alva-Manchego et al. 2019) reports unless told otherwise.
        seed: seed that the texts were drawn with, for the record.
        reference: what sources and references are, for the record.

    Raises:
        MissingExtraError: sacrebleu is not installed.
        UsageError: another number of sources than texts, or see `listed`.

    Example:
        >>> found = sari(["a b c"], ["a b"], ["a b"])  # nothing was to be added
        >>> round(found.value, 2)  # keep: orders 1, 2 of 4; delete: orders 1, 2, 3 of 4
        41.67
    """
    wanted = listed(texts, references)
    if len(sources) != len(texts):
        raise UsageError(f"SARI needs one source a text, got {len(sources)} for {len(texts)} texts")
    words = _words()
    rows = [
        _row(words(source), words(text), [words(r) for r in several])
        for source, text, several in zip(sources, texts, wanted, strict=True)
    ]
    parts = Parts(pool="sari_easse" if easse else "sari", columns=tuple(zip(*rows, strict=True)))
    return Metric(
        name="sari",
        value=pooled(parts),
        n=len(texts),
        seed=seed,
        reference=reference,
        settings={"tokens": "13a", "easse": easse},
        stderr=jackknife(parts),
        parts=parts,
    )


def _words() -> Callable[[str], list[str]]:
    """Lower-case words of a text, by sacreBLEU."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "metrics") from error
    tokenizer = BLEU(tokenize="13a").tokenizer
    return lambda text: str(tokenizer(text.lower())).split()


def _row(source: list[str], text: list[str], references: list[list[str]]) -> tuple[Number, ...]:
    """Added, kept, deleted × orders × (right ones, the text's, the references')."""
    added: list[Number] = []
    kept: list[Number] = []
    deleted: list[Number] = []
    for order in _ORDERS:
        before, after = _grams(source, order), _grams(text, order)
        wanted: dict[Gram, float] = {}
        for several in references:
            for gram, times in _grams(several, order).items():
                wanted[gram] = wanted.get(gram, 0) + times / len(references)
        added += _added(before, after, wanted)
        kept += _kept(before, after, wanted)
        deleted += _deleted(before, after, wanted)
    return (*added, *kept, *deleted)


def _grams(words: Sequence[str], order: int) -> Counter[Gram]:
    return Counter(zip(*(words[shift:] for shift in range(order)), strict=False))


def _added(before: Counter[Gram], after: Counter[Gram], wanted: Mapping[Gram, float]) -> Counts:
    """n-grams that the source lacks; each counts once."""
    new, to_add = after.keys() - before.keys(), wanted.keys() - before.keys()
    return len(new & to_add), len(new), len(to_add)


def _kept(before: Counter[Gram], after: Counter[Gram], wanted: Mapping[Gram, float]) -> Counts:
    """What is left of the source's n-grams, against what the references leave."""
    kept = {gram: min(times, after[gram]) for gram, times in before.items()}
    to_keep = {gram: min(times, wanted.get(gram, 0)) for gram, times in before.items()}
    good = sum(min(times, to_keep[gram]) for gram, times in kept.items())
    return good, sum(kept.values()), sum(to_keep.values())


def _deleted(before: Counter[Gram], after: Counter[Gram], wanted: Mapping[Gram, float]) -> Counts:
    """What is gone of the source's n-grams, against what goes in the references."""
    gone = {gram: max(times - after[gram], 0) for gram, times in before.items()}
    to_go = {gram: max(times - wanted.get(gram, 0), 0) for gram, times in before.items()}
    good = sum(min(times, to_go[gram]) for gram, times in gone.items())
    return good, sum(gone.values()), sum(to_go.values())
