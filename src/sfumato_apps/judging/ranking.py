"""The walk of `sfumato rank`: candidates to scores, scores to rankings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sfumato.alignment.rankings.formats import prompt_of, row_of, trl_labels, trl_pairs
from sfumato.alignment.rankings.ranking import Ranking, Strategy
from sfumato.alignment.rankings.sets import RankedRecord
from sfumato.alignment.scoring.learnt import learnt
from sfumato.alignment.scoring.rewards import Fluency, Length, Pattern, Weighted, valences
from sfumato.errors import DataError, UnusableError, UsageError
from sfumato.models.scorers import classifier
from sfumato.protocols import Scorer
from sfumato.text.files import Row, rows
from sfumato_apps.choices import listed_words
from sfumato_apps.notes import Notes


@dataclass(frozen=True, kw_only=True)
class RankPlan:
    """The options of a run; what each means stands at `recipes.rank`."""

    data: list[str]
    by: list[str]
    out: Path
    chosen: float | None
    rejected: float | None
    gap: float
    overlap: float
    most: int | None
    form: str
    pairs: Strategy


def follow(plan: RankPlan) -> None:
    """Walks from candidates to rankings.

    Raises:
        UsageError: a reward of no known form, or options that do not go together.
        DataError: a row without candidates, or none that can be ranked.
    """
    notes = Notes()
    if plan.most is not None and plan.most < 2:
        raise UsageError(f"expected --most ≥ 2, got {plan.most}")
    ranking = Ranking(
        chosen=plan.chosen, rejected=plan.rejected, gap=plan.gap, overlap=plan.overlap
    )
    reward = reward_of(plan.by)
    found = [
        _candidates(load(), origin)
        for origin, load in chain.from_iterable(rows(path) for path in plan.data)
    ]
    texts = [text for _, completions, _ in found for text in completions]
    scores = iter(reward(texts))
    records: list[RankedRecord] = []
    for prompt, completions, origin in found:
        own = [next(scores) for _ in completions]
        try:
            records.append(shortened(ranking.of(prompt, completions, own, origin), plan.most))
        except UnusableError as error:
            notes.skip(error)
    notes.sum_up()
    if not records:
        raise DataError(f"{plan.data[0]}: no candidates could be ranked; see what was skipped")
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(records, plan)]
    plan.out.write_text("".join(lines), encoding="utf-8")
    sizes = Counter(len(record.completions) for record in records)
    of = ", ".join(f"{count} of {size}" for size, count in sorted(sizes.items()))
    mean = sum(map(sum, (record.scores or () for record in records))) / len(texts)
    notes.say(f"{plan.out}: {len(records)} rankings ({of} texts), mean score {mean:.3g}")


def reward_of(names: Sequence[str]) -> Scorer:
    """The sum of rewards by their names on the command line.

    Raises:
        UsageError: a name of no known form.
        DataError: a file that cannot be read.
    """
    parts = []
    for name in names:
        weight, star, rest = name.partition("*")
        weighted = star and ":" not in weight  # a star further on belongs to a pattern
        try:
            parts.append((float(weight), _reward(rest)) if weighted else (1.0, _reward(name)))
        except ValueError as error:
            raise UsageError(f"{name!r}: expected a number before the star") from error
    return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else Weighted(parts=tuple(parts))


def _reward(name: str) -> Scorer:
    kind, _, rest = name.partition(":")
    if kind == "less":
        return Weighted(parts=((-1.0, _reward(rest)),))
    if kind in _KINDS:
        return _KINDS[kind](rest)
    if name.endswith(".txt"):
        return listed_words(Path(name))
    folder, at, label = name.rpartition("@")
    if at and folder:
        return classifier(folder, label=label)
    raise UsageError(
        f"{name!r} names no reward: expected FOLDER@LABEL, a word list FILE.txt, valence:FILE, "
        "pattern:REGEX, length:N, fluency:FOLDER or reward:FOLDER, perhaps with less: or a weight "
        "and * before it"
    )


def _length(words: str) -> Scorer:
    if not words.isdecimal():
        raise UsageError(f"length:{words}: expected a number of words")
    return Length(best=int(words))


def _valence(path: str) -> Scorer:
    try:
        return valences(Path(path).read_text(encoding="utf-8").splitlines(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a file of words and valences: {error}") from error


_KINDS: Mapping[str, Callable[[str], Scorer]] = MappingProxyType(
    {
        "length": _length,
        "valence": _valence,
        "pattern": lambda expression: Pattern(expression=expression),
        "fluency": lambda folder: Fluency(model=folder),
        "reward": learnt,
    }
)


def _candidates(row: Row, origin: str) -> tuple[Any, list[str], str]:
    texts = row.get("completions")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{origin}: expected a list of texts in the field completions")
    return prompt_of({"prompt": "", **row}, origin), texts, origin


def shortened(record: RankedRecord, most: int | None) -> RankedRecord:
    """The best and the worst of a ranking, which is in order.

    Args:
        record: the ranking, best first.
        most: texts to keep; None for all.
    """
    if most is None or len(record.completions) <= most:
        return record
    kept = [*range((most + 1) // 2), *range(len(record.ranks) - most // 2, len(record.ranks))]
    scores = record.scores
    return RankedRecord(
        prompt=record.prompt,
        completions=tuple(record.completions[i] for i in kept),
        ranks=tuple(record.ranks[i] for i in kept),
        scores=None if scores is None else tuple(scores[i] for i in kept),
        origin=record.origin,
    )


def _rows(records: Sequence[RankedRecord], plan: RankPlan) -> Iterator[dict[str, Any]]:
    if plan.form == "pairs":
        return trl_pairs(records, plan.pairs)
    if plan.form == "labels":
        return trl_labels(records)
    return map(row_of, records)
