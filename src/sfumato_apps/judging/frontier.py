"""The walk of `sfumato frontier`: models ─► texts ─► numbers ─► table, plot and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from sfumato.alignment.rankings.formats import prompt_of
from sfumato.alignment.rankings.sets import RankedExample, RankedRecord
from sfumato.errors import UnusableError, UsageError
from sfumato.evaluation.diversity import div
from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.perplexity import causal_perplexity
from sfumato.evaluation.reporting import svg
from sfumato.evaluation.reporting.frontier import FORMAT, Contender, Place, frontier
from sfumato.protocols import Scorer
from sfumato_apps.aligning.families import Aligned, Reading, open_aligned
from sfumato_apps.judging import candidates
from sfumato_apps.judging.ranking import reward_of
from sfumato_apps.judging.sharing import lines_of
from sfumato_apps.judging.ways import WayPlan
from sfumato_apps.notes import Notes

_FILES = ("table.md", "frontier.svg", "frontier.json")
_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class FrontierPlan:
    """The options of a run; what each means stands at `recipes.frontier`."""

    models: list[str]
    by: list[str]
    out: Path
    reference: str | None
    fluency: str | None
    prompts: list[str] | None
    n: int
    steps: int | None
    length: int | None
    words: int
    resamples: int
    draws: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What a model wrote.

    Attributes:
        label: of the model.
        group: its divergence, or what else it is called in the plot.
        prompts: what was asked.
        texts: what was written; empty ones are left out.
    """

    label: str
    group: str
    prompts: Sequence[Any]
    texts: Sequence[str]


def follow(plan: FrontierPlan) -> None:
    """Walks from models to the frontier.

    Raises:
        UsageError: two models of one name, or numbers out of range.
        ModelError: a folder that holds no model.
    """
    if plan.n < 2 or plan.words < 4:
        raise UsageError(f"expected n ≥ 2 and words ≥ 4, got {plan.n} and {plan.words}")
    named = [*plan.models, *([plan.reference] if plan.reference else [])]
    names = {Path(model).name: model for model in named}
    if len(names) < len(named):
        raise UsageError(f"two of the models have one name: {', '.join(map(str, named))}")
    notes, reward = Notes(), reward_of(plan.by)
    plan.out.mkdir(parents=True, exist_ok=True)
    reading = Reading(max_length=1 << 20, draws=plan.draws)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reference = None if plan.reference is None else open_aligned(plan.reference, reading, device)
    contenders, rows, groups = [], [], []
    for name, model in names.items():
        opened = open_aligned(model, reading, device)
        found = _written(plan, name, model, opened)
        notes.say(f"{name}: {len(found.texts)} texts")
        contenders.append(_contender(found, reward, plan.words))
        row = _measured(found, plan)
        if reference is not None:
            row["kl"] = _distance(opened, reference, found, plan.seed)
        rows.append(row)
        groups.append(found.group)
    places = frontier(contenders, draws=plan.resamples, seed=plan.seed)
    for place, row in zip(places, rows, strict=True):
        row |= {"reward": place.x, "div": place.y, "reward_span": place.x_span}
        row |= {"div_span": place.y_span, "front": place.front, "chance": place.chance}
        print(json.dumps({"model": place.label, **row}, ensure_ascii=False))
    _keep(plan, places, rows, groups)
    notes.say(", ".join(str(plan.out / name) for name in _FILES))


def _written(plan: FrontierPlan, name: str, model: str, opened: Aligned) -> Texts:
    """What a model writes, or wrote in an earlier run."""
    path = plan.out / f"{name}.jsonl"
    candidates.follow(
        candidates.CandidatePlan(
            out=path,
            prompts=plan.prompts,
            sets=None if plan.prompts else plan.n,
            n=1,
            ways=WayPlan(
                model=model,
                step_counts=[plan.steps] if plan.steps else None,
                length=plan.length,
            ),
            batch=32,
            seed=plan.seed,
        )
    )
    lines = lines_of(path)[: plan.n]
    rows = [row for row in map(json.loads, lines) if row["completions"][0].strip()]
    if not rows:
        raise UsageError(f"{name} wrote nothing but empty texts: see {path}")
    return Texts(
        label=name,
        group=str(opened.about.get("f_divergence_type", name)),
        prompts=[row["prompt"] for row in rows],
        texts=[row["completions"][0] for row in rows],
    )


