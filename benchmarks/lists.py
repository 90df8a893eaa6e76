"""Lists or pairs? Plackett–Luce, all pairs, best against worst, at equal forward passes.

    python benchmarks/lists.py --model FOLDER --by REWARD --judge REWARD --out runs/lists

The model writes sets of candidates, which a reward ranks whole. Three losses learn from the same
rankings: two from all texts of a set, the third from its two ends, and so from as many more sets
as the others have more texts: the batch is larger by that factor. Each is trained from several
seeds; what the models then write is measured by the reward, by a judge of another kind, by
diversity and fluency. What is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import contestants
from contest import table

from sfumato.evaluation.diversity import div
from sfumato.evaluation.perplexity import causal_perplexity
from sfumato_apps.judging.ranking import reward_of
from sfumato_apps.judging.sharing import lines_of

LOSSES = {
    "Plackett–Luce": ("pl_dpo",),
    "all pairs": ("f_dpo", "--pairs", "all"),
    "best against worst": ("f_dpo", "--pairs", "best_vs_worst"),
}
WORDS = 8


def texts_of(path: Path) -> list[str]:
    """All texts of a file of candidates."""
    rows = map(json.loads, lines_of(path))
    return [text for row in rows for text in row["completions"] if text.strip()]


def ends(path: Path) -> Path:
    """The best and the worst of each ranking."""
    target = path.with_name("ends.jsonl")
    rows = []
    for row in map(json.loads, lines_of(path)):
        order = sorted(range(len(row["ranks"])), key=row["ranks"].__getitem__)
        kept = (order[0], order[-1])
        columns = ("completions", "scores")
        rows.append({"prompt": row["prompt"]} | {n: [row[n][i] for i in kept] for n in columns})
    contestants.keep(target, rows)
    return target


def spread(found: Sequence[float]) -> str:
    """A mean and its deviation over seeds."""
    return f"{mean(found):.3f}" + (f" ± {stdev(found):.3f}" if len(found) > 1 else "")


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--by", nargs="+", required=True, help="the reward, as `sfumato rank` takes it"
    )
    parser.add_argument("--judge", required=True, help="another one")
    parser.add_argument("--fluency", required=True, help="an autoregressive model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--batch", type=int, default=4, help="whole sets a step")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--beta", default="0.1")
    parser.add_argument("--learning-rate", default="3e-4")
    parser.add_argument("--length", type=int, help="the most tokens of a text")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=200, help="texts to measure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    reward, judge = reward_of(options.by), reward_of([options.judge])
    more = ["--length", str(options.length)] if options.length else []

    def written(name: str, model: str | Path, sets: int, n: int, seed: int) -> Path:
        path = options.out / f"{name}.jsonl"
        size = ["--sets", str(sets), "--n", str(n), "--seed", str(seed), "--step-counts", "20"]
        run = ["--out", str(path), "--model", str(model), *size, *more]
        contestants.command("candidates", *run)
        return path

    def measured(path: Path) -> list[float]:
        texts = texts_of(path)
        cut = [" ".join(t.split()[:WORDS]) for t in texts if len(t.split()) >= WORDS]
        fluent = causal_perplexity(options.fluency, texts)[0].value
        return [mean(reward(texts)), mean(judge(texts)), div(cut).value, fluent]

    sets = written("sets", options.model, options.sets, options.candidates, 1000)
    ranked = options.out / "ranked.jsonl"
    if not ranked.exists():
        run = ["--data", str(sets), "--by", *options.by, "--overlap", "1.0", "--out", str(ranked)]
        contestants.command("rank", *run)
    two = ends(ranked)
    before = measured(written("before", options.model, options.n, 1, 77))
    rows = [["before", "", *(f"{value:.3f}" for value in before)]]
    for name, (method, *pairs) in LOSSES.items():
        whole = method == "pl_dpo" or "all" in pairs
        batch = options.batch * (1 if whole else options.candidates // 2)
        found, seconds = [], []
        for seed in range(options.seeds):
            folder = options.out / f"{name} {seed}"
            run = ["--model", options.model, "--data", str(ranked if whole else two)]
            run += ["--method", method, *pairs, "--beta", options.beta, "--anchor", "0.2"]
            run += ["--steps", str(options.steps), "--batch", str(batch), "--seed", str(seed)]
            run += ["--learning-rate", options.learning_rate]
            contestants.trained(folder, "align", *run)
            found.append(measured(written(f"{name} {seed}", folder, options.n, 1, 77)))
            seconds.append(contestants.seconds_of(folder))
        columns = zip(*found, strict=True)
        rows.append([name, f"{mean(seconds):.0f}", *map(spread, columns)])
        print(rows[-1], flush=True)
    report = table(["loss", "CPU s", "reward", "judge", "div", "perplexity"], rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
