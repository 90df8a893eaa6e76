"""Candidates as lines of a file: processes share the prompts out, and a run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfumato.alignment.rankings.formats import prompt_row
from sfumato.alignment.rankings.sets import Prompt
from sfumato.errors import UsageError
from sfumato_apps import ranks
from sfumato_apps.fingerprints import claim
from sfumato_apps.notes import Notes
from sfumato_apps.shares import Share, joined


def shared_out(
    out: Path,
    asked: Sequence[Prompt],
    write: Callable[[Sequence[int]], Iterable[dict[str, Any]]],
    *,
    made: Mapping[str, Any],
    batch: int,
    notes: Notes,
) -> None:
    """Writes a line for each prompt, some at a time, after those that are there.

    Args:
        out: the file; each process writes a part of its own, joined at the end.
        asked: all prompts of the run.
        write: numbers of prompts to their rows.
        made: what the rows are made with; kept beside the file, and compared.
        batch: prompts at a time.
        notes: is told how far it is.

    Raises:
        UsageError: the file holds something else, or was begun with another model or other
            options.
    """
    state = ranks.patient()
    share = Share(rank=state.process_index, count=state.num_processes)
    target = share.part(out)
    mine = [*share.own(range(len(asked)))]
    target.touch()
    claim(target, made)
    done = _resumed(target, [asked[index] for index in mine])
    if done:
        notes.say(f"{target} has {done} lines: going on after them")
    with target.open("ab") as file:
        for start in range(done, len(mine), batch):
            for row in write(mine[start : start + batch]):
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            file.flush()
            notes.say(f"{min(start + batch, len(mine))} of {len(mine)} prompts")
    state.wait_for_everyone()
    if share.count > 1 and ranks.is_first():
        joined(out, share.count)
    notes.say(f"{out}: {len(asked)} prompts")


def lines_of(path: Path) -> list[str]:
    """The lines of a file of JSON lines; only a line feed ends a line."""
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _resumed(target: Path, asked: Sequence[Prompt]) -> int:
    """Lines that are there already; a torn last one is dropped."""
    content = target.read_bytes()
    whole = content.rfind(b"\n") + 1
    lines = content[:whole].split(b"\n")[:-1]
    if len(lines) > len(asked) or (lines and not _answers(lines[-1], asked[len(lines) - 1])):
        raise UsageError(f"{target} holds candidates for other prompts: name another --out")
    if whole < len(content):
        target.write_bytes(content[:whole])
    return len(lines)


def _answers(line: bytes, prompt: Prompt) -> bool:
    """Whether a line holds candidates for a prompt."""
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.get("prompt") == prompt_row(prompt)