def _contender(found: Texts, reward: Scorer, words: int) -> Contender:
    """Reward and diversity at equal length, of some of the texts."""
    scores = reward(found.texts)
    heads = [" ".join(text.split()[:words]) for text in found.texts]
    long = [len(head.split()) == words for head in heads]

    def diversity(rows: Sequence[int]) -> float:
        some = [heads[i] for i in rows if long[i]]
        return div(some).value if some else 0.0

    return Contender(
        label=found.label,
        n=len(scores),
        x=lambda rows: mean(scores[i] for i in rows),
        y=diversity,
    )


def _measured(found: Texts, plan: FrontierPlan) -> dict[str, Any]:
    """What stands beside reward and diversity."""
    row: dict[str, Any] = {"n": len(found.texts), "seed": plan.seed}
    row["loops"] = loop_rate(found.texts, seed=plan.seed).value
    if plan.fluency:
        row["perplexity"] = causal_perplexity(plan.fluency, found.texts)[0].value
    return row


@torch.no_grad()
def _distance(policy: Aligned, reference: Aligned, found: Texts, seed: int) -> float:
    """KL(π‖π_ref), nats a text: the mean log-ratio of the policy's own texts.

    Exact in expectation for autoregressive models; of diffusion models the difference of two
    bounds, with shared noise.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(policy.network.parameters()).device
    examples = []
    for prompt, text in zip(found.prompts, found.texts, strict=True):
        try:
            record = RankedRecord(
                prompt=prompt_of({"prompt": prompt}, found.label),
                completions=(text, text),
                ranks=(1, 2),
            )
            one = policy.encode(record)
            examples.append(RankedExample(candidates=one.candidates[:1], ranks=(1,)))
        except UnusableError:
            continue
    total = 0.0
    for start in range(0, len(examples), _AT_ONCE):
        batch = policy.layout(examples[start : start + _AT_ONCE])
        noised = policy.bound.prepare(batch, generator).to(device)
        log_ratio = policy.bound(policy.network, noised)
        log_ratio = log_ratio - policy.bound(reference.network, noised)
        total += float(log_ratio[:, 0].mean(1).sum())
    return total / max(1, len(examples))


def _keep(
    plan: FrontierPlan,
    places: Sequence[Place],
    rows: Sequence[dict[str, Any]],
    groups: Sequence[str],
) -> None:
    """Writes the figures as a table, as a plot, and as JSON that the studio draws."""
    axes = {"title": "Reward and diversity", "x_label": "reward"}
    axes["y_label"] = f"div of {plan.words} words"
    plot = svg.scatter(_series(places, groups), **axes)
    models = [
        {"model": place.label, "group": group, **row}
        for place, group, row in zip(places, groups, rows, strict=True)
    ]
    whole = {"format": FORMAT, **axes, "models": models}
    raw = json.dumps(whole, ensure_ascii=False, indent=1) + "\n"
    texts = (_table(places, rows), svg.standalone(plot), raw)
    for name, text in zip(_FILES, texts, strict=True):
        (plan.out / name).write_text(text, encoding="utf-8")


def _table(places: Sequence[Place], rows: Sequence[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    more = [name for name in ("kl", "perplexity", "loops") if name in rows[0]]
    head = ["model", "n", "reward", "div", "on the frontier", *more]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for place, row in zip(places, rows, strict=True):
        cells = [
            place.label,
            str(row["n"]),
            f"{place.x:.3f} ({place.x_span[0]:.3f} … {place.x_span[1]:.3f})",
            f"{place.y:.3f} ({place.y_span[0]:.3f} … {place.y_span[1]:.3f})",
            f"{'yes' if place.front else 'no'} ({place.chance:.2f})",
            *(f"{row[name]:.3f}" for name in more),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _series(places: Sequence[Place], groups: Sequence[str]) -> list[svg.Series]:
    """The points of each divergence in a colour."""
    found = []
    for group in dict.fromkeys(groups):
        some = [place for place, own in zip(places, groups, strict=True) if own == group]
        found.append(
            svg.Series(
                label=group,
                x=[one.x for one in some],
                y=[one.y for one in some],
                low=[one.y_span[0] for one in some],
                high=[one.y_span[1] for one in some],
            )
        )
    return found
