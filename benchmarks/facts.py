"""From facts to text: are all attributes mentioned? Beside an autoregressive model of equal budget.

    python benchmarks/facts.py E2E.jsonl --minutes 18 --out runs/facts

Pairs "name: …; food: …" → description, from scratch; no set of facts is in two parts of the
split. An attribute counts as mentioned if its value stands in the text, word for word and without
regard to case; "family friendly" is judged by its usual phrases. In the part to learn from, facts
that a text does not mention are taken from its set (so Dušek et al., arXiv 1911.03905); the texts
to report on are left as they are. `sfumato train` learns the pairs, then a Llama of the same size
for the same CPU time. Sets put aside choose how the diffusion model writes; all write for the
held-out sets, once, and `--candidates` times, of which the text with the most facts is kept. With
`--tuned`, the file of benchmarks/tuning.py, also at the pace found there. Seconds are CPU seconds
of a text, in batches of 32. What is in the folder is not done again.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import contestants
import pairs
from contest import now, table

from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.tuning.paces import pace_from_json
from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.constraints import Loops
from sfumato.sampling.parts.guidance import ClassifierFree
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
SPELLED = {
    ("family friendly", "yes"): "for: family friendly",
    ("family friendly", "no"): "for: not family friendly",
}
NAMED = {"name", "near", "area", "food"}
Facts = Mapping[str, str]
Description = tuple[Facts, str]


def prompt_of(facts: Facts) -> str:
    """The facts in one line, yes and no in words that can be copied."""
    return "; ".join(SPELLED.get(fact, ": ".join(fact)) for fact in facts.items()) + "\n"


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


def invented(facts: Sequence[Facts], texts: Sequence[str]) -> float:
    """The share of texts that name a place, a food or an area which the facts do not have."""
    values = {one for said in facts for name, one in said.items() if name in NAMED}
    return mean(
        any(one not in said.values() and mentioned("", one, text) for one in values)
        for said, text in zip(facts, texts, strict=True)
    )


def said(facts: Facts, text: str) -> Facts:
    """The facts that a text mentions."""
    return {name: value for name, value in facts.items() if mentioned(name, value, text)}


def parts(data: Path) -> tuple[list[Description], list[Description], list[Description]]:
    """Facts with their texts, split by facts: to learn from, to choose by, to report on."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    kinds = sorted({prompt_of(row["mr"]) for row in rows})
    random.Random(pairs.SEED).shuffle(kinds)
    tenth = len(kinds) // 10
    part = dict.fromkeys(kinds[:tenth], 2) | dict.fromkeys(kinds[tenth : 2 * tenth], 1)
    found: tuple[list[Description], list[Description], list[Description]] = ([], [], [])
    for row in rows:
        found[part.get(prompt_of(row["mr"]), 0)].append((row["mr"], row["text"]))
    return found


@dataclass(frozen=True, kw_only=True)
class Written:
    """Texts for some sets of facts; passes of the network and CPU seconds for each."""

    facts: Sequence[Facts]
    texts: Sequence[str]
    passes: float = 0.0
    seconds: float = 0.0

    @property
    def shares(self) -> dict[str, float]:
        """The share of attributes that are mentioned."""
        return accuracy(self.facts, self.texts)

    def row(self, name: str, kinds: Sequence[str]) -> list[str]:
        """A row of the table."""
        loops = loop_rate(self.texts, seed=pairs.SEED).value
        numbers = [loops, invented(self.facts, self.texts), *map(self.shares.__getitem__, kinds)]
        spent = [f"{self.passes:.1f}", f"{self.seconds:.3f}"]
        return [name, str(len(self.texts)), *spent, *(f"{x:.3f}" for x in numbers)]


def policies(tokens: TokenSampler) -> dict[str, DecodingPolicy]:
    """Ways to write, one token a pass."""
    plain = {
        "the whole canvas": DecodingPolicy(tokens=tokens, constraints=(Loops(),)),
        "blocks of 8": DecodingPolicy(blocks=Blocks(size=8), tokens=tokens, constraints=(Loops(),)),
    }
    guided = {
        f"{name}, guidance {scale}": replace(policy, guidance=ClassifierFree(scale=scale))
        for name, policy in plain.items()
        for scale in (0.5, 1.0)
    }
    return plain | guided


