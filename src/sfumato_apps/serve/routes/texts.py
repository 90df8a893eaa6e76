"""Writing: completions, chat, fill-in-the-middle, infill, edit."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from sfumato_apps.serve.routes.writing import respond
from sfumato_apps.serve.service import Service
from sfumato_apps.serve.wire import asked as make
from sfumato_apps.serve.wire.requests import Chat, Completion, Edit, Infill, Middle
from sfumato_apps.serve.wire.shapes import Shape

STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The texts, or a stream of events.",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}


def routes(service: Service) -> APIRouter:
    """The routes."""
    router, model = APIRouter(), service.model
    post = partial(router.post, responses=STREAMED, response_model=None)
    answer, shape = partial(respond, service), partial(Shape, model=service.name)

    @post("/v1/completions")
    async def completions(body: Completion, request: Request) -> Response:
        work = partial(make.completion if body.suffix is None else make.middle, model, body)
        form = shape(kind="text_completion", prefix="cmpl")
        return await answer(body, work, request, shape=form, length=body.max_tokens)

    @post("/v1/chat/completions")
    async def chat_completions(body: Chat, request: Request) -> Response:
        work = partial(make.chat, model, body)
        form = shape(kind="chat.completion", prefix="chatcmpl", chat=True)
        length = max(body.max_completion_tokens or 0, body.max_tokens or 0)
        return await answer(body, work, request, shape=form, length=length)

    @post("/v1/fim/completions")
    async def fim_completions(body: Middle, request: Request) -> Response:
        work = partial(make.middle, model, body)
        form = shape(kind="text_completion", prefix="fim")
        return await answer(body, work, request, shape=form, length=body.max_tokens)

    @post("/v1/infill")
    async def infill(body: Infill, request: Request) -> Response:
        work = partial(make.infill, model, body)
        form = shape(kind="text_infill", prefix="infill")
        return await answer(body, work, request, shape=form, length=body.slots)

    @post("/v1/edit")
    async def edit(body: Edit, request: Request) -> Response:
        work = partial(make.edit, model, body, service.limits)
        form = shape(kind="text_edit", prefix="edit")
        return await answer(body, work, request, shape=form, length=body.extra)

    return router
