"""Fill-in-the-middle on HumanEval, by models that read only the standard library.

    python benchmarks/middles.py FIM_CODE --minutes 18 --out runs/middles

The training text is the standard library of the Python that runs this (PSF licence), cut at
functions, classes and lines; every piece is learnt whole, and with a random span as its middle.
`sfumato train` learns them, then a Llama of the same size for the same CPU time, whose pieces are
reordered with sentinels: prefix, suffix, middle (PSM; Bavarian et al., arXiv 2207.14255). Modules
held out of training say which width of the hole is best; then both fill the spans of HumanEval
RandomSpan. FIM_CODE holds the files of human-eval and human-eval-infilling. The program that a
middle completes is run against its tests in `sandbox.py`: read there what that guards against.

A middle is exact if it is the true one but for white space at its end. Similarity is
1 − Levenshtein / the longer length. What is in the folder is not done again.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import contestants
import library
import pairs
import psm
import sandbox
from contest import table

from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Order, entropy
from sfumato.sampling.parts.quotas import EntropyBound
from sfumato.sampling.tasks import fim
from sfumato.text.overlap import trimmed
from sfumato.text.records import InfillRecord

LIGHT = "HumanEval-RandomSpanInfillingLight.jsonl.gz"
FULL = "HumanEval-RandomSpanInfilling.jsonl.gz"
TOLD = "HumanEval.jsonl.gz"
GREEDY = TokenSampler(temperature=0.0)
SURE = DecodingPolicy(order=Order(by=entropy), quota=EntropyBound(), tokens=GREEDY)
WIDTHS = {"16": 16, "32": 32, "48": 48, "several": None}
DEVELOPMENT = 100


@dataclass(frozen=True, kw_only=True)
class Task:
    """A gap in a program, its true middle, and what tests the program."""

    gap: InfillRecord
    tests: str

    def program(self, middle: str) -> str:
        """The program with a middle, and its tests."""
        return self.gap.prefix + middle + self.gap.suffix + self.tests


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Middles that a system wrote, and its passes of the network for each."""

    middles: list[str]
    passes: float = 0.0


def tasks(path: Path) -> list[Task]:
    """The gaps of a file of human-eval-infilling."""
    return [
        Task(
            gap=InfillRecord(
                prefix=row["prompt"], middle=row["canonical_solution"], suffix=row["suffix"]
            ),
            tests=f"{row['test']}\ncheck({row['entry_point']})\n",
        )
        for row in _rows(path)
    ]


def check_sandbox(path: Path) -> str:
    """Runs the canonical solutions of HumanEval, all of which must pass."""
    rows = _rows(path)
    verdicts = [
        sandbox.run(
            f"{row['prompt']}{row['canonical_solution']}\n{row['test']}\n"
            f"check({row['entry_point']})\n"
        )
        for row in rows
    ]
    kept = ", ".join(sorted({verdict.network for verdict in verdicts}))
    passed = sum(verdict.passed for verdict in verdicts)
    return f"sandbox: {passed} of {len(rows)} canonical solutions pass; no network by: {kept}"


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def similarity(one: str, other: str) -> float:
    """1 − Levenshtein distance / the longer length.

    Example:
        >>> similarity("kitten", "sitting")
        0.5714285714285714
    """
    before = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != wanted)))
        before = row
    return 1 - before[-1] / max(len(one), len(other), 1)


def closeness(gaps: Sequence[InfillRecord], middles: Sequence[str]) -> tuple[float, float]:
    """Shares of exact middles, and the mean similarity."""
    pairs_ = [(gap.middle, middle) for gap, middle in zip(gaps, middles, strict=True)]
    exact = mean(true.rstrip() == middle.rstrip() for true, middle in pairs_)
    return exact, mean(similarity(true, middle) for true, middle in pairs_)


def written(
    model: Checkpoint, gaps: Sequence[InfillRecord], width: int | None, policy: DecodingPolicy
) -> Answers:
    """Middles by `fim`."""
    found = [
        fim(model, gap.prefix, gap.suffix, length=width, policy=policy, seed=pairs.SEED)[0]
        for gap in gaps
    ]
    return Answers(middles=[one.middle for one in found], passes=mean(one.passes for one in found))


def best_width(model: Checkpoint, gaps: Sequence[InfillRecord]) -> str:
    """The name of the width with which held-out modules of the library are filled best."""
    found = {}
    for name, width in WIDTHS.items():
        answers = written(model, gaps, width, SURE)
        found[name] = closeness(gaps, answers.middles)
        exact, near = found[name]
        print(f"library, width {name}: {exact:.3f} exact, {near:.3f} similar", flush=True)
    return max(found, key=lambda name: sum(found[name]))


def by_rival(rival: psm.Rival, gaps: Sequence[InfillRecord]) -> Answers:
    """Middles by the autoregressive model, trimmed as `fim` trims."""
    texts, passes = rival.write(gaps)
    middles = [trimmed(gap.prefix, text, gap.suffix) for gap, text in zip(gaps, texts, strict=True)]
    return Answers(middles=middles, passes=passes)


def line(name: str, found: Sequence[Task], answers: Answers) -> list[str]:
    """A row of the table; runs the programs."""
    exact, near = closeness([task.gap for task in found], answers.middles)
    verdicts = [
        sandbox.run(task.program(middle))
        for task, middle in zip(found, answers.middles, strict=True)
    ]
    shares = (exact, near, mean(verdict.passed for verdict in verdicts))
    length = mean(map(len, answers.middles))
    numbers = [f"{share:.3f}" for share in shares]
    return [name, str(len(found)), *numbers, f"{answers.passes:.1f}", f"{length:.0f}"]


def main() -> None:
    parser = contestants.parser(__doc__, minutes=18.0)
    parser.add_argument("--full", action="store_true", help="all 1,640 spans instead of 164")
    parser.add_argument("--pieces", type=int, help="learn from so many only, to try this out")
    options = parser.parse_args()
    check = check_sandbox(options.data / TOLD)
    print(check, flush=True)
    learnt, held = library.parts(seed=pairs.SEED, most=options.pieces)
    model = library.train(options.out, learnt, held, minutes=options.minutes)
    rival = psm.learn(options.out, model, learnt, length=library.LENGTH)
    aside = [piece.gap for piece in held if piece.gap is not None and library.body(piece.text)]
    aside = aside[:DEVELOPMENT]
    width = best_width(model, aside)
    exact, near = closeness(aside, by_rival(rival, aside).middles)
    print(f"library, autoregressive: {exact:.3f} exact, {near:.3f} similar", flush=True)
    found = tasks(options.data / (FULL if options.full else LIGHT))
    gaps = [task.gap for task in found]
    systems = {
        "true middle": Answers(middles=[gap.middle for gap in gaps]),
        "nothing": Answers(middles=[""] * len(gaps)),
        "autoregressive, PSM": by_rival(rival, gaps),
        "diffusion, one token a pass": written(
            model, gaps, WIDTHS[width], DecodingPolicy(tokens=GREEDY)
        ),
        "diffusion, as many as are sure": written(model, gaps, WIDTHS[width], SURE),
    }
    heads = ["middle by", "n", "exact", "similarity", "pass@1", "passes", "characters"]
    rows = []
    for name, answers in systems.items():
        rows.append(line(name, found, answers))
        lines = "".join(json.dumps(text) + "\n" for text in answers.middles)
        (options.out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    report = f"{table(heads, rows)}\n\n{check}; width of the hole: {width}"
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
