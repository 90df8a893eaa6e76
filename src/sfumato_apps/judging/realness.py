"""The walk of `sfumato discriminator score`: candidates to log-odds, log-odds to rankings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import nn

from sfumato.alignment.images.discriminator import (
    ImageDiscriminator,
    judges_images,
    open_discriminator,
)
from sfumato.alignment.images.records import ImageSet, Picture
from sfumato.alignment.rankings.formats import read_prompt
from sfumato.alignment.rankings.ranking import places
from sfumato.alignment.rankings.sets import Prompt, RankedExample, encode_answer
from sfumato.alignment.rankings.sources import REAL, real_ones
from sfumato.alignment.scoring.discriminator import LABEL, figures
from sfumato.alignment.scoring.learnt import Judged, judged
from sfumato.errors import DataError, UnusableError
from sfumato.models.scorers import classifier
from sfumato.models.storage import folders
from sfumato.text.files import Row
from sfumato.text.vocabulary import Vocabulary
from sfumato_apps import ranks
from sfumato_apps.aligning.images import read_image_rows
from sfumato_apps.aligning.material import read_rows
from sfumato_apps.notes import Notes
from sfumato_apps.scoring.picturing import judged_images


@dataclass(frozen=True, kw_only=True)
class RealnessPlan:
    """The options of a run; what each means stands at `recipes.discriminator_score`."""

    model: str
    data: list[str]
    out: Path
    max_length: int
    batch: int


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """A row of candidates.

    Attributes:
        row: as it was read.
        prompt: what they answer.
        texts: the candidates.
        real: which ones are real; None where the row does not say.
        origin: where it stands.
    """

    row: Row
    prompt: Prompt
    texts: tuple[str, ...]
    real: tuple[bool, ...] | None
    origin: str

    def encoded(self, words: Vocabulary, longest: int) -> RankedExample:
        """Its texts as ids, ranked 1 where real and 2 where not.

        Raises:
            UnusableError: nothing of a text is left.
        """
        found = [
            encode_answer(self.prompt, text, words, max_length=longest, origin=self.origin)
            for text in self.texts
        ]
        real = self.real or (False,) * len(self.texts)
        return RankedExample(candidates=tuple(found), ranks=tuple(1 if one else 2 for one in real))

    def scored(self, scores: Sequence[float]) -> dict[str, Any]:
        """The row, best first, with scores and ranks."""
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        row = {**self.row, "completions": [self.texts[i] for i in order]}
        if self.real is not None:
            sources = cast(list[Any], self.row["source"])
            row["source"] = [sources[i] for i in order]
        kept = [scores[i] for i in order]
        return {**row, "ranks": [*places(kept)], "scores": kept}


def follow(plan: RealnessPlan) -> None:
    """Walks from candidates to rankings, and says how often real ones win.

    Raises:
        ModelError: there is no such discriminator.
        DataError: a row without candidates, or none that can be judged.
    """
    notes = Notes()
    device = PartialState(cpu=ranks.share_cpus()).device
    folder = folders.locate(plan.model)
    if judges_images(folder):
        _follow_images(plan, open_discriminator(folder, device=device), notes)
        return
    judge = classifier(plan.model, label=LABEL, device=device)
    words = folders.vocabulary_of(judge.tokenizer, int(judge.network.config.vocab_size))
    longest = min(plan.max_length, judge.max_length)
    rows, examples = [], []
    for one in read_rows(plan.data, _candidates, skip_bad=False, notes=notes):
        try:
            examples.append(one.encoded(words, longest))
            rows.append(one)
        except UnusableError as error:
            notes.skip(error)
    notes.sum_up()
    if not rows:
        raise DataError(f"{plan.data[0]}: no candidates could be judged; see what was skipped")
    told = judged(cast(nn.Module, judge.network), examples, pad=words.pad, batch_size=plan.batch)
    scores = told.logits.tolist()
    kept = [one.scored(some[: len(one.texts)]) for one, some in zip(rows, scores, strict=True)]
    _keep(kept, plan.out, notes)
    _report(told, [{*(one.real or ())} == {True, False} for one in rows], plan)


def _follow_images(plan: RealnessPlan, judge: ImageDiscriminator, notes: Notes) -> None:
    """The same for sets of images; paths become relative to the new file."""
    sets = [*read_image_rows(plan.data, skip_bad=False, notes=notes)]
    if not sets:
        raise DataError(f"{plan.data[0]}: no candidates could be judged; see what was skipped")
    paths = [[_path(image, plan.out) for image in one.images] for one in sets]
    examples = [replace(one, ranks=_ranks(one)) for one in sets]
    told = judged_images(judge, examples, batch_size=plan.batch)
    rows = []
    for one, files, some in zip(sets, paths, told.logits.tolist(), strict=True):
        scores = some[: len(one.images)]
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        kept = [scores[i] for i in order]
        row: dict[str, Any] = {"prompt": one.prompt}
        row["completions"] = [{"path": files[i]} for i in order]
        if one.sources:
            row["source"] = [one.sources[i] for i in order]
        rows.append(row | {"ranks": [*places(kept)], "scores": kept})
    _keep(rows, plan.out, notes)
    _report(told, [len({*one.ranks}) > 1 for one in examples if one.ranks], plan)


def _ranks(one: ImageSet) -> tuple[int, ...]:
    """1 where an image is real, 2 where it is not or nothing is known."""
    known = one.sources or ("",) * len(one.images)
    return tuple(1 if source == REAL else 2 for source in known)


def _path(image: Picture, out: Path) -> str:
    if isinstance(image, bytes):
        raise DataError("expected images in files, got some within the rows: write them out first")
    return Path(os.path.relpath(image, out.parent)).as_posix()


def _keep(rows: Sequence[Mapping[str, Any]], out: Path, notes: Notes) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    out.write_text("".join(lines), encoding="utf-8")
    notes.say(f"{out}: {len(rows)} rows")


def _report(told: Judged, mixed: Sequence[bool], plan: RealnessPlan) -> None:
    """The figures of rows that hold real and generated texts."""
    chosen = torch.tensor(mixed)
    if not chosen.any():
        return
    settings: Mapping[str, str] = {"model": plan.model}
    for metric in figures(
        told.logits[chosen],
        told.ranks[chosen],
        reference=", ".join(plan.data),
        settings=settings,
    ):
        print(json.dumps(metric.as_json(), ensure_ascii=False))


def _candidates(row: Row, origin: str) -> Candidates:
    texts = row.get("completions")
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise DataError(f"{origin}: expected a list of texts in the field completions")
    return Candidates(
        row=row,
        prompt=read_prompt(row.get("prompt", ""), origin),
        texts=tuple(texts),
        real=tuple(real_ones(row, origin)) if "source" in row else None,
        origin=origin,
    )
