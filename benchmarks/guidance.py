"""Which guidance makes a continuation follow its story? At the same steps, beside the floors.

    python benchmarks/guidance.py CONTINUATIONS.jsonl STORIES.jsonl --encoder FOLDER --out OUT

Three sentences are given, two are to be written. Stories of five sentences that share a sentence
with the continuations are left out of the training. Three models are trained on vectors of the
encoder's second layer: endings told their beginnings by cross-attention, of which a tenth are told
nothing; whole stories; and a classifier that tells whether a noisy ending belongs to a beginning.
Then

    unguided         endings that are told nothing
    classifier w     the gradient of its log p, divided by α as the formula says, or not
    replacement      the beginning's vectors put into every prediction of a whole story
    reconstruction   the gradient of the decoder's log p of the beginning, through the denoiser
    prompt w         conditional training, and classifier-free guidance (1 is the prompt alone)
    best of k        by the classifier, at about the passes of classifier-free guidance

all by DPM-Solver++ in 20 steps even in λ. Each writes a file that `continuations.py` measures;
on top of its figures stands how often an ending is nearest to its own beginning among ten, by the
cosine of mean vectors of the encoder (a tenth is chance). What is in the folder is not done again:
endings are written some at a time, and a run that was stopped goes on. `--only` writes some ways
and stops, so that several processes can share the work; the run without it has the tables.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import contestants
import continuations
import torch
from contest import table
from contestants import SEED
from torch import Tensor

from sfumato.evaluation.likeness.encodings import encoder
from sfumato.models.latent.classifier import ConditionLaw
from sfumato.models.latent.classifier_storage import ClassifierCheckpoint, load_classifier
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.storage import LatentCheckpoint, load_latent
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.guides import Contrast, Gradient
from sfumato.sampling.tasks import complete_each, write
from sfumato.text.batching import encode
from sfumato.text.records import PairRecord
from sfumato.text.slots import Slots, lay_slots
from sfumato.text.words import sentences

ENDING, STORY, GIVEN, AT_ONCE, CLEAN = 44, 96, 64, 50, 4.0
_FRAME = 2  # slots of a story that hold no words
SCALES = (0.5, 1.0, 100.0, 250.0, 500.0, 750.0)
Way = Callable[[Sequence[str], int], list[tuple[str, float]]]
Row = dict[str, Any]


def stories(path: Path, apart: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Stories of five sentences, none of which stands in the texts apart."""

    def key(sentence: str) -> str:
        return " ".join(re.findall(r"\w+", sentence.lower()))

    known = {key(one) for row in apart for one in sentences(row["source"] + " " + row["target"])}
    rows = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    found = [sentences(text) for text in dict.fromkeys(rows)]
    return [one for one in found if len(one) == 5 and not known & {*map(key, one)}]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The models, and how each way asks them.

    Attributes:
        endings: writes endings, with or without their beginnings.
        whole: writes whole stories.
        judge: tells whether an ending belongs to a beginning.
    """

    endings: LatentCheckpoint
    whole: LatentCheckpoint
    judge: ClassifierCheckpoint

    def policy(self, model: LatentCheckpoint, steps: int = 20) -> Descent:
        """The plain one."""
        return Descent(process=model.process, codec=model.codec, steps=steps, show=steps)

    def slots(self, prompts: Sequence[str], answers: Sequence[str]) -> Slots:
        """Beginnings and endings as the models are given them."""
        words = self.endings.vocabulary
        records = [
            PairRecord(prompt=p, completion=a) for p, a in zip(prompts, answers, strict=True)
        ]
        examples = [encode(record, words, max_length=GIVEN + ENDING) for record in records]
        return lay_slots(examples, slots=ENDING, pad=words.pad)

    def law(self, prompts: Sequence[str]) -> ConditionLaw:
        """Log p(belongs to these beginnings)."""
        slots = self.slots(prompts, [" ."] * len(prompts))
        condition = self.endings.codec.told(slots.given, slots.attend)
        return ConditionLaw(classifier=self.judge.classifier, condition=condition)

    def belongs(self, prompts: Sequence[str], answers: Sequence[str]) -> Tensor:
        """What the classifier says of clean endings."""
        slots = self.slots(prompts, [answer or " ." for answer in answers])
        x = self.endings.codec.encode(slots.ids, torch.ones_like(slots.ids, dtype=torch.bool))
        with torch.no_grad():
            return self.law(prompts)(x, x.new_full((len(x),), CLEAN))

    def free(self, prompts: Sequence[str], seed: int) -> list[tuple[str, float]]:
        """Endings that are told nothing."""
        return self._written(self.policy(self.endings), len(prompts), seed)

    def classified(self, scale: float, *, signal: bool, clip: float | None = None) -> Way:
        """The gradient of the classifier."""

        def way(prompts: Sequence[str], seed: int) -> list[tuple[str, float]]:
            guide = Gradient(log_p=self.law(prompts), scale=scale, signal=signal, clip=clip)
            policy = replace(self.policy(self.endings), guides=(guide,))
            return self._written(policy, len(prompts), seed)

        return way

    def told(self, contrast: Contrast | None = None, *, steps: int = 20) -> Way:
        """Conditional training, perhaps with classifier-free guidance."""
        policy = replace(self.policy(self.endings, steps), guidance=contrast)

        def way(prompts: Sequence[str], seed: int) -> list[tuple[str, float]]:
            samples = complete_each(
                self.endings, prompts, policy=policy, seed=seed, batch_size=len(prompts)
            )
            return [(one.text, float(one.passes)) for one in samples]

        return way

    def replaced(self, prompts: Sequence[str], seed: int) -> list[tuple[str, float]]:
        """The beginning held where it is."""
        policy = replace(self.policy(self.whole), hold=True)
        words = self.whole.vocabulary
        lengths = [min(ENDING, STORY - _FRAME - len(words.encode(one))) for one in prompts]
        samples = complete_each(
            self.whole, prompts, lengths=lengths, policy=policy, seed=seed, batch_size=len(prompts)
        )
        return [(one.text, float(one.passes)) for one in samples]

    def reconstructed(self, scale: float) -> Way:
        """The gradient of the decoder's log p of the beginning."""
        words, codec = self.whole.vocabulary, self.whole.codec
        assert isinstance(codec, EncoderCodec)
        decoder = codec.decoder
        said_at = {token: i for i, token in enumerate(decoder.kept.tolist())}

        def way(prompts: Sequence[str], seed: int) -> list[tuple[str, float]]:
            rows = [[said_at.get(token) for token in words.encode(text)] for text in prompts]
            wide = max(map(len, rows))
            wanted = torch.zeros(len(rows), wide, dtype=torch.long)
            sayable = torch.zeros(len(rows), wide, dtype=torch.bool)
            for i, row in enumerate(rows):
                sayable[i, : len(row)] = torch.tensor([at is not None for at in row])
                wanted[i, : len(row)] = torch.tensor([at or 0 for at in row])

            def likely(x: Tensor, log_snr: Tensor) -> Tensor:
                every = torch.ones(x.shape[:2], dtype=torch.bool)
                said = decoder(x, every)[:, :wide].log_softmax(2)
                found: Tensor = (said.gather(2, wanted[..., None])[..., 0] * sayable).sum(1)
                return found

            guide = Gradient(log_p=likely, scale=scale, through=True, clip=0.5)
            policy = replace(self.policy(self.whole), guides=(guide,))
            samples = write(
                self.whole, n=len(prompts), policy=policy, seed=seed, batch_size=len(prompts)
            )
            return [(" ".join(sentences(one.text)[3:]), float(one.passes)) for one in samples]

        return way

    def best(self, way: Way, k: int) -> Way:
        """Of k texts, the one that the classifier likes best."""

        def chosen(prompts: Sequence[str], seed: int) -> list[tuple[str, float]]:
            rounds = [way(prompts, seed + 100_000 * i) for i in range(k)]
            scores = torch.stack(
                [self.belongs(prompts, [text for text, _ in found]) for found in rounds]
            )
            passes = sum(found[0][1] for found in rounds)
            picked = scores.argmax(0).tolist()
            return [(rounds[i][row][0], passes) for row, i in enumerate(picked)]

        return chosen

    def _written(self, policy: Descent, n: int, seed: int) -> list[tuple[str, float]]:
        samples = write(self.endings, n=n, policy=policy, seed=seed, batch_size=n)
        return [(one.text, float(one.passes)) for one in samples]

    def ways(self) -> dict[str, Way]:
        """All of them; the first is what gains are over."""
        window = (-1.5, 1.0)
        found: dict[str, Way] = {"unguided": self.free}
        for scale in SCALES:
            found[f"classifier {scale:g}"] = self.classified(scale, signal=False)
        for scale in SCALES:
            name = f"classifier {scale:g}, over alpha, clipped"
            found[name] = self.classified(scale, signal=True, clip=0.5)
        found["replacement"] = self.replaced
        found["reconstruction 1"] = self.reconstructed(1.0)
        found["reconstruction 5"] = self.reconstructed(5.0)
        found["prompt 1"] = self.told()
        for scale in (1.5, 2.0, 3.0):
            found[f"prompt {scale:g}"] = self.told(Contrast(scale=scale - 1))
        for scale in (2.0, 3.0):
            way = self.told(Contrast(scale=scale - 1), steps=10)
            found[f"prompt {scale:g}, 10 steps"] = way
        found["prompt 3, window"] = self.told(Contrast(scale=2.0, window=window))
        found["prompt 3, rescaled"] = self.told(Contrast(scale=2.0, rescale=0.7))
        found["unguided, best of 2"] = self.best(self.free, 2)
        found["prompt 1, best of 2"] = self.best(self.told(), 2)
        return found


