"""Each item of a request is settled by its own response, and no document is stored twice."""

import re
from collections import Counter as Count
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.contract import record, until
from tests.sinks.elasticsearch.cluster import FakeCluster, count_up
from trio_batchmetrics import BatchMetricsConfig, collector


def ids(bulk: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Return the ids in a request."""
    return [where["_id"] for action, _ in bulk for where in action.values()]


async def test_each_item_of_a_mixed_request_is_settled_by_its_own_status(autojump_clock: MockClock) -> None:
    """Items are stored, already there, refused, or retried alone with their own ids until they are accepted."""
    busy = {3: 2, 4: 1, 8: 1}
    ends = {1: (400, "document_parsing_exception"), 5: (404, "index_not_found_exception"), 6: (403, "cluster_block")}

    def item(document: dict[str, Any]) -> tuple[int, str] | None:
        value = document["fields"]["value"]
        if busy.get(value, 0):
            busy[value] -= 1
            return (503, "unavailable_shards_exception") if value == 8 else (429, "es_rejected_execution_exception")
        return (409, "version_conflict_engine_exception") if value == 7 else ends.get(value)

    cluster = FakeCluster(item=item)
    stats = await count_up(cluster, 10)
    assert cluster.values() == [0, 2, 3, 4, 8, 9]
    assert set(cluster.versions.values()) == {1}
    assert [[document["fields"]["value"] for _, document in bulk] for bulk in cluster.bulks] == [
        [*range(10)],
        [3, 4, 8],
        [3],
    ]
    first, second, third = map(ids, cluster.bulks)
    assert second == [first[at] for at in (3, 4, 8)]
    assert third == [first[3]]
    account = stats.sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.failed, account.retries) == (7, 3, 0, 2)
    assert (stats.processed_events, stats.failed_events) == (7, 3)


@pytest.mark.parametrize("action", ["create", "index"])
async def test_events_stored_without_a_response_are_not_stored_twice(action: str, autojump_clock: MockClock) -> None:
    """Some items of the second attempt are refused temporarily, and are retried in a request of their own."""
    tries = Count[float]()

    def item(document: dict[str, Any]) -> tuple[int, str] | None:
        value = document["fields"]["value"]
        tries[value] += 1
        return (429, "busy") if value % 3 == 0 and tries[value] == 2 else None

    cluster = FakeCluster(lose=1, item=item)
    stats = await count_up(cluster, 10, action=action)
    assert stats.processed_events == 10
    assert cluster.values() == [*range(10)]
    assert len(cluster.documents) == 10
    assert [len(bulk) for bulk in cluster.bulks] == [10, 10, 4]
    assert set(cluster.versions.values()) == ({1} if action == "create" else {2})


async def test_each_run_has_ids_of_its_own(autojump_clock: MockClock) -> None:
    """One sink serves two runs, each with several batches."""
    cluster = FakeCluster()
    sink = cluster()
    for _ in range(2):
        async with collector(BatchMetricsConfig(batch_size=7), sinks=[sink]) as metrics:
            for value in range(20):
                metrics.record_counter("c", {}, value)
        assert balanced(metrics.stats()).processed_events == 20
    found = [one for bulk in cluster.bulks for one in ids(bulk)]
    runs = list(dict.fromkeys(one.partition("-")[0] for one in found))
    assert len(runs) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", run) for run in runs)
    assert found == [f"{run}-{number:010d}" for run in runs for number in range(20)]


async def test_rejections_are_reported_with_the_servers_reason(autojump_clock: MockClock) -> None:
    """The error gives their number and the first reason."""
    cluster = FakeCluster(item=lambda document: (400, "bad") if document["fields"]["value"] < 2 else None)
    account = (await count_up(cluster, 5)).sinks["elasticsearch"]
    assert account.last_error == "2 of 5 events refused: HTTP 400: bad: because"
    assert (account.delivered, account.rejected) == (3, 2)


async def test_items_that_are_never_accepted_fail_at_the_end_of_the_budget(autojump_clock: MockClock) -> None:
    """The other events are delivered at once."""
    cluster = FakeCluster(item=lambda document: (429, "busy") if document["fields"]["value"] < 2 else None)
    account = (await count_up(cluster, 5, retry_budget=60)).sinks["elasticsearch"]
    assert (account.delivered, account.failures) == (3, {"retry_budget": 2})
    assert account.last_error == "2 of 2 events to be sent again: HTTP 429: busy: because"
    assert 60 <= trio.current_time() < 61


async def test_an_attempt_that_timed_out_is_retried_with_the_same_ids() -> None:
    """The server has stored the documents of the first attempt meanwhile."""
    cluster = FakeCluster()
    answers = 0

    async def slow(request: httpx2.Request) -> httpx2.Response:
        nonlocal answers
        answers += 1
        first = answers == 1
        response = await cluster._answer(request)
        if first:
            await trio.sleep_forever()
        return response

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(slow))
    sink = cluster(client=client, timeout=0.05, backoff=0.01)
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics:
        record(metrics, range(10))
        await until(lambda: metrics.stats().processed_events == 10)
    assert len(cluster.bulks) == 2
    assert len(cluster.documents) == 10
    assert set(cluster.versions.values()) == {1}


async def unreadable() -> AsyncIterator[bytes]:
    """Send something that isn't brotli."""
    await trio.lowlevel.checkpoint()
    yield b"whatever"


def refusing_later(*firsts: httpx2.Response) -> tuple[FakeCluster, list[int]]:
    """Return a cluster that stores everything, gives these responses, and then refuses every item; and its requests."""
    cluster, sizes = FakeCluster(), list[int]()
    answers = [*firsts]

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        sizes.append(len(request.content.splitlines()) // 2)
        bad = {"create": {"status": 400, "error": {"type": "t", "reason": "r"}}}
        return answers.pop(0) if answers else httpx2.Response(200, json={"errors": True, "items": [bad] * sizes[-1]})

    cluster.client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return cluster, sizes


@pytest.mark.parametrize(
    ("first", "rejected", "sizes"),
    [
        (httpx2.Response(200, json={"errors": True, "items": [{"create": {"status": 500}}] * 2}), 0, [2, 2]),
        (httpx2.Response(200, json={"errors": True, "items": [{"create": {"status": 503}}] * 2}), 2, [2, 2]),
        (httpx2.Response(200, text="<html>It works!</html>"), 0, [2, 2]),
        (httpx2.Response(200, content=unreadable(), headers={"content-encoding": "br"}), 0, [2, 2]),
        (httpx2.Response(200, content=b" " * 5_000_000), 0, [2, 1, 1]),
    ],
    ids=["500", "503", "another body", "unreadable", "too long"],
)
async def test_items_that_may_be_stored_are_not_rejected_when_they_are_refused_later(
    first: httpx2.Response, rejected: int, sizes: list[int], autojump_clock: MockClock
) -> None:
    """They count as failed, unless the server said that it did not carry them out."""
    cluster, requests = refusing_later(first)
    account = (await count_up(cluster, 2)).sinks["elasticsearch"]
    assert requests == sizes
    assert (account.rejected, account.failed) == (rejected, 2 - rejected)
