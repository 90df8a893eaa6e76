"""How many steps does a text need, before distillation and after?

    python benchmarks/few_steps.py MODEL --data TRAIN.jsonl --held HELD.jsonl \
        --judge LM_FOLDER --features ENCODER --out runs/few

`sfumato distill` teaches a student; model and student then write the same number of texts in 1, 2,
4, 8 and 50 steps. A latent model walks by DPM-Solver++, its student goes back to noise after each
prediction (consistency models do). A masked model commits the same number of tokens in every
step, the surest first, on the whole canvas; its student, taught in rounds that halve the steps,
does the same. The measures are those of `spaces.py`. What is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import contestants
from contest import table
from rulers import HEAD, Rulers, cells

from sfumato.models.checkpoints import Checkpoint
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.solvers import SOLVERS
from sfumato.sampling.parts.quotas import Even
from sfumato.sampling.tasks import Policy, write
from sfumato_apps.policies import open_writer


def policy(model: Checkpoint | LatentCheckpoint, steps: int, *, student: bool) -> Policy:
    """How it writes in so many steps."""
    if isinstance(model, Checkpoint):
        return DecodingPolicy(quota=Even(steps=steps))
    solver = SOLVERS["renoise" if student else "dpm-solver"]
    return Descent(process=model.process, codec=model.codec, steps=steps, solver=solver, show=steps)


def texts_of(path: Path) -> list[str]:
    """The texts of a file."""
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder of a masked or latent model")
    parser.add_argument("--data", type=Path, required=True, help="texts to be taught with")
    parser.add_argument("--held", type=Path, required=True, help="texts to compare with")
    parser.add_argument("--judge", required=True, help="an autoregressive model")
    parser.add_argument("--features", required=True, help="an encoder for MAUVE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 50])
    parser.add_argument("--teach", nargs="*", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--rounds", type=int, default=1, help="each student teaches the next one")
    parser.add_argument("--n", type=int, default=500, help="texts of each")
    parser.add_argument("--only", action="store_true", help="teach and stop")
    options = parser.parse_args(arguments)
    how = [part for option in options.teach for part in f"--{option}".split("=", 1)]
    folder = options.model
    for number in range(options.rounds):
        files = ("--model", str(folder), "--data", str(options.data))
        folder = options.out / f"student-{number + 1}"
        contestants.trained(folder, "distill", *files, *how)
    if options.only:
        return
    learnt, apart = texts_of(options.data), texts_of(options.held)[: options.n]
    rulers = Rulers(judge=options.judge, features=options.features, learnt=learnt, apart=apart)
    rows = [
        ["held-out texts", str(len(apart)), "", *cells(rulers.measure(apart, learnt[: options.n]))]
    ]
    for name, place in (("before", options.model), ("after", str(folder))):
        model = open_writer(place)
        for steps in options.steps:
            kept = options.out / f"{name} {steps}.json"
            if not kept.exists():
                way = policy(model, steps, student=name == "after")
                samples = write(
                    model, n=options.n, policy=way, seed=contestants.SEED, batch_size=50
                )
                found = [sample.text for sample in samples]
                kept.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
            texts = json.loads(kept.read_text(encoding="utf-8"))
            full = sum(bool(text.strip()) for text in texts)
            rows.append([name, str(full), str(steps), *cells(rulers.measure(texts))])
            print(rows[-1], flush=True)
    report = table(["texts", "n", "steps", *HEAD], rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
