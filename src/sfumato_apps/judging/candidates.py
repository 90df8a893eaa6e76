"""The walk of `sfumato candidates`: prompts to several texts each, shared out and gone on with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from sfumato.alignment.candidates import Way, candidates, causal_way, diffusion_way
from sfumato.alignment.rankings.formats import prompt_row
from sfumato.alignment.rankings.sets import Prompt
from sfumato.errors import DataError, UsageError
from sfumato.models.checkpoints import SHIPPED
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.models.storage import folders
from sfumato.sampling.tasks.writing import BLOCK
from sfumato.text.dialogue import Message
from sfumato.text.files import rows
from sfumato_apps import ranks
from sfumato_apps.aligning.families import open_causal, writes_from_left
from sfumato_apps.choices import Decoding
from sfumato_apps.judging.sharing import shared_out
from sfumato_apps.notes import Notes
from sfumato_apps.policies import open_writer, policy_of

_LENGTH = 128
_FIELDS = ("prompt", "messages", "instruction", "question", "src", "source", "document")


@dataclass(frozen=True, kw_only=True)
class CandidatePlan:
    """The options of a run; what each means stands at `recipes.candidates`."""

    out: Path
    model: str | None
    prompts: list[str] | None
    sets: int | None
    n: int
    temperatures: list[float] | None
    step_counts: list[int] | None
    length: int | None
    batch: int
    seed: int


def follow(plan: CandidatePlan) -> None:
    """Walks from prompts to a file of candidates.

    Raises:
        UsageError: neither prompts nor sets or both, or a file of other prompts.
        DataError: a row without a prompt.
    """
    if plan.batch < 1:
        raise UsageError(f"expected batch ≥ 1, got {plan.batch}")
    asked = _asked(plan)
    notes, device = Notes(), PartialState(cpu=ranks.share_cpus()).device
    ways = ways_of(plan, device)

    def write(some: Sequence[int]) -> Iterator[dict[str, Any]]:
        return _written(asked, some, ways, plan)

    shared_out(plan.out, asked, write, batch=plan.batch, notes=notes)


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


def prompt_of(row: Any, origin: str) -> Prompt:  # noqa: ANN401
    """What a row asks.

    Raises:
        DataError: it asks nothing.
    """
    value = next((row[field] for field in _FIELDS if field in row), None)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(map(_is_turn, value)):
        turns = [Message(role=one["role"], content=one["content"]) for one in value]
        while turns and turns[-1].role == "assistant":
            turns.pop()
        if turns:
            return tuple(turns)
    raise DataError(f"{origin}: expected a prompt in one of the fields {', '.join(_FIELDS)}")


def _is_turn(value: Any) -> bool:  # noqa: ANN401
    said = (value.get("role"), value.get("content")) if isinstance(value, dict) else (None,)
    return all(isinstance(one, str) for one in said)


def ways_of(plan: CandidatePlan, device: torch.device) -> list[Way]:
    """A way for each temperature and step count.

    Raises:
        UsageError: step counts for an autoregressive model.
    """
    name = plan.model or str(SHIPPED)
    folder = folders.locate(name)
    warm = plan.temperatures or [1.0]
    if writes_from_left(folder):
        if plan.step_counts:
            raise UsageError("--step-counts: an autoregressive model has no steps to choose")
        network, tokenizer = open_causal(folder, device)
        length = plan.length or _LENGTH
        return [
            causal_way(f"temperature {t:g}", network, tokenizer, length=length, temperature=t)
            for t in warm
        ]
    model = open_writer(name, device=device)
    if isinstance(model, LatentCheckpoint) and plan.length is not None:
        raise UsageError("--length: a latent model writes as many tokens as it was trained on")
    counts: list[int | None] = [*plan.step_counts] if plan.step_counts else [None]
    found = []
    for t in warm:
        for steps in counts:
            decoding = replace(Decoding(), temperature=t, steps=steps)
            policy = policy_of(model, decoding, block=0 if steps else BLOCK)
            label = f"temperature {t:g}" + (f", {steps} steps" if steps else "")
            found.append(diffusion_way(label, model, policy, length=plan.length))
    return found


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
            }
