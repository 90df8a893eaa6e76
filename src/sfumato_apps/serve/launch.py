"""Runs the application: uvicorn, one engine a process, a bound on every wait."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from sfumato.errors import DataError, ResourceError, UsageError
from sfumato_apps import studio
from sfumato_apps.policies import open_writer
from sfumato_apps.serve.app import OPEN, Places, application
from sfumato_apps.serve.connections import DRAIN, PatientProtocol, listening
from sfumato_apps.serve.engine.engine import Engine
from sfumato_apps.serve.limits import Limits
from sfumato_apps.serve.metrics import SHARED
from sfumato_apps.serve.security import Rules, is_loopback, names_of
from sfumato_apps.serve.service import Service

ENVIRONMENT = "SFUMATO_TOKEN"
_ALIAS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
_LAST = 5  # seconds more, for a step under way and the errors that follow it
_CONNECTIONS = 512
_LOADING = 60  # seconds that a worker may take to import torch before it counts as hung

SETTINGS: dict[str, Any] = {
    "http": PatientProtocol,
    "ws": "none",
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    "timeout_keep_alive": 5,
    "timeout_graceful_shutdown": DRAIN + _LAST,
    "limit_concurrency": _CONNECTIONS,
    "timeout_worker_healthcheck": _LOADING,
}


@dataclass(frozen=True, kw_only=True)
class ServePlan:
    """What is served, where and to whom.

    Attributes:
        model: folder or hub name; the shipped model if None.
        host: address to listen on.
        port: number to listen on.
        allow_host: more names that the server answers to.
        token_file: holds the token.
        batch: rows side by side.
        queue: requests that may wait.
        workers: processes, each with an engine of its own.
        data: folder of rankings and judgements.
        runs: folder of the runs to be shown.
        limits: of a request.
    """

    model: str | None
    host: str
    port: int
    allow_host: tuple[str, ...]
    token_file: Path | None
    batch: int
    queue: int
    workers: int
    data: Path
    runs: Path | None
    limits: Limits


def serve(plan: ServePlan) -> None:
    """Serves until it is told to stop; answers get ten seconds to end, then they are errors.

    Raises:
        UsageError: an address that others reach, without a token.
        DataError: the token cannot be read.
        ResourceError: the address is taken.
    """
    token_of(plan)
    apps = AppOf(plan=plan)
    first = apps()  # in this process, so that what is wrong with the model is said once
    alone = plan.workers == 1
    config = uvicorn.Config(
        first if alone else apps,
        factory=not alone,
        host=plan.host,
        port=plan.port,
        workers=plan.workers,
        **SETTINGS,
    )
    bound = listening(plan.host, plan.port)
    address = bound.getsockname()
    print(f"sfumato serves http://{plan.host}:{address[1]}", file=sys.stderr, flush=True)
    if alone:
        uvicorn.Server(config).run(sockets=[bound])
        return
    del first
    with _counted_together():
        Multiprocess(config, sockets=[bound]).run()


@contextmanager
def _counted_together() -> Iterator[None]:
    """A new folder, for as long as they run, in which processes that begin now share their counts.

    Raises:
        ResourceError: there is no place for it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="sfumato-counts-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ResourceError(f"no folder for the workers' counts: {error}; set TMPDIR") from None
    with folder as name:
        os.environ[SHARED] = name
        yield


@dataclass(frozen=True, kw_only=True)
class AppOf:
    """Makes the application of one process.

    Attributes:
        plan: what is served.
    """

    plan: ServePlan

    def __call__(self) -> ASGIApp:
        """The application, its model loaded."""
        plan = self.plan
        model = open_writer(plan.model)
        engine = Engine(model, batch=plan.batch, queue=plan.queue)
        service = Service(engine=engine, model=model, name=name_of(plan.model), limits=plan.limits)
        rules = Rules(
            token=token_of(plan),
            hosts=names_of(plan.host, plan.allow_host),
            any_address=plan.host in ("0.0.0.0", "::"),
            open_paths=frozenset({OPEN}),
            body=plan.limits.body,
        )
        static = Path(studio.__file__).parent
        return application(service, rules, Places(data=plan.data, runs=plan.runs, static=static))


def token_of(plan: ServePlan) -> str | None:
    """The token from its file or the environment, never from the command line.

    Raises:
        UsageError: there is none, and the address is not of this machine alone.
        DataError: the file cannot be read, or is empty.
    """
    token = os.environ.get(ENVIRONMENT, "").strip() or None
    if plan.token_file is not None:
        try:
            token = plan.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--token-file: {error}") from None
        if not token:
            raise DataError(f"{plan.token_file}: expected a token, but the file is empty")
    if token is None and not is_loopback(plan.host):
        raise UsageError(
            f"--host {plan.host} is reached by others: give a token, by --token-file FILE or in "
            f"{ENVIRONMENT}"
        )
    return token


def name_of(model: str | None) -> str:
    """What clients call the model: the last part of its folder or hub name.

    Example:
        >>> name_of(None), name_of("runs/my model/"), name_of("org/bert-base")
        ('sfumato', 'my-model', 'bert-base')
    """
    last = Path(model).name if model else ""
    return "".join(one if one in _ALIAS else "-" for one in last)[:64] or "sfumato"