def written(model: Checkpoint, facts: Sequence[Facts], policy: DecodingPolicy) -> Written:
    """One text for each set of facts."""
    begin = now()
    samples = pairs.answers(model, [*map(prompt_of, facts)], policy)
    seconds = (now() - begin).cpu / len(facts)
    texts = [sample.text for sample in samples]
    passes = mean(one.passes for one in samples)
    return Written(facts=facts, texts=texts, passes=passes, seconds=seconds)


def sets(part: Sequence[Description]) -> list[Facts]:
    """Each set of facts once."""
    return [*{prompt_of(facts): facts for facts, _ in part}.values()]


def best(facts: Sequence[Facts], written: Written) -> Written:
    """Of several rounds of texts for the same facts, for each the one that mentions most."""
    rounds = [written.texts[i :: len(facts)] for i in range(len(facts))]
    texts = [
        max(found, key=lambda text, one=one: len(said(one, text)))
        for one, found in zip(facts, rounds, strict=True)
    ]
    made = len(written.texts) / len(facts)
    spent = {"passes": written.passes * made, "seconds": written.seconds * made}
    return Written(facts=facts, texts=texts, **spent)


def main() -> None:
    parser = contestants.parser(__doc__, minutes=18.0)
    parser.add_argument("--steps", type=int, help="of the training, instead of minutes")
    parser.add_argument("--slack", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--candidates", type=int, default=8, help="at a temperature of 0.7")
    parser.add_argument("--tuned", type=Path, help="what benchmarks/tuning.py wrote")
    options = parser.parse_args()
    learnt, aside, held = parts(options.data)
    cleaned = [(said(facts, text), text) for facts, text in learnt]
    records = [
        [PairRecord(prompt=prompt_of(facts), completion=text) for facts, text in part]
        for part in (cleaned, aside)
    ]
    longer = ("--minutes", str(options.minutes))
    if options.steps:
        longer = ("--steps", str(options.steps))
    budget = pairs.Budget(slack=options.slack, more=longer)
    model, llama = pairs.learn(options.out, *records, budget)
    ways = policies(TokenSampler(temperature=options.temperature))
    shares = {}
    for name, policy in ways.items():
        shares[name] = written(model, sets(aside), policy).shares["all"]
        print(f"{name}: {shares[name]:.3f} of the facts put aside", flush=True)
    chosen = max(shares, key=shares.__getitem__)
    sure = replace(ways[chosen], quota=Threshold(probability=0.9))
    warm = replace(ways[chosen], tokens=TokenSampler(temperature=0.7))
    facts = [one for one in sets(held) for _ in range(EACH)]

    def rival(facts: Sequence[Facts], temperature: float) -> Written:
        prompts, begin = [*map(prompt_of, facts)], now()
        texts = pairs.rival_answers(llama, model, prompts, temperature=temperature, length=LENGTH)
        seconds = (now() - begin).cpu / len(facts)
        passes = mean(len(model.vocabulary.encode(text)) + 1 for text in texts)
        return Written(facts=facts, texts=texts, passes=passes, seconds=seconds)

    some = sets(held)
    rounds, count = some * options.candidates, f"best of {options.candidates}"
    found = {
        "people": Written(facts=[one for one, _ in held], texts=[text for _, text in held]),
        f"diffusion, {chosen}": written(model, facts, ways[chosen]),
        "diffusion, as many tokens as are sure": written(model, facts, sure),
        f"diffusion, {count}": best(some, written(model, rounds, warm)),
        "autoregressive": rival(facts, options.temperature),
        f"autoregressive, {count}": best(some, rival(rounds, 0.7)),
    }
    if options.tuned:
        pace = pace_from_json(json.loads(options.tuned.read_text())["by facts"]["pace"])
        found["diffusion, at the tuned pace"] = written(model, facts, pace.of(ways[chosen]))
    kinds = [*found["people"].shares]
    rows = [answers.row(name, kinds) for name, answers in found.items()]
    report = table(["text by", "n", "passes", "seconds", "loops", "invented", *kinds], rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    for name, answers in found.items():
        (options.out / f"{name}.txt").write_text("\n".join(answers.texts), encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
