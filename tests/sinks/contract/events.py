"""The contract of event sinks: any event sink must pass these tests."""

from abc import ABC, abstractmethod
from collections import Counter as Count
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.contract.samples import AWKWARD, SAMPLES, TIMESTAMP, Arrived
from tests.sinks.contract.traffic import record, until
from trio_batchmetrics import (
    Batch,
    BatchMetricsCollector,
    BatchMetricsConfig,
    BatchMetricsStats,
    Counter,
    MetricEvent,
    SinkStats,
    collector,
)
from trio_batchmetrics.abc import Payload, Receipt

__all__ = ["EventSinkCase", "EventSinkContract", "account_of", "ids"]


class EventSinkCase(ABC):
    """A sink, and a way to read back what arrived."""

    detailed = True
    """Whether the case can read each event; otherwise it only counts events per kind."""
    encodes = True
    """Whether the sink rejects an event that it cannot encode."""
    adds_static_labels = True
    """Whether the sink writes static labels."""
    takes_settings = True
    """Whether the sink is constructed with settings."""
    exact = True
    """Whether exactly the delivered events arrived, even if an attempt was cancelled."""
    name: str
    """The sink's name in `stats().sinks`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def make(self, **settings: Any) -> Any:
        """Create the sink."""

    @abstractmethod
    def arrived(self) -> list[Arrived]:
        """Return the events that have arrived so far, in order."""

    def kinds(self) -> Count[str]:
        """Return how many events of each kind have arrived so far."""
        return Count(event.kind for event in self.arrived())

    def make_unreachable(self) -> Any:
        """Create a sink that cannot deliver anything, or return None if there is no such sink."""
        return None


def ids(arrived: Iterable[Arrived]) -> list[int]:
    """Return the label `id` of each event."""
    return [int(event.labels["id"]) for event in arrived]


def account_of(stats: BatchMetricsStats, case: EventSinkCase) -> SinkStats:
    """Check the account, compare it with what arrived, and return the sink's part of it."""
    [account] = balanced(stats).sinks.values()
    count = case.kinds().total()
    assert account.delivered <= count <= account.delivered + account.failed + account.pending, stats
    if case.exact:
        assert count == account.delivered, stats
    return account


