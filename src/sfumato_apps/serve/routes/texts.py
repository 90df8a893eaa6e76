"""Writing: completions, chat, fill-in-the-middle, infill, edit."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from sfumato_apps.serve.routes.writing import respond
from sfumato_apps.serve.service import Adds, Service
from sfumato_apps.serve.wire import asked as make
from sfumato_apps.serve.wire.requests import Chat, Completion, Edit, Infill, Middle
from sfumato_apps.serve.wire.shapes import (
    Shape,
    chat_logprobs,
    text_logprobs,
    written_tokens,
)

STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The texts, or a stream of events.",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}


def routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()
    _add_completions(router, service)
    _add_middles(router, service)
    _add_edits(router, service)
    return router


def _add_completions(router: APIRouter, service: Service) -> None:
    model, limits = service.model, service.limits

    @router.post("/v1/completions", responses=STREAMED, response_model=None)
    async def completions(body: Completion, request: Request) -> Response:
        limits.check("length", body.max_tokens)
        between = body.suffix is not None
        return await respond(
            service,
            body,
            lambda: make.middle(model, body) if between else make.completion(model, body),
            request,
            shape=_shape(service, "text_completion", "cmpl"),
            adds=_logprobs_of_text(service, body),
            stop=make.stops_of(body.stop),
        )

    @router.post("/v1/chat/completions", responses=STREAMED, response_model=None)
    async def chat_completions(body: Chat, request: Request) -> Response:
        limits.check("length", body.max_completion_tokens)
        limits.check("length", body.max_tokens)
        return await respond(
            service,
            body,
            lambda: make.chat(model, body),
            request,
            shape=_shape(service, "chat.completion", "chatcmpl", chat=True),
            adds=_logprobs_of_chat(service, body),
            stop=make.stops_of(body.stop),
        )


def _add_middles(router: APIRouter, service: Service) -> None:
    model, limits = service.model, service.limits

    @router.post("/v1/fim/completions", responses=STREAMED, response_model=None)
    async def fim_completions(body: Middle, request: Request) -> Response:
        limits.check("length", body.max_tokens)
        return await respond(
            service,
            body,
            lambda: make.middle(model, body),
            request,
            shape=_shape(service, "text_completion", "fim"),
            stop=make.stops_of(body.stop),
        )

    @router.post("/v1/infill", responses=STREAMED, response_model=None)
    async def infill(body: Infill, request: Request) -> Response:
        limits.check("length", body.slots)
        return await respond(
            service,
            body,
            lambda: make.infill(model, body),
            request,
            shape=_shape(service, "text_infill", "infill"),
        )


def _add_edits(router: APIRouter, service: Service) -> None:
    model, limits = service.model, service.limits

    @router.post("/v1/edit", responses=STREAMED, response_model=None)
    async def edit(body: Edit, request: Request) -> Response:
        limits.check("length", body.extra)
        return await respond(
            service,
            body,
            lambda: make.edit(model, body, limits),
            request,
            shape=_shape(service, "text_edit", "edit"),
        )


def _shape(service: Service, kind: str, prefix: str, *, chat: bool = False) -> Shape:
    chunk = f"{kind}.chunk" if chat else kind
    return Shape(kind=kind, chunk=chunk, prefix=prefix, model=service.name, chat=chat)


def _logprobs_of_text(service: Service, body: Completion) -> Adds | None:
    vocabulary = service.model.vocabulary
    if body.logprobs is None:
        return None
    return lambda outcome: {"logprobs": text_logprobs(written_tokens(outcome, vocabulary))}


def _logprobs_of_chat(service: Service, body: Chat) -> Adds | None:
    vocabulary = service.model.vocabulary
    if not body.logprobs:
        return None
    return lambda outcome: {"logprobs": chat_logprobs(written_tokens(outcome, vocabulary))}
