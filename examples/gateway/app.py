"""The gateway: an ASGI application that answers from its cache or asks a provider, and records both.

How the collector gets here, without a global: it is an argument. What needs a running Trio (the
HTTP client, the health checkers) is made in the ASGI lifespan and handed to the requests through
`scope["state"]`, the place that the ASGI specification has for that. An application that Hypercorn
runs on its own would open the collector there too, in `GatewayApp._running`.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx2
import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from trio_batchmetrics import BatchMetricsCollector

from .asgi import Response, read_body, run_lifespan, send_json
from .cache import TTLCache
from .health import check_health
from .proxy import Answer, NoProviderError, Proxy
from .routing import UnknownModelError, Upstream

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
MODEL = "/v1/models/{model}"
HEALTH = "/health"
METRICS = "/metrics"
NO_ROUTE = "(no route)"
"""Requests that match no template share one: a scanner must not make a series a path."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Any other is recorded as `_OTHER`, as OpenTelemetry's HTTP conventions say, for the same reason."""


class GatewayApp:
    """The ASGI application."""

    def __init__(
        self, metrics: BatchMetricsCollector, upstreams: Sequence[Upstream], metrics_page: ASGIFramework
    ) -> None:
        """Make an application that is ready for its lifespan.

        Args:
            metrics: Where everything is recorded. It has to outlive the server.
            upstreams: The providers.
            metrics_page: What answers `/metrics`: an ASGI application too.
        """
        self._metrics = metrics
        self._metrics_page = metrics_page
        self._upstreams = upstreams
        self._active = metrics.gauge("http.server.active_requests", unit="{request}")

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Run the lifespan, or answer one request and record it under its route's template.

        Args:
            scope: The ASGI scope.
            receive: The ASGI receive callable.
            send: The ASGI send callable.
        """
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send, self._running(scope["state"]))
        elif scope["type"] == "http" and scope["path"] == METRICS:
            await self._metrics_page(scope, receive, send)
        elif scope["type"] == "http":
            body = await read_body(receive)
            if body is None:
                return  # there is nobody to answer
            gateway: Gateway = scope["state"]["gateway"]
            route, status = NO_ROUTE, 500  # what a crash is recorded as
            started = trio.current_time()
            try:
                with self._active.track():
                    route, response = await gateway.answer(scope, body)
                    status = response.status
                    await send_json(send, response)
            finally:
                method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
                self._metrics.record_http_request(method, route, status, trio.current_time() - started)

    @asynccontextmanager
    async def _running(self, state: dict[str, Any]) -> AsyncGenerator[None, None]:
        """Own what lives as long as the application."""
        async with httpx2.AsyncClient() as client, trio.open_nursery() as nursery:
            for upstream in self._upstreams:
                nursery.start_soon(check_health, client, upstream, self._metrics)
            state["gateway"] = Gateway(self._metrics, Proxy(client, self._metrics, self._upstreams))
            yield
            nursery.cancel_scope.cancel()


class Gateway:
    """What the requests share: the cache and the way to the providers."""

    def __init__(self, metrics: BatchMetricsCollector, proxy: Proxy) -> None:
        """Start with an empty cache.

        Args:
            metrics: Where to record.
            proxy: Who to ask for what the cache does not have.
        """
        self._metrics = metrics
        self._proxy = proxy
        self._answers: TTLCache[Answer] = TTLCache("answers", metrics, max_entries=60, seconds_to_live=4.0)

    async def answer(self, scope: HTTPScope, body: bytes) -> tuple[str, Response]:
        """Answer one request.

        Args:
            scope: The request's ASGI scope.
            body: The request's body.

        Returns:
            The template of the route that matched, and the response.
        """
        match scope["method"], scope["path"].strip("/").split("/"):
            case "POST", ["v1", "chat", "completions"]:
                return CHAT, await self._chat(body)
            case "GET", ["v1", "models"]:
                return MODELS, Response(200, {"data": self._proxy.router.models})
            case "GET", ["v1", "models", model]:
                return MODEL, self._model(model)
            case "GET", ["health"]:
                return HEALTH, Response(200, {"status": "ok"})
            case _:
                return NO_ROUTE, Response(404, {"error": "no such route"})

    async def _chat(self, body: bytes) -> Response:
        try:
            call = json.loads(body)
            model, prompt = call["model"], call["prompt"]
        except (ValueError, KeyError, TypeError):
            return Response(400, {"error": 'expected {"model": ..., "prompt": ...}'})
        if not isinstance(model, str) or not isinstance(prompt, str):
            return Response(400, {"error": "model and prompt must be strings"})
        if model not in self._proxy.router.models:  # before it becomes a label: clients must not make series
            return Response(404, {"error": "no such model"})
        self._metrics.record_histogram("gateway.prompt.size", {"model": model}, len(prompt))
        answer = self._answers.get((model, prompt))
        if answer is not None:
            return Response(200, attrs.asdict(answer), {"x-cache": "hit"})
        try:
            answer = await self._proxy.complete(model, prompt)
        except NoProviderError:
            return Response(503, {"error": "no provider answered"}, {"retry-after": "1"})
        self._answers.put((model, prompt), answer)
        return Response(200, attrs.asdict(answer), {"x-cache": "miss"})

    def _model(self, model: str) -> Response:
        try:
            targets = self._proxy.router.candidates(model)
        except UnknownModelError:
            return Response(404, {"error": "no such model"})
        return Response(200, {"model": model, "available": [target.model for target in targets]})
