"""The sink that Prometheus scrapes: in a collector, over HTTP, in a registry, beside other threads."""

from __future__ import annotations

import asyncio
import gc
import gzip
import math
import re
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any, NamedTuple

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from examples.gateway.asgi import serving
from tests.helpers import balanced, interrupted_at
from tests.sinks.prometheus_parsing import OPENMETRICS, Parsed, labelled, parsed, parsed_registry
from tests.threads import restless
from trio_batchmetrics import (
    BatchMetricsConfig,
    Counter,
    Gauge,
    Histogram,
    HistogramPoint,
    MetricEvent,
    collector,
)
from trio_batchmetrics._events.validation import valid
from trio_batchmetrics.abc import EventSink, Payload, SinkContext
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.sinks._prometheus.asgi import wants_gzip, wants_openmetrics
from trio_batchmetrics.sinks._prometheus.page import Page

client: Any = import_module("prometheus_client")
openmetrics_of: Any = import_module("prometheus_client.openmetrics.exposition")

TEXT = "text/plain; version=0.0.4; charset=utf-8"
STRICT = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def read(sink: PrometheusSink, accept: str | None = None) -> Parsed:
    """Return the page, parsed."""
    body, content_type = sink.render(accept)
    return parsed(body, openmetrics=content_type == STRICT)


def filled(*events: MetricEvent) -> PrometheusSink:
    """Return a sink with these events."""
    sink = PrometheusSink()
    sink.bind(SinkContext(max_series=100_000))
    sink.merge(events)
    return sink


# -- in a collector


async def test_what_is_merged_is_on_the_next_page_and_delivered(autojump_clock: MockClock) -> None:
    """Before, in and after the block; bound instruments too."""
    sink = PrometheusSink()
    assert sink.render() == (b"", TEXT)
    assert sink.render(OPENMETRICS) == (b"# EOF\n", STRICT)
    async with collector(
        BatchMetricsConfig(batch_size=2, static_labels={"service.name": "shop"}), sinks=[sink]
    ) as metrics:
        assert sink.is_open
        for _ in range(5):
            metrics.record_counter("jobs", {"queue": "a"}, 2)
        await wait_all_tasks_blocked()
        assert read(sink).of("jobs_total") == {labelled(queue="a", service_name="shop"): 8}
        metrics.histogram("size", bounds=[1, 2], unit="By", description="How large.").observe(2)
        metrics.counter("done", unit="{job}").add(3)
        assert (await metrics.flush()).ok
        found = read(sink, OPENMETRICS)
        assert found.of("jobs_total") == {labelled(queue="a", service_name="shop"): 10}
        assert found.of("size_bytes_bucket")[labelled(service_name="shop", le="2.0")] == 1
        assert found.families["size_bytes"] == ("histogram", "bytes", "How large.")
        assert found.of("done_total") == {labelled(service_name="shop"): 3}
        metrics.record_counter("jobs", {"queue": "b"}, 1)
    assert not sink.is_open
    account = balanced(metrics.stats()).sinks["prometheus"]
    assert (account.total, account.delivered, account.failed) == (8, 8, 0)
    assert read(sink).of("jobs_total")[labelled(queue="b", service_name="shop")] == 1


def test_it_takes_the_delivery_settings_of_every_sink() -> None:
    """So that one set of settings does for all; a page is fetched, so they have no effect. Bad ones are named."""
    settings: dict[str, Any] = {"timeout": 5, "retry_budget": 60, "backoff": 0.1, "max_backoff": 2}
    sink = PrometheusSink(**settings)
    assert {name: getattr(sink, name) for name in settings} == settings
    with pytest.raises(ValueError, match=r"^retry_budget must be .*> 0"):
        PrometheusSink(retry_budget=0)


async def test_a_sink_begins_anew_with_each_collector(autojump_clock: MockClock) -> None:
    """It counts what that collector recorded."""
    sink = PrometheusSink(name="scraped")
    for number in (1, 2):
        async with collector(sinks=[sink]) as metrics:
            metrics.record_counter("jobs", {}, number)
        assert read(sink).of("jobs_total") == {labelled(): number}
        assert metrics.stats().sinks["scraped"].delivered == 1


