"""An event has the same line in every attempt, and no two events overwrite each other."""

import httpx2
import trio

from tests.helpers import balanced
from tests.sinks.contract import TIMESTAMP
from tests.sinks.influxdb.server import CONFLICT, FakeServer, error
from trio_batchmetrics import Counter, Gauge, collector


async def test_retried_lines_are_identical_byte_for_byte(autojump_clock: trio.testing.MockClock) -> None:
    """That includes halves and leftovers, although their timestamps collide."""
    answers = [
        httpx2.Response(503),
        error(413, "too large"),
        httpx2.Response(503),
        error(400, CONFLICT.format("odd", 1)),
    ]
    server = FakeServer(*answers)
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(8):
            metrics.record(Gauge("odd" if number == 2 else "m", {}, number, timestamp=5))
    first = server.bodies[0].splitlines()
    assert server.bodies[1].splitlines() == first
    for body in server.bodies[2:]:
        assert set(body.splitlines()) <= set(first)
    assert balanced(metrics.stats()).sinks["influxdb"].delivered == 7
    assert len({(line.measurement, line.timestamp) for line in server.stored}) == 7
    assert sorted(server.values()) == [0, 1, 3, 4, 5, 6, 7]


async def test_a_sink_serves_two_collectors_in_succession() -> None:
    """Serial numbers start over, but no event overwrites another."""
    server = FakeServer()
    sink = server.sink()
    for number in range(2):
        async with collector(sinks=[sink]) as metrics:
            metrics.record(Gauge("m", {}, number, timestamp=7))
    assert [(line.fields["value"], line.timestamp) for line in server.stored] == [(0, 7), (1, 8)]


async def test_events_of_one_nanosecond_all_arrive() -> None:
    """The events are in one series and in several, in one payload and in several."""
    server = FakeServer()
    async with collector(sinks=[server.sink()]) as metrics:
        for number in range(1000):
            metrics.record(Counter("c", {"id": number % 3}, number + 1, timestamp=TIMESTAMP))
            if number % 300 == 0:
                await metrics.flush()
    assert balanced(metrics.stats()).sinks["influxdb"].delivered == 1000
    assert len({(line.tags["id"], line.timestamp) for line in server.stored}) == 1000
    assert sorted(server.values()) == list(range(1, 1001))
