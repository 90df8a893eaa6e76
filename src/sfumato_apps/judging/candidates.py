"""The walk of `sfumato candidates`: prompts to several texts each, shared out and gone on with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sfumato.alignment.candidates import Way, candidates
from sfumato.alignment.rankings.formats import prompt_of, prompt_row
from sfumato.alignment.rankings.sets import Prompt
from sfumato.errors import UsageError
from sfumato.text.files import rows
from sfumato_apps import ranks
from sfumato_apps.fingerprints import fingerprint
from sfumato_apps.judging.sharing import shared_out
from sfumato_apps.judging.ways import WayPlan, ways_of
from sfumato_apps.notes import Notes
from sfumato_apps.policies import of_model


@dataclass(frozen=True, kw_only=True)
class CandidatePlan:
    """The options of a run; what each means stands at `recipes.candidates`."""

    out: Path
    prompts: list[str] | None
    sets: int | None
    n: int
    ways: WayPlan
    batch: int
    seed: int

    def fingerprint(self) -> dict[str, Any]:
        """What the candidates depend on, beside the prompts."""
        chosen = fingerprint({"ways": self.ways, "n": self.n, "seed": self.seed})
        return chosen | of_model(self.ways.model)


def follow(plan: CandidatePlan) -> None:
    """Walks from prompts to a file of candidates.

    Raises:
        UsageError: neither prompts nor sets or both, or a file of other prompts.
        DataError: a row without a prompt.
    """
    if plan.batch < 1:
        raise UsageError(f"expected batch ≥ 1, got {plan.batch}")
    asked = _asked(plan)
    notes, device = Notes(), ranks.patient().device
    ways = ways_of(plan.ways, device)

    def write(some: Sequence[int]) -> Iterator[dict[str, Any]]:
        return _written(asked, some, ways, plan)

    made = plan.fingerprint()
    shared_out(plan.out, asked, write, made=made, batch=plan.batch, notes=notes)


def _asked(plan: CandidatePlan) -> list[Prompt]:
    """All prompts of a run."""
    if (plan.prompts is None) == (plan.sets is None):
        raise UsageError("give --prompts FILE, or --sets N to write freely")
    asked: list[Prompt] = [""] * (plan.sets or 0)
    if plan.prompts is not None:
        read = chain.from_iterable(rows(path) for path in plan.prompts)
        asked = [prompt_of(load(), origin) for origin, load in read]
    if not asked:
        raise UsageError("there is no prompt to write for")
    return asked


def _written(
    asked: Sequence[Prompt], some: Sequence[int], ways: Sequence[Way], plan: CandidatePlan
) -> Iterator[dict[str, Any]]:
    """A row for each prompt; seeds follow a prompt's number among all."""
    stretches = [[*some]] if [*some] == [*range(some[0], some[-1] + 1)] else [[i] for i in some]
    for stretch in stretches:
        prompts = [asked[index] for index in stretch]
        made = candidates(prompts, ways, n=plan.n, seed=plan.seed, first=stretch[0])
        for prompt, one in zip(prompts, made, strict=True):
            yield {
                "prompt": prompt_row(prompt),
                "completions": [*one.completions],
                "source": [*one.sources],
                "passes": [*one.passes],
            }
