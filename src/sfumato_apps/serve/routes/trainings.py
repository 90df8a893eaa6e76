"""Runs: what trainings write into their journals, while they go on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from sfumato.errors import UsageError
from sfumato_apps.serve.wire.errors import NotThereError
from sfumato_apps.serve.wire.replies import reply

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JOURNAL = "journal.jsonl"
_AT_ONCE = 10_000  # entries


def routes(folder: Path | None) -> APIRouter:
    """The routes; without a folder there are no runs."""
    router = APIRouter()

    @router.get("/v1/runs", response_model=None)
    async def runs() -> Response:
        names = await run_in_threadpool(names_in, folder)
        return reply({"object": "list", "data": [{"name": name} for name in names]})

    @router.get("/v1/runs/{name}/journal", response_model=None)
    async def journal(name: str, after: Annotated[int, Query(ge=0, lt=2**31)] = 0) -> Response:
        entries = await run_in_threadpool(_entries, journal_of(folder, name), after)
        return reply({"object": "list", "data": entries, "next": after + len(entries)})

    return router


def names_in(folder: Path | None) -> list[str]:
    """The runs of a folder: its own folders that hold a journal; links do not count."""
    if folder is None or not folder.is_dir():
        return []
    found = [one.name for one in folder.iterdir() if _NAME.fullmatch(one.name)]
    return sorted(name for name in found if _inside(folder, name))


def journal_of(folder: Path | None, name: str) -> Path:
    """The journal of a run.

    Raises:
        UsageError: that is no name.
        NotThereError: there is no such run.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("expected a run's name: letters, digits, '.', '_' and '-', at most 64")
    if folder is None or not _inside(folder, name):
        raise NotThereError("there is no such run")
    return folder / name / _JOURNAL


def _inside(folder: Path, name: str) -> bool:
    """Whether a run is there and is no way out of the folder."""
    path = folder / name / _JOURNAL
    root = folder.resolve()
    return path.is_file() and path.resolve() == root / name / _JOURNAL and name not in (".", "..")


def _entries(path: Path, after: int) -> list[Any]:
    """Entries from the `after`-th on; a last line that is not complete is left for later."""
    return list(islice(_read(path), after, after + _AT_ONCE))


def _read(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        yield from (_entry(line) for line in file if line.endswith("\n"))


def _entry(line: str) -> Any:  # noqa: ANN401
    """What a line says; None for one that cannot be read."""
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
