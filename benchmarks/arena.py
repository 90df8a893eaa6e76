r"""Does a model learn the order of whole lists? Five models' answers to the same prompts, ranked.

    python benchmarks/arena.py ru_arena_5models.jsonl --out runs/arena

A line of the data is one model's answer: question_id, model, and messages of two turns. Prompts and
answers are cut to their openings, which a rule ranks: the plainest first, with few long words and
few marks of Markdown. A masked model learns to answer from the prompts that are not held out, and
is then aligned on the rankings of these, by each loss of `lists.py`, at the same number of texts a
step. On held-out prompts the implicit reward, the difference of two ELBOs with shared noise, is
compared with the rule: over all pairs (Kendall's τ is twice their share minus 1), neighbours in
rank, the best with the worst, and how often the best comes first. New answers are scored by the
rule. What is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, product
from pathlib import Path
from statistics import mean

import contestants
import torch
from contest import table
from lists import LOSSES, ends, spread

from sfumato.alignment.learning.likelihood import TokenElbo
from sfumato.alignment.rankings.formats import read_ranking
from sfumato.alignment.rankings.sets import RankedRecord, encode_ranked, lay_sets
from sfumato.models.checkpoints import load
from sfumato.sampling.tasks import complete_each
from sfumato.text.batching import prompt_ids
from sfumato_apps.judging.ranking import reward_of
from sfumato_apps.judging.sharing import lines_of

RULE = (r"less:pattern:\w{9,}", r"less:pattern:(?m)[*#`|]+|^\s*(?:[-–•]|\d+[.)])\s")


def opening(text: str, most: int) -> str:
    """What fits into so many characters, to the end of a word."""
    text = text.strip()
    fits = re.match(rf".{{1,{most}}}(?=\s|$)", text, re.DOTALL)
    return fits[0].rstrip() if fits else text[:most]


def answers_of(path: Path) -> dict[str, list[str]]:
    """The answers to each prompt."""
    found: dict[str, list[str]] = {}
    for row in map(json.loads, lines_of(path)):
        asked, answered = (turn["content"].strip() for turn in row["messages"])
        found.setdefault(asked, []).append(answered)
    return found


def rest(text: str, most: int) -> Iterator[str]:
    """What follows the opening of a text, in pieces as long as that."""
    while text := text.strip().removeprefix(opening(text, most)).strip():
        yield opening(text, most)


def agreement(rewards: Iterable[Sequence[float]], records: Iterable[RankedRecord]) -> list[float]:
    """Shares in the right order: all pairs, neighbours, the best with the worst; best put first."""
    found: list[list[bool]] = [[], [], [], []]
    for reward, ranks in zip(rewards, (record.ranks for record in records), strict=True):
        for i, j in product(range(len(ranks)), repeat=2):
            if ranks[i] < ranks[j]:
                near, far = ranks[j] - ranks[i] == 1, (ranks[i], ranks[j]) == (1, max(ranks))
                for kept, counts in zip(found, (True, near, far), strict=False):
                    if counts:
                        kept.append(reward[i] > reward[j])
        found[3].append(ranks[max(range(len(ranks)), key=reward.__getitem__)] == 1)
    return [*map(mean, found)]


@torch.inference_mode()
def likelihoods(
    path: Path, model: Path, records: Sequence[RankedRecord], *, length: int, draws: int
) -> list[list[float]]:
    """ELBOs of all texts, with noise that is the same for every model; kept in a file."""
    if not path.exists():
        start, noise = load(str(model)), torch.Generator().manual_seed(contestants.SEED)
        elbo, words = TokenElbo(process=start.process, draws=draws), start.vocabulary
        encoded = [encode_ranked(record, words, max_length=length) for record in records]
        rows = []
        for one in encoded:
            noised = elbo.prepare(lay_sets([one], words), noise)
            rows.append({"elbo": elbo(start.denoiser.eval(), noised)[0].mean(1).tolist()})
        contestants.keep(path, rows)
    return [json.loads(line)["elbo"] for line in lines_of(path)]


def written(path: Path, model: Path, prompts: Sequence[str], *, length: int) -> list[str]:
    """An answer to each prompt, at most half as long as the canvas; kept in a file."""
    if not path.exists():
        start = load(str(model))
        sizes = [len(prompt_ids(prompt, start.vocabulary)) for prompt in prompts]
        room = [max(1, min(length // 2, length - size)) for size in sizes]
        found = complete_each(start, prompts, lengths=room, seed=contestants.SEED, batch_size=32)
        contestants.keep(path, ({"text": one.text} for one in found))
    return [json.loads(line)["text"] for line in lines_of(path)]


def prepare(options: argparse.Namespace) -> None:
    """Files to learn from, and rankings to align by and to judge by."""
    found, out = answers_of(options.data), options.out
    prompts = sorted(found)
    random.Random(contestants.SEED).shuffle(prompts)
    sides = {"held": prompts[: options.held], "learnt": prompts[options.held :]}
    for side, asked in sides.items():
        rows = [
            {
                "prompt": opening(prompt, options.asked) + "\n",
                "completions": [opening(text, options.answered) for text in found[prompt]],
            }
            for prompt in asked
        ]
        sets = contestants.keep(out / f"{side}.sets.jsonl", rows)
        said = ((row["prompt"], text) for row in rows for text in row["completions"])
        pairs = ({"prompt": prompt, "completion": text} for prompt, text in said)
        contestants.keep(out / f"{side}.jsonl", pairs)
        run = ["--data", sets, "--by", *options.by, "--out", str(out / f"{side}.ranked.jsonl")]
        contestants.command("rank", *run)
    whole = chain.from_iterable(found[prompt] for prompt in sides["learnt"])
    more = ({"text": piece} for text in whole for piece in rest(text, options.answered))
    contestants.keep(out / "more.jsonl", more)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = contestants.parser(__doc__)
    parser.add_argument("--by", nargs="+", default=RULE, help="as `sfumato rank` takes it")
    parser.add_argument("--held", type=int, default=100, help="prompts")
    parser.add_argument("--asked", type=int, default=160, help="characters of a prompt")
    parser.add_argument("--answered", type=int, default=240, help="characters of an answer")
    parser.add_argument("--length", type=int, default=128, help="tokens of both")
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--learn", type=int, default=700, help="steps of `sfumato train`")
    parser.add_argument("--batch", type=int, default=4, help="whole lists a step")
    parser.add_argument("--steps", type=int, default=60, help="of `sfumato align`")
    parser.add_argument("--beta", default="0.1")
    parser.add_argument("--anchor", default="0", help="weighs on losses of different sizes")
    parser.add_argument("--learning-rate", default="3e-4")
    parser.add_argument("--draws", type=int, default=16, help="to judge by")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    out, length = options.out, str(options.length)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "more.jsonl").exists():
        prepare(options)
    base, held = out / "base", out / "held.ranked.jsonl"
    run = ["--data", str(out / "learnt.jsonl"), str(out / "more.jsonl"), "--max-length", length]
    run += ["--valid", str(out / "held.jsonl"), "--vocabulary", str(options.vocabulary)]
    run += ["--steps", str(options.learn), "--width", "256", "--dropout", "0.1"]
    contestants.trained(base, "train", *run)
    records = [read_ranking(json.loads(line), str(held)) for line in lines_of(held)]
    reward = reward_of(options.by)

    def judged(name: str, folder: Path) -> tuple[list[list[float]], list[float]]:
        path = out / f"{name}.elbo.jsonl"
        found = likelihoods(path, folder, records, length=options.length, draws=options.draws)
        prompts = [str(record.prompt) for record in records]
        texts = written(out / f"{name}.jsonl", folder, prompts, length=options.length)
        return found, [mean(reward(texts)), mean(len(text.split()) for text in texts)]

    before, style = judged("base", base)
    first = map("{:.3f}".format, [*agreement(before, records), *style])
    rows = [["likelihood before", f"{contestants.seconds_of(base):.0f}", *first]]
    ranked = out / "learnt.ranked.jsonl"
    two, of = ends(ranked), len(records[0].ranks)
    for loss, (method, *pairs) in LOSSES.items():
        whole = "best_vs_worst" not in pairs
        batch = options.batch if whole else options.batch * of // 2
        found, seconds = [], []
        for seed in range(options.seeds):
            name = f"{loss} {seed}"
            run = ["--model", str(base), "--data", str(ranked if whole else two)]
            run += ["--method", method, *pairs, "--beta", options.beta, "--anchor", options.anchor]
            run += ["--steps", str(options.steps), "--batch", str(batch), "--seed", str(seed)]
            run += ["--learning-rate", options.learning_rate, "--max-length", length]
            contestants.trained(out / name, "align", *run, "--valid-fraction", "0")
            after, style = judged(name, out / name)
            gains = [
                [policy - reference for policy, reference in zip(*texts, strict=True)]
                for texts in zip(after, before, strict=True)
            ]
            found.append([*agreement(gains, records), *style])
            seconds.append(contestants.seconds_of(out / name))
        rows.append([loss, f"{mean(seconds):.0f}", *map(spread, zip(*found, strict=True))])
        print(rows[-1], flush=True)
    head = ["order by", "CPU s", "pairs", "neighbours", "ends", "best first", "reward", "words"]
    report = table(head, rows)
    (out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
