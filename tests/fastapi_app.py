"""A FastAPI application as a user would write it; tests/test_fastapi.py runs it under Hypercorn.

Handlers, dependencies and the middleware record in Trio's thread and in the threads in which FastAPI runs ``def``
functions. Requests can be held, so that a test knows how many are in flight.
"""

import json
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import trio
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.routing import Route

from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, collector
from trio_batchmetrics.sinks import PrometheusSink

__all__ = ["app"]

prometheus = PrometheusSink()

Asgi = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class Hold:
    """A gate that keeps handlers waiting until it is opened."""

    def __init__(self) -> None:
        """Create a gate for both kinds of handlers."""
        self.tasks = trio.Event()
        self.threads = threading.Event()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
    """Open the collector, which flushes every minute, so before that only a request for the page makes it fresh."""
    metrics: BatchMetricsCollector | None = None
    try:
        async with collector(BatchMetricsConfig(flush_interval=60), sinks=[prometheus]) as metrics:
            yield {"metrics": metrics, "hold": Hold()}
    finally:
        if metrics is not None:
            write_account(metrics)


def write_account(metrics: BatchMetricsCollector) -> None:
    """Leave the account to the test."""
    stats = metrics.stats()
    account = [stats.total_events, stats.processed_events, stats.dropped_events, stats.failed_events]
    Path(os.environ["ACCOUNT"]).write_text(json.dumps([*account, stats.pending_events]))


class Measured:
    """Plain ASGI middleware that records one event per request, by the route's template, and the requests in flight."""

    def __init__(self, app: Asgi) -> None:
        """Create the middleware around an application."""
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Measure a request, unless it asks for the page."""
        if scope["type"] != "http" or scope["path"] == "/metrics":
            await self._app(scope, receive, send)
            return
        metrics: BatchMetricsCollector = scope["state"]["metrics"]
        status = 500

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = trio.current_time()
        try:
            with metrics.gauge("http.server.active_requests").track():
                await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "(no route)")
            metrics.record_http_request(scope["method"], route, status, trio.current_time() - started)


def collector_of(request: Request) -> BatchMetricsCollector:
    """Return the collector; as a ``def`` dependency it runs in a thread."""
    metrics: BatchMetricsCollector = request.state.metrics
    metrics.record_counter("collector.asked_for", {}, 1)
    return metrics


Metrics = Annotated[BatchMetricsCollector, Depends(collector_of)]


def used(metrics: Metrics) -> Generator[None, None, None]:
    """Track the use of a connection, for example; FastAPI enters it in one thread and leaves it in another."""
    with metrics.gauge("connections.used").track(), metrics.histogram("connections.duration", unit="s").time():
        yield


app = FastAPI(lifespan=lifespan, routes=[Route("/metrics", prometheus.asgi_app())])
app.add_middleware(Measured)


@app.get("/tasks/{item}")
async def in_a_task(item: int, metrics: Metrics) -> int:
    """Record in Trio's thread."""
    with metrics.histogram("work", labels={"kind": "async"}, unit="s").time():
        await trio.sleep(0.001)
    metrics.record_cache_metric("items", "hit" if item % 3 else "miss")
    metrics.counter("bound.items", labels={"kind": "async"}).add(item)
    return item


@app.get("/threads/{item}", dependencies=[Depends(used)])
def in_a_thread(item: int, metrics: Metrics) -> int:
    """Record the same in a worker thread, where each label set's instrument is created as well."""
    with metrics.histogram("work", labels={"kind": "def"}, unit="s").time():
        metrics.record_counter("thread.items", {"third": item % 3}, item)
    metrics.record_cache_metric("items", "hit" if item % 3 else "miss")
    metrics.counter("bound.items", labels={"kind": "def", "third": item % 3}).add(item)
    return item


@app.get("/refused/{item}")
def refused(item: int, metrics: Metrics) -> int:
    """Record, and fail in one of two ways."""
    metrics.record_counter("refused", {}, 1)
    if item % 2:
        raise HTTPException(404)
    raise ZeroDivisionError(item)


@app.get("/held/task")
async def held_in_a_task(request: Request) -> None:
    """Wait until the gate is opened."""
    await request.state.hold.tasks.wait()


@app.get("/held/thread")
def held_in_a_thread(request: Request) -> None:
    """Wait for the same in a thread."""
    request.state.hold.threads.wait(60)


@app.post("/open")
async def open_hold(request: Request) -> None:
    """Let the held requests go, and hold no more."""
    request.state.hold.tasks.set()
    request.state.hold.threads.set()
