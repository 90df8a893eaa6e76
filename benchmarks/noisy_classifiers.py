"""Which levels of noise should a noise-aware classifier see? The same budget, seven ways.

    python benchmarks/noisy_classifiers.py stories.jsonl --encoder FOLDER

The task is to say whether a noisy ending belongs to a story. Each row of the file has a `text` of
five sentences: the first four are given, the fifth is what is noised (`--given 3` takes the last
two). Wrong endings are those of other stories of the batch. Both sides are encoded by a sentence
encoder, each by itself, once; every run then sees the same pairs in the same order, with the
schedule tangent-9.

The table has the loss while training (mean of the first and of the last tenth of the steps, each
over the levels that the strategy trains, and with means the squared error of their guess on top),
the loss on held-out stories with t even (log 2 = 0.693 is knowing nothing), the accuracy at fixed
t, its mean over even t with its standard error, and the expected calibration error. The network
"means" has the path that is linear in x_t, "plain" has not. More stories to learn from may be added
(`--also`): none of them is held out, and those that share six words in a row with one that is are
left out.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch
from contest import table
from torch import Tensor

from sfumato.evaluation.classifying.levels import joined, report
from sfumato.models.latent.classifier import ClassifierSizes, NoisyClassifier
from sfumato.models.latent.codecs.bottleneck import LatentDecoder
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.storage import read_body
from sfumato.models.storage.folders import read_tokenizer, vocabulary_of
from sfumato.noise.gaussian import GaussianProcess, Preserving
from sfumato.noise.log_snr import Tangent
from sfumato.noise.times import Curriculum, EvenLogSnrs, EvenTimes
from sfumato.text.batching import Example, encode
from sfumato.text.records import PairRecord
from sfumato.text.slots import lay_slots
from sfumato.text.words import sentences
from sfumato.training.classifying.batches import Negatives, PairedVectors
from sfumato.training.classifying.difficulty import ByDifficulty
from sfumato.training.classifying.objectives import (
    ClassifierLearner,
    Levels,
    PairLoss,
    PairObjective,
    falling_weighting,
)

PROCESS = GaussianProcess(schedule=Tangent(slope=9.0), path=Preserving())
TIMES = (0.02, 0.2, 0.3, 0.5, 0.7, 0.9)
HELD, BATCH, DRAWS = 500, 32, 4
ANSWER, PROMPT = 32, 64


@dataclass(frozen=True, kw_only=True)
class At:
    """One level for all rows."""

    t: float

    def levels(self, rows: int, process: GaussianProcess, generator: torch.Generator) -> Tensor:
        """The level."""
        return torch.full((rows,), self.t)


def strategies() -> dict[str, Levels]:
    """The ways to choose and weigh levels."""
    even = Levels(process=PROCESS, times=EvenTimes())
    return {
        "even t": even,
        "even t, weight 1 − t": replace(even, weighting=falling_weighting),
        "the same, normalised": replace(even, weighting=falling_weighting, normalised=True),
        "curriculum": replace(even, times=Curriculum()),
        "by difficulty": replace(even, times=ByDifficulty()),
        "even λ": replace(even, times=EvenLogSnrs()),
        "even λ in [−4, 2]": replace(even, times=EvenLogSnrs(low=-4.0, high=2.0)),
    }


def pairs(path: Path, given: int, limit: int | None) -> list[PairRecord]:
    """Stories of five sentences, cut after the given ones; equal beginnings once."""
    found: dict[str, PairRecord] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        story = sentences(json.loads(line)["text"])
        if len(story) == 5:
            prompt, rest = " ".join(story[:given]), " ".join(story[given:])
            found.setdefault(prompt, PairRecord(prompt=prompt, completion=rest))
    return list(found.values())[:limit]


def apart(records: Sequence[PairRecord], held: Sequence[PairRecord]) -> list[PairRecord]:
    """Those that share no six words in a row with one that is held out."""

    def runs(record: PairRecord) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", f"{record.prompt} {record.completion}".lower())
        return {tuple(words[at : at + 6]) for at in range(len(words) - 5)}

    known = set[tuple[str, ...]]().union(*map(runs, held))
    return [record for record in records if known.isdisjoint(runs(record))]


def encoded(folder: Path, records: Sequence[PairRecord]) -> PairedVectors:
    """The vectors of all pairs, as float16."""
    body = read_body(folder)
    words = vocabulary_of(read_tokenizer(folder), int(body.config.vocab_size))
    width = int(body.config.hidden_size)
    unused = LatentDecoder(width=width, kept=[words.pad], size=words.size, slots=1, hidden=4)
    codec = EncoderCodec(body, unused, pad=words.pad).eval()
    examples = [encode(one, words, max_length=PROMPT + ANSWER) for one in records]
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    special = [words.pad, words.eos, *([] if words.bos is None else [words.bos])]
    first = [lay(examples[i : i + 64], words.pad).ids for i in range(0, 2048, 64)]
    codec.fit((ids for ids in first if len(ids)), special=torch.tensor(special))
    x_0 = torch.zeros(len(examples), ANSWER, width, dtype=torch.float16)
    given = torch.zeros(len(examples), PROMPT, width, dtype=torch.float16)
    attend = torch.zeros(len(examples), PROMPT, dtype=torch.bool)
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        slots = lay([examples[i] for i in rows], words.pad)
        wide = min(PROMPT, slots.given.shape[1])
        x_0[rows] = codec.encode(slots.ids, torch.ones_like(slots.ids) > 0).half()
        told = codec.encode(slots.given[:, :wide], slots.attend[:, :wide]).half()
        given[torch.tensor(rows), :wide] = told
        attend[torch.tensor(rows), :wide] = slots.attend[:, :wide]
    longest = max(sum(example.trained) for example in examples)
    return PairedVectors(x_0=x_0[:, : min(longest, ANSWER)], given=given, attend=attend)


def lay(examples: Sequence[Example], pad: int):  # noqa: ANN201
    return lay_slots(examples, slots=ANSWER, pad=pad)


def some(vectors: PairedVectors, rows: Tensor) -> PairedVectors:
    """Some of the pairs, as wide as they need."""
    attend = vectors.attend[rows]
    wide = int(attend.sum(1).max())
    return PairedVectors(
        x_0=vectors.x_0[rows].float(),
        given=vectors.given[rows, :wide].float(),
        attend=attend[:, :wide],
    )


def train(
    objective: PairObjective,
    learner: ClassifierLearner,
    vectors: PairedVectors,
    *,
    steps: int,
    seed: int,
    bf16: bool,
) -> list[float]:
    """AdamW with warm-up and linear decay; the mean loss of each step."""
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3, betas=(0.9, 0.98))
    warm = max(1, steps // 20)
    scale = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 1 - step / (steps + 1))
    )
    generator = torch.Generator().manual_seed(seed)
    order, losses = torch.empty(0, dtype=torch.long), []
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(vectors.x_0), generator=generator)
        rows, order = order[:BATCH], order[BATCH:]
        noised = objective.at(step / steps).prepare(some(vectors, rows), generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = objective(learner, noised) / noised.items
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        scale.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def judged(objective: PairObjective, learner: ClassifierLearner, held: PairedVectors, draws: int):  # noqa: ANN201
    """The decisions about held-out pairs."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(draws):
        for rows in torch.arange(len(held.x_0)).split(64):
            noised = objective.prepare(some(held, rows), generator)
            found.append(objective.judge(learner, noised, rows))
    return joined(found)


