"""What monitoring reads: counts of the engine and of answers, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfumato_apps.serve.engine.engine import Engine

_METHODS = ("GET", "HEAD", "POST", "OPTIONS")
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTS = {
    "requests": "Requests that the engine took in.",
    "refused": "Requests that found the queue full.",
    "cancelled": "Requests whose client went away before the end.",
    "failed": "Requests that ended in an error.",
    "steps": "Steps of batches.",
    "passes": "Evaluations of the network, row by row.",
    "tokens": "Tokens written.",
    "restarts": "How often the engine had to be started again.",
}


class EngineCollector(Collector):
    """The engine's counts when they are asked for.

    Args:
        engine: whose.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """One family a count."""
        for name, help_text in _COUNTS.items():
            value = getattr(self._engine.meters, name)
            yield CounterMetricFamily(f"sfumato_{name}", help_text, value=value)
        waiting, running = self._engine.waiting, self._engine.running
        yield GaugeMetricFamily("sfumato_queue", "Requests that wait.", value=waiting)
        yield GaugeMetricFamily("sfumato_running", "Requests that are written.", value=running)
        alive = float(self._engine.alive)
        yield GaugeMetricFamily("sfumato_ready", "Whether requests are worked on.", value=alive)


class Counted:
    """An application whose answers are counted by method and status.

    Args:
        app: what answers.
        registry: of the metrics.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._answers = Counter(
            "sfumato_http_requests",
            "Answers by method and status.",
            ("method", "status"),
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._answers.labels(method, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, sent)


def registry_of(engine: Engine) -> CollectorRegistry:
    """The metrics of one process, its memory among them."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(engine))
    ProcessCollector(registry=registry)
    return registry


def routes(registry: CollectorRegistry) -> APIRouter:
    """The route that shows them."""
    router = APIRouter()
    shown = {200: {"description": "Metrics.", "content": {"text/plain": {}}}}

    @router.get("/metrics", responses=shown, response_model=None)  # type: ignore[arg-type]
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=_TYPE)

    return router
