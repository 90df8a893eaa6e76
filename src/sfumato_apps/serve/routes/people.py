"""What people say of texts: rankings and blind judgements."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from sfumato_apps.serve.stored.database import Database
from sfumato_apps.serve.stored.judgements import Judgements, Vote
from sfumato_apps.serve.stored.preferences import Kind, Preferences
from sfumato_apps.serve.wire.replies import reply
from sfumato_apps.serve.wire.requests import Judgement, Ranking

_KEPT: dict[int | str, dict[str, Any]] = {201: {"description": "It is kept."}}
_LINES: dict[int | str, dict[str, Any]] = {
    200: {"description": "JSON lines.", "content": {"application/x-ndjson": {}}}
}
Name = Annotated[str, Query(min_length=1, max_length=512)]


def routes(database: Database) -> APIRouter:
    """The routes."""
    router = APIRouter()
    preferences, judgements = Preferences(database=database), Judgements(database=database)

    @router.post("/v1/preferences", status_code=201, responses=_KEPT, response_model=None)
    async def rank(body: Ranking) -> Response:
        return reply(await run_in_threadpool(preferences.add, body.row()), 201)

    @router.get("/v1/preferences", response_model=None)
    async def ranked(
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000, kind: Kind = "texts"
    ) -> Response:
        newest = await run_in_threadpool(preferences.newest, kind, limit)
        total = await run_in_threadpool(preferences.total, kind)
        return reply({"object": "list", "data": newest, "total": total})

    @router.get("/v1/preferences/export", responses=_LINES, response_model=None)
    async def export(kind: Kind = "texts") -> Response:
        return StreamingResponse(preferences.lines(kind), media_type="application/x-ndjson")

    @router.post("/v1/judgements", status_code=201, responses=_KEPT, response_model=None)
    async def judge(body: Judgement) -> Response:
        number = await run_in_threadpool(judgements.add, Vote(**body.model_dump()))
        return reply({"id": number}, 201)

    @router.get("/v1/judgements/summary", response_model=None)
    async def summary(a: Name, b: Name) -> Response:
        return reply(await run_in_threadpool(judgements.summary, a, b))

    return router
