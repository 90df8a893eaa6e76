"""Which divergence? Whole sweeps of β of all of them, as one frontier.

    python benchmarks/divergences.py --model FOLDER --by REWARD --fluency LM --out runs/divergences

The model writes sets of candidates, of which the reward keeps two good and two bad ones; `sfumato
align` learns from them with each divergence and each β, and `sfumato frontier` measures what the
models write. What is in the folder is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import contestants

DIVERGENCES: dict[str, list[str]] = {
    "reverse_kl": [],
    "forward_kl": [],
    "js_divergence": [],
    "alpha_divergence": ["--f-alpha-divergence-coef", "0.5"],
    "gan": [],
    "hellinger": [],
    "neyman_chi2": [],
    "jeffrey": [],
    "chi_po": [],
}


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--by", nargs="+", required=True, help="the reward, as `sfumato rank` takes it"
    )
    parser.add_argument("--fluency", required=True, help="an autoregressive model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--betas", nargs="+", default=["0.03", "0.1", "0.3"])
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--learning-rate", default="3e-4")
    parser.add_argument("--length", type=int, help="the most tokens of a text")
    parser.add_argument("--n", type=int, default=200, help="texts to measure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    limit = ["--length", str(options.length)] if options.length else []
    sets, ranked = options.out / "sets.jsonl", options.out / "ranked.jsonl"
    size = ["--sets", str(options.sets), "--n", str(options.candidates), "--seed", "1000"]
    run = ["--model", options.model, "--out", str(sets), "--step-counts", "20", *size, *limit]
    contestants.command("candidates", *run)
    if not ranked.exists():
        run = ["--data", str(sets), "--by", *options.by, "--most", "4", "--out", str(ranked)]
        contestants.command("rank", *run)
    models = []
    for name, more in DIVERGENCES.items():
        for beta in options.betas:
            folder = options.out / f"{name} {beta}"
            run = ["--model", options.model, "--data", str(ranked), "--method", "f_dpo"]
            run += ["--f-divergence-type", name, *more, "--beta", beta, "--batch", "6"]
            run += ["--steps", str(options.steps), "--learning-rate", options.learning_rate]
            contestants.trained(folder, "align", *run)
            models.append(str(folder))
    run = ["--models", *models, "--reference", options.model, "--by", *options.by]
    run += ["--fluency", options.fluency, "--n", str(options.n), "--steps", "20", *limit]
    contestants.command("frontier", *run, "--out", str(options.out / "frontier"))


if __name__ == "__main__":
    main()
