"""A response to a whole request decides about all its events, and a request keeps to its limits."""

from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced
from tests.sinks.contract import record
from tests.sinks.elasticsearch.cluster import FakeCluster, count_up, response
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink


@pytest.mark.parametrize(
    "answer",
    [
        response(429),
        response(503, headers={"retry-after": "2"}),
        response(500),
        httpx2.Response(502, text="<html>Bad Gateway</html>"),
        httpx2.Response(200, text="<html>It works!</html>"),
        httpx2.Response(200, json={"errors": False}),
        httpx2.Response(200, json={"errors": False, "items": [{"create": {"status": 201}}]}),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
    ],
    ids=str,
)
async def test_temporary_failures_are_retried(answer: Any, autojump_clock: MockClock) -> None:
    """A retry has the same ids and the same body."""
    cluster = FakeCluster(answer)
    stats = await count_up(cluster, 3)
    assert stats.processed_events == 3
    assert [request.content for request in cluster.requests] == [cluster.requests[0].content] * 2
    assert stats.sinks["elasticsearch"].retries == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 301])
async def test_permanent_refusals_are_given_up(status: int, autojump_clock: MockClock) -> None:
    """The error quotes the server."""
    cluster = FakeCluster(response(status))
    account = (await count_up(cluster, 3)).sinks["elasticsearch"]
    assert account.failures == {"refused": 3}
    assert account.last_error is not None
    assert account.last_error.startswith(f"HTTP {status}: ")
    assert len(cluster.requests) == 1


async def test_a_request_that_is_too_large_is_halved(autojump_clock: MockClock) -> None:
    """It is halved until the server accepts it; the servers' 413 responses have no body."""
    cluster = FakeCluster(httpx2.Response(413), httpx2.Response(413))
    stats = await count_up(cluster, 8)
    assert stats.processed_events == 8
    assert [len(bulk) for bulk in cluster.bulks] == [8, 4, 2, 2, 4]
    assert cluster.values() == [*range(8)]


class PickyCluster(FakeCluster):
    """Has a component in front of it that refuses a whole request because of one event."""

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = await super()._answer(request)
        refused = b'"evil"' in request.content
        if refused:
            for action, _ in self.bulks[-1]:
                [where] = action.values()
                del self.documents[where["_index"], where["_id"]]
        return httpx2.Response(400, text="attack detected") if refused else answer


@pytest.mark.parametrize("guilty", [{0}, {4999}, {1234}, {1234, 1235, 3000}, {*range(100, 160)}])
async def test_only_the_event_that_spoils_a_request_is_rejected(guilty: set[int], autojump_clock: MockClock) -> None:
    """The events are in the middle of the largest payload, and few requests suffice."""
    cluster = PickyCluster()
    async with collector(BatchMetricsConfig(batch_size=5000, buffer_size=5000), sinks=[cluster()]) as metrics:
        for value in range(5000):
            metrics.record_counter("c", {"x": "evil" if value in guilty else "good"}, value)
    account = balanced(metrics.stats()).sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.failed) == (5000 - len(guilty), len(guilty), 0)
    assert cluster.values() == [value for value in range(5000) if value not in guilty]
    assert account.last_error == "HTTP 400: attack detected"
    assert len(cluster.requests) <= 26 * len(guilty) + 1


async def test_a_server_that_refuses_everything_is_not_sent_every_event_alone(autojump_clock: MockClock) -> None:
    """Such as a server that expects TLS: 64 requests at a time. Once it is fixed, the remaining events arrive."""
    cluster = FakeCluster(*[httpx2.Response(400, text="plain HTTP on an HTTPS port")] * 1000)
    config = BatchMetricsConfig(batch_size=5000, buffer_size=5000)
    async with collector(config, sinks=[cluster()]) as metrics:
        record(metrics, range(5000))
        await wait_all_tasks_blocked()
        assert len(cluster.requests) == 64
        await trio.sleep(60)
        assert len(cluster.requests) <= 64 * 40
        cluster.script.clear()
        await metrics.flush()
    account = balanced(metrics.stats()).sinks["elasticsearch"]
    assert account.last_error == "HTTP 400: plain HTTP on an HTTPS port"
    assert account.failed == 0
    assert account.delivered == 5000 - account.rejected == len(cluster.values())
    assert account.rejected < 1000


async def test_requests_ask_for_short_and_timely_responses(autojump_clock: MockClock) -> None:
    """A filter limits the response, and the server's own timeout is below that of the attempt."""
    cluster = FakeCluster()
    await count_up(cluster, 1, timeout=8)
    assert dict(cluster.requests[0].url.params) == {
        "filter_path": "errors,items.*.status,items.*.error.type,items.*.error.reason",
        "timeout": "4000ms",
    }


async def test_payloads_have_at_most_5000_events(autojump_clock: MockClock) -> None:
    """They also have at most five megabytes."""
    cluster = FakeCluster()
    config = BatchMetricsConfig(batch_size=6000, buffer_size=20_000)
    async with collector(config, sinks=[cluster()]) as metrics:
        record(metrics, range(12_000))
        await metrics.flush()
        for _ in range(200):
            metrics.record_counter("c", {"long": "x" * 100_000}, 1)
    assert balanced(metrics.stats()).processed_events == 12_200
    assert max(len(bulk) for bulk in cluster.bulks) == 5000
    assert all(len(request.content) <= 5_000_000 for request in cluster.requests)


def test_the_sink_is_an_event_sink() -> None:
    """Constructing it needs no server."""
    assert isinstance(FakeCluster()(), EventSink)
