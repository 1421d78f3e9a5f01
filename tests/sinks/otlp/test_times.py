"""Times: each push is later than the one before, whatever the wall clock does; a series keeps its beginning."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from trio.testing import MockClock

from tests.sinks.otlp.server import FakeOTLP, attributes_of, points_of
from trio_batchmetrics import Batch, Counter, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks._otlp.requests import requests_of

MILLISECOND = 1_000_000


class WallClock:
    """The wall clock, as set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * 10**9

    def __call__(self) -> int:
        """Return the time, a microsecond after the last call."""
        self.now += 1000
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The wall clock of the library."""
    clock = WallClock()
    monkeypatch.setattr(time, "time_ns", clock)
    return clock


async def test_pushes_are_at_least_a_millisecond_apart(wall: WallClock, autojump_clock: MockClock) -> None:
    """Prometheus keeps milliseconds, and refuses another value at the same time."""
    server = FakeOTLP()
    async with collector(sinks=[server()]) as metrics:
        for _ in range(5):
            metrics.record_counter("jobs", {}, 1)
            await metrics.flush()
    times = [point.time_unix_nano for request in server.accepted for point in points_of(request).values()]
    assert len(times) == 6
    assert all(later - earlier >= MILLISECOND for earlier, later in pairwise(times))


async def test_the_wall_clock_may_step_back(wall: WallClock, autojump_clock: MockClock) -> None:
    """By an hour. Points go on from the last time; each starts before its time, and keeps its start."""
    server = FakeOTLP()
    async with collector(sinks=[server()]) as metrics:
        metrics.record_counter("jobs", {"n": 1}, 1)
        await metrics.flush()
        wall.now -= 3600 * 10**9
        metrics.record_counter("jobs", {"n": 2}, 1)
        metrics.record_counter("jobs", {"n": 1}, 1)
        await metrics.flush()
    times: list[int] = []
    starts: dict[Any, set[int]] = {}
    for request in server.accepted:
        for key, point in points_of(request).items():
            assert point.start_time_unix_nano < point.time_unix_nano
            starts.setdefault(key, set()).add(point.start_time_unix_nano)
        times.append(max(point.time_unix_nano for point in points_of(request).values()))
    assert all(earlier < later for earlier, later in pairwise(times))
    assert [len(each) for each in starts.values()] == [1, 1]


async def test_all_points_of_a_push_have_one_time(autojump_clock: MockClock) -> None:
    """Over all of its requests."""
    server = FakeOTLP()
    sink = server()
    sink.points_per_part = 10
    async with collector(sinks=[sink]) as metrics:
        for number in range(35):
            metrics.record_counter("jobs", {"n": number}, 1)
        await metrics.flush()
        assert [len(points_of(request)) for request in server.accepted] == [10, 10, 10, 5]
        assert len({point.time_unix_nano for point in server.points.values()}) == 1


async def test_a_sink_that_is_used_again_starts_anew(autojump_clock: MockClock) -> None:
    """In the second block, sums begin at 0, with later start times, and another instance of the service."""
    server = FakeOTLP()
    sink = server()
    for _ in range(2):
        async with collector(sinks=[sink]) as metrics:
            metrics.record_counter("jobs", {}, 1)
    first, second = server.accepted
    (before,), (after,) = points_of(first).values(), points_of(second).values()
    assert (before.as_double, after.as_double) == (1.0, 1.0)
    assert before.time_unix_nano < after.start_time_unix_nano
    instances = {
        value
        for request in (first, second)
        for name, _, value in attributes_of(request.resource_metrics[0].resource.attributes)
        if name == "service.instance.id"
    }
    assert len(instances) == 2


def test_no_point_is_earlier_than_the_beginning_of_its_series(wall: WallClock) -> None:
    """Even if the wall clock steps back between the first event and the first push."""
    sink = FakeOTLP()()
    sink.bind(SinkContext())
    sink.merge(Batch([Counter("jobs", {}, 1)]))
    wall.now -= 3600 * 10**9
    [request] = requests_of([*sink.snapshot()], 10)
    [point] = points_of(ExportMetricsServiceRequest.FromString(request.body(b"", b""))).values()
    assert point.start_time_unix_nano < point.time_unix_nano


def test_a_series_that_begins_during_a_push_begins_before_its_time(wall: WallClock) -> None:
    """Events are merged between two steps of a snapshot; the start time stays what it was in that push."""
    sink = FakeOTLP()()
    sink.bind(SinkContext())
    sink.merge(Batch([*(Counter("a", {"n": number}, 1) for number in range(150)), Counter("b", {}, 1)]))
    steps = sink.snapshot()
    pieces = [next(steps)]
    sink.merge(Batch([Counter("b", {"new": True}, 1)]))
    pieces += steps
    starts: set[int] = set()
    for push in (pieces, [*sink.snapshot()]):
        [request] = requests_of(push, 1000)
        points = points_of(ExportMetricsServiceRequest.FromString(request.body(b"", b"")))
        assert len(points) == 152
        assert all(point.start_time_unix_nano < point.time_unix_nano for point in points.values())
        starts |= {point.start_time_unix_nano for (name, *_, labels), point in points.items() if name == "b" and labels}
    assert len(starts) == 1
