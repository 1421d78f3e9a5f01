"""Each sink over HTTP against everything that can fail on the way to a real server: the account matches the server.

The network is the proxy's (:mod:`tests.servers.proxy`), so the tests know which requests the server received. At the
end, the server has as many events as the account reports as delivered, whatever happened in between. Events that an
attempt delivered without the sink knowing are sent again, and are still stored only once.
"""

import gc
import math
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Any

import pytest

from tests.servers.cases import (
    EAGER,
    EVENT_CASES,
    PATIENT,
    SERIES_CASES,
    SLACK,
    Case,
    OpenSearchCase,
    PushgatewayCase,
    made,
    only,
    record,
    some_retries,
)
from tests.servers.prometheus import Pushgateway
from tests.servers.proxy import Proxy
from tests.servers.search import OpenSearch
from tests.servers.trouble import next_request
from trio_batchmetrics import (
    Counter,
    SinkStats,
    collector,
)

IMPATIENT: dict[str, Any] = {**PATIENT, "timeout": 0.5}


@pytest.fixture(params=[*EVENT_CASES, *SERIES_CASES])
def case(request: pytest.FixtureRequest, namespace: str) -> Case:
    """Each sink in turn."""
    return made(request, namespace)


@pytest.fixture(params=EVENT_CASES)
def event_case(request: pytest.FixtureRequest, namespace: str) -> Case:
    """Each sink whose payloads are events."""
    return made(request, namespace)


Fault = Callable[[Proxy], None]

PASSING: dict[str, Fault] = {
    "reset": lambda proxy: proxy.reset(times=2),
    "reset after the server got everything": lambda proxy: proxy.reset_after(times=2),
    "no answer": lambda proxy: proxy.black_hole(times=1),
    "an answer that comes too late": lambda proxy: proxy.slow(1.0, times=1),
    "a slow answer": lambda proxy: proxy.slow(0.1),
    "500": lambda proxy: proxy.answer(500, times=1),
    "503 with words": lambda proxy: proxy.answer(503, {"Retry-After": "0"}, b"<h1>busy</h1>", times=2),
    "408": lambda proxy: proxy.answer(408, times=1),
    "429": lambda proxy: proxy.answer(429, {"Retry-After": "soon"}, times=1),
    "no HTTP": lambda proxy: proxy.garbage(times=1),
    "nothing": lambda proxy: proxy.garbage(b"", times=1),
    "half a head": lambda proxy: proxy.garbage(b"HTTP/1.1 200 OK\r\nContent-Le", times=1),
    "half an answer": lambda proxy: proxy.truncate(times=1),
    "half an answer of 204": lambda proxy: proxy.truncate(503, times=1),
    "a body in chunks that are none": lambda proxy: proxy.garbage(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", times=1
    ),
    "too large": lambda proxy: proxy.answer(413, times=1),
}
"""Temporary faults: everything that was recorded arrives in the end."""

LATE = {"no answer", "an answer that comes too late"}
"""Faults where an attempt runs into its timeout."""


TIMESTAMP = 1_750_000_000_000_000_000


@pytest.mark.parametrize("fault", PASSING)
async def test_temporary_faults_cost_no_event(case: Case, fault: str) -> None:
    """Account and server agree on exactly one delivery, whether the first request fails or a later one."""
    settings = IMPATIENT if fault in LATE else PATIENT
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **settings)]) as metrics:
            for _ in range(2):
                PASSING[fault](proxy)
                before = len(proxy.requests)
                record(metrics, 150)
                assert len(proxy.requests) == before
                report = await metrics.flush()
                assert report.ok or (fault.isdigit() and int(fault) in case.gives_up), report
                assert len(proxy.requests) > before
        sink = only(metrics.stats())
    failed = 300 if fault.isdigit() and int(fault) in case.gives_up else 0
    assert (metrics.stats().processed_events, sink.delivered, sink.failed) == (300 - failed, 300 - failed, failed)
    assert case.arrived() == 300


async def asked_again(case: Case, header: str) -> tuple[float, SinkStats]:
    """Return the seconds until events that got a 429 are delivered, and the account."""
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            record(metrics, 100)
            assert (await metrics.flush()).ok
            proxy.answer(429, {"Retry-After": header}, times=1)
            record(metrics, 100)
            begin = time.time()
            assert (await metrics.flush()).ok
            seconds = time.time() - begin
    return seconds, only(metrics.stats())


async def test_a_server_is_retried_after_the_seconds_it_asked_for(case: Case) -> None:
    """The sink waits for the seconds that `Retry-After` gives, and then retries soon."""
    seconds, sink = await asked_again(case, "1")
    assert 1 <= seconds < 1 + SLACK
    assert sink.delivered == case.arrived() == 200
    assert sink.retries == 1


async def test_a_server_may_give_the_date_at_which_to_retry(pushgateway: Pushgateway, namespace: str) -> None:
    """`Retry-After` may also be a date."""
    case = PushgatewayCase(pushgateway, namespace)
    date = math.ceil(time.time()) + 1
    seconds, sink = await asked_again(case, formatdate(date, usegmt=True))
    assert date - 0.05 <= time.time()
    assert seconds < 2 + SLACK
    assert sink.delivered == case.arrived() == 200
    assert sink.retries == 1


REFUSING: dict[str, Fault] = {
    str(status): partial(Proxy.answer, status=status, body=b"no, and you know why") for status in (400, 401, 403, 404)
}
REFUSING["a redirection"] = partial(Proxy.answer, status=307, headers={"Location": "http://elsewhere.example/"})


