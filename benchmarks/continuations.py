"""Continuations of stories beside the floors: what does guidance gain, and over what?

    python benchmarks/continuations.py guided_1.jsonl guided_250.jsonl --encoder FOLDER

Each file holds rows of `source`, `target` and `generated`; all have the same sources and targets.
The first table has ROUGE-1/2/L (words of rouge-score), BLEU and, with an encoder, BERTScore of
every file, with 95 % intervals over the texts, beside three answers that need no model: another
story's ending, the prompt, its last sentence. The second has what each file gains over the first
one, texts drawn together. Published for https://github.com/nikitalotts/ACTDM: R1/R2/RL .11482 /
.00552 / .08707 at guidance scale 1, .14739 / .01054 / .10912 at scale 250.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from contest import table

from sfumato.evaluation.likeness.encodings import Encoder, encoder
from sfumato.evaluation.likeness.overlap import bleu, rouge
from sfumato.evaluation.likeness.references import fingerprint
from sfumato.evaluation.likeness.semantics import bert_score
from sfumato.evaluation.records import Metric
from sfumato.evaluation.resampling import bootstrap, compare
from sfumato_apps.measuring.answers import Answers, floors, read_answers

SEED = 0
FIGURES = ("R1", "R2", "RL", "BLEU", "BERTScore")


def measured(answers: Answers, reader: Encoder | None) -> list[Metric]:
    """ROUGE, BLEU and perhaps BERTScore of one system."""
    wanted = answers.references
    assert wanted is not None, f"{answers.label} has no targets"
    named = fingerprint(wanted)
    found = [*rouge(answers.texts, wanted, tokens=None, reference=named)]
    found.append(bleu(answers.texts, wanted, reference=named))
    if reader is not None:
        found.append(bert_score(answers.texts, wanted, reader, reference=named)[2])
    return found


def cell(metric: Metric) -> str:
    """The value and its interval."""
    assert metric.parts is not None
    span = bootstrap(metric.parts, seed=SEED)
    return f"{metric.value:.5f} ({span.low:.4f} … {span.high:.4f})"


def gain(new: Metric, old: Metric) -> str:
    """The gain and its interval as shares of the old value, which is taken as it is."""
    found = compare(new, old, seed=SEED)
    if found.relative is None or found.interval is None:
        return "–"
    ends = (found.value, found.interval.low, found.interval.high)
    share, low, high = (100 * end / old.value for end in ends)
    return f"{share:+.1f} % ({low:+.1f} … {high:+.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument(
        "files", type=Path, nargs="+", help="outputs of systems, the baseline first"
    )
    parser.add_argument("--encoder", help="folder or hub name of an encoder for BERTScore")
    parser.add_argument("--layer", type=int, help="its layer; the last if left out")
    options = parser.parse_args(arguments)
    systems = [read_answers(path) for path in options.files]
    reader = encoder(options.encoder, layer=options.layer) if options.encoder else None
    found = {one.label: measured(one, reader) for one in [*floors(systems[0], SEED), *systems]}
    head = FIGURES[: len(found[systems[0].label])]
    rows = [[label, str(metrics[0].n), *map(cell, metrics)] for label, metrics in found.items()]
    print(table(["continuation", "n", *head], rows))
    baseline = found[systems[0].label]
    gains = [[one.label, *map(gain, found[one.label], baseline)] for one in systems[1:]]
    if gains:
        print()
        print(table([f"gain over {systems[0].label}", *head], gains))


if __name__ == "__main__":
    main()
