"""Ranked images: a small diffusion model of digits learns what a discriminator calls real.

    python benchmarks/images.py IMAGES-idx3-ubyte.gz LABELS-idx1-ubyte.gz --out runs/images

A Stable Diffusion in miniature (VAE, text encoder, U-Net; 32 × 32 pixels) learns captions such as
"a handwritten seven". `sfumato candidates image` draws sets of 1, 2, 4 and 8 steps beside the real
image; one discriminator is trained on some sets, which ranks others for `sfumato align image`, and
another one on sets of its own, which judges and is never learnt from. Images for captions put aside
are drawn by the pipeline before and after: the judge's logit, how often a classifier of digits
reads what the caption says, and how far images of one caption are apart. What is in the folder is
not done again.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import contestants
import miniature
import numpy as np
import torch
from contest import table
from PIL import Image
from sklearn.neural_network import MLPClassifier

from sfumato.alignment.images.discriminator import open_discriminator
from sfumato.alignment.images.records import as_image, pixels

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COUNTS = ("1", "2", "4", "8")
PARTS = {"learn": 7000, "rank": 400, "judge": 400, "align": 300, "test": 150}
WAYS = {
    f"{name}{f', adversary × {weight}' if weight != '0' else ''}": (method, weight)
    for name, method in (("Plackett–Luce", "pl_dpo"), ("CPO", "cpo"))
    for weight in ("0", "0.1", "3")
}
Digit = tuple[int, torch.Tensor]


def digits(images: Path, labels: Path) -> list[Digit]:
    """Digits of 32 × 32 pixels, from −1 to 1, and what they are."""
    said = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    seen = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
    squares = torch.tensor(seen.reshape(-1, 28, 28).copy()).float() / 127.5 - 1
    wide = torch.nn.functional.pad(squares, (2, 2, 2, 2), value=-1.0)
    return [(int(label), one.expand(3, -1, -1)) for label, one in zip(said, wide, strict=True)]


def parts(found: Sequence[Digit]) -> dict[str, list[Digit]]:
    """Digits to learn from, to train two discriminators on, to align with, to test on."""
    order = random.Random(contestants.SEED).sample(range(len(found)), sum(PARTS.values()))
    numbers = iter(order)
    return {name: [found[next(numbers)] for _ in range(count)] for name, count in PARTS.items()}


def caption(label: int) -> str:
    """What a digit is called."""
    return f"a handwritten {NAMES[label]}"


def captioned(out: Path, name: str, some: Sequence[Digit]) -> Path:
    """Images and their captions as files."""
    folder = out / "digits" / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, (_, image) in enumerate(some):
        as_image(image).save(folder / f"{number}.png")
    rows = ({"caption": caption(d), "image": f"{i}.png"} for i, (d, _) in enumerate(some))
    path = folder / "captions.jsonl"
    contestants.keep(path, rows)
    return path


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Where everything is.

    Attributes:
        out: folder.
        guidance: scale of classifier-free guidance.
    """

    out: Path
    guidance: str

    def drawn(self, name: str, pipeline: Path, captions: Path, *more: str) -> Path:
        """A file of candidates."""
        folder = self.out / "sets" / name
        options = ["--pipeline", str(pipeline), "--prompts", str(captions), "--out", str(folder)]
        counts = [text for count in COUNTS for text in ("--step-counts", count)]
        contestants.command(
            "candidates",
            "image",
            *options,
            *counts,
            "--guidance",
            self.guidance,
            *more,
            "--batch",
            "25",
        )
        return folder / "candidates.jsonl"

    def discriminator(self, name: str, data: Path, seed: int) -> Path:
        """A CLIP from nothing that tells real digits from drawn ones."""
        folder, clip = self.out / name, self.out / f"{name}-clip"
        if not clip.exists():
            miniature.clip(clip, seed=seed)
        if not folder.exists():
            options = ["--data", str(data), "--model", str(clip), "--out", str(folder)]
            size = ["--epochs", "12", "--batch", "8", "--learning-rate", "5e-4"]
            contestants.command("discriminator", "train", *options, *size, "--seed", str(seed))
        return folder

    def scored(self, judge: Path, data: Path, name: str) -> Path:
        """Rankings by a discriminator; its figures are printed."""
        path = data.with_name(f"{name}.jsonl")
        if not path.exists():
            options = ["--model", str(judge), "--data", str(data), "--out", str(path)]
            contestants.command("discriminator", "score", *options)
        return path

    def aligned(self, way: str, pipeline: Path, data: Path, judge: Path, seed: int) -> Path:
        """`sfumato align image`."""
        method, weight = WAYS[way]
        folder = self.out / "aligned" / f"{way}, {seed}"
        if not (folder / "model_index.json").exists():
            options = ["--pipeline", str(pipeline), "--data", str(data), "--out", str(folder)]
            options += ["--method", method, "--beta", "2000" if method == "pl_dpo" else "200"]
            options += ["--adversary", str(judge), "--adversarial", weight, "--draws", "4"]
            options += ["--steps", "60", "--batch", "8", "--learning-rate", "1e-4"]
            contestants.command("align", "image", *options, "--seed", str(seed))
        return folder


