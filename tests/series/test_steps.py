"""A snapshot that is a generator is taken in parts, with turns of the run loop in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.test_steps import burn
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, MetricEvent, collector
from trio_batchmetrics.abc import Payload, Receipt, SeriesSink, SeriesStore, SinkContext
from trio_batchmetrics.sinks import InfluxDBSeriesSink, PushgatewaySink


class Stepping(SeriesSink[tuple[str, float]]):
    """A sink whose snapshot yields one series at a time, slowly, and can fail half way."""

    store: SeriesStore

    def __init__(self, *, fail: int = 0, slow: bool = True, **settings: Any) -> None:
        """Create a sink.

        Args:
            fail: how many of the first snapshots raise after two parts.
            slow: whether each part is worth a turn of the run loop.
            settings: those of every series sink.
        """
        super().__init__(name="stepping", **settings)
        self.fail = fail
        self.slow = slow
        self.during: list[int] = []
        """How many events had been merged at each part."""
        self.merged = 0
        self.pushed: list[tuple[tuple[str, float], ...]] = []
        self.closed = 0

    def bind(self, context: SinkContext) -> None:
        """Create the store."""
        super().bind(context)
        self.store = SeriesStore(context)

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add events."""
        self.merged += len(events)
        self.store.merge(events)

    def snapshot(self) -> Iterator[tuple[str, float]]:
        """Yield each series."""
        try:
            for at, (_, _, point) in enumerate(self.store.points()):
                if self.fail and at == 2:
                    self.fail -= 1
                    raise ValueError("half way")
                self.during.append(self.merged)
                if self.slow:
                    burn(0.001)
                yield point.labels["n"], point.value
        finally:
            self.closed += 1

    async def send(self, payload: Payload[tuple[str, float]]) -> Receipt | None:
        """Take the parts."""
        assert len(payload.events) == 0
        self.pushed.append(payload.parts)
        await trio.lowlevel.checkpoint()
        return None


def record(metrics: BatchMetricsCollector, count: int) -> None:
    """Record one event for each of so many series."""
    for number in range(count):
        metrics.record(Counter("c", {"n": number}, 1))


@pytest.mark.parametrize("slow", [True, False])
async def test_a_payload_has_every_part(slow: bool, autojump_clock: MockClock) -> None:
    """Quick parts and slow parts alike arrive in order."""
    sink = Stepping(slow=slow)
    async with collector(BatchMetricsConfig(batch_size=20), sinks=[sink]) as metrics:
        record(metrics, 20)
        assert (await metrics.flush()).processed == 20
        assert sink.pushed[-1] == tuple((str(number), 1.0) for number in range(20))
    assert balanced(metrics.stats()).sinks["stepping"].delivered == 20


async def test_events_merged_between_two_parts_count_with_the_next_push(autojump_clock: MockClock) -> None:
    """They may be in this push already; whatever it has of them, they are delivered only by the next."""
    sink = Stepping(refresh=None)
    async with collector(BatchMetricsConfig(batch_size=1, buffer_size=1000), sinks=[sink]) as metrics:
        record(metrics, 20)
        for _ in range(60):
            await trio.lowlevel.checkpoint()
            metrics.record(Counter("c", {"n": 19}, 1))
            stats = balanced(metrics.stats())
            pushed = stats.sinks["stepping"].delivered
            assert pushed <= sum(value for _, value in sink.pushed[-1]) if sink.pushed else pushed == 0
        assert len({*sink.during}) > 1  # events were merged during a snapshot
    assert dict(sink.pushed[-1]) == {**{str(number): 1.0 for number in range(19)}, "19": 61.0}
    assert balanced(metrics.stats()).sinks["stepping"].delivered == 80


async def test_a_snapshot_that_raises_half_way_is_tried_again(autojump_clock: MockClock) -> None:
    """It counts like a failed push: `send` isn't called, and nothing is lost."""
    sink = Stepping(fail=2)
    async with collector(BatchMetricsConfig(batch_size=20), sinks=[sink]) as metrics:
        record(metrics, 20)
        assert (await metrics.flush()).processed == 20
    stats = balanced(metrics.stats()).sinks["stepping"]
    assert (stats.delivered, stats.retries) == (20, 2)
    assert "half way" in str(stats.last_error)
    assert all(len(parts) == 20 for parts in sink.pushed)
    assert sink.closed == len(sink.pushed) + 2


async def test_a_snapshot_that_the_deadline_cuts_off_is_closed_and_its_events_fail(autojump_clock: MockClock) -> None:
    """The block ends on time, however long the snapshot would take."""

    class Endless(Stepping):
        """A sink whose snapshot never ends."""

        def snapshot(self) -> Iterator[tuple[str, float]]:
            try:
                while True:
                    burn(0.001)
                    yield "", 0.0
            finally:
                self.closed += 1

    sink = Endless()
    with trio.fail_after(100):
        async with collector(BatchMetricsConfig(shutdown_timeout=5), sinks=[sink]) as metrics:
            record(metrics, 3)
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(advance, autojump_clock)
                    await metrics.flush()
            autojump_clock.rate = 1000.0
    stats = balanced(metrics.stats()).sinks["stepping"]
    assert (stats.delivered, stats.failed, stats.pending) == (0, 3, 0)
    assert sink.pushed == []
    assert sink.closed == 1


async def advance(clock: MockClock) -> None:
    """Let virtual time pass, although there is always something to do."""
    while True:
        clock.jump(0.1)
        await trio.lowlevel.checkpoint()


def test_the_built_in_sinks_take_their_snapshots_in_parts() -> None:
    """No part has more than a few dozen histograms, and the parts of a push have all series."""
    events: list[MetricEvent] = [Counter("c", {"n": number}, number) for number in range(1000)]
    for sink, text in (
        (PushgatewaySink("http://127.0.0.1", job="j"), b'c_total{n="%d"} %d.0\n'),
        (InfluxDBSeriesSink("http://127.0.0.1", database="d", dialect="influxdb"), b"c,n=%d value=%d.0 "),
    ):
        sink.bind(SinkContext())
        sink.merge(events)
        parts = [*sink.snapshot()]
        assert len(parts) > 2
        whole = b"".join(parts)
        assert all(text % (number, number) in whole for number in range(1000))
        assert whole.count(b"\n") in (1000, 1002)
