"""Kinder reviews: alignment of each family by a reward, beside the best of n.

    python benchmarks/sentiment.py SENTENCES.jsonl --reward A.jsonl B.jsonl --judge-by C.jsonl
        --fluency LM_FOLDER --encoder FOLDER --out OUT

A masked model, a latent one of the encoder's vectors and a Llama learn sentences of film reviews,
for about the same CPU time. Each writes sets of candidates; a linear classifier of the reward's
data scores them by its log-odds; the best quarter of all is chosen, the worse half rejected, at
most two of each in a set. `sfumato align` then learns by the sigmoid and by the hinge from several
seeds. Two hundred texts of each are measured: the reward; the log-odds of a judge that has learnt
from other data; `div` of texts cut to the same number of words; perplexity under a language model;
loops. Beside them stand the model before, and the best of n of its candidates. What is in the
folder is not done again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import contestants
import judges
import numpy as np
from contest import table

from sfumato.alignment.rankings.formats import row_of
from sfumato.alignment.rankings.ranking import Ranking
from sfumato.alignment.rankings.sets import RankedRecord
from sfumato.errors import UnusableError
from sfumato.evaluation.diversity import div
from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.perplexity import causal_perplexity
from sfumato.protocols import Scorer
from sfumato.text.batching import encode
from sfumato.text.records import TextRecord
from sfumato_apps.judging.ranking import shortened
from sfumato_apps.judging.sharing import lines_of

VOCABULARY, LENGTH, SLOTS, WORDS, SETS, KEPT = 2048, 64, 48, 8, 200, 4
HEAD = ("reward", "judge", "div", "perplexity", "loops", "words")
METHODS = {"sigmoid": "dpo", "hinge": "hinge"}
BETA = {"masked": "0.1", "autoregressive": "0.1", "latent": "20"}
RATE = {"masked": "3e-4", "autoregressive": "1e-3", "latent": "3e-4"}


def log_odds(paths: Sequence[Path]) -> Scorer:
    """The log-odds of a positive text by a linear classifier of labelled texts."""
    rows = [json.loads(line) for path in paths for line in lines_of(path)]
    sides = [[row["text"] for row in rows if row["label"] == label] for label in (1, 0)]
    found = judges.linear(*sides)

    def score(texts: Sequence[str]) -> list[float]:
        return [math.log(p / (1 - p)) for p in np.clip(found(texts), 1e-6, 1 - 1e-6)]

    return score


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What every family is aligned with and measured by.

    Attributes:
        out: folder.
        reward: what alignment sees.
        judge: what it does not see.
        fluency: folder of a language model.
        steps: of an alignment.
    """

    out: Path
    reward: Scorer
    judge: Scorer
    fluency: str
    steps: int

    def written(self, name: str, model: Path, sets: int, n: int, seed: int) -> list[list[str]]:
        """Texts of a model: sets of n."""
        path = self.out / f"{name}.jsonl"
        limits = [] if "latent" in name else ["--length", str(LENGTH - 8)]
        run = ["--model", str(model), "--sets", str(sets), "--n", str(n), "--seed", str(seed)]
        steps = [] if "autoregressive" in name else ["--step-counts", "20"]
        contestants.command("candidates", "--out", str(path), *run, *limits, *steps)
        return [json.loads(line)["completions"] for line in lines_of(path)]

    def rankings(self, family: str, sets: Sequence[Sequence[str]]) -> Path:
        """The best quarter against the worse half."""
        path = self.out / f"{family}-rankings.jsonl"
        scores = [self.reward(texts) for texts in sets]
        every = np.concatenate(scores)
        ranking = Ranking(
            chosen=float(np.quantile(every, 0.75)), rejected=float(np.quantile(every, 0.5))
        )
        contestants.keep(path, map(row_of, _ranked(ranking, sets, scores)))
        return path

    def aligned(self, family: str, model: Path, data: Path, name: str, seed: int) -> Path:
        """`sfumato align`, or what an earlier run left."""
        folder = self.out / f"{family}-{name}-{seed}"
        options = ["--model", str(model), "--data", str(data), "--method", METHODS[name]]
        options += ["--beta", BETA[family], "--learning-rate", RATE[family], "--anchor", "0.2"]
        options += ["--steps", str(self.steps), "--batch", "8", "--draws", "8", "--seed", str(seed)]
        contestants.trained(folder, "align", *options)
        return folder

    def measured(self, texts: Sequence[str]) -> list[float]:
        """The figures of `HEAD`."""
        full = [text for text in texts if text.strip()]
        long = [" ".join(text.split()[:WORDS]) for text in full if len(text.split()) >= WORDS]
        return [
            mean(self.reward(full)),
            mean(self.judge(full)),
            div(long).value,
            causal_perplexity(self.fluency, full)[0].value,
            loop_rate(full, seed=contestants.SEED).value,
            mean(len(text.split()) for text in full),
        ]