async def test_a_disabled_collector_leaves_an_empty_page() -> None:
    """It is not even bound."""
    sink = PrometheusSink()
    async with collector(BatchMetricsConfig(enabled=False), sinks=[sink]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    assert sink.render()[0] == b""


async def test_one_that_is_closed_twice_or_sent_to_does_no_harm() -> None:
    """The engine does neither."""
    sink = filled(Counter("c", {}, 1))
    await sink.aclose()
    await sink.aclose()
    await sink.send(Payload[None](events=[], parts=(None,), key="x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert read(sink).of("c_total") == {labelled(): 1}


def test_events_that_are_not_valid_are_passed_over() -> None:
    """None are that a collector hands over."""
    sink = filled(Counter("c", {}, math.nan), Counter("c", {}, 1), Gauge("", {}, 1))
    assert read(sink).samples == {("c_total", labelled()): 1}


# -- series that nothing is added to


@pytest.mark.parametrize("expire_after", [60, 60.0, timedelta(minutes=1)])
async def test_idle_series_leave_the_page_and_begin_at_0(
    expire_after: float | timedelta, autojump_clock: MockClock
) -> None:
    """By Trio's clock, to the moment; whether anything is merged meanwhile or not."""
    sink = PrometheusSink(expire_after=expire_after)
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:

        async def record(*queues: str) -> None:
            for queue in queues:
                metrics.record_counter("jobs", {"queue": queue}, 1)
                metrics.record_histogram("size", {"queue": queue}, 1)
            await wait_all_tasks_blocked()

        def shown() -> dict[str, float]:
            found = read(sink, OPENMETRICS)
            jobs = {dict(labels)["queue"]: value for labels, value in found.of("jobs_total").items()}
            sizes = {dict(labels)["queue"]: value for labels, value in found.of("size_count").items()}
            assert jobs == sizes
            return jobs

        await trio.sleep(5)
        await record("a", "b")
        await trio.sleep(40)
        await record("b")
        assert shown() == {"a": 1, "b": 2}
        await trio.sleep(19.999)
        assert shown() == {"a": 1, "b": 2}
        await trio.sleep(0.002)
        assert shown() == {"b": 2}
        await record("a")
        assert shown() == {"a": 1, "b": 2}
        await trio.sleep(61)
        assert sink.render() == (b"", TEXT)
        await record("b")
        assert shown() == {"b": 1}
        assert metrics.stats().processed_events == 10
    assert shown() == {"b": 1}


def test_what_belongs_to_a_forgotten_series_goes_with_it() -> None:
    """And should it come back, it begins at 0, whichever way its labels are written."""
    now = 1_000
    page = Page(SinkContext(), lambda: now, 100)
    page.merge([Counter("c", {"a.b": 1}, 1), Counter("c", {"n": 2}, 2), Histogram("h", {"n": 2}, 2)])
    now += 50
    page.merge([Counter("c", {"a_b": 1}, 3)])
    assert b'c_total{a_b="1"} 4.0\n' in page.write(openmetrics=False)
    now += 60
    assert parsed(page.write(openmetrics=False), openmetrics=False).of("c_total") == {labelled(a_b="1"): 4}
    page.merge([])
    assert sum(len(family.series) for family, _ in page.families()) == 1
    now += 1000
    page.merge([])
    assert (len(page), page.write(openmetrics=False)) == (0, b"")
    page.merge([Counter("c", {"a-b": 1}, 6)])
    assert parsed(page.write(openmetrics=True), openmetrics=True).of("c_total") == {labelled(a_b="1"): 6}


def test_each_series_is_forgotten_in_its_time_while_others_go_on() -> None:
    """However often events come, and though few merges look at all series for it."""
    now = 1000
    page = Page(SinkContext(), lambda: now, 100)
    for now in range(1000, 1400, 10):
        page.merge([Counter("c", {"n": "busy"}, 1), *([Counter("c", {"n": now}, 1)] if now % 70 == 0 else [])])
        recent = {labelled(n=str(at)) for at in range(1000, now + 1, 10) if at % 70 == 0 and at >= now - 100}
        found = parsed(page.write(openmetrics=False), openmetrics=False).of("c_total")
        assert set(found) == {labelled(n="busy"), *recent}
        assert len(page) == len(found)


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan, True, "60", timedelta(0), 10**400])
def test_a_bad_time_to_expire_is_named(bad: Any) -> None:
    """With rule and value."""
    with pytest.raises(ValueError, match=r"^expire_after must be seconds > 0, a timedelta > 0 or None \(got "):
        PrometheusSink(expire_after=bad)


@pytest.mark.parametrize("ever", [1e300, timedelta.max])
async def test_a_time_that_never_comes_is_one_to_expire_after(ever: Any, autojump_clock: MockClock) -> None:
    """As good as none."""
    sink = PrometheusSink(expire_after=ever)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("jobs", {}, 1)
        await metrics.flush()
        assert b"jobs_total 1.0" in sink.render()[0]


# -- which format

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," + PROMETHEUS_3
)
TEXT_FIRST = "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize("accept", [
    *(PROMETHEUS_2, PROMETHEUS_3, PROTOBUF_FIRST, OPENMETRICS, "application/openmetrics-text"),
    *("Application/OpenMetrics-Text ; Version=1.0.0", 'application/openmetrics-text; version="1.0.0"; charset=utf-8'),
    *("application/openmetrics-text, text/plain", "application/openmetrics-text;q=0.1"),
    f"{OPENMETRICS};q=0.5, */*;q=0.5",
    *(f"{OPENMETRICS}, text/plain;q=high", f"text/plain;q=0.4,{OPENMETRICS};q=0.9,,;,=;q"),
    "*/*;q=0.9, text/plain;q=0.2, application/openmetrics-text;version=1.0.0;q=0.3",
])  # fmt: skip
def test_who_asks_for_openmetrics_gets_it(accept: str) -> None:
    """Prometheus does, before all else."""
    assert wants_openmetrics(accept)


