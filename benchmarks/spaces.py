"""In which space to diffuse: encodings or embeddings, with hints or without, and two schedules.

    python benchmarks/spaces.py TEXTS.jsonl --judge LM_FOLDER --encoder FOLDER --out runs/spaces

Short texts. The latent models diffuse vectors of the encoder's second layer, or vectors that they
learn. Beside them stand a masked model and a Llama of its size and CPU time. Each writes the same
number of texts, and all are measured beside held-out ones: div, MAUVE with the encoder's means,
perplexity under a judge, the share of 4-grams that stand in the training texts, loops; in a table
and a figure of perplexity over div. `--only NAME` trains one model and stops, so that several
processes can share the work. What is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import autoregressive
import contestants
from contest import table
from rulers import HEAD, Rulers, cells

from sfumato.evaluation.reporting import svg
from sfumato.models.checkpoints import load
from sfumato.models.latent.storage import load_latent
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.tasks import write
from sfumato.text.batching import encode
from sfumato.text.records import TextRecord

SEED, SLOTS, VOCABULARY, WIDTH = contestants.SEED, 56, 1024, 192
ENCODINGS = ("--layer", "2", "--decoder-steps", "300")
COMPRESSED = ("--layer", "2", "--decoder-steps", "1500", "--latents", "16", "--width", "128")
LATENT: Mapping[str, tuple[str, ...]] = {
    "encodings, tangent, hints": ENCODINGS,
    "encodings, tangent": (*ENCODINGS, "--hinting", "0"),
    "encodings in 16 vectors, tangent, hints": COMPRESSED,
    "encodings, cosine, hints": (*ENCODINGS, "--schedule", "cosine"),
    "embeddings, tangent, hints": ("--schedule", "tangent"),
    "embeddings, tangent": ("--schedule", "tangent", "--hinting", "0"),
    "embeddings, square root, hints": ("--schedule", "square-root"),
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """Texts of one contestant, and what they cost."""

    texts: Sequence[str]
    passes: float = 0.0
    seconds: float = 0.0


def parts(data: Path, out: Path, held: int) -> tuple[list[str], list[str]]:
    """Training and held-out texts, as the folder has them; no text is in two parts.

    Rows with the same `mr`, from which a text was written, go to one part.
    """
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(json.dumps(row.get("mr", row["text"])), set()).add(row["text"])
    order = sorted(groups)
    random.Random(SEED).shuffle(order)
    found: dict[str, list[str]] = {"test": [], "valid": [], "train": []}
    sizes = {"test": held, "valid": 200, "train": len(rows)}
    known: set[str] = set()
    for key in order:
        part = next(name for name, size in sizes.items() if len(found[name]) < size)
        found[part] += sorted(groups[key] - known)
        known |= groups[key]
    for name, texts in found.items():
        lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        (out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    random.Random(SEED).shuffle(found["train"])
    return found["train"], found["test"][:held]


def train(out: Path, name: str, steps: int, encoder: str) -> None:
    """One contestant."""
    files = ["--data", str(out / "train.jsonl"), "--valid", str(out / "valid.jsonl")]
    if name == "masked":
        sizes = ("--vocabulary", str(VOCABULARY), "--max-length", "64", "--slack", "8")
        contestants.diffusion(out / name, *files, *sizes, "--steps", str(2 * steps))
        return
    sizes = ("--slots", str(SLOTS), "--hidden", str(WIDTH), "--steps", str(steps))
    of_encoder = "--layer" in LATENT[name]
    own = ["--model", encoder] if of_encoder else ["--vocabulary", str(VOCABULARY)]
    own += [] if of_encoder else ["--width", "64"]
    contestants.trained(out / name, "latent", *files, *sizes, *own, *LATENT[name])


def written(out: Path, name: str, n: int, learnt: Sequence[str], temperature: float) -> Written:
    """Texts of a contestant, or of an earlier run."""
    path = out / f"{name}.json"
    if not path.exists():
        if name == "autoregressive":
            texts, passes = _rival(out, n, learnt, temperature)
            seconds = contestants.seconds_of(out / "masked")
        else:
            latent = name in LATENT
            model = load_latent(out / name) if latent else load(out / name)
            policy = None
            if latent:
                policy = Descent(process=model.process, codec=model.codec, steps=20, show=20)
            samples = write(model, n=n, policy=policy, seed=SEED, batch_size=50)
            texts = [sample.text for sample in samples]
            passes = sum(sample.passes for sample in samples) / n
            seconds = contestants.seconds_of(out / name)
        found = {"texts": texts, "passes": passes, "seconds": seconds}
        path.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return Written(**json.loads(path.read_text(encoding="utf-8")))


def _rival(out: Path, n: int, learnt: Sequence[str], temperature: float) -> tuple[list[str], float]:
    model = load(out / "masked")
    words = model.vocabulary
    examples = [encode(TextRecord(text=text), words, max_length=SLOTS) for text in learnt]
    llama = contestants.rival(out / "llama", out / "masked", examples, length=2 * SLOTS)
    begin = [[] if words.bos is None else [words.bos]] * n
    texts = [
        *autoregressive.write(llama, begin, words, temperature=temperature, length=SLOTS, seed=SEED)
    ]
    return texts, sum(len(words.encode(text)) + 1 for text in texts) / n


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--judge", required=True, help="an autoregressive model")
    parser.add_argument("--encoder", required=True, help="of the vectors, and for MAUVE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000, help="of the latent models")
    parser.add_argument("--n", type=int, default=1000, help="texts of each")
    parser.add_argument("--only", choices=["masked", *LATENT], help="train this one and stop")
    parser.add_argument("--without", nargs="+", default=[], choices=[*LATENT], metavar="NAME")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    learnt, apart = parts(options.data, options.out, options.n)
    latent = [name for name in LATENT if name not in options.without]
    for name in [options.only] if options.only else ["masked", *latent]:
        train(options.out, name, options.steps, options.encoder)
    if options.only:
        return
    found = {"people": Written(texts=apart)} | {
        name: written(options.out, name, options.n, learnt, 1.0)
        for name in (*latent, "masked", "autoregressive")
    }
    rulers = Rulers(judge=options.judge, features=options.encoder, learnt=learnt, apart=apart)
    rows, places = [], []
    for name, one in found.items():
        for n in sorted({min(100, options.n), options.n}):
            # Real texts are compared with other real ones, which the models were trained on.
            metrics = rulers.measure(one.texts[:n], learnt[:n] if name == "people" else ())
            cost = [f"{one.passes:.0f}", f"{one.seconds:.0f}"]
            rows.append([name, str(n), *cost, *cells(metrics)])
            print(rows[-1], flush=True)
        at = {label: metric.value for label, metric in zip(HEAD, metrics, strict=True)}
        places.append(svg.Series(label=name, x=[at["div"]], y=[at["perplexity"]]))
    report = table(["texts by", "n", "passes", "CPU s", *HEAD], rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    plot = svg.scatter(
        places, title="Diversity and fluency", x_label="div", y_label="perplexity under the judge"
    )
    (options.out / "figure.svg").write_text(svg.standalone(plot), encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