def study(out: Path, learnt: Sequence[Sequence[str]], encoder: str, steps: int) -> Study:
    """The three models, or those of an earlier run."""
    pairs, texts = out / "pairs.jsonl", out / "stories.jsonl"
    told = [{"prompt": " ".join(s[:3]), "completion": " " + " ".join(s[3:])} for s in learnt]
    contestants.keep(pairs, told)
    contestants.keep(texts, [{"text": " ".join(story)} for story in learnt])
    of = ("--model", encoder, "--layer", "2", "--hidden", "192", "--decoder-steps")
    for name, data, slots, share in (("endings", pairs, ENDING, 1), ("whole", texts, STORY, 2)):
        count = (str(600 // share), "--steps", str(steps // share))
        size = ("--slots", str(slots), "--batch", str(32 // share))
        contestants.trained(out / name, "latent", "--data", str(data), *of, *count, *size)
    judge = ("--model", str(out / "endings"), "--given", str(GIVEN), "--steps", "1000")
    contestants.trained(out / "judge", "classifier", "--data", str(pairs), *judge)
    return Study(
        endings=load_latent(out / "endings"),
        whole=load_latent(out / "whole"),
        judge=load_classifier(out / "judge"),
    )


def batches(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[int, list[str]]]:
    """Beginnings, some at a time, with the number of the first."""
    for start in range(0, len(rows), AT_ONCE):
        yield start, [row["source"] for row in rows[start : start + AT_ONCE]]


def endings(path: Path, way: Way, rows: Sequence[Mapping[str, str]], *, bf16: bool) -> list[Row]:
    """Endings of one way, written from where the file ends on."""
    path.touch()
    with path.open(encoding="utf-8") as file:
        lines = file.readlines()
    done = len(lines) if len(lines) >= len(rows) else len(lines) // AT_ONCE * AT_ONCE
    path.write_text("".join(lines[:done]), encoding="utf-8")
    for start, some in batches(rows):
        if start < done:
            continue
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = way(some, start)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(_line(rows[start + i], *one) for i, one in enumerate(found)))
        print(f"{path.stem}: {start + len(some)} of {len(rows)}", file=sys.stderr, flush=True)
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in islice(file, len(rows))]


def _line(row: Mapping[str, str], text: str, passes: float) -> str:
    kept = {key: row[key] for key in ("source", "target")}
    return json.dumps({**kept, "generated": text, "passes": passes}, ensure_ascii=False) + "\n"


def nearest(texts: Tensor, sources: Tensor) -> float:
    """How often a text is nearest to its own source among ten, by vectors of length 1."""
    order = random.Random(SEED)
    hits = []
    for i in range(len(texts)):
        others = order.sample([j for j in range(len(texts)) if j != i], 9)
        likeness = sources[[i, *others]] @ texts[i]
        hits.append(bool(likeness[0] > likeness[1:].max()))
    return mean(hits)


def main() -> None:
    parser = contestants.parser(__doc__)
    parser.add_argument("stories", type=Path, help="texts of five sentences, to learn from")
    parser.add_argument("--encoder", required=True, help="folder or hub name")
    parser.add_argument(
        "--steps",
        type=int,
        default=1500,
        help="of the endings; stories have half",
    )
    parser.add_argument("--n", type=int, default=500, help="beginnings")
    parser.add_argument("--train", action="store_true", help="train the models and stop")
    parser.add_argument("--bf16", action="store_true", help="write in bfloat16")
    parser.add_argument("--only", nargs="+", default=[], metavar="WAY", help="names of the tables")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = options.data.read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    learnt = stories(options.stories, pairs)
    print(f"{len(learnt)} stories to learn from, {len(pairs)} beginnings", flush=True)
    models = study(options.out, learnt, options.encoder, options.steps)
    if options.train:
        return
    apart, ways = pairs[: options.n], models.ways()
    for name in options.only:
        endings(options.out / f"{name}.jsonl", ways[name], apart, bf16=options.bf16)
    if options.only:
        return
    reader, files = encoder(options.encoder), []

    def encoded(texts: Sequence[str]) -> Tensor:
        return torch.nn.functional.normalize(reader(texts), dim=1)

    sources = encoded([row["source"] for row in apart])
    near = nearest(encoded([row["target"] for row in apart]), sources)
    rows = [["people", "", f"{near:.3f}", ""]]
    for name, way in ways.items():
        path = options.out / f"{name}.jsonl"
        written = endings(path, way, apart, bf16=options.bf16)
        texts = [row["generated"].strip() or "." for row in written]
        sure = mean(
            float(models.belongs(some, texts[start : start + AT_ONCE]).exp().mean())
            for start, some in batches(apart)
        )
        passes = mean(row["passes"] for row in written)
        near = nearest(encoded(texts), sources)
        rows.append([name, f"{passes:.0f}", f"{near:.3f}", f"{sure:.3f}"])
        print(rows[-1], flush=True)
        files.append(str(path))
    print(table(["ending by", "passes", "nearest to its own", "classifier"], rows))
    print()
    continuations.main([*files, "--encoder", options.encoder])


if __name__ == "__main__":
    main()
