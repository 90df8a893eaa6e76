"""A text diffusion model from scratch, beside an autoregressive one of the same size and budget.

    python benchmarks/restaurants.py E2E.jsonl --judge JUDGE --minutes 15 --out runs/e2e

Trains `sfumato train` on the file, then a Llama of the same width, depth and vocabulary on the
same texts for the same CPU time with the same optimiser; writes 500 texts with each; prints one
table (and `table.md`, `figures.json` in the folder). What is in the folder is not done again.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import autoregressive
import contestants
from contestants import SEED

from sfumato.evaluation.diversity import div, unigram_entropy
from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.perplexity import causal_perplexity, elbo
from sfumato.evaluation.records import Metric
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.constraints import Loops
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.tasks import write
from sfumato.sampling.tasks.writing import BLOCK
from sfumato.text.batching import encode, prompt_ids
from sfumato.text.corpora import Source, mix
from sfumato.text.records import TextRecord, split

TEMPERATURES = (0.7, 1.0, 1.3)
LENGTH = 72


def measure(texts: list[str], judge: Path, rival: Path) -> dict[str, float]:
    """What is said of a set of texts; empty texts count as texts but cannot be judged."""
    filled = [text for text in texts if text.strip()]
    metrics: list[Metric] = [
        div(texts, seed=SEED),
        unigram_entropy(texts, seed=SEED),
        loop_rate(texts, seed=SEED),
    ]
    values = {metric.name: metric.value for metric in metrics}
    values["stutter_rate"] = loop_rate(texts, repeats=2, span=2, seed=SEED).value
    values["ppl_stories260k"] = causal_perplexity(judge, filled, seed=SEED)[0].value
    values["ppl_autoregressive"] = causal_perplexity(rival, filled, seed=SEED)[0].value
    values["words"] = sum(len(text.split()) for text in texts) / len(texts)
    return values


def main() -> None:
    parser = contestants.parser(__doc__, minutes=15.0)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--n", type=int, default=500)
    options = parser.parse_args()
    folder, rival = options.out / "diffusion", options.out / "autoregressive"
    model = contestants.diffusion(
        folder,
        *("--data", str(options.data), "--minutes", str(options.minutes)),
        *("--vocabulary", "1024", "--valid-fraction", "0.05"),
    )
    words = model.vocabulary
    parts = split(list(mix([Source(path=str(options.data))], SEED)), 0.05, SEED)
    learnt, held = (
        [encode(record, words, max_length=128) for record in part.records]
        for part in (parts.train, parts.validation)
    )
    llama = contestants.rival(rival, folder, learnt, length=128)
    rows: dict[str, dict[str, float]] = {}
    real = [record.text for record in parts.train.records if isinstance(record, TextRecord)]
    chosen = random.Random(SEED).sample(real, min(options.n, len(real)))
    rows[f"real text (n={len(chosen)})"] = measure(chosen, options.judge, rival)
    guarded = DecodingPolicy(blocks=Blocks(size=BLOCK), constraints=(Loops(),))
    policies = {
        f"diffusion T={temperature}": replace(guarded, tokens=TokenSampler(temperature=temperature))
        for temperature in TEMPERATURES
    }
    policies["diffusion T=1.0, loops allowed"] = replace(guarded, constraints=())
    for name, policy in policies.items():
        texts = [s.text for s in write(model, n=options.n, policy=policy, seed=SEED)]
        rows[name] = measure(texts, options.judge, rival)
        (options.out / f"{name}.txt").write_text("\n".join(texts))
    for temperature in TEMPERATURES:
        prompts = [prompt_ids("", words)] * options.n
        texts = [
            *autoregressive.write(
                llama, prompts, words, temperature=temperature, length=LENGTH, seed=SEED
            )
        ]
        rows[f"autoregressive T={temperature}"] = measure(texts, options.judge, rival)
        (options.out / f"autoregressive T={temperature}.txt").write_text("\n".join(texts))
    bound = elbo(model, held, draws=8, seed=SEED)[0]
    slack = elbo(model, held, draws=8, seed=SEED, slack=8)[0]
    nats = autoregressive.nats_per_token(llama, held, words)
    lines = [
        f"Held out: {len(held)} texts. Diffusion ≤ {bound.value:.3f} ± {bound.stderr:.3f} nats per "
        f"token (length given), ≤ {slack.value:.3f} ± {slack.stderr:.3f} with 8 spare slots to "
        f"leave empty; autoregressive {nats:.3f} (exact).",
        "",
        "| texts | " + " | ".join(next(iter(rows.values()))) + " |",
        "|---" * (1 + len(next(iter(rows.values())))) + "|",
    ]
    lines += [
        f"| {k} | " + " | ".join(f"{x:.3f}" for x in v.values()) + " |" for k, v in rows.items()
    ]
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    figures = {
        "rows": rows,
        "elbo": bound.as_json(),
        "elbo_slack": slack.as_json(),
        "ar_nats": nats,
    }
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
