"""Results: what `sfumato frontier` and `sfumato sweep` measured, as JSON that the studio draws.

A result is a file of the folder of runs, or of a folder in it, that says its format in its first
bytes. Every other file is as if it were not there.
"""

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

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.reporting.frontier import FORMAT as FRONTIER
from sfumato.evaluation.reporting.stored import FORMAT as REPORT
from sfumato_apps.serve.wire.errors import NotThereError
from sfumato_apps.serve.wire.replies import reply

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,58}\.json")
_RUN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_HEAD = re.compile(rb'\s*\{\s*"format"\s*:\s*"([a-z0-9/-]{1,40})"')
_FORMATS = frozenset({REPORT, FRONTIER})
_BYTES, _SNIFFED = 2**23, 200
_MOST = 200  # results
Run = Annotated[str | None, Query(max_length=64)]


def routes(folder: Path | None) -> APIRouter:
    """The routes; without a folder there are no results."""
    router = APIRouter()

    @router.get("/v1/results", response_model=None)
    async def results() -> Response:
        return reply({"object": "list", "data": await run_in_threadpool(results_in, folder)})

    @router.get("/v1/results/{file}", response_model=None)
    async def result(file: str, run: Run = None) -> Response:
        return reply(await run_in_threadpool(result_of, folder, run, file))

    return router


def results_in(folder: Path | None) -> list[dict[str, Any]]:
    """Where results are, when each was written and in which format; the newest first.

    Args:
        folder: of runs.
    """
    if folder is None or not folder.is_dir():
        return []
    found = []
    for run in (None, *_names(folder, _RUN)):
        for file in _names(folder if run is None else folder / run, _FILE):
            about = _about(folder, run, file)
            found += [] if about is None else [{"run": run, "file": file, **about}]
    return sorted(found, key=lambda one: -one["changed"])[:_MOST]


def result_of(folder: Path | None, run: str | None, file: str) -> dict[str, Any]:
    """What a result says, without the parts that only resampling needs.

    Args:
        folder: of runs.
        run: the folder in it; None for a file beside the runs.
        file: the name.

    Raises:
        UsageError: these are no names.
        NotThereError: there is no such result.
        DataError: it cannot be read.
    """
    if not _FILE.fullmatch(file) or not (run is None or _RUN.fullmatch(run)):
        raise UsageError(
            "expected a file NAME.json and perhaps a run, of letters, digits, '.', '_' and '-'"
        )
    if folder is None or _about(folder, run, file) is None:
        raise NotThereError("there is no such result")
    try:
        found = json.loads(_path(folder, run, file).read_bytes())
    except (OSError, ValueError, RecursionError):
        raise DataError(f"{file}: expected JSON as it was written, and it is not whole") from None
    found.pop("parts", None)
    return dict(found)


def _names(folder: Path, form: re.Pattern[str]) -> Iterator[str]:
    """Names in a folder that may be asked for, so many at most; none of what is no folder."""
    try:
        names = sorted(one.name for one in folder.iterdir() if form.fullmatch(one.name))
    except OSError:
        return iter(())
    return islice(names, 10 * _MOST)


def _path(folder: Path, run: str | None, file: str) -> Path:
    return folder / file if run is None else folder / run / file


def _about(folder: Path, run: str | None, file: str) -> dict[str, Any] | None:
    """The format of a result and when it changed (ms); None for a link, or for anything else."""
    path = _path(folder, run, file)
    try:
        if path.resolve() != _path(folder.resolve(), run, file) or not path.is_file():
            return None
        now = path.stat()
        with path.open("rb") as opened:
            said = _HEAD.match(opened.read(_SNIFFED))
    except OSError:
        return None
    kind = said[1].decode() if said else None
    if kind not in _FORMATS or now.st_size > _BYTES:
        return None
    return {"format": kind, "changed": int(now.st_mtime * 1000)}
