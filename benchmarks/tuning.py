"""How many passes does a tuned pace save on facts to text, and what does it cost in facts?

    python benchmarks/tuning.py RUN/diffusion E2E.jsonl --out tuned.json

RUN is a folder of benchmarks/facts.py, whose split of the data this takes. `--sets` new sets of
facts choose the pace, put together from those that are not held out, as a set needs no description
to count its facts in a text: the cheapest pace that keeps `--target` of the facts that writing one
token a pass mentions, by the lower end of an interval over the sets. `--also-guidance` lets it pay
for a bolder pace with a stronger guidance. The held-out sets, several texts for each, report on it:
facts mentioned and passes, with standard errors and intervals over the sets. Beside it stands the
pace that agreement of tokens chooses, which asks for no measure.

A model that was distilled under guidance is written with `--guidance 0 --teacher RUN/diffusion`:
facts and passes are then compared with those of its teacher under `--teacher-guidance`, which
writes one token a pass. `--aside` reports on the sets put aside as well, which no choice here sees.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import facts
import pairs

from sfumato.evaluation.records import Parts
from sfumato.evaluation.resampling import bootstrap, jackknife, pooled
from sfumato.evaluation.tuning.choice import Choice, Tried, Try, agreement, choose, quality
from sfumato.evaluation.tuning.paces import Pace, Paces, paces
from sfumato.models.checkpoints import Checkpoint, load
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.constraints import Loops
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Order
from sfumato.sampling.policies import ORDERS
from sfumato.sampling.tasks.jobs import Row
from sfumato.sampling.tasks.writing import rows_after


def rows_of(model: Checkpoint, sets: Sequence[facts.Facts], seed: int) -> list[Row]:
    """A row for every set of facts."""
    prompts = map(facts.prompt_of, sets)
    return [rows_after(model, one, None, [seed + i])[0][0] for i, one in enumerate(prompts)]


def tries(
    model: Checkpoint, sets: Sequence[facts.Facts], seed: int, policy: DecodingPolicy, among: Paces
) -> Try:
    """Writes for the sets and counts the facts; texts of one set are taken together."""
    rows, prompts = rows_of(model, sets, seed), [*map(facts.prompt_of, sets)]

    def mentioned(texts: Sequence[str]) -> list[float]:
        answers = [text.removeprefix(prompts[i]) for i, text in enumerate(texts)]
        return [float(len(facts.said(one, t))) for one, t in zip(sets, answers, strict=True)]

    attempt = quality(model, rows, policy, among, measure=mentioned, batch_size=32)

    def by_set(pace: Pace) -> Tried:
        tried = attempt(pace)
        columns = tuple(summed(column, prompts) for column in tried.parts.columns)
        print(f"{pace.as_json()}: {sum(tried.passes) / len(tried.passes):.1f} passes", flush=True)
        return Tried(parts=Parts(pool="ratio", columns=columns), passes=tried.passes)

    return by_set


def summed(column: Sequence[float], prompts: Sequence[str]) -> tuple[float, ...]:
    """The numbers of each prompt together."""
    totals = dict.fromkeys(prompts, 0.0)
    for prompt, value in zip(prompts, column, strict=True):
        totals[prompt] += value
    return tuple(totals.values())


def report(tried: Tried, careful: Tried, sets: Sequence[facts.Facts]) -> dict[str, object]:
    """Facts mentioned with the standard error, their share of the careful ones, passes."""
    shared = Parts(pool="ratio", columns=(tried.parts.columns[0], careful.parts.columns[0]))
    wanted = summed([float(len(one)) for one in sets], [*map(facts.prompt_of, sets)])
    found = Parts(pool="ratio", columns=(tried.parts.columns[0], wanted))
    interval = bootstrap(shared, draws=2000, level=0.95)
    spent, before = sum(tried.passes), sum(careful.passes)
    return {
        "texts": len(sets),
        "facts": round(pooled(found), 4),
        "standard error": round(jackknife(found) or 0.0, 4),
        "share of careful": round(pooled(shared), 4),
        "95 %": [round(interval.low, 4), round(interval.high, 4)],
        "passes": round(spent / len(sets), 2),
        "times fewer": round(before / spent, 2),
    }


def writing(temperature: float, guidance: float) -> DecodingPolicy:
    """How both are written, but for the pace."""
    return DecodingPolicy(
        tokens=TokenSampler(temperature=temperature),
        guidance=ClassifierFree(scale=guidance) if guidance else None,
        constraints=(Loops(),),
    )


def trials(choice: Choice) -> list[dict[str, object]]:
    """What was tried, as rows."""
    return [
        {
            **one.pace.as_json(),
            "share": round(one.share, 4),
            "low": round(one.interval.low, 4),
            "passes": round(one.passes, 2),
            "passed": one.passed,
        }
        for one in choice.trials
    ]


def boldest(among: Paces, kinds: Sequence[str] | None, skip: int) -> Paces:
    """The families of some kinds of quota without their most careful paces."""
    chosen = [
        family[skip:]
        for family in among.families
        if not kinds or type(family[0].quota).__name__ in kinds
    ]
    return replace(among, families=tuple(chosen))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--target", type=float, default=0.98)
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--sets", type=int, default=600)
    parser.add_argument(
        "--quota", nargs="+", help="Threshold, EntropyBound, Factor; all if left out"
    )
    parser.add_argument("--skip", type=int, default=0, help="paces of a family, from the careful")
    parser.add_argument("--order", choices=sorted(ORDERS), default="margin")
    parser.add_argument("--guidance", type=float, default=0.5)
    parser.add_argument("--also-guidance", type=float, nargs="+", default=[])
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--texts", type=int, default=16, help="for each held-out set")
    parser.add_argument("--aside", action="store_true", help="report on the sets put aside too")
    parser.add_argument("--teacher", type=Path, help="the model that the first was distilled from")
    parser.add_argument("--teacher-guidance", type=float, default=0.5)
    options = parser.parse_args()
    model = load(options.model)
    learnt, aside, held = facts.parts(options.data)
    order = Order(by=ORDERS[options.order])
    among, same = paces(order, options.also_guidance), paces(order)
    among, same = (boldest(one, options.quota, options.skip) for one in (among, same))
    policy = writing(options.temperature, options.guidance)
    limits = {"target": options.target, "level": options.level}
    known = facts.sets([*learnt, *aside])
    new = facts.recombined(known, options.sets, pairs.SEED, held=facts.sets(held))
    by_facts = choose(tries(model, new, pairs.SEED, policy, among), among, **limits)
    rows = rows_of(model, facts.sets(aside), pairs.SEED)
    by_tokens = choose(agreement(model, rows, policy, same), same, **limits)
    apart = facts.sets([*held, *(aside if options.aside else [])])
    final = [one for one in apart for _ in range(options.texts)]
    attempt = tries(model, final, pairs.SEED, policy, among)
    careful = attempt(among.careful)
    found: dict[str, object] = {}
    if options.teacher:
        guided = writing(options.temperature, options.teacher_guidance)
        own = careful
        careful = tries(load(options.teacher), final, pairs.SEED, guided, among)(among.careful)
        found["one token a pass"] = report(own, careful, final)
    found["careful"] = report(careful, careful, final)
    for name, choice in (("by facts", by_facts), ("by tokens", by_tokens)):
        held_out = report(attempt(choice.pace), careful, final)
        found[name] = {"pace": choice.pace.as_json(), **held_out, "tried": trials(choice)}
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
