"""The walk of `sfumato candidates image`: captions to several images each, beside the real one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sfumato.alignment.images.captions import captioner
from sfumato.alignment.images.pipelines import ImageModel, draw, open_images
from sfumato.alignment.images.records import Picture, as_image, caption_of, pixels, read_images
from sfumato.alignment.rankings.sources import REAL
from sfumato.errors import DataError, UsageError
from sfumato.text.files import rows
from sfumato_apps import ranks
from sfumato_apps.fingerprints import digest_of_model
from sfumato_apps.judging.sharing import shared_out
from sfumato_apps.notes import Notes

FILE, _FOLDER, _APART = "candidates.jsonl", "images", 1_000_003
Shown = tuple[str, Picture | None]


@dataclass(frozen=True, kw_only=True)
class ImageCandidatePlan:
    """The options of a run; what each means stands at `recipes.candidates_image`."""

    pipeline: str
    prompts: list[str]
    out: Path
    n: int
    step_counts: list[int] | None
    guidance: float | None
    real: bool
    aesthetic: float | None
    captioner: str | None
    batch: int
    seed: int

    def fingerprint(self) -> dict[str, Any]:
        """What the images depend on, beside the captions; a pipeline on the hub by its name."""
        apart = ("pipeline", "prompts", "out", "batch")
        chosen = {name: value for name, value in asdict(self).items() if name not in apart}
        here = Path(self.pipeline).expanduser().is_dir()
        return chosen | {"model": digest_of_model(self.pipeline) if here else self.pipeline}


def follow(plan: ImageCandidatePlan) -> None:
    """Walks from captions to a folder of images and a file of candidates.

    Raises:
        UsageError: counts below 1.
        DataError: a row without a caption, or no row that is good enough.
        ModelError: no such pipeline.
    """
    if plan.batch < 1 or plan.n < 1 or min(plan.step_counts or [1]) < 1:
        raise UsageError("expected --batch, --n and --step-counts of 1 or more")
    notes, device = Notes(), ranks.patient().device
    shown = [*_shown(plan, device, notes)]
    notes.sum_up()
    if not shown:
        raise DataError(f"{plan.prompts[0]}: no row is left to draw for")
    model = open_images(plan.pipeline, device=device)
    (plan.out / _FOLDER).mkdir(parents=True, exist_ok=True)
    asked = [caption for caption, _ in shown]
    write = partial(_drawn, plan, model, shown)
    made = plan.fingerprint()
    shared_out(plan.out / FILE, asked, write, made=made, batch=plan.batch, notes=notes)


def _shown(plan: ImageCandidatePlan, device: torch.device, notes: Notes) -> Iterator[Shown]:
    """Captions of all rows, and the real image of each where it is wanted.

    Rows with a broken image are left out. All processes read all rows, and name all images, so
    that they agree on what is drawn.
    """
    name = None if plan.captioner is None else captioner(plan.captioner, device=device)
    every = ((Path(path).parent, *one) for path in plan.prompts for one in rows(path))
    for folder, origin, load in every:
        row = dict(load())
        if plan.aesthetic is not None and not _at_least(row, plan.aesthetic, origin):
            continue
        try:
            real = _real(row, origin, folder) if plan.real or name else None
        except DataError as error:
            notes.skip(error)
            continue
        if name is not None and real is not None:
            row["prompt"] = name(real)
        yield caption_of(row, origin), real if plan.real else None


def _at_least(row: dict[str, Any], least: float, origin: str) -> bool:
    score = row.get("aesthetic_score", row.get("aesthetic_score_laion_v2"))
    if not isinstance(score, int | float):
        raise DataError(f"{origin}: expected a number in aesthetic_score, got {score!r:.60}")
    return score >= least


def _real(row: dict[str, Any], origin: str, folder: Path) -> Picture:
    """The row's own image, which can be read."""
    if "image" not in row:
        raise DataError(f"{origin}: expected a picture in the field image")
    (found,) = read_images({"prompt": "", "image": row["image"]}, origin, folder).images
    pixels(found, 8)
    return found


def _drawn(
    plan: ImageCandidatePlan, model: ImageModel, shown: Sequence[Shown], some: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A row for each caption; seeds follow its number among all."""
    captions = [shown[index][0] for index in some for _ in range(plan.n)]
    files: list[list[tuple[str, str]]] = [[] for _ in some]
    size = 0
    for way, steps in enumerate(plan.step_counts or [4]):
        first = plan.seed + way * _APART
        seeds = [first + index * plan.n + i for index in some for i in range(plan.n)]
        images = draw(model, captions, seeds, steps=steps, guidance=plan.guidance)
        size = min(images[0].size)
        for place, image in enumerate(images):
            row, i = divmod(place, plan.n)
            name = f"{_FOLDER}/{some[row]:06d}-{steps}-{i}.png"
            image.save(plan.out / name)
            files[row].append((name, f"{steps} steps" if steps > 1 else "1 step"))
    for index, found in zip(some, files, strict=True):
        caption, real = shown[index]
        if real is not None:
            found.append((_kept(plan, real, index, size), REAL))
        yield {
            "prompt": caption,
            "completions": [{"path": name} for name, _ in found],
            "source": [source for _, source in found],
        }


def _kept(plan: ImageCandidatePlan, real: Picture, index: int, size: int) -> str:
    """The real image in the size and the form of the others, which must not tell it apart."""
    name = f"{_FOLDER}/{index:06d}-{REAL}.png"
    as_image(pixels(real, size)).save(plan.out / name)
    return name
