"""The application: the routes, their errors in one envelope, the studio, the rules around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp

from sfumato import __version__
from sfumato.errors import SfumatoError
from sfumato_apps.serve import metrics
from sfumato_apps.serve.metrics import Counted, Metrics
from sfumato_apps.serve.routes import health, people, results, scores, texts, trainings
from sfumato_apps.serve.security import Guard, Rules
from sfumato_apps.serve.service import Service
from sfumato_apps.serve.stored.database import Database
from sfumato_apps.serve.wire.errors import refusal, refusal_of, refusal_of_fields
from sfumato_apps.serve.wire.replies import refused

OPEN = "/healthz"
END = "end"  # in the application's state: ends what is under way with an error
_ENVELOPE = {"$ref": "#/components/schemas/Error"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_STATUSES = {
    "400": "The request is not as it should be.",
    "401": "The token is missing or wrong.",
    "403": "Host or origin are not allowed.",
    "404": "There is no such thing.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "The queue is full.",
    "500": "The model failed.",
    "503": "Nothing can be written.",
}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders that the application reads and writes.

    Attributes:
        data: rankings and judgements are kept there.
        runs: trainings write their folders there; None shows none.
        static: the studio's files; None serves none.
    """

    data: Path
    runs: Path | None = None
    static: Path | None = None


def application(service: Service, rules: Rules, places: Places) -> ASGIApp:
    """Everything behind the rules.

    Args:
        service: writes; its engine is started and stopped with the application.
        rules: who may ask; the studio's files are added to what is open.
        places: folders.
    """
    counts = Metrics(service.engine)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        service.engine.start()
        shared = asyncio.create_task(counts.share())
        yield {END: service.engine.end}
        service.engine.stop()
        shared.cancel()
        await asyncio.gather(shared, return_exceptions=True)

    app = FastAPI(
        title="sfumato",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=running,
        dependencies=[Depends(json_only)],
    )
    routers = (
        health.routes(service),
        texts.routes(service),
        scores.routes(service),
        people.routes(Database(folder=places.data)),
        trainings.routes(places.runs),
        results.routes(places.runs),
        metrics.routes(counts),
    )
    for router in routers:
        app.include_router(router)
    files = _files(places.static)
    for path, file in files.items():
        app.add_api_route(path, _sends(file), include_in_schema=False, methods=["GET", "HEAD"])
    _speak_plainly(app, [route for router in routers for route in router.routes])
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]
    return Counted(Guard(app, rules.opened(files)), counts.answers)


async def json_only(request: Request) -> None:
    """Lets requests with a body pass if it is JSON.

    Raises:
        HTTPException: it is called something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        raise HTTPException(415, "expected a body with Content-Type: application/json")


def _files(folder: Path | None) -> dict[str, Path]:
    """The studio's files by their paths; its page is at / too."""
    if folder is None or not (folder / "index.html").is_file():
        return {}
    found = {
        f"/{file.relative_to(folder).as_posix()}": file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts
    }
    return {"/": folder / "index.html", **found}


def _sends(file: Path) -> Any:  # noqa: ANN401
    async def send() -> FileResponse:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return send


def _speak_plainly(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """One envelope for every error."""

    @app.exception_handler(RequestValidationError)
    async def fields(_: Request, error: RequestValidationError) -> Response:
        return refused(refusal_of_fields(error.errors()))

    @app.exception_handler(SfumatoError)
    async def ours(_: Request, error: SfumatoError) -> Response:
        return refused(refusal_of(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(routes, request))
        return refused(refusal(error.status_code, str(error.detail), headers=headers))


def _methods(routes: Sequence[BaseRoute], request: Request) -> list[str]:
    """What a path can be asked by, over all routes that it stands in."""
    known = [route for route in routes if isinstance(route, Route)]
    found = [route for route in known if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in found for method in route.methods or ()}) or ["GET", "HEAD"]


def _schema(app: FastAPI) -> dict[str, Any]:
    """The routes with the errors that each may answer with."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    parts = schema.setdefault("components", {})
    parts.setdefault("schemas", {})["Error"] = _ERROR
    for unused in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(unused, None)
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    content = {"application/json": {"schema": _ENVELOPE}}
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            for status, said in _STATUSES.items():
                wrong = {"description": said, "content": content}
                operation["responses"].setdefault(status, wrong)
            operation["security"] = [] if path == OPEN else [{"token": []}]
    app.openapi_schema = schema
    return schema