class EventSinkContract:
    """The tests that any event sink must pass."""

    async def test_every_event_arrives_exactly_once_in_order(self, case: EventSinkCase) -> None:
        """Many batches are recorded, with and without flushes."""
        async with collector(BatchMetricsConfig(batch_size=300), sinks=[case.make()]) as metrics:
            for start in range(0, 2500, 500):
                record(metrics, range(start, start + 500))
                if start % 1000:
                    assert (await metrics.flush()).ok
        assert account_of(metrics.stats(), case).delivered == 2500
        assert case.kinds() == {"Counter": 2500}
        if case.detailed:
            assert ids(case.arrived()) == list(range(2500))

    async def test_every_kind_of_event_arrives_as_declared(self, case: EventSinkCase) -> None:
        """Built-in events, a point of a histogram, and a user's own event class."""
        async with collector(sinks=[case.make()]) as metrics:
            for event, _ in SAMPLES:
                metrics.record(event)
        assert account_of(metrics.stats(), case).delivered == len(SAMPLES)
        assert case.kinds() == Count(expected.kind for _, expected in SAMPLES)
        if case.detailed:
            assert case.arrived() == [expected._replace(timestamp=TIMESTAMP) for _, expected in SAMPLES]

    async def test_points_of_bound_instruments_arrive(self, case: EventSinkCase) -> None:
        """Each updated instrument delivers one point."""
        async with collector(sinks=[case.make()]) as metrics:
            metrics.counter("jobs", labels={"queue": "a"}).add(2)
            metrics.counter("jobs", labels={"queue": "a"}).add(3)
            metrics.gauge("depth").set(7)
            metrics.histogram("size", bounds=[1, 2]).observe(2)
        assert account_of(metrics.stats(), case).delivered == 3
        assert case.kinds() == {"Counter": 1, "Gauge": 1, "HistogramPoint": 1}
        if case.detailed:
            found = {event.kind: (event.name, event.labels, event.fields) for event in case.arrived()}
            counts = {"count": 1.0, "sum": 2.0, "bounds": [1.0, 2.0], "counts": [0.0, 1.0, 0.0]}
            assert found == {
                "Counter": ("jobs", {"queue": "a"}, {"value": 5.0}),
                "Gauge": ("depth", {}, {"value": 7.0}),
                "HistogramPoint": ("size", {}, counts),
            }

    async def test_awkward_text_arrives_unchanged(self, case: EventSinkCase) -> None:
        """It is a label's value, a label's name and an instrument's name, all in one event and in one event each."""
        async with collector(sinks=[case.make()]) as metrics:
            metrics.record_gauge("all", AWKWARD, 1)
            for value in AWKWARD.values():
                metrics.record_gauge(value or "-", {value: value}, 1)
        assert account_of(metrics.stats(), case).delivered == 1 + len(AWKWARD)
        assert case.kinds() == {"Gauge": 1 + len(AWKWARD)}
        if case.detailed:
            expected: list[tuple[str | None, dict[str, str]]] = [("all", AWKWARD)]
            expected += [(value or "-", {value: value}) for value in AWKWARD.values()]
            assert [(event.name, event.labels) for event in case.arrived()] == expected

    async def test_an_unpaired_surrogate_does_not_affect_other_events(self, case: EventSinkCase) -> None:
        """No encoding can carry it, so it arrives as U+FFFD."""
        async with collector(sinks=[case.make()]) as metrics:
            record(metrics, [0])
            metrics.record_counter("contract", {"id": 1, "half": "a\ud83dz"}, 1)
            record(metrics, [2])
        assert account_of(metrics.stats(), case).delivered == 3
        assert case.kinds() == {"Counter": 3}
        if case.detailed and case.encodes:
            assert ids(case.arrived()) == [0, 1, 2]
            assert case.arrived()[1].labels["half"] == "a\ufffdz"

    async def test_static_labels_are_on_every_event_and_its_own_labels_win(self, case: EventSinkCase) -> None:
        """Their values become text too, and None is left out."""
        static = {"service.name": "shop", "build": 7, "canary": True, "none": None}
        async with collector(BatchMetricsConfig(static_labels=static), sinks=[case.make()]) as metrics:
            metrics.record_cache_metric("redis", "hit")
            metrics.record_counter("jobs", {"build": 8, "canary": None}, 1)
        assert account_of(metrics.stats(), case).delivered == 2
        if case.detailed and case.adds_static_labels:
            common = {"service.name": "shop", "build": "7", "canary": "true"}
            first, second = (event.labels for event in case.arrived())
            assert first == {**common, "cache.type": "redis", "cache.operation": "hit"}
            assert second == {**common, "build": "8"}

    async def test_an_event_that_cannot_be_encoded_is_rejected_alone(self, case: EventSinkCase) -> None:
        """A timestamp beyond any calendar and 64 bits does not affect the events around it."""
        async with collector(sinks=[case.make()]) as metrics:
            record(metrics, range(700))
            metrics.record(Counter("contract", {"id": 700}, 1, timestamp=10**30))
            record(metrics, range(701, 1400))
        account = account_of(metrics.stats(), case)
        if case.encodes:
            assert (account.delivered, account.rejected) == (1399, 1)
            assert account.last_error is not None
            assert "cannot be encoded" in account.last_error
            assert ids(case.arrived()) == [number for number in range(1400) if number != 700]
        else:
            assert account.delivered == 1400

    async def test_an_invalid_event_never_reaches_the_sink(self, case: EventSinkCase) -> None:
        """The collector drops it first."""
        async with collector(sinks=[case.make()]) as metrics:
            record(metrics, [0])
            metrics.record_counter("contract", {"id": 1}, float("nan"))
            metrics.record_counter("contract", {"id": 2}, -1)
            record(metrics, [3])
        assert account_of(metrics.stats(), case).delivered == 2
        assert metrics.stats().dropped == {"invalid": 2}
        assert case.kinds() == {"Counter": 2}

    @pytest.mark.parametrize("milliseconds", [0, 1, 2, 4, 8, 16, 32, 64, 128])
    async def test_the_account_is_right_wherever_the_shutdown_deadline_strikes(
        self, case: EventSinkCase, milliseconds: float
    ) -> None:
        """The deadline may strike while the sink connects, encodes, inserts or commits, or not at all."""
        config = BatchMetricsConfig(batch_size=4000, shutdown_timeout=milliseconds / 1000)
        async with collector(config, sinks=[case.make()]) as metrics:
            record(metrics, range(4000))
        account = account_of(metrics.stats(), case)
        assert account.total == account.delivered + account.failed
        assert metrics.stats().total_events == 4000
        if case.detailed:
            found = ids(case.arrived())
            assert found == list(range(len(found)))

    async def test_an_attempt_that_takes_too_long_is_retried(self, case: EventSinkCase) -> None:
        """Some attempts exceed the timeout and others do not; nothing arrives twice or out of order."""
        if not case.takes_settings:
            return
        sink = case.make(timeout=0.02, retry_budget=0.5, backoff=0.001, max_backoff=0.001)
        config = BatchMetricsConfig(batch_size=4000, shutdown_timeout=1)
        async with collector(config, sinks=[sink]) as metrics:
            record(metrics, range(4000))
            await metrics.flush()
            record(metrics, range(4000, 4050))
        account = account_of(metrics.stats(), case)
        assert account.total == account.delivered + account.failed == 4050
        if case.detailed:
            found = ids(case.arrived())
            assert found == sorted(set(found))

    async def test_a_cancelled_block_still_delivers_the_rest(self, case: EventSinkCase) -> None:
        """The flush at the end is shielded."""
        opened = list[BatchMetricsCollector]()
        with trio.CancelScope() as scope:
            async with collector(sinks=[case.make()]) as metrics:
                opened.append(metrics)
                record(metrics, range(10))
                scope.cancel()
                await trio.sleep_forever()
        assert account_of(opened[0].stats(), case).delivered == 10
        assert case.kinds() == {"Counter": 10}

    async def test_a_cancelled_attempt_leaves_the_sink_usable(self, case: EventSinkCase) -> None:
        """A cancelled `send` has delivered either everything or nothing, and the sink works afterwards."""
        sink = case.make()
        if not case.takes_settings:
            return
        events = [Counter("contract", {"id": number}, 1) for number in range(3)]
        parts = (sink.encode(events),) if case.encodes else ()
        arrived = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await sink.send(Payload(Batch(events), parts, "key")) in (None, Receipt())
            arrived = 3
        assert case.kinds().total() == arrived
        async with collector(sinks=[sink]) as metrics:
            record(metrics, [3])
        assert balanced(metrics.stats()).processed_events == 1
        assert case.kinds() == {"Counter": arrived + 1}

    async def test_without_time_for_an_attempt_everything_has_failed(self, case: EventSinkCase) -> None:
        """With `shutdown_timeout=0` in a cancelled scope, closing doesn't wait either."""
        opened = list[BatchMetricsCollector]()
        with trio.CancelScope() as scope:
            scope.cancel()
            async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[case.make()]) as metrics:
                opened.append(metrics)
                record(metrics, range(3))
        assert account_of(opened[0].stats(), case).delivered == 0
        assert opened[0].stats().failed_events == 3

    async def test_two_simultaneous_collectors_do_not_mix_events(self, case: EventSinkCase) -> None:
        """Each collector has a sink and a place of its own."""
        places = [type(case)(case.folder / str(number)) for number in range(2)]
        for place in places:
            place.folder.mkdir()
        async with collector(sinks=[places[0].make()]) as one, collector(sinks=[places[1].make()]) as other:
            for number in range(100):
                record([one, other][number % 2], [number])
        for metrics, place, first in zip([one, other], places, [0, 1], strict=True):
            assert account_of(metrics.stats(), place).delivered == 50
            assert place.kinds() == {"Counter": 50}
            if case.detailed:
                assert ids(place.arrived()) == list(range(first, 100, 2))

    async def test_a_stuck_sink_does_not_delay_another_sink(self, case: EventSinkCase) -> None:
        """All events have arrived while the other sink is still waiting."""

        async def stuck(_: Sequence[MetricEvent]) -> None:
            await trio.sleep_forever()

        sinks = [case.make(), stuck]
        async with collector(BatchMetricsConfig(batch_size=50, shutdown_timeout=0), sinks=sinks) as metrics:
            record(metrics, range(50))
            await until(lambda: balanced(metrics.stats()).sinks[case.name].delivered == 50)
            assert case.kinds() == {"Counter": 50}
        assert balanced(metrics.stats()).failed_events == 50

    async def test_a_sink_has_its_default_name_or_the_given_one(self, case: EventSinkCase) -> None:
        """It also accepts the delivery settings, which must be above 0."""
        async with collector(sinks=[case.make()]) as metrics:
            assert list(metrics.stats().sinks) == [case.name]
        if not case.takes_settings:
            return
        sink = case.make(name="mine", timeout=5, retry_budget=60, backoff=0.1, max_backoff=2, max_events=3)
        async with collector(sinks=[sink]) as metrics:
            record(metrics, range(10))
        assert list(metrics.stats().sinks) == ["mine"]
        assert account_of(metrics.stats(), case).delivered == 10
        settings = (sink.timeout, sink.retry_budget, sink.backoff, sink.max_backoff, sink.max_events)
        assert settings == (5, 60, 0.1, 2, 3)
        with pytest.raises(ValueError, match=r"^timeout must be .*> 0"):
            case.make(timeout=0)

    async def test_closing_a_sink_twice_or_unused_does_no_harm(self, case: EventSinkCase) -> None:
        """It is closed before it is used, and again after the collector closed it, cancelled or not."""
        sink = case.make()
        if not case.takes_settings:
            return
        await sink.aclose()
        async with collector(sinks=[sink]) as metrics:
            record(metrics, range(3))
        with trio.CancelScope() as scope:
            scope.cancel()
            await sink.aclose()
        await sink.aclose()
        assert account_of(metrics.stats(), case).delivered == 3

    async def test_constructing_and_opening_a_sink_does_no_io(self, case: EventSinkCase) -> None:
        """Neither constructing a sink nor opening a collector contacts the back-end; a missing one shows later."""
        sink = case.make_unreachable()
        if sink is None:
            return
        async with collector(sinks=[sink]) as metrics:
            assert list(case.folder.iterdir()) == []
            assert metrics.stats().sinks[case.name].last_error is None
        assert list(case.folder.iterdir()) == []
        assert metrics.stats().sinks[case.name].last_error is None

    async def test_an_unreachable_back_end_costs_only_its_events(self, case: EventSinkCase) -> None:
        """They count as failed, with an error that names the place."""
        sink = case.make_unreachable()
        if sink is None:
            return
        async with collector(sinks=[sink]) as metrics:
            record(metrics, range(3))
            report = await metrics.flush()
        assert (report.processed, report.failed) == (0, 3)
        account = account_of(metrics.stats(), case)
        assert account.failed == 3
        assert account.last_error is not None
        assert str(case.folder) in account.last_error
