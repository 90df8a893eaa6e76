"""How many passes does a tuned pace save on facts to text, and what does it cost in facts?

    python benchmarks/tuning.py RUN/diffusion E2E.jsonl --out tuned.json

RUN is a folder of benchmarks/facts.py, whose split of the data this takes. The sets put aside
choose a pace, several texts for each: the cheapest that keeps `--target` of the facts that writing
one token a pass mentions, by the lower end of an interval over the sets. The held-out sets report
on it; then they choose, and the sets put aside report, so that no set chooses the pace it is judged
by. Facts mentioned and passes of both reports together, with standard errors and intervals over the
sets. `--also-guidance` lets a bolder pace be paid for by a stronger guidance.

A model that was distilled under guidance is written with `--guidance 0 --teacher RUN/diffusion`:
facts and passes are then compared with those of its teacher under `--teacher-guidance`, which
writes one token a pass.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean

import facts
import pairs

from sfumato.evaluation.records import Parts
from sfumato.evaluation.resampling import bootstrap, jackknife, pooled
from sfumato.evaluation.tuning.choice import Choice, Tried, Try, choose, quality
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


def some(tried: Tried, of: slice, texts: int) -> Tried:
    """What was tried on some of the sets, which have so many texts each."""
    columns = tuple(column[of] for column in tried.parts.columns)
    passes = tried.passes[of.start * texts : of.stop * texts]
    return Tried(parts=Parts(pool="ratio", columns=columns), passes=passes)


def report(
    halves: Sequence[Tried], careful: Tried, wanted: Sequence[float]
) -> dict[str, float | list[float]]:
    """Facts mentioned with the standard error, their share of the careful ones, passes."""
    said = tuple(number for half in halves for number in half.parts.columns[0])
    passes = [number for half in halves for number in half.passes]
    found = Parts(pool="ratio", columns=(said, tuple(wanted)))
    shared = Parts(pool="ratio", columns=(said, careful.parts.columns[0]))
    interval = bootstrap(shared, draws=2000, level=0.95)
    return {
        "sets": len(said),
        "texts": len(passes),
        "facts": round(pooled(found), 4),
        "standard error": round(jackknife(found) or 0.0, 4),
        "share of careful": round(pooled(shared), 4),
        "95 %": [round(interval.low, 4), round(interval.high, 4)],
        "passes": round(mean(passes), 2),
        "times fewer": round(mean(careful.passes) / mean(passes), 2),
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
    parser.add_argument(
        "--quota", nargs="+", help="Threshold, EntropyBound, Factor; all if left out"
    )
    parser.add_argument("--skip", type=int, default=0, help="paces of a family, from the careful")
    parser.add_argument("--order", choices=sorted(ORDERS), default="margin")
    parser.add_argument("--guidance", type=float, default=0.5)
    parser.add_argument("--also-guidance", type=float, nargs="+", default=[])
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--texts", type=int, default=16, help="for each set")
    parser.add_argument("--teacher", type=Path, help="the model that the first was distilled from")
    parser.add_argument("--teacher-guidance", type=float, default=0.5)
    options = parser.parse_args()
    _, aside, held = (facts.sets(part) for part in facts.parts(options.data))
    among = paces(Order(by=ORDERS[options.order]), options.also_guidance)
    among = boldest(among, options.quota, options.skip)
    final = [one for one in (*aside, *held) for _ in range(options.texts)]
    wanted = summed([float(len(one)) for one in final], [*map(facts.prompt_of, final)])

    def attempts(folder: Path, guidance: float) -> Try:
        policy = writing(options.temperature, guidance)
        return cache(tries(load(folder), final, pairs.SEED, policy, among))

    attempt = attempts(options.model, options.guidance)
    careful = own = attempt(among.careful)
    if options.teacher:
        careful = attempts(options.teacher, options.teacher_guidance)(among.careful)
    first, second = slice(0, len(aside)), slice(len(aside), len(wanted))
    limits = {"target": options.target, "level": options.level}

    def chosen(by: slice) -> Choice:
        return choose(lambda pace: some(attempt(pace), by, options.texts), among, **limits)

    choices = {"by facts": chosen(first), "the other way round": chosen(second)}
    ones, others = (attempt(choice.pace) for choice in choices.values())
    halves = [some(others, first, options.texts), some(ones, second, options.texts)]
    tried = {one.pace: attempt(one.pace) for both in choices.values() for one in both.trials}
    found: dict[str, object] = {
        "careful": report([careful], careful, wanted),
        "one token a pass": report([own], careful, wanted),
        "tuned": report(halves, careful, wanted),
        "tuned, beside one token a pass": report(halves, own, wanted),
    }
    for (name, choice), on, half in zip(
        choices.items(), (second, first), halves[::-1], strict=True
    ):
        before = some(own, on, options.texts)
        found[name] = {
            "pace": choice.pace.as_json(),
            "beside one token a pass": report([half], before, wanted[on]),
            "tried": trials(choice),
        }
    found["on all sets, whoever chose"] = [
        {**pace.as_json(), **report([one], careful, wanted)} for pace, one in tried.items()
    ]
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
