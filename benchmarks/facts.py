"""From facts to text: are all attributes mentioned? Beside an autoregressive model of equal budget.

    python benchmarks/facts.py E2E.jsonl --minutes 18 --out runs/facts

Pairs "name: …; food: …" → description, from scratch; no set of facts is in both parts of the
split. There are only some 500 sets in training, which small models learn by heart, so each text
stands there with its facts in `--orders` random orders. `sfumato train` learns the pairs, then a
Llama of the same size for the same CPU time. Both write for the held-out facts. An attribute
counts as mentioned if its value stands in the text, word for word and without regard to case;
"family friendly" is judged by its usual phrases. What is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import pairs
from contest import table

from sfumato.evaluation.loops import loop_rate
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.constraints import Loops
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.parts.quotas import Threshold
from sfumato.text.records import PairRecord

EACH, LENGTH = 4, 72
FRIENDLY = re.compile(r"(?<!-)\b(famil|child|kid)", re.IGNORECASE)
UNFRIENDLY = re.compile(
    r"\b(not|no|isn ?'?t|n't|non|un|never|without|adults?)\b.{0,40}\b(famil|child|kid)"
    r"|(famil|child|kid)\w*\W{0,3}(friendly\W+)?(no|unfriendly)\b|\badults? only",
    re.IGNORECASE,
)
Facts = Mapping[str, str]
Description = tuple[Facts, str]


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


def shuffled(facts: Facts, order: random.Random) -> Facts:
    """The same facts in another order."""
    names = order.sample([*facts], len(facts))
    return {name: facts[name] for name in names}


def parts(data: Path) -> tuple[list[Description], list[Description]]:
    """Facts with their texts, split by facts."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    kinds = sorted({prompt_of(row["mr"]) for row in rows})
    random.Random(pairs.SEED).shuffle(kinds)
    held = set(kinds[: len(kinds) // 10])
    found: tuple[list[Description], list[Description]] = ([], [])
    for row in rows:
        found[prompt_of(row["mr"]) in held].append((row["mr"], row["text"]))
    return found


def policies(temperature: float) -> dict[str, DecodingPolicy]:
    """One token a pass, and as many as are sure."""
    tokens = TokenSampler(temperature=temperature)
    return {
        "diffusion, one token a pass": DecodingPolicy(
            blocks=Blocks(size=8), tokens=tokens, constraints=(Loops(),)
        ),
        "diffusion, threshold 0.9": DecodingPolicy(
            blocks=Blocks(size=16),
            quota=Threshold(probability=0.9),
            tokens=tokens,
            constraints=(Loops(),),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--slack", type=int, default=32)
    parser.add_argument("--orders", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    learnt, held = parts(options.data)
    order = random.Random(pairs.SEED)
    mixed = [(shuffled(facts, order), text) for facts, text in learnt * options.orders]
    records = [
        [PairRecord(prompt=prompt_of(facts), completion=text) for facts, text in part]
        for part in (mixed, held)
    ]
    budget = pairs.Budget(minutes=options.minutes, slack=options.slack)
    model, llama = pairs.learn(options.out, *records, budget)
    distinct = {prompt_of(facts): facts for facts, _ in held}.values()
    facts = [facts for facts in distinct for _ in range(EACH)]
    prompts = [*map(prompt_of, facts)]
    found = {"people": (accuracy(*zip(*held, strict=True)), [text for _, text in held], 0.0)}
    for name, policy in policies(options.temperature).items():
        samples = pairs.answers(model, prompts, policy)
        texts = [sample.text for sample in samples]
        found[name] = (accuracy(facts, texts), texts, mean(s.passes for s in samples))
    texts = pairs.rival_answers(
        llama, model, prompts, temperature=options.temperature, length=LENGTH
    )
    passes = mean(len(model.vocabulary.encode(text)) + 1 for text in texts)
    found["autoregressive"] = (accuracy(facts, texts), texts, passes)
    kinds = [*found["people"][0]]
    rows = [
        [name, str(len(texts)), f"{passes:.1f}", f"{loop_rate(texts, seed=pairs.SEED).value:.3f}"]
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
