"""Time per text at equal quality: a diffusion model beside an autoregressive one.

    python benchmarks/restaurants.py E2E.jsonl --judge JUDGE --out runs/e2e
    python benchmarks/equal_quality.py runs/e2e --judge JUDGE

Both models have the same size, vocabulary, texts and budget: those that `restaurants.py` left.
Each writes at several temperatures, the diffusion model also with more tokens a pass. Quality is
two numbers, perplexity under a judge and unigram entropy, because either alone can be bought with
the other. For every setting of the autoregressive model the table has the fastest setting of the
diffusion model that is at most 5 % more perplexing and at most 0.05 nats poorer, or none. Time is
CPU seconds, of one text alone and of texts in batches of 16.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import autoregressive
import torch
from contest import machine, now, table
from restaurants import LENGTH, measure
from transformers import LlamaForCausalLM

from sfumato.models.checkpoints import Checkpoint, load
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.constraints import Loops
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.parts.quotas import EntropyBound, Fixed, Quota
from sfumato.sampling.tasks import write
from sfumato.sampling.tasks.writing import BLOCK
from sfumato.text.batching import prompt_ids

DIFFUSION, CAUSAL = "diffusion", "autoregressive"
TEMPERATURES = (0.7, 1.0)
QUOTAS: dict[str, Quota] = {
    "a token a pass": Fixed(size=1),
    "2 tokens a pass": Fixed(size=2),
    "entropy bound 0.1": EntropyBound(gamma=0.1),
    "entropy bound 0.5": EntropyBound(gamma=0.5),
    "entropy bound 1": EntropyBound(gamma=1.0),
}
BATCH, WORSE, POORER = 16, 1.05, 0.05
Write = Callable[[int, int, int], list[str]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A model with a way of writing, and what came of it.

    Attributes:
        model: diffusion or autoregressive.
        name: its way of writing.
        alone: CPU seconds of a text, one at a time.
        batched: CPU seconds of a text, in batches.
        perplexity: of the texts under the judge.
        entropy: of their words, nats.
    """

    model: str
    name: str
    alone: float
    batched: float
    perplexity: float
    entropy: float

    def as_good_as(self, other: Setting) -> bool:
        """Whether it is not worse in either number, by the tolerances."""
        judged = self.perplexity <= WORSE * other.perplexity
        return judged and self.entropy >= other.entropy - POORER


def diffusion(
    model: Checkpoint, policy: DecodingPolicy, n: int, batch: int, seed: int
) -> list[str]:
    """Texts of the diffusion model."""
    samples = write(model, n=n, policy=policy, seed=seed, batch_size=batch)
    return [sample.text for sample in samples]


def causal(
    llama: LlamaForCausalLM, model: Checkpoint, temperature: float, n: int, batch: int, seed: int
) -> list[str]:
    """Texts of the autoregressive model."""
    prompt, texts = prompt_ids("", model.vocabulary), []
    for first in range(0, n, batch):
        texts += autoregressive.write(
            llama,
            [prompt] * min(batch, n - first),
            model.vocabulary,
            temperature=temperature,
            length=LENGTH,
            seed=seed + first,
        )
    return texts


def ways(model: Checkpoint, llama: LlamaForCausalLM) -> dict[tuple[str, str], Write]:
    """Every model and way of writing."""
    plain = DecodingPolicy(blocks=Blocks(size=BLOCK), constraints=(Loops(),))
    found: dict[tuple[str, str], Write] = {}
    for temperature in TEMPERATURES:
        found[CAUSAL, f"T = {temperature}"] = partial(causal, llama, model, temperature)
        warm = replace(plain, tokens=TokenSampler(temperature=temperature))
        for name, quota in QUOTAS.items():
            policy = replace(warm, quota=quota)
            found[DIFFUSION, f"{name}, T = {temperature}"] = partial(diffusion, model, policy)
    return found


def seconds(texts: Write, n: int, batch: int) -> float:
    """CPU seconds of a text."""
    begin = now()
    texts(n, batch, 1)
    return (now() - begin).cpu / n


def settings(folder: Path, judge: Path, n: int, timed: int) -> list[Setting]:
    """All of them; texts that are judged are not those that are timed."""
    rival = folder / CAUSAL
    model, llama = load(folder / DIFFUSION), LlamaForCausalLM.from_pretrained(rival).eval()
    found = []
    for (kind, name), texts in ways(model, llama).items():
        values = measure(texts(n, BATCH, 0), judge, rival)
        found.append(
            Setting(
                model=kind,
                name=name,
                alone=seconds(texts, timed, 1),
                batched=seconds(texts, BATCH * -(-timed // BATCH), BATCH),
                perplexity=values["ppl_stories260k"],
                entropy=values["unigram_entropy_nats"],
            )
        )
        print(found[-1], file=sys.stderr, flush=True)
    return found


def equals(found: Sequence[Setting], clock: str) -> list[list[str]]:
    """Each autoregressive setting, and the fastest diffusion setting that is as good."""
    rows = []
    for rival in (one for one in found if one.model == CAUSAL):
        good = [one for one in found if one.model == DIFFUSION and one.as_good_as(rival)]
        best = min(good, key=lambda one: getattr(one, clock), default=None)
        own = getattr(rival, clock)
        cells = [rival.name, clock, f"{own:.3f}"]
        if best is None:
            rows.append([*cells, "none is as good", "", ""])
        else:
            other = getattr(best, clock)
            rows.append([*cells, best.name, f"{other:.3f}", f"{own / other:.2f} ×"])
    return rows


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what restaurants.py wrote")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--n", type=int, default=500, help="texts that are judged")
    parser.add_argument("--timed", type=int, default=32, help="texts that are timed")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    described = machine()
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    found = settings(options.folder, options.judge, options.n, options.timed)
    rows = []
    for one in found:
        numbers = f"{one.alone:.3f}", f"{one.batched:.3f}", f"{one.perplexity:.1f}"
        rows.append([one.model, one.name, *numbers, f"{one.entropy:.2f}"])
    head = ["model", "setting", "s a text, alone", "s a text, batched", "perplexity", "entropy"]
    print(f"\n{table(head, rows)}\n")
    pairs = [row for clock in ("alone", "batched") for row in equals(found, clock)]
    head = ["autoregressive", "texts", "s a text", "fastest diffusion as good", "s a text"]
    print(table([*head, "autoregressive over diffusion"], pairs))
    if options.json:
        figures = {"machine": described, "settings": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
