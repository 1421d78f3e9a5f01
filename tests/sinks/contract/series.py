"""The contract of series sinks that push: any such sink must pass these tests."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from tests.helpers import balanced
from tests.sinks.contract.samples import SAMPLES
from tests.sinks.contract.traffic import record, until
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, MetricEvent, SinkStats, collector
from trio_batchmetrics.abc import Payload, Receipt, SeriesSink

__all__ = ["FakeSeriesSink", "SeriesSinkCase", "SeriesSinkContract"]


class FakeSeriesSink(SeriesSink[dict[str, float]]):
    """Keeps the cumulative sums of counters, and pushes them to a list."""

    def __init__(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.fail = fail
        self.hang = hang
        self.sums: dict[str, float] = {}
        self.merged: list[MetricEvent] = []
        self.pushed: list[dict[str, float]] = []
        self.closed = 0

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add up the counters by name."""
        for event in events:
            self.merged.append(event)
            if isinstance(event, Counter):
                self.sums[event.name] = self.sums.get(event.name, 0.0) + event.value

    def snapshot(self) -> dict[str, float]:
        """Return the current sums."""
        return dict(self.sums)

    async def send(self, payload: Payload[dict[str, float]]) -> Receipt | None:
        """Fail, hang, or push."""
        await trio.lowlevel.checkpoint()
        if self.fail > 0:
            self.fail -= 1
            raise ConnectionError("not yet")
        if self.hang:
            await trio.sleep_forever()
        self.pushed += payload.parts
        return None

    async def aclose(self) -> None:
        """Count the calls."""
        self.closed += 1


class SeriesSinkCase(ABC):
    """A series sink, and a way to read back its last successful push."""

    name: str
    """The sink's name in `stats().sinks`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def make(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> SeriesSink[Any]:
        """Create the sink, for a back-end whose first `fail` responses are errors, or that never responds."""

    @abstractmethod
    def sums(self) -> dict[str, float]:
        """Return the sum of each counter in the back-end."""


class SeriesSinkContract:
    """The tests that any pushing series sink must pass."""

    async def test_the_back_end_has_the_cumulative_sums(self, series: SeriesSinkCase) -> None:
        """Over several pushes, the sums include each event once."""
        async with collector(BatchMetricsConfig(batch_size=70), sinks=[series.make()]) as metrics:
            for start in range(0, 1500, 500):
                for number in range(start, start + 500):
                    metrics.record_counter(f"c{number % 3}", {}, number)
                assert (await metrics.flush()).ok
                so_far = range(start + 500)
                assert series.sums() == {f"c{rest}": float(sum(so_far[rest::3])) for rest in range(3)}
        account = balanced(metrics.stats()).sinks[series.name]
        assert (account.total, account.delivered, account.retries) == (1500, 1500, 0)

    async def test_a_failed_push_loses_nothing_while_a_later_one_succeeds(self, series: SeriesSinkCase) -> None:
        """The next push contains everything that the failed one would have carried."""
        sink = series.make(fail=3, backoff=0.001, max_backoff=0.001)
        async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics:
            for _ in range(100):
                metrics.record_counter("jobs", {}, 2)
            assert (await metrics.flush()).ok
            assert series.sums() == {"jobs": 200.0}
        account = balanced(metrics.stats()).sinks[series.name]
        assert (account.delivered, account.retries) == (100, 3)
        assert account.last_error is not None

    async def test_events_that_no_push_contained_have_failed(self, series: SeriesSinkCase) -> None:
        """The back-end does not respond, and there is no time left."""
        async with collector(BatchMetricsConfig(shutdown_timeout=0.3), sinks=[series.make(hang=True)]) as metrics:
            for _ in range(100):
                metrics.record_counter("jobs", {}, 2)
        account = balanced(metrics.stats()).sinks[series.name]
        assert (account.total, account.failed, account.delivered) == (100, 100, 0)
        assert series.sums() == {}

    async def test_a_push_that_takes_too_long_is_retried(self, series: SeriesSinkCase) -> None:
        """Merged events wait in the meantime."""
        sink = series.make(hang=True, timeout=0.01, backoff=0.001, max_backoff=0.001)
        async with collector(BatchMetricsConfig(batch_size=10, shutdown_timeout=0), sinks=[sink]) as metrics:
            for _ in range(100):
                metrics.record_counter("jobs", {}, 2)
            await until(lambda: balanced(metrics.stats()).sinks[series.name].retries >= 3)
            assert metrics.stats().sinks[series.name].pending == 100
        assert balanced(metrics.stats()).sinks[series.name].failed == 100

    async def test_without_time_for_a_push_everything_has_failed(self, series: SeriesSinkCase) -> None:
        """The collector exits with `shutdown_timeout=0`."""
        async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[series.make()]) as metrics:
            metrics.record_counter("jobs", {}, 2)
            metrics.record_counter("jobs", {}, 3)
        account = balanced(metrics.stats()).sinks.get(series.name, SinkStats())
        assert account.delivered == 0
        assert metrics.stats().failed_events == 2

    async def test_an_event_without_a_series_is_delivered_with_the_others(self, series: SeriesSinkCase) -> None:
        """Events of every kind may be merged."""
        async with collector(sinks=[series.make()]) as metrics:
            for event, _ in SAMPLES:
                metrics.record(event)
        account = balanced(metrics.stats()).sinks[series.name]
        assert account.delivered == len(SAMPLES)
        assert series.sums()["jobs"] == 42.0

    async def test_a_cancelled_block_still_pushes(self, series: SeriesSinkCase) -> None:
        """The flush at the end is shielded."""
        opened = list[BatchMetricsCollector]()
        with trio.CancelScope() as scope:
            async with collector(sinks=[series.make()]) as metrics:
                opened.append(metrics)
                metrics.record_counter("jobs", {}, 2)
                scope.cancel()
                await trio.sleep_forever()
        assert balanced(opened[0].stats()).sinks[series.name].delivered == 1
        assert series.sums() == {"jobs": 2.0}

    async def test_an_event_sink_alongside_a_series_sink_gets_the_same_events(self, series: SeriesSinkCase) -> None:
        """One collector has sinks of both kinds; an event is settled when both have settled it."""
        seen = list[MetricEvent]()

        async def keep(batch: Sequence[MetricEvent]) -> None:
            await trio.lowlevel.checkpoint()
            seen.extend(batch)

        async with collector(sinks=[series.make(), keep]) as metrics:
            record(metrics, range(20))
        assert [event.labels["id"] for event in seen if isinstance(event, Counter)] == list(range(20))
        assert series.sums() == {"contract": 20.0}
        assert balanced(metrics.stats()).processed_events == 20

    async def test_closing_a_sink_twice_or_unused_does_no_harm(self, series: SeriesSinkCase) -> None:
        """It is closed before it is used, and again after the collector closed it."""
        sink = series.make()
        await sink.aclose()
        async with collector(sinks=[sink]) as metrics:
            metrics.record_counter("jobs", {}, 2)
        await sink.aclose()
        assert balanced(metrics.stats()).sinks[series.name].delivered == 1
