"""A type conflict rejects the events of the measurement or line at fault, and no others."""

import json

import httpx2
import pytest
import trio

from tests.helpers import balanced
from tests.sinks.influxdb.server import CONFLICT, DATABASE, FakeServer, error, events, receipt
from trio_batchmetrics import BatchMetricsConfig, CacheMetric, HealthCheck, HistogramPoint, MetricEvent, collector


@pytest.mark.parametrize("status", [400, 422])
async def test_a_type_conflict_rejects_the_events_of_its_measurement(status: int) -> None:
    """The other events are sent again until no conflict is left, since one refusal hides another."""
    server = FakeServer()
    payload = [*events(range(2), "other"), *events(range(2, 4), 'a, b"c=d'), *events([4]), *events([5, 6], "late")]
    texts = [CONFLICT.format('a, b"c=d', 2), CONFLICT.format("other", 2)]
    found = await receipt([error(status, text) for text in texts], payload, server)
    assert (set(found.rejected), found.rest) == ({0, 1, 2, 3}, "delivered")
    assert found.rejected[2] == texts[0].removesuffix(" dropped=2")[:300]
    assert [len(body.splitlines()) for body in server.bodies] == [7, 5, 3]
    assert server.values() == [4, 5, 6]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "größe", 'x" on measurement "y', "dropped=7 for database: z"])
async def test_names_that_1_13_quotes_are_found(name: str) -> None:
    """The server escapes quotes and backslashes as Go does."""
    payload = [*events(range(2)), *events([2, 3], name)]
    quoted = json.dumps(name, ensure_ascii=False)[1:-1]
    found = await receipt(error(400, CONFLICT.format(quoted, 2) + DATABASE), payload)
    assert set(found.rejected) == {2, 3}


async def test_2500_conflicts_of_5000_events_take_two_requests() -> None:
    """The first reveals the conflict, and the second has the other events."""
    server = FakeServer(error(400, CONFLICT.format("bad", 2500) + DATABASE))
    config = BatchMetricsConfig(batch_size=5000, buffer_size=5000)
    async with collector(config, sinks=[server.sink()]) as metrics:
        for number in range(2500):
            metrics.record_gauge("good", {}, number)
            metrics.record_gauge("bad", {}, number)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected, account.failed) == (2500, 2500, 0)
    assert len(server.bodies) == 2
    assert server.values() == [*range(2500)]


async def test_conflicts_of_several_measurements_are_resolved_one_by_one() -> None:
    """The server names one measurement and counts all lines: writing each one separately rejects exactly these."""
    server = FakeServer()
    payload = [*events(range(3)), *events(range(3, 5), "a"), *events(range(5, 8), "b"), *events([8])]
    answers = [error(400, CONFLICT.format(name, count)) for name, count in (("a", 5), ("a", 2), ("b", 3))]
    found = await receipt(answers, payload, server)
    assert (set(found.rejected), found.rest) == ({3, 4, 5, 6, 7}, "delivered")
    assert [len(body.splitlines()) for body in server.bodies] == [9, 2, 7, 4]
    assert server.values() == [0, 1, 2, 8]


async def test_a_conflict_of_some_lines_of_a_measurement_halves_only_those_lines() -> None:
    """As with a week of integer points: the other lines are stored at once, and only that measurement is halved."""
    server = FakeServer()
    payload = [*events(range(3)), *events(range(3, 6), "a")]
    some = error(400, CONFLICT.format("a", 1))
    found = await receipt([some, some, httpx2.Response(204)], payload, server)
    assert (found.rejected, found.rest, found.retry, found.in_doubt) == ({}, "retry", [3, 4, 5], False)
    assert server.values() == [0, 1, 2]


async def test_a_payload_is_halved_as_a_whole_where_no_part_can_be_identified() -> None:
    """Otherwise the same payload would be retried again and again."""
    payload = [*events(range(3)), *events(range(3, 6), "a")]
    puzzles = [error(400, CONFLICT.format("a", 1)), *[error(400, "partial write: something new")] * 2]
    found = await receipt(puzzles, payload)
    assert (found.rejected, found.rest) == ({}, "split")
    found = await receipt([puzzles[0], httpx2.Response(503)], payload)
    assert (found.rejected, found.rest, found.retry) == ({}, "retry", None)


async def test_a_type_conflict_of_one_line_of_an_event_rejects_that_event() -> None:
    """The events have two lines, or are histograms with many fields."""
    payload: list[MetricEvent] = [
        CacheMetric("a", "b", timestamp=1),
        HealthCheck("a", True, 0.1, timestamp=2),
        HistogramPoint("h", {}, 1, 1.0, (0.5,), (0, 1), timestamp=3),
        HealthCheck("b", True, 0.1, timestamp=4),
    ]
    found = await receipt(error(400, CONFLICT.format("backend.health", 2)), payload)
    assert set(found.rejected) == {1, 3}
    text = CONFLICT.format("h", 1)
    for field, names in (("sum", {2}), ("0.5", {2}), ("+Inf", {2}), ("5", set[int]())):
        found = await receipt(error(400, text.replace('"value"', f'"{field}"')), payload)
        assert set(found.rejected) == names
        assert found.rest == ("delivered" if names else "split")


async def test_each_event_is_settled_as_the_server_reported_it(autojump_clock: trio.testing.MockClock) -> None:
    """Each event ends exactly once, and only stored events count as delivered."""
    server = FakeServer(error(400, CONFLICT.format("bad", 2)))
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(6):
            metrics.record_gauge("bad" if number in (1, 4) else "good", {}, number)
        report = await metrics.flush()
    assert (report.processed, report.failed) == (4, 2)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.delivered, account.rejected, account.failed) == (4, 2, 0)
    assert "2 of 6 events refused: partial write: field type conflict" in str(account.last_error)
    assert server.values() == [0, 2, 3, 5]
