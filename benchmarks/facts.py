"""From facts to text: are all attributes mentioned? Beside an autoregressive model of equal budget.

    python benchmarks/facts.py E2E.jsonl --minutes 18 --out runs/facts

Pairs "name: …; food: …" → description, from scratch; no set of facts is in both parts of the
split. `sfumato train` learns the pairs, then a Llama of the same size for the same CPU time. Both
write for the held-out facts. An attribute counts as mentioned if its value stands in the text,
word for word and without regard to case; "family friendly" is judged by its usual phrases. What
is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import autoregressive
import torch
from contest import table
from transformers import LlamaForCausalLM

import sfumato_apps.cli
from sfumato.evaluation.loops import loop_rate
from sfumato.models.checkpoints import Checkpoint, load
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.parts.quotas import Threshold
from sfumato.sampling.tasks import write
from sfumato.text.batching import encode, prompt_ids
from sfumato.text.records import PairRecord

SEED, EACH, LENGTH, MAX_LENGTH = 0, 4, 72, 160
FRIENDLY = re.compile(r"(?<!-)\b(famil|child|kid)", re.IGNORECASE)
UNFRIENDLY = re.compile(
    r"\b(not|no|isn ?'?t|n't|non|un|never|without|adults?)\b.{0,40}\b(famil|child|kid)"
    r"|(famil|child|kid)\w*\W{0,3}(friendly\W+)?(no|unfriendly)\b|\badults? only",
    re.IGNORECASE,
)
Facts = Mapping[str, str]


def prompt_of(facts: Facts) -> str:
    """The facts in one line."""
    return "; ".join(f"{name}: {value}" for name, value in facts.items()) + "\n"


def mentioned(name: str, value: str, text: str) -> bool:
    """Whether a text says an attribute."""
    if name == "family friendly":
        unfriendly = bool(UNFRIENDLY.search(text))
        said = unfriendly or bool(FRIENDLY.search(text))
        return said and unfriendly == (value == "no")
    return " ".join(value.lower().split()) in " ".join(text.lower().split())


def accuracy(facts: Sequence[Facts], texts: Sequence[str]) -> dict[str, float]:
    """The share of attributes that are mentioned: each kind, and all together."""
    hits: dict[str, list[bool]] = {}
    for said, text in zip(facts, texts, strict=True):
        for name, value in said.items():
            hits.setdefault(name, []).append(mentioned(name, value, text))
    everything = [hit for kind in hits.values() for hit in kind]
    return {"all": mean(everything)} | {name: mean(hits[name]) for name in sorted(hits)}


def prepare(data: Path, out: Path) -> tuple[list[PairRecord], list[tuple[Facts, str]]]:
    """Splits by facts, writes both parts, returns training pairs and held-out facts with texts."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    kinds = sorted({prompt_of(row["mr"]) for row in rows})
    random.Random(SEED).shuffle(kinds)
    held = set(kinds[: len(kinds) // 10])
    parts: dict[str, list[dict[str, str]]] = {"train": [], "valid": []}
    for row in rows:
        prompt = prompt_of(row["mr"])
        part = "valid" if prompt in held else "train"
        parts[part].append({"prompt": prompt, "completion": row["text"]})
    out.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        lines = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
        (out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    learnt = [PairRecord(**pair) for pair in parts["train"]]
    return learnt, [(r["mr"], r["text"]) for r in rows if prompt_of(r["mr"]) in held]


def learn(out: Path, options: argparse.Namespace) -> Checkpoint:
    """`sfumato train` on the pairs, unless it was done."""
    folder = out / "diffusion"
    if not folder.exists():
        command = [sys.executable, "-m", sfumato_apps.cli.__name__, "train", "--out", str(folder)]
        command += ["--data", str(out / "train.jsonl"), "--valid", str(out / "valid.jsonl")]
        command += ["--vocabulary", "1024", "--max-length", str(MAX_LENGTH)]
        command += ["--minutes", str(options.minutes), "--slack", str(options.slack)]
        subprocess.run(command, check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        (out / "cpu_seconds").write_text(f"{used.ru_utime + used.ru_stime:.0f}")
    return load(str(folder))


def rival(out: Path, model: Checkpoint, learnt: Sequence[PairRecord]) -> LlamaForCausalLM:
    """The autoregressive model, unless it was trained."""
    folder, words = out / "autoregressive", model.vocabulary
    if not folder.exists():
        size = model.denoiser.network.config
        torch.manual_seed(SEED)
        new = autoregressive.new_llama(
            words, width=size.hidden_size, layers=size.num_hidden_layers, positions=MAX_LENGTH * 2
        )
        examples = [encode(record, words, max_length=MAX_LENGTH) for record in learnt]
        seconds = float((out / "cpu_seconds").read_text())
        autoregressive.train(new, examples, words, seconds=seconds, seed=SEED)
        autoregressive.save(new, words, folder)
    found: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder).eval()
    return found


def policies(temperature: float) -> dict[str, DecodingPolicy]:
    """One token a pass, and as many as are sure."""
    tokens = TokenSampler(temperature=temperature)
    return {
        "diffusion, one token a pass": DecodingPolicy(blocks=Blocks(size=8), tokens=tokens),
        "diffusion, threshold 0.9": DecodingPolicy(
            blocks=Blocks(size=16), quota=Threshold(probability=0.9), tokens=tokens
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--slack", type=int, default=32)
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    learnt, references = prepare(options.data, options.out)
    model = learn(options.out, options)
    llama = rival(options.out, model, learnt)
    distinct = {prompt_of(facts): facts for facts, _ in references}
    facts = [facts for facts in distinct.values() for _ in range(EACH)]
    found = {"people": (accuracy(*zip(*references, strict=True)), [t for _, t in references], 0.0)}
    for name, policy in policies(options.temperature).items():
        samples = [
            sample
            for number, prompt in enumerate(distinct)
            for sample in write(
                model, prompt=prompt, n=EACH, length=LENGTH, policy=policy, seed=number * EACH
            )
        ]
        prompts = [prompt_of(said) for said in facts]
        texts = [s.text.removeprefix(p) for s, p in zip(samples, prompts, strict=True)]
        passes = mean(sample.passes for sample in samples)
        found[name] = (accuracy(facts, texts), texts, passes)
    heads = [prompt_ids(prompt_of(said), model.vocabulary) for said in facts]
    texts = [
        *autoregressive.write(
            llama,
            heads,
            model.vocabulary,
            temperature=options.temperature,
            length=LENGTH,
            seed=SEED,
        )
    ]
    words = mean(len(model.vocabulary.encode(text)) + 1 for text in texts)
    found["autoregressive"] = (accuracy(facts, texts), texts, words)
    kinds = list(found["people"][0])
    rows = [
        [name, str(len(texts)), f"{passes:.1f}", f"{loop_rate(texts, seed=SEED).value:.3f}"]
        + [f"{shares[kind]:.3f}" for kind in kinds]
        for name, (shares, texts, passes) in found.items()
    ]
    report = table(["text by", "n", "passes", "loops", *kinds], rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    for name, (_, texts, _) in found.items():
        (options.out / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