@pytest.mark.parametrize("accept", [
    *(None, "", "*/*", "text/plain", "text/*", "application/*", "*", BROWSER, TEXT_FIRST, "text/plain;version=0.0.4"),
    *("application/openmetrics-text;q=0", "application/openmetrics-text;version=0.0.1", "application/json"),
    *("application/openmetrics-text;version=2.0.0", f"{OPENMETRICS};q=0.5, text/*;q=0.6", f"{OPENMETRICS};q=0.5, */*"),
    *(f"{OPENMETRICS};q=nan", f"{OPENMETRICS};q=2", f"{OPENMETRICS};q=-1", f"{OPENMETRICS};q=", ";;;,,,===", "\xff"),
])  # fmt: skip
def test_everybody_else_gets_text(accept: str | None) -> None:
    """Also who asks for what there is not, or for nothing that can be read."""
    assert not wants_openmetrics(accept)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        *[("gzip", True), ("GZIP", True), ("gzip, deflate, br, zstd", True), ("gzip;q=0.5", True), ("*", True)],
        *[("x-gzip", True), ("identity;q=0.5, gzip", True), ("br;q=1.0, gzip;q=0.8, *;q=0.1", True)],
        *[(None, False), ("", False), ("identity", False), ("gzip;q=0", False), ("gzip;q=0.000", False), ("br", False)],
        *[("*;q=0", False), ("gzip;q=0, *", False), ("identity, gzip;q=0.5", False), ("gzip;q=x", False)],
    ],
)
def test_gzip_only_for_who_allows_it(accept_encoding: str | None, expected: bool) -> None:
    """And prefers it to nothing."""
    assert wants_gzip(accept_encoding) is expected


# -- over HTTP


