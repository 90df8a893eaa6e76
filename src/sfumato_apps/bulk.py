"""The walk of `sfumato write --prompts`: a file of prompts to a file of texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

from sfumato.errors import DataError, SfumatoError, UsageError
from sfumato.protocols import Scorer
from sfumato.sampling.tasks import Policy, Writer, best_first, write_each
from sfumato.sampling.tasks.writing import BLOCK
from sfumato_apps import ranks
from sfumato_apps.choices import Candidates, Decoding, scorer_of
from sfumato_apps.fingerprints import fingerprint
from sfumato_apps.notes import Notes
from sfumato_apps.output import as_record
from sfumato_apps.policies import of_model, open_writer, policy_of
from sfumato_apps.shares import Share, joined
from sfumato_apps.streaming import Line, Record, work_off


@dataclass(frozen=True, kw_only=True)
class BulkPlan:
    """The options of a run; what each means stands at `recipes.write`."""

    model: str | None
    prompts: Path
    output: Path
    field: str
    batch: int
    length: int | None
    guidance: float | None
    candidates: Candidates
    decoding: Decoding

    def seeds(self, line: Line) -> range:
        """The seeds of a line's texts, which depend on its number and on nothing else."""
        first = self.candidates.seed + (line.number - 1) * self.candidates.n
        return range(first, first + self.candidates.n)

    def fingerprint(self) -> dict[str, Any]:
        """What the texts depend on, beside the prompts."""
        options = {
            "length": self.length,
            "guidance": self.guidance,
            "candidates": self.candidates,
            "decoding": self.decoding,
        }
        return of_model(self.model) | fingerprint(options)


def follow(plan: BulkPlan) -> None:
    """Walks from prompts to texts, sharing them out among the processes.

    Raises:
        UsageError: a number below 1, or an output that holds something else.
        DataError: the prompts cannot be read.
    """
    if plan.batch < 1 or plan.candidates.n < 1:
        given = f"--batch {plan.batch} and --n {plan.candidates.n}"
        raise UsageError(f"expected at least 1, got {given}")
    state, notes = ranks.patient(), Notes()
    share = Share(rank=state.process_index, count=state.num_processes)
    if share.count > 1 and plan.output.exists():
        raise UsageError(
            f"{plan.output} is there already: remove it, or go on with it in a single process"
        )
    model = open_writer(plan.model, device=state.device)
    policy = policy_of(model, plan.decoding, name=plan.model, guidance=plan.guidance, block=BLOCK)
    rank = scorer_of(plan.candidates.rank, model)
    done, errors = work_off(
        plan.prompts,
        plan.output,
        lambda lines: records(lines, model, policy, rank, plan),
        field=plan.field,
        say=notes.say,
        share=share,
        fits=lambda record, line: record.get("seed") in plan.seeds(line),
        texts=plan.candidates.n,
        made=plan.fingerprint(),
    )
    notes.say(f"{share.part(plan.output)}: {done} lines, {errors} errors now")
    state.wait_for_everyone()
    if share.count > 1 and share.rank == 0:
        joined(plan.output, share.count)
        notes.say(f"{plan.output}: the lines of {share.count} processes")


def records(
    lines: Iterator[Line], model: Writer, policy: Policy, rank: Scorer | None, plan: BulkPlan
) -> Iterator[Record]:
    """A record for each line, in their order: its best text and the others."""
    read, asked, counted = tee(lines, 3)  # what stands between them is what is being written
    prompts = (line.text if line.error is None else DataError(line.error) for line in asked)
    results = write_each(
        model,
        prompts,
        n=plan.candidates.n,
        length=plan.length,
        policy=policy,
        seeds=(plan.seeds(line).start for line in counted),
        batch_size=plan.batch,
    )
    for line, result in zip(read, results, strict=True):
        if isinstance(result, SfumatoError):
            yield line.refused(None if line.error is not None else result)
            continue
        best, *others = best_first(result, rank)
        more = {"others": [one.text for one in others]} if others else {}
        yield as_record(best) | {"source": line.text} | more
