"""The sink's ASGI application serves the page over HTTP with all its headers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, NamedTuple

import httpx2
import pytest
import trio

from examples.gateway.asgi import serving
from tests.helpers import balanced
from tests.sinks.prometheus.pages import PROMETHEUS_3, STRICT, TEXT, filled
from tests.sinks.prometheus_parsing import OPENMETRICS, parsed
from trio_batchmetrics import BatchMetricsConfig, Counter, collector
from trio_batchmetrics.sinks import PrometheusSink


class Answer(NamedTuple):
    """The response of an ASGI application."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(app: Any, method: str = "GET", headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Send a request to an application."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("there is nothing to receive")

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await app({"type": "http", "method": method, "path": "/metrics", "headers": pairs}, receive, send)
    start, body = sent
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    assert not body.get("more_body", False)
    return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"])


SMALL = [Counter("c", {}, 1)]
MIDDLE = [Counter("c", {"n": n}, 1) for n in range(100)]
LARGE = [Counter("c", {"n": n}, 1) for n in range(3000)]


@pytest.mark.parametrize("events", [SMALL, MIDDLE, LARGE], ids=["small", "middle", "large"])
async def test_a_scrape_gets_the_page_with_all_its_headers(events: list[Counter]) -> None:
    """The page is compressed from about 1 kB on."""
    sink = filled(*events)
    app = sink.asgi_app()
    expected, _ = sink.render()
    plain = await ask(app)
    assert plain.body == expected
    headers = {"content-type": TEXT, "content-length": str(len(expected)), "vary": "Accept, Accept-Encoding"}
    assert (plain.status, plain.headers) == (200, headers)
    compressed = await ask(app, headers=[("Accept-Encoding", "gzip"), ("accept", PROMETHEUS_3)])
    strict, _ = sink.render(OPENMETRICS)
    assert compressed.headers["content-type"] == STRICT
    assert compressed.headers["content-length"] == str(len(compressed.body))
    if events is SMALL:
        assert compressed.body == strict
        assert "content-encoding" not in compressed.headers
    else:
        assert compressed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(compressed.body) == strict
        assert len(compressed.body) < len(strict) / 3
    refused = await ask(app, headers=[("accept-encoding", "gzip;q=0"), ("accept-encoding", "*")])
    assert refused.body == expected


async def test_head_has_the_headers_of_get() -> None:
    """It has no body."""
    app = filled(*MIDDLE).asgi_app()
    for headers in ([], [("accept-encoding", "gzip")], [("accept", OPENMETRICS)]):
        got, head = await ask(app, headers=headers), await ask(app, "HEAD", headers)
        assert (head.status, head.headers, head.body) == (200, got.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_get_405_with_the_allowed_methods(method: str) -> None:
    """The response names the allowed methods."""
    answer = await ask(filled(*SMALL).asgi_app(), method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_a_large_page_is_compressed_in_a_worker_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small page isn't, and without Trio no page is."""
    threads: list[Any] = []
    run_sync = trio.to_thread.run_sync

    async def watching(function: Any, *args: Any, **options: Any) -> Any:
        threads.append(len(args[0]))
        return await run_sync(function, *args, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", watching)
    gzipped = [("accept-encoding", "gzip")]
    for events in (SMALL, MIDDLE, LARGE):
        await ask(filled(*events).asgi_app(), headers=gzipped)
    assert threads == [len(filled(*LARGE).render()[0])]

    def with_asyncio() -> Answer:
        return asyncio.run(ask(filled(*LARGE).asgi_app(), headers=gzipped))

    answer = await run_sync(with_asyncio)
    assert gzip.decompress(answer.body) == filled(*LARGE).render()[0]
    assert len(threads) == 1


async def test_lifespan_websocket_and_unknown_scopes_are_handled() -> None:
    """ASGI expects success, a refusal, and an error, respectively."""
    app = filled(*SMALL).asgi_app()

    async def talk(scope: str, *messages: str) -> list[Any]:
        incoming, sent = [*messages], list[Any]()

        async def receive() -> Any:
            return {"type": incoming.pop(0)}

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": scope}, receive, send)
        assert not incoming
        return sent

    started, stopped = await talk("lifespan", "lifespan.startup", "lifespan.shutdown")
    assert (started["type"], stopped["type"]) == ("lifespan.startup.complete", "lifespan.shutdown.complete")
    [refused] = await talk("websocket", "websocket.connect")
    assert refused["type"] == "websocket.close"
    with pytest.raises(NotImplementedError, match="ASGI scope 'carrier pigeon'"):
        await talk("carrier pigeon")


async def test_hypercorn_serves_pages_on_trio_while_events_arrive() -> None:
    """Over real HTTP every page parses, and counters only rise."""
    sink = PrometheusSink()
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics:
        async with serving(sink.asgi_app()) as url, httpx2.AsyncClient() as http:
            last = 0.0
            for turn in range(20):
                for n in range(50):
                    metrics.record_counter("jobs", {"n": n * turn}, 1)
                    metrics.record_http_request("GET", f"/{n}", 200, 0.1)
                accept = PROMETHEUS_3 if turn % 2 else "*/*"
                answer = await http.get(f"{url}/metrics", headers={"accept": accept})
                assert answer.headers["content-type"] == (STRICT if turn % 2 else TEXT)
                found = parsed(answer.content, openmetrics=bool(turn % 2))
                total = sum(found.of("jobs_total").values())
                assert total >= last
                last = total
            await metrics.flush()
            answer = await http.get(url, headers={"accept-encoding": "gzip"})
            assert answer.headers["content-encoding"] == "gzip"
            assert sum(parsed(answer.content, openmetrics=False).of("jobs_total").values()) == 1000
            head = await http.head(url)
            assert (head.status_code, head.content) == (200, b"")
            assert (await http.post(url, content=b"x")).status_code == 405
    assert balanced(metrics.stats()).processed_events == 2000


async def test_a_fastapi_route_responds_without_a_redirect() -> None:
    """A mounted application redirects, which is why the docs explain how to add a route."""
    fastapi, routing = import_module("fastapi"), import_module("starlette.routing")
    sink = PrometheusSink()

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[Any, None]:
        async with collector(sinks=[sink]) as metrics:
            yield {"metrics": metrics}

    application: Any = fastapi.FastAPI(lifespan=lifespan, routes=[routing.Route("/metrics", sink.asgi_app())])
    mounted: Any = fastapi.FastAPI()
    mounted.mount("/metrics", sink.asgi_app())
    async with serving(application) as url, httpx2.AsyncClient() as http:
        answer = await http.get(f"{url}/metrics", headers={"accept": PROMETHEUS_3})
        assert (answer.status_code, answer.headers["content-type"]) == (200, STRICT)
        assert (await http.head(f"{url}/metrics")).status_code == 200
        assert (await http.post(f"{url}/metrics")).status_code == 405
    async with serving(mounted) as url, httpx2.AsyncClient() as http:
        assert (await http.get(f"{url}/metrics")).status_code == 307
