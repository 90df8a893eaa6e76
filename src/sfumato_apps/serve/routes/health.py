"""Whether the server lives, is ready, and what it serves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from sfumato_apps.serve.service import ALIAS, Service
from sfumato_apps.serve.wire.errors import refusal


def routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()
    names = list(dict.fromkeys((service.name, ALIAS)))

    def card(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "sfumato"}

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", responses={503: {"description": "Nothing can be written."}})
    async def readyz() -> Response:
        if service.engine.alive:
            return JSONResponse({"status": "ready"})
        said = refusal(503, "the engine has stopped", headers={"Retry-After": "1"})
        return Response(said.body(), 503, said.headers, "application/json")

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card(name) for name in names]}

    @router.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        service.check_name(name)
        return card(name)

    return router