def measured(
    objective: PairObjective, learner: ClassifierLearner, held: PairedVectors
) -> list[str]:
    """The cells of the table that held-out pairs fill."""
    learner.eval()
    even = replace(objective, levels=Levels(process=PROCESS, times=EvenTimes()))
    found = report(judged(even, learner, held, DRAWS), seed=0, reference=None, settings={})
    accuracy, loss, ece = found[:3]
    cells = [f"{loss.value:.3f}"]
    for t in TIMES:
        fixed = replace(objective, levels=Levels(process=PROCESS, times=At(t=t)))
        made = judged(fixed, learner, held, 1)
        cells.append(f"{made.right.double().mean():.3f}")
    cells.append(f"{accuracy.value:.3f} ± {accuracy.stderr:.3f}")
    return [*cells, f"{ece.value:.3f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("data", type=Path, help="JSON lines with a text of five sentences each")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of a sentence encoder")
    parser.add_argument("--given", type=int, default=4, help="sentences that are given")
    parser.add_argument("--limit", type=int, default=5000, help="most stories")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="more to learn from")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--shuffled", type=int, default=1, help="wrong endings of a story")
    parser.add_argument("--hard", type=int, default=0, help="similar wrong endings of a story")
    parser.add_argument("--loss", choices=get_args(PairLoss), default="binary")
    parser.add_argument("--guess", type=float, default=1.0, help="weight of ‖x_0 − m‖²")
    parser.add_argument(
        "--networks", nargs="+", choices=["plain", "means"], default=["plain", "means"]
    )
    parser.add_argument("--only", nargs="+", help="strategies, by name; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    began = time.process_time()
    records = pairs(options.data, options.given, options.limit)
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(options.seed))
    more = [record for path in options.also for record in pairs(path, options.given, None)]
    more = apart(more, [records[i] for i in order[:HELD].tolist()])
    vectors = encoded(options.encoder, [*records, *more])
    order = torch.cat([order, torch.arange(len(records), len(records) + len(more))])
    held, known = (some(vectors, order[:HELD]), order[HELD:])
    fitted = PairedVectors(
        x_0=vectors.x_0[known], given=vectors.given[known], attend=vectors.attend[known]
    )
    print(
        f"{len(known)} stories, {HELD} held out, {vectors.x_0.shape[1]} slots, "
        f"{options.steps} steps of {BATCH}, seed {options.seed}; "
        f"encoded in {time.process_time() - began:.0f} CPU-s",
        flush=True,
    )
    sizes = ClassifierSizes(
        width=vectors.x_0.shape[2],
        slots=vectors.x_0.shape[1],
        given=PROMPT,
        hidden=options.hidden,
        layers=options.layers,
        reading="cross",
    )
    rows = []
    for network in options.networks:
        for name, levels in strategies().items():
            if options.only and name not in options.only:
                continue
            start = time.process_time()
            chosen = replace(sizes, linear=network == "means")
            classifier = NoisyClassifier(chosen, path=PROCESS.path, seed=options.seed)
            learner = ClassifierLearner(classifier, levels.times)
            objective = PairObjective(
                levels=levels,
                negatives=Negatives(shuffled=options.shuffled, hard=options.hard),
                loss=options.loss,
                guess=options.guess,
            )
            how = {"steps": options.steps, "seed": options.seed, "bf16": options.bf16}
            losses = train(objective, learner, fitted, **how)
            tenth = max(1, len(losses) // 10)
            first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
            took = time.process_time() - start
            cells = measured(objective, learner, held)
            rows.append([network, name, f"{first:.3f} → {last:.3f}", *cells, f"{took:.0f}"])
            print(" | ".join(rows[-1]), flush=True)
    times = [f"t {t:g}" for t in TIMES]
    head = ["network", "levels", "loss", "held-out", *times, "mean over t", "ECE", "CPU-s"]
    print()
    print(table(head, rows))


if __name__ == "__main__":
    main()
