"""Whether the server lives, is ready, and what it serves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from sfumato_apps.serve.service import Service
from sfumato_apps.serve.wire.errors import refusal
from sfumato_apps.serve.wire.replies import refused, reply


def routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    def card(name: str) -> dict[str, Any]:
        named = {"id": name, "object": "model", "created": 0, "owned_by": "sfumato"}
        return {**named, **service.about}

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", responses={503: {"description": "Nothing can be written."}})
    async def readyz() -> Response:
        if service.engine.alive:
            return reply({"status": "ready"})
        said = refusal(503, "the engine has stopped", headers={"Retry-After": "1"})
        return refused(said)

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card(name) for name in service.names]}

    @router.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        service.check_name(name)
        return card(name)

    return router