@pytest.mark.parametrize("fault", REFUSING.values(), ids=REFUSING.keys())
async def test_permanently_refused_events_are_counted(case: Case, fault: Fault) -> None:
    """Events are given up with the server's message; most sinks push series again, as the next push may be accepted.

    Over OTLP, the events of a refused push have failed, but the next push has the values of their series.
    """
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            record(metrics, 40)
            assert (await metrics.flush()).ok
            fault(proxy)
            record(metrics, 20)
            if not case.repeats_refused:
                report = await metrics.flush()
                assert (report.processed, report.failed) == (0, 20)
            else:
                await some_retries(metrics)
            proxy.forward()
            record(metrics, 40)
            assert (await metrics.flush()).ok
        sink = only(metrics.stats())
    assert sink.delivered == (100 if case.repeats_refused else 80)
    assert case.arrived() == (80 if case.sends_events else 100)
    assert sink.failed + sink.rejected == 100 - sink.delivered
    assert "no, and you know why" in str(sink.last_error) or "307" in str(sink.last_error)


async def test_an_event_that_is_too_large_is_refused_alone(event_case: Case) -> None:
    """Payloads are halved, down to one event. A push cannot be halved."""
    case = event_case
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            proxy.answer(413)
            record(metrics, 20)
            assert (await metrics.flush()).failed == 20
            proxy.forward()
            record(metrics, 20)
            assert (await metrics.flush()).ok
        sink = only(metrics.stats())
    assert (sink.delivered, sink.rejected, sink.failed) == (case.arrived(), 20, 0)
    assert case.arrived() == 20


async def test_events_that_arrived_before_halving_are_not_duplicated(event_case: Case) -> None:
    """The server has a payload without the sink knowing, and a retry gets a 413: the halves repeat the same lines."""
    case = event_case
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            proxy.reset_after(times=1)
            for _ in range(40):
                metrics.record(Counter("c", {"part": 1}, 1, timestamp=TIMESTAMP))
            await next_request(proxy)
            proxy.answer(413, times=3)
            assert (await metrics.flush()).ok
        sink = only(metrics.stats())
    assert sink.delivered == case.arrived() == 40
    assert len(proxy.requests) >= 1 + 3 + 4


async def test_events_that_may_have_arrived_are_not_counted_as_rejected(event_case: Case) -> None:
    """Only *failed* means that an event may be stored: an event refused after a lost response counts as failed."""
    case = event_case
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            proxy.reset_after(times=1)
            record(metrics, 1)
            await next_request(proxy)
            proxy.answer(413, times=1)
            await metrics.flush()
        sink = only(metrics.stats())
    assert sink.delivered <= case.arrived() <= sink.delivered + sink.failed


async def test_events_given_up_after_their_retry_budget_are_counted(case: Case) -> None:
    """An outage beyond the retry budget costs the events tried in it; a series sink has no budget."""
    settings = {**PATIENT, **({"retry_budget": 0.2} if case.sends_events else {})}
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **settings)]) as metrics:
            proxy.answer(503)
            record(metrics, 100)
            if case.sends_events:
                assert (await metrics.flush()).failed == 100
            else:
                await some_retries(metrics)
            proxy.forward()
            record(metrics, 100)
            assert (await metrics.flush()).ok
        sink = only(metrics.stats())
    assert sink.delivered == case.arrived() == (100 if case.sends_events else 200)
    assert sink.failures == ({"retry_budget": 100} if case.sends_events else {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b"<html>Please log in</html>",
        b'{"errors": false}',
        b'{"errors": false, "items": []}',
        b'{"errors": false, "items": [{"create": {"status": 201}}]}',
        b'{"errors": false, "items": ' + b"[" * 100_000,
    ],
)
async def test_a_bulk_response_without_an_item_per_event_is_retried(
    opensearch: OpenSearch, namespace: str, body: bytes
) -> None:
    """A 200 that isn't a response to `_bulk` delivers nothing, for example a proxy's page."""
    case = OpenSearchCase(opensearch, namespace)
    async with Proxy(opensearch.host, opensearch.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            proxy.answer(200, {"Content-Type": "application/json"}, body, times=1)
            record(metrics, 50)
            assert (await metrics.flush()).ok
        sink = only(metrics.stats())
    assert sink.delivered == case.arrived() == 50
    assert sink.retries >= 1


async def test_the_status_counts_even_if_the_body_is_not_compressed_as_declared(
    pushgateway: Pushgateway, namespace: str
) -> None:
    """The status counts, and nothing is left open: a warning would fail this test."""
    case = PushgatewayCase(pushgateway, namespace)
    async with Proxy(pushgateway.host, pushgateway.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            proxy.answer(503, {"Content-Encoding": "gzip"}, b"no gzip", times=2)
            record(metrics, 50)
            assert (await metrics.flush()).ok
            proxy.answer(200, {"Content-Encoding": "gzip"}, b"no gzip", times=1)
            record(metrics, 50)
            assert (await metrics.flush()).ok
            assert len(proxy.requests) == 4
        sink = only(metrics.stats())
    assert (sink.delivered, sink.retries) == (100, 2)
    gc.collect()


async def test_an_oversized_response_is_abandoned_and_its_status_counts(
    pushgateway: Pushgateway, namespace: str
) -> None:
    """After 4 MB only the status counts: there is no warning about unfinished work, and no payload is sent again."""
    case = PushgatewayCase(pushgateway, namespace)
    async with Proxy(pushgateway.host, pushgateway.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            proxy.answer(200, body=b"x" * 30_000_000, times=1)
            record(metrics, 50)
            assert (await metrics.flush()).ok
            assert len(proxy.requests) == 1
        sink = only(metrics.stats())
    assert (sink.delivered, sink.retries) == (50, 0)
    gc.collect()
