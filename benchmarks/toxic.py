"""Toxic texts, their neutral forms, and judges of both, in English and in Russian.

Every other text serves one purpose: the judge, the language model that says what is fluent, or
the masked model's training.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import judges
import pairs

from sfumato.protocols import Scorer
from sfumato.sampling.tasks.detoxing import Likeness
from sfumato.text.words import likeness


@dataclass(frozen=True, kw_only=True)
class Row:
    """A toxic text and its neutral forms."""

    toxic: str
    neutral: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """What is particular to a language.

    Attributes:
        rows: of the shared task.
        more: clean texts for the masked model, beside the neutral forms.
        judge: how toxic.
        likelihood: of a text, for its fluency.
        meaning: how much of it is kept.
        note: what is to be said of the judge.
    """

    rows: Sequence[Row]
    more: Sequence[str]
    judge: Scorer
    likelihood: Scorer
    meaning: Likeness
    note: str


def records(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def rows_of(file: Path) -> list[Row]:
    """Rows whose source stands there once."""
    found = {judges.plain(row["toxic"]): row for row in records(file)}
    return [Row(toxic=row["toxic"], neutral=tuple(row["neutral"])) for row in found.values()]


def sentences(texts: Sequence[str], *, each: int) -> Iterator[str]:
    """The first sentences of longer texts."""
    for text in texts:
        parts = re.split(r"(?<=[.!?])\s+", text)
        yield from [part for part in parts if 15 < len(part) < 160][:each]


def english(data: Path) -> Bench:
    """ParaDetox; the judge is a published profanity classifier."""
    more = (data / "toxicity_signals/dev_normal.txt").read_text(encoding="utf-8").splitlines()
    return Bench(
        rows=rows_of(data / "paradetox_en/paradetox.jsonl"),
        more=[*sentences(more, each=3)],
        judge=judges.profanity(data / "clf_profanity_en"),
        likelihood=judges.causal_likelihood(data / "lm_stories260k"),
        meaning=judges.sentence_cosine(),
        note="The judge is a published bag-of-words classifier of profanity.",
    )


def russian(data: Path) -> Bench:
    """RUSSE; the judge is trained here, on texts that the shared task does not have."""
    rows = rows_of(data / "russe_detox_ru/train.jsonl")
    known = {judges.plain(text) for row in rows for text in (row.toxic, *row.neutral)}
    lines = (data / "toxicity_signals/ru_toxic_10k.txt").read_text(encoding="utf-8").splitlines()
    toxic = [line for line in dict.fromkeys(lines) if judges.plain(line) not in known]
    grammar, chats = data / "edits_grammar", data / "instruct_ru/ru_arena_5models.jsonl"
    clean = [row["variants"][0] for row in records(grammar / "ru_reorder_paraphrases.jsonl")]
    clean += [row["text"] for row in records(grammar / "rucola_in_domain_train.jsonl")]
    answers = [turn["content"] for row in records(chats) for turn in row["messages"]]
    clean = [*dict.fromkeys([*clean, *sentences(answers, each=4)])]
    for texts in (toxic, clean):
        random.Random(pairs.SEED).shuffle(texts)
    ends = len(toxic) // 10, len(clean) // 10
    judge = judges.linear(toxic[ends[0] :], clean[ends[1] :])
    held = toxic[: ends[0]], clean[: ends[1]]
    stories = [row["text"] for row in records(data / "tinystories_ru/train.jsonl")]
    persons = [row["src"] for row in records(grammar / "ru_change_person.jsonl")]
    return Bench(
        rows=rows,
        more=[*persons, *sentences(stories, each=2)],
        judge=judge,
        likelihood=judges.Grams(clean),
        meaning=likeness,
        note=f"The judge's AUC is {judges.auc(judge, *held):.3f} on {sum(map(len, held))} held-out "
        "texts of its own kind.",
    )


LANGUAGES: Mapping[str, Callable[[Path], Bench]] = {"en": english, "ru": russian}