class Answer(NamedTuple):
    """What an ASGI application answered."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(app: Any, method: str = "GET", headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Ask an application."""
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
    """As it is, or compressed from about 1 kB on."""
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
    """And no body."""
    app = filled(*MIDDLE).asgi_app()
    for headers in ([], [("accept-encoding", "gzip")], [("accept", OPENMETRICS)]):
        got, head = await ask(app, headers=headers), await ask(app, "HEAD", headers)
        assert (head.status, head.headers, head.body) == (200, got.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_told_which_are_allowed(method: str) -> None:
    """405."""
    answer = await ask(filled(*SMALL).asgi_app(), method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_a_large_page_is_compressed_in_a_worker_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small one is not, and where there is no Trio none is."""
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


async def test_lifespan_websocket_and_what_is_unknown() -> None:
    """All is well; no, thank you; an error, as ASGI asks for."""
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


async def test_hypercorn_serves_it_on_trio_while_events_come() -> None:
    """Over real HTTP: every page parses, and counters only rise."""
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


async def test_a_route_of_fastapi_is_answered_without_a_redirect() -> None:
    """Unlike what is mounted; the reason why the docs say how to add a route."""
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


# -- in a registry of prometheus_client's


async def test_one_scrape_of_a_registry_shows_both(autojump_clock: MockClock) -> None:
    """In both formats, in and after the block; joining costs nothing."""
    registry = client.CollectorRegistry(auto_describe=True)
    own = client.Counter("own", "Their own.", ["a"], registry=registry)
    own.labels("b").inc(3)
    sink = PrometheusSink(registry)
    assert b"jobs" not in client.generate_latest(registry)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("jobs", {"queue": 'a"\\\n', "__name__": "x"}, 2)
        metrics.record_http_request("GET", "/a", 200, 0.15)
        metrics.record_gauge("depth", {}, -1)
        metrics.record_counter("total", {}, 1)
        metrics.record_histogram("below", {}, -1)
        await metrics.flush()
        pages = [client.generate_latest(registry), openmetrics_of.generate_latest(registry)]
    for page in (*pages, client.generate_latest(registry)):
        found = parsed(page, openmetrics=page is pages[1])
        assert found.of("own_total") == {labelled(a="b"): 3}
        assert found.of("jobs_total") == {labelled(queue='a"\\\n', key__name__="x"): 2}
        assert found.of("depth") == {labelled(): -1}
        assert found.of("below_bucket")[labelled(le="0.0")] == 1
        assert (found.of("below_sum"), found.of("below_count")) == ({}, {})
    families = parsed_registry(registry.collect())
    ours = read(sink, OPENMETRICS)
    assert {key: value for key, value in families.samples.items() if "own" not in key[0]} == ours.samples
    assert {name: head for name, head in families.families.items() if name != "own"} == ours.families


async def test_prometheus_clients_own_server_shows_it() -> None:
    """Which collects in threads of its own."""
    registry = client.CollectorRegistry()
    async with collector(sinks=[PrometheusSink(registry)]) as metrics:
        metrics.record_counter("jobs", {}, 2)
        await metrics.flush()
        server, thread = client.start_http_server(0, "127.0.0.1", registry)
        try:
            async with httpx2.AsyncClient() as http:
                answer = await http.get(f"http://127.0.0.1:{server.server_port}/metrics")
            assert parsed(answer.content, openmetrics=False).of("jobs_total") == {labelled(): 2}
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.shutdown)
            server.server_close()
            thread.join()


async def test_the_sink_of_a_later_block_takes_the_formers_place(autojump_clock: MockClock) -> None:
    """No sooner, and the registry has one collector of ours for ever."""
    registry = client.CollectorRegistry()
    first, second = PrometheusSink(registry), PrometheusSink(registry)
    async with collector(sinks=[first]) as metrics:
        metrics.record_counter("jobs", {}, 1)
        await metrics.flush()
        with pytest.raises(ValueError, match="registry must be one that no other open collector's PrometheusSink has"):
            async with collector(sinks=[second]):
                pass
        assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
    assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
    for number in (2, 3):
        async with collector(sinks=[second]) as metrics:
            metrics.record_counter("jobs", {}, number)
        assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): number}
    assert read(first).of("jobs_total") == {labelled(): 1}
    assert len(registry._collector_to_names) == 1


async def test_a_collector_that_somebody_unregistered_comes_back_with_the_next_sink() -> None:
    """Some test suites empty the registry."""
    registry = client.CollectorRegistry()
    async with collector(sinks=[PrometheusSink(registry)]):
        pass
    for one in [*registry._collector_to_names]:
        registry.unregister(one)
    async with collector(sinks=[PrometheusSink(registry)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}


def test_a_sink_that_was_never_closed_is_in_nobodys_way_once_it_is_gone() -> None:
    """As after a collector that could not open because of another sink."""
    registry = client.CollectorRegistry()
    sink = PrometheusSink(registry)
    sink.bind(SinkContext())
    sink.merge([Counter("jobs", {}, 1)])
    with pytest.raises(ValueError, match="registry must be one"):
        PrometheusSink(registry).bind(SinkContext())
    del sink
    gc.collect()
    assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
    PrometheusSink(registry).bind(SinkContext())
    assert [*registry.collect()] == []


class Unbindable(EventSink[None]):
    """Refuses every collector."""

    def bind(self, context: SinkContext) -> None:
        """Fail, as a sink does whose client belongs to a parent process."""
        raise RuntimeError("not me")

    async def send(self, payload: Payload[None]) -> None:
        """Never called."""


async def test_a_collector_that_could_not_open_is_in_nobodys_way() -> None:
    """Its sink has left the registry, although it is still there."""
    registry = client.CollectorRegistry()
    first = PrometheusSink(registry)
    with pytest.raises(RuntimeError, match="not me"):
        async with collector(sinks=[first, Unbindable()]):
            pass
    assert not first.is_open
    async with collector(sinks=[PrometheusSink(registry)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    async with collector(sinks=[first]):
        assert first.is_open
    assert not first.is_open


def test_of_sinks_that_join_a_registry_at_once_one_wins() -> None:
    """In threads, with no lock of ours: the others are told, and the registry has one collector of ours."""
    for _ in range(20):
        registry = client.CollectorRegistry()
        sinks = [PrometheusSink(registry) for _ in range(8)]
        ready = threading.Barrier(len(sinks))
        joined: list[PrometheusSink] = []

        def join(sink: PrometheusSink, ready: threading.Barrier = ready, joined: Any = joined) -> None:
            ready.wait()
            try:
                sink.bind(SinkContext())
            except ValueError:
                return
            sink.merge([Counter("jobs", {}, 1)])
            joined.append(sink)

        threads = [threading.Thread(target=join, args=(sink,)) for sink in sinks]
        with restless():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        [winner] = joined
        assert [sink for sink in sinks if sink.is_open] == [winner]
        assert len(registry._collector_to_names) == 1
        assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
        with pytest.raises(ValueError, match="registry must be one"):
            PrometheusSink(registry).bind(SinkContext())


def test_a_registry_is_not_kept_alive() -> None:
    """By what remembers who joined it."""
    registry = client.CollectorRegistry()
    sink = PrometheusSink(registry)
    sink.bind(SinkContext())
    gone = weakref.ref(registry)
    del registry, sink
    gc.collect()
    assert gone() is None


def test_a_name_that_the_registry_has_from_somebody_else_is_left_out_there(caplog: pytest.LogCaptureFixture) -> None:
    """And counted, and logged once; the sink's own page has it."""
    registry = client.CollectorRegistry()
    client.Counter("jobs", "Theirs.", registry=registry).inc(7)
    client.Gauge("size_count", "Theirs.", registry=registry)
    sink = PrometheusSink(registry)
    sink.bind(SinkContext())
    sink.merge(
        [Counter("jobs", {"a": 1}, 1), Counter("jobs", {"a": 2}, 1), Histogram("size", {}, 1), Gauge("g", {}, 1)]
    )
    for _ in range(2):
        found = parsed(openmetrics_of.generate_latest(registry), openmetrics=True)
        assert found.of("jobs_total") == {labelled(): 7}
        assert found.of("g") == {labelled(): 1}
        assert not found.of("size_bucket")
    assert sink.left_out == 3
    assert caplog.messages == [
        "metrics: 'jobs_total' is not shown in the registry, which has a metric of that name; others are only counted"
    ]
    assert len(read(sink).of("jobs_total")) == 2


def test_without_prometheus_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a registry is given; else it is not needed."""
    registry = client.CollectorRegistry()
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    PrometheusSink().render()
    with pytest.raises(ImportError, match=r'^PrometheusSink\(registry=…\) needs .*"trio-batchmetrics\[prometheus\]"$'):
        PrometheusSink(registry)


def test_what_is_no_registry_is_named() -> None:
    """When the sink is made."""
    with pytest.raises(ValueError, match=r"^registry must be a prometheus_client\.CollectorRegistry \(got 'all'\)$"):
        PrometheusSink("all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- beside other threads

BOUNDS = (1.0, 2.0, 4.0)
VALUES = (1.0, 2.0, 4.0, 8.0)
"""One for each bucket: so the sum tells how many there must be in each."""


def assert_consistent(buckets: list[int], count: float | None, total: float) -> None:
    """Hold a histogram's buckets, which are cumulative, against its count and sum."""
    counts = [now - before for before, now in zip([0, *buckets], buckets, strict=False)]
    assert min(counts) >= 0
    assert count in (None, buckets[-1])
    assert sum(number * value for number, value in zip(counts, VALUES, strict=True)) == total


def look_at_page(sink: PrometheusSink, accept: str | None) -> None:
    """Check every series of a page."""
    text = sink.render(accept)[0].decode()
    buckets: dict[str, list[int]] = {}
    for number, value in re.findall(r'^h_bucket{n="(\d+)",le="[^"]*"} (\d+)$', text, re.MULTILINE):
        buckets.setdefault(number, []).append(int(value))
    counts = dict(re.findall(r'^h_count{n="(\d+)"} (\d+)$', text, re.MULTILINE))
    sums = dict(re.findall(r'^h_sum{n="(\d+)"} (\S+)$', text, re.MULTILINE))
    assert set(buckets) == set(counts) == set(sums)
    for number, cumulative in buckets.items():
        assert_consistent(cumulative, float(counts[number]), float(sums[number]))
    gauges = re.findall(r'^g{n="\d+"} (\S+)$', text, re.MULTILINE)
    assert set(gauges) <= {"42.0"}


def look_at_snapshot(page: Page) -> None:
    """Check every series of a snapshot."""
    for metric in page.snapshot():
        for point in metric.points:
            if metric.name == "h":
                buckets = [sum(point.counts[: place + 1]) for place in range(len(point.counts))]
                assert_consistent(buckets, None, point.value)
            elif metric.name == "g":
                assert point.value == 42


def look_at_registry(registry: Any) -> None:
    """Check every series that a registry collects."""
    found = parsed_registry(registry.collect())
    for labels, total in found.of("h_sum").items():
        bounds = [*map(str, BOUNDS), "+Inf"]
        buckets = [int(found.of("h_bucket")[labels | {("le", bound)}]) for bound in bounds]
        assert_consistent(buckets, found.of("h_count")[labels], total)
    assert set(found.of("g").values()) <= {42}


def batch(turn: int) -> list[MetricEvent]:
    """Return events for old series and new ones, of all kinds, by all ways."""
    numbers = [turn % 7, turn % 50, turn]
    events: list[MetricEvent] = [Histogram("h", {"n": n}, value) for n in numbers for value in VALUES]
    events += [HistogramPoint("h", {"n": n}, 4, 15.0, BOUNDS, (1, 1, 1, 1)) for n in numbers]
    events += [HistogramPoint("h", {"n": n}, 4, 15.0, (1.0, 2.0, 4.0, 9.0), (1, 1, 1, 1, 0)) for n in numbers]
    return [*events, *(Gauge("g", {"n": n}, 42) for n in numbers), *(Counter("c", {"n": n}, 1) for n in numbers)]


class Looked:
    """A sink in a registry, and all ways to look at it."""

    def __init__(self) -> None:
        self.registry = client.CollectorRegistry()
        self.sink = PrometheusSink(self.registry)
        self.sink.bind(SinkContext(bounds={"h": BOUNDS}, max_series=100_000))
        self.page = self.sink._page
        self.ways: list[Callable[[], None]] = [
            lambda: look_at_page(self.sink, None),
            lambda: look_at_page(self.sink, OPENMETRICS),
            lambda: look_at_snapshot(self.page),
            lambda: look_at_registry(self.registry),
        ]

    def look(self) -> None:
        """Look in every way."""
        for way in self.ways:
            way()

    def assert_nothing_stale(self) -> None:
        """Assert that the page is the same with and without what was kept of others."""
        pages = [self.sink.render(accept)[0] for accept in (None, OPENMETRICS)]
        for family, series in self.page.families():
            vars(family).pop("_written", None)
            for one in series:
                one.written = (0, b"", b"")
        assert [self.sink.render(accept)[0] for accept in (None, OPENMETRICS)] == pages


def test_a_look_anywhere_in_a_merge_sees_consistent_series() -> None:
    """Wherever CPython may let another thread run; and keeps nothing that the rest of the merge makes stale."""
    first = [Histogram("h", {"n": 1}, 8.0), Gauge("g", {"n": 1}, 42), Counter("c", {"n": 1}, 1)]
    second: list[MetricEvent] = [
        *(Histogram("h", {"n": 1}, 1.0), Histogram("h", {"n": 2}, 2.0), Histogram("h", {"n": 1}, 4.0)),
        HistogramPoint("h", {"n": 1}, 4, 15.0, BOUNDS, (1, 1, 1, 1)),
        HistogramPoint("h", {"n": 1}, 4, 15.0, (1.0, 2.0, 4.0, 9.0), (1, 1, 1, 1, 0)),
        *(Gauge("g", {"n": 1}, 42), Gauge("g", {"n": 2}, 42), Gauge("new", {}, 42)),
        *(Counter("c", {"n": 1}, 1), Counter("c", {"n": 2}, 1), Counter("c", {"n": 1}, 1)),
    ]
    checked = valid([*second])
    point = passed = 0
    while point <= passed:
        looked = Looked()
        looked.sink.merge(first)
        with interrupted_at(point, looked.look) as places:
            looked.sink.merge(checked)
        looked.look()
        looked.assert_nothing_stale()
        passed, point = places[0], point + 1
    assert passed > 100


@pytest.mark.parametrize("way", range(4))
def test_a_merge_anywhere_in_a_look_leaves_what_it_sees_consistent(way: int) -> None:
    """Series begin and are forgotten meanwhile."""
    point = passed = 0
    while point <= passed:
        looked = Looked()
        for number in range(3):
            looked.sink.merge([Histogram("h", {"n": number}, 8.0), Gauge("g", {"n": number}, 42)])

        def merge(looked: Looked = looked) -> None:
            looked.sink.merge([Histogram("h", {"n": 1}, 1.0), Histogram("h", {"n": 7}, 2.0), Gauge("g", {"n": 7}, 42)])
            looked.page.expire(looked.page._now - 1)
            looked.sink.merge([Counter("new", {}, 1), Histogram("h", {"n": 1}, 2.0)])

        with interrupted_at(point, merge) as places:
            looked.ways[way]()
        looked.look()
        looked.assert_nothing_stale()
        passed, point = places[0], point + 1
    assert passed > 20


def test_pages_snapshots_and_collections_are_consistent_while_another_thread_merges() -> None:
    """Each series in itself; series begin and are forgotten meanwhile, and at the end nothing stale is left."""
    looked = Looked()
    failures: list[BaseException] = []
    looks = [0] * len(looked.ways)
    stopping = threading.Event()

    def keep_looking(place: int) -> None:
        try:
            while not stopping.is_set():
                looked.ways[place]()
                looks[place] += 1
        except Exception as exc:  # noqa: BLE001 - the test raises it
            failures.append(exc)

    threads = [threading.Thread(target=keep_looking, args=(place,)) for place in range(len(looks))]
    turns = forgotten = 0
    with restless():
        for thread in threads:
            thread.start()
        while not failures and (turns < 300 or min(looks) < 5):
            looked.sink.merge(batch(turns))
            turns += 1
            if turns % 20 == 0:
                forgotten += looked.page.expire(looked.page._now - 10)
        stopping.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    assert forgotten > 0
    looked.look()
    looked.assert_nothing_stale()