def _ranked(
    ranking: Ranking, sets: Sequence[Sequence[str]], scores: Sequence[Sequence[float]]
) -> Iterator[RankedRecord]:
    for texts, own in zip(sets, scores, strict=True):
        kept = [(text, score) for text, score in zip(texts, own, strict=True) if text.strip()]
        try:
            found = ranking.of("", [text for text, _ in kept], [score for _, score in kept])
            yield shortened(found, KEPT)
        except UnusableError:
            continue


def models(out: Path, data: Path, encoder: str, steps: int) -> dict[str, Path]:
    """A model of each family."""
    files = ["--data", str(data), "--valid-fraction", "0.03"]
    limits = ["--vocabulary", str(VOCABULARY), "--max-length", str(LENGTH), "--slack", "8"]
    masked = contestants.diffusion(out / "masked", *files, *limits, "--steps", str(2 * steps))
    of = ("--model", encoder, "--layer", "2", "--hidden", "192", "--decoder-steps", "300")
    size = ("--slots", str(SLOTS), "--batch", "32", "--steps", str(steps))
    contestants.trained(out / "latent", "latent", *files, *of, *size)
    texts = [json.loads(line)["text"] for line in lines_of(data)]
    records = [TextRecord(text=text) for text in texts]
    examples = [encode(record, masked.vocabulary, max_length=LENGTH) for record in records]
    contestants.rival(out / "llama", out / "masked", examples, length=LENGTH)
    return {
        "masked": out / "masked",
        "latent": out / "latent",
        "autoregressive": out / "llama",
    }


def spread(found: Sequence[Sequence[float]]) -> list[str]:
    """Means over seeds, with their standard deviations."""
    columns = [*zip(*found, strict=True)]
    if len(found) == 1:
        return [f"{column[0]:.3f}" for column in columns]
    return [f"{mean(column):.3f} ± {stdev(column):.3f}" for column in columns]


def main() -> None:
    parser = contestants.parser(__doc__)
    parser.add_argument("--reward", type=Path, nargs="+", required=True, help="labelled texts")
    parser.add_argument("--judge-by", type=Path, nargs="+", required=True, help="others")
    parser.add_argument("--fluency", required=True, help="an autoregressive model")
    parser.add_argument("--encoder", required=True, help="of the latent model")
    parser.add_argument("--steps", type=int, default=1000, help="of the latent model")
    parser.add_argument("--align-steps", type=int, default=100)
    parser.add_argument("--sets", type=int, default=250, help="of candidates")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[*BETA], choices=[*BETA])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    study = Study(
        out=options.out,
        reward=log_odds(options.reward),
        judge=log_odds(options.judge_by),
        fluency=options.fluency,
        steps=options.align_steps,
    )
    trained = models(options.out, options.data, options.encoder, options.steps)
    real = [json.loads(line)["text"] for line in lines_of(options.data)]
    rows = [["people", *spread([study.measured(real[:: len(real) // SETS][:SETS])])]]
    for family in options.only:
        model = trained[family]
        sets = study.written(f"{family}-sets", model, options.sets, options.candidates, 1000)
        before = [text for (text,) in study.written(f"{family}-before", model, SETS, 1, 77)]
        rows.append([f"{family}, before", *spread([study.measured(before)])])
        best = [max(texts, key=lambda text: study.reward([text])[0]) for texts in sets[:SETS]]
        count = f"{family}, best of {options.candidates}"
        rows.append([count, *spread([study.measured(best)])])
        data = study.rankings(family, sets)
        for name in METHODS:
            found = []
            for seed in range(options.seeds):
                folder = study.aligned(family, model, data, name, seed)
                after = study.written(f"{family}-{name}-{seed}-after", folder, SETS, 1, 77)
                found.append(study.measured([text for (text,) in after]))
            rows.append([f"{family}, {name}", *spread(found)])
            print(rows[-1], flush=True)
    report = table(["texts by", *HEAD], rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
