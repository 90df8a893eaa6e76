"""Does the width of the canvas give the answer's length away, and does that make loops?

    python benchmarks/widths.py E2E.jsonl --steps 1800 --out runs/widths

Two models learn facts → description in as many steps: one sees canvases as wide as the answer,
the other up to `--slack` spare slots more, to be left empty. Both write for held-out facts on
canvases of once, twice and four times the width of the human answer, as published elsewhere and
as sfumato writes; on twice the width every remedy against loops is tried by itself. The
table has loops (4 or more words twice in a row), stutters (2 or more), words a text and unigram
entropy; a second table has the entropy by temperature. What is in the folder is not done again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import contestants
import pairs
import torch
from contest import table
from facts import Description, parts, prompt_of
from torch import Tensor

from sfumato.evaluation.diversity import unigram_entropy
from sfumato.evaluation.loops import loop_rate
from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.constraints import Loops, Repetition
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks, Debiased, Order, entropy, sampled_prob
from sfumato.sampling.parts.quotas import EntropyBound, Fixed
from sfumato.sampling.policies import remdm
from sfumato.sampling.tasks import complete_each
from sfumato.text.records import PairRecord

WIDTHS, TEMPERATURES = (1, 2, 4), (0.0, 0.3, 0.7, 1.0, 1.3)
WARM = TokenSampler(temperature=0.7)
OURS = DecodingPolicy(blocks=Blocks(size=8), tokens=WARM)
POLICIES: Mapping[str, DecodingPolicy] = {
    "whole canvas, order by the drawn token (LLaDA)": DecodingPolicy(
        order=Order(by=sampled_prob), tokens=WARM
    ),
    "whole canvas, order by the distribution": DecodingPolicy(tokens=WARM),
    "the same, 2 tokens a pass": DecodingPolicy(quota=Fixed(size=2), tokens=WARM),
    "the same, not adjacent": DecodingPolicy(
        quota=Fixed(size=2), order=Order(spacing=2), tokens=WARM
    ),
    "the same, entropy bound": DecodingPolicy(
        order=Order(by=entropy), quota=EntropyBound(), tokens=WARM
    ),
    "whole canvas, ReMDM": replace(remdm(steps=64), tokens=WARM),
    "blocks of 8": OURS,
    "blocks of 8, T from 0.9 to 0.5": replace(OURS, tokens=TokenSampler(temperature=(0.9, 0.5))),
    "blocks of 8, top-p 0.9": replace(OURS, tokens=replace(WARM, top_p=0.9)),
    "blocks of 8, no loops": replace(OURS, constraints=(Loops(),)),
    "blocks of 8, no 4 tokens twice": replace(OURS, constraints=(Repetition(size=4),)),
}

AT_EVERY_WIDTH = tuple(name for name in POLICIES if "LLaDA" in name or "no loops" in name)


def answers(
    model: Checkpoint, asked: Sequence[Description], policy: DecodingPolicy, times: int
) -> list[str]:
    """One answer to each set of facts, on a canvas some times as wide as the human one."""
    widths = [times * (len(model.vocabulary.encode(text)) + 1) for _, text in asked]
    prompts = [prompt_of(facts) for facts, _ in asked]
    samples = complete_each(model, prompts, lengths=widths, policy=policy, batch_size=32)
    return [sample.text for sample in samples]


def frequency(learnt: Sequence[Description], model: Checkpoint) -> Tensor:
    """How often each token stands in the answers trained on, their ends included."""
    words = model.vocabulary
    ids = chain.from_iterable((*words.encode(text), words.eos) for _, text in learnt)
    counts = torch.tensor([*ids]).bincount(minlength=words.size)
    return counts / counts.sum()


def measured(texts: Sequence[str]) -> list[str]:
    """Loops, stutters, words and entropy of a set of texts."""
    return [
        f"{loop_rate(texts, seed=pairs.SEED).value:.3f}",
        f"{loop_rate(texts, repeats=2, span=2, seed=pairs.SEED).value:.3f}",
        f"{sum(len(text.split()) for text in texts) / len(texts):.1f}",
        f"{unigram_entropy(texts, seed=pairs.SEED).value:.2f}",
    ]


def main() -> None:
    parser = contestants.parser(__doc__)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--slack", type=int, default=96)
    parser.add_argument("--n", type=int, default=100)
    options = parser.parse_args()
    learnt, _, held = (
        [(facts, text) for facts, text in part if len(text.split()) >= 8]
        for part in parts(options.data)
    )
    asked = random.Random(pairs.SEED).sample(held, min(options.n, len(held)))
    records = [
        [PairRecord(prompt=prompt_of(facts), completion=text) for facts, text in part]
        for part in (learnt, held)
    ]
    head = ["loops", "stutters", "words", "entropy"]
    rows = [["people", "", "", *measured([text for _, text in asked])]]
    heat = []
    for slack in (0, options.slack):
        budget = pairs.Budget(slack=slack, max_length=320, more=("--steps", str(options.steps)))
        model = pairs.diffusion(options.out / f"slack-{slack}", *records, budget)
        debiased = Order(by=Debiased(frequency=frequency(learnt, model)))
        policies = {
            **POLICIES,
            "whole canvas, debiased": DecodingPolicy(order=debiased, tokens=WARM),
        }
        for name, policy in policies.items():
            for times in WIDTHS if name in AT_EVERY_WIDTH else WIDTHS[1:2]:
                texts = answers(model, asked, policy, times)
                rows.append([name, f"{slack}", f"{times} ×", *measured(texts)])
                print(rows[-1], flush=True)
        for temperature in TEMPERATURES:
            policy = replace(OURS, tokens=TokenSampler(temperature=temperature))
            texts = answers(model, asked, policy, 2)
            heat.append([f"{slack}", f"{temperature}", *measured(texts)])
    report = table(["policy at T = 0.7", "slack", "canvas", *head], rows)
    report += "\n\n" + table(["slack", "temperature, canvas 2 ×", *head], heat)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