def without_real(path: Path) -> Path:
    """Only what was drawn: rankings to learn from."""
    target = path.with_name(f"drawn-{path.name}")

    def rows() -> Iterator[dict[str, object]]:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            kept = [i for i, source in enumerate(row["source"]) if source != "real"]
            columns = ("completions", "source", "scores")
            yield {"prompt": row["prompt"]} | {n: [row[n][i] for i in kept] for n in columns}

    contestants.keep(target, rows())
    return target


def measured(path: Path, judge: Path, reader: MLPClassifier) -> dict[str, list[float]]:
    """By source: the judge's logit, how often a digit is read as told, distance within a digit."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[tuple[str, Path]]] = {}
    for row in rows:
        for one, source in zip(row["completions"], row["source"], strict=True):
            found.setdefault(source, []).append((row["prompt"], path.parent / one["path"]))
    opened = open_discriminator(judge)
    figures = {}
    for source, some in found.items():
        captions, files = [text for text, _ in some], [file for _, file in some]
        flat = np.stack([pixels(file, 32)[0].flatten().numpy() for file in files])
        right = reader.predict(flat) == np.array([NAMES.index(c.split()[-1]) for c in captions])
        figures[source] = [
            mean(opened.judge(files, captions)),
            float(right.mean()),
            apart(flat, captions),
        ]
    return figures


def apart(flat: np.ndarray, captions: Sequence[str]) -> float:
    """Mean distance of two images of the same caption, a pixel."""
    gaps = []
    for one in sorted({*captions}):
        own = flat[[i for i, text in enumerate(captions) if text == one]]
        gaps += [float(np.abs(a - b).mean()) for i, a in enumerate(own) for b in own[:i]]
    return mean(gaps)


def grid(paths: Sequence[Path], target: Path, *, source: str = "4 steps", scale: int = 2) -> None:
    """A picture: a row for each file of candidates, the first image of each digit in it."""
    picture = Image.new("RGB", (32 * len(NAMES), 32 * len(paths)))
    for top, path in enumerate(paths):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for left, name in enumerate(NAMES):
            row = next(row for row in rows if row["prompt"].endswith(name))
            file = row["completions"][row["source"].index(source)]["path"]
            picture.paste(Image.open(path.parent / file), (32 * left, 32 * top))
    size = (picture.width * scale, picture.height * scale)
    picture.convert("L").resize(size, Image.Resampling.NEAREST).save(target, optimize=True)


def reader_of(learnt: Sequence[Digit]) -> MLPClassifier:
    """A classifier of digits."""
    made = MLPClassifier((128,), max_iter=12, random_state=contestants.SEED)
    return made.fit(
        np.stack([image[0].flatten().numpy() for _, image in learnt]),
        [label for label, _ in learnt],
    )


def spread(found: Sequence[float]) -> str:
    """A mean and its deviation over seeds."""
    return f"{mean(found):.2f}" + (f" ± {stdev(found):.2f}" if len(found) > 1 else "")


def main() -> None:
    parser = contestants.parser(__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--steps", type=int, default=2500, help="of the U-Net")
    parser.add_argument("--guidance", default="2.0")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = parts(digits(options.data, options.labels))
    pipeline, study = options.out / "pipeline", Study(out=options.out, guidance=options.guidance)
    if not pipeline.exists():
        learnt = [(caption(label), image) for label, image in found["learn"]]
        miniature.learn(pipeline, learnt, steps=options.steps)
    files = {
        name: captioned(options.out, name, some) for name, some in found.items() if name != "learn"
    }
    sets = {name: study.drawn(name, pipeline, path, "--real") for name, path in files.items()}
    ranker = study.discriminator("ranker", sets["rank"], 0)
    judge = study.discriminator("judge", sets["judge"], 1)
    study.scored(judge, sets["test"], "judged")
    study.scored(ranker, sets["test"], "ranked")
    rankings = without_real(study.scored(ranker, sets["align"], "ranked"))
    reader, rows = reader_of(found["learn"]), []
    before = measured(sets["test"], judge, reader)
    rows += [
        ["before" if name != "real" else "real", name, *map(spread, zip(value))]
        for name, value in before.items()
    ]
    for way in WAYS:
        models = [study.aligned(way, pipeline, rankings, ranker, s) for s in range(options.seeds)]
        after = [
            measured(study.drawn(f"{way}, {s}", model, files["test"]), judge, reader)
            for s, model in enumerate(models)
        ]
        for source in after[0]:
            columns = zip(*(one[source] for one in after), strict=True)
            rows.append([way, source, *map(spread, columns)])
            print(rows[-1], flush=True)
    drawn = [options.out / "sets" / name for name in ("test", *(f"{way}, 0" for way in WAYS))]
    grid([folder / "candidates.jsonl" for folder in drawn], options.out / "grid.png")
    head = ["images by", "steps", "judge's logit", "read as told", "apart"]
    report = table(head, rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
