"""What monitoring reads: counts of the engine and of answers, in Prometheus' text format.

one process    /metrics ◀─ what it counts
several        /metrics ◀─ a folder ◀─ what each counts, copied once a second

In the folder prometheus_client adds up what processes count, so that any of them answers for all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfumato_apps.serve.engine.engine import Engine

# The folder of several processes; prometheus_client reads the variable when it is imported.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = 1.0  # between two copies of what a process counts
_OF_ONE = ("process_start_time_seconds", "process_max_fds")  # no sum of these means anything
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
        yield GaugeMetricFamily("sfumato_ready", "Processes that work on requests.", value=alive)


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


class Mirror:
    """Copies what collectors say to metrics of prometheus_client, which several processes share.

    Attributes:
        copies: those metrics.

    Args:
        source: collectors of this process; their families have no labels.
    """

    def __init__(self, source: CollectorRegistry) -> None:
        self._source = source
        self.copies = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._counted: dict[str, float] = {}

    def update(self) -> None:
        """Copies what they say now."""
        for family in self._source.collect():
            value = float(family.samples[0].value)
            if family.type == "counter":
                self._count(family, value)
            elif family.name not in _OF_ONE:
                self._gauge(family).set(value)

    def _count(self, family: Metric, value: float) -> None:
        if family.name not in self._counters:
            self._counters[family.name] = Counter(
                family.name, family.documentation, registry=self.copies
            )
        self._counters[family.name].inc(value - self._counted.get(family.name, 0.0))
        self._counted[family.name] = value

    def _gauge(self, family: Metric) -> Gauge:
        if family.name not in self._gauges:
            self._gauges[family.name] = Gauge(
                family.name,
                family.documentation,
                registry=self.copies,
                multiprocess_mode="livesum",
            )
        return self._gauges[family.name]


class Metrics:
    """What this process counts, or all that share its folder; its memory is among it.

    Attributes:
        answers: for metrics that are counted as they come.

    Args:
        engine: of this process.
    """

    def __init__(self, engine: Engine) -> None:
        self.answers = CollectorRegistry()
        self._own = CollectorRegistry()
        self._own.register(EngineCollector(engine))
        ProcessCollector(registry=self._own)
        self._mirror = Mirror(self._own)
        self._folder = os.environ.get(SHARED)

    async def share(self) -> None:
        """Copies what is counted to the folder until it is cancelled; returns if there is none."""
        if self._folder is None:
            return
        forget_dead(Path(self._folder))
        try:
            while True:
                self._mirror.update()
                await asyncio.sleep(_SECONDS)
        finally:
            self._mirror.update()
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self._own) + generate_latest(self.answers)
        self._mirror.update()
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


def forget_dead(folder: Path) -> None:
    """Removes the queues and the memory of processes that were killed; their counts stay."""
    for file in folder.glob("gauge_live*.db"):
        process = int(file.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]


def routes(metrics: Metrics) -> APIRouter:
    """The route that shows them."""
    router = APIRouter()
    shown = {200: {"description": "Metrics.", "content": {"text/plain": {}}}}

    @router.get("/metrics", responses=shown, response_model=None)  # type: ignore[arg-type]
    async def shown_metrics() -> Response:
        return Response(metrics.text(), media_type=_TYPE)

    return router
