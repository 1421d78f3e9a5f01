"""Instruments are created and updated in any thread, and in the middle of anything: nothing is lost, nothing raises.

Signal handlers, ``__del__``, logging handlers, callbacks and other threads are tried; during a record, an update, a
collection, the opening and the leaving of the block.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import TimedSink
from tests.helpers import balanced, interrupted_at, run_at_every_point
from tests.threads import in_a_thread, restless
from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsConfig,
    Counter,
    Gauge,
    HistogramPoint,
    MetricEvent,
    collector,
)
from trio_batchmetrics.testing import RecordingSink

STRIDE = int(os.environ.get("POINTS_STRIDE", "11"))


class Made:
    """A source of instruments: each call creates and updates one of each kind with a new name; it knows their sums."""

    def __init__(self, metrics: BatchMetricsCollector) -> None:
        """Create a source that uses this collector."""
        self.metrics = metrics
        self.count = 0

    def one_of_each(self) -> None:
        """Create one of each kind, describe a name, and update the shared ones, too."""
        self.count += 1
        number = self.count
        self.metrics.counter(f"c.{number}", labels={"n": number}).add(2)
        self.metrics.gauge(f"g.{number}").set(number)
        self.metrics.histogram(f"h.{number}", unit="s", bounds=[1, 2]).observe(1.5)
        self.metrics.observable_gauge(f"o.{number}", lambda: number)
        self.metrics.describe(f"d.{number}", unit="s")
        self.metrics.counter("shared").add()
        self.metrics.counter("labelled", labels={"n": number}).add()

    def check(self, events: list[MetricEvent], *, closed: int = 0) -> None:
        """Assert that everything arrived, except updates that were counted as closed."""
        taken = [event for event in events if isinstance(event, Counter | Gauge | HistogramPoint)]
        names = {event.name for event in taken}
        shared = sum(event.value for event in taken if isinstance(event, Counter) and event.name == "shared")
        labelled = sum(event.value for event in taken if isinstance(event, Counter) and event.name == "labelled")
        assert self.count - closed <= shared <= self.count
        assert self.count - closed <= labelled <= self.count
        own = [event for event in taken if isinstance(event, Counter) and event.name.startswith("c.")]
        assert (
            sum(event.value for event in taken if isinstance(event, Counter) and event.name == "shared") + closed
            >= self.count
        )
        assert len(own) == len({event.name for event in own})
        assert all(event.value == 2 for event in own)
        expected = {f"{kind}.{number}" for kind in "cgh" for number in range(1, self.count + 1)}
        assert len(expected - names) <= closed


# -- other threads


CREATIONS: dict[str, Callable[[BatchMetricsCollector], object]] = {
    "counter": lambda metrics: metrics.counter("c", labels={"a": 1}).add(),
    "gauge": lambda metrics: metrics.gauge("g").set(1),
    "histogram": lambda metrics: metrics.histogram("h", unit="s").observe(1),
    "observable_gauge": lambda metrics: metrics.observable_gauge("o", lambda: 1),
    "describe": lambda metrics: metrics.describe("d", unit="s"),
    "time": lambda metrics: metrics.histogram("h", unit="s").time().__enter__(),
    "track": lambda metrics: metrics.gauge("g").track().__enter__(),
}


@pytest.mark.parametrize("creation", CREATIONS)
async def test_an_instrument_can_be_created_in_any_thread(creation: str, autojump_clock: MockClock) -> None:
    """Other threads create it as Trio's does, with room, with a full buffer, and after the block."""
    call = CREATIONS[creation]
    async with collector(BatchMetricsConfig(buffer_size=1), sinks=[RecordingSink()]) as metrics:
        in_a_thread(lambda: call(metrics))
        metrics.record_cache_metric("redis", "hit")
        if creation != "observable_gauge":  # the same one twice is an error
            in_a_thread(lambda: call(metrics))
    assert balanced(metrics.stats()).dropped == {}
    if creation != "observable_gauge":
        in_a_thread(lambda: call(metrics))
        late = 0 if creation in ("describe", "time") else 1
        assert balanced(metrics.stats()).dropped.get("closed", 0) == late


@pytest.mark.parametrize("creation", ["counter", "gauge", "histogram", "observable_gauge"])
async def test_the_first_instrument_starts_the_periodic_collection_from_any_thread(
    creation: str, autojump_clock: MockClock
) -> None:
    """Trio wakes for it, though every task is asleep."""
    sink = TimedSink()
    async with collector(BatchMetricsConfig(flush_interval=10, max_instruments=100_000), sinks=[sink]) as metrics:
        await trio.sleep(3)
        in_a_thread(lambda: CREATIONS[creation](metrics))
        await trio.sleep(11)
        assert sink.times == [13.0]


async def test_instruments_created_in_a_thread_are_the_same_objects(autojump_clock: MockClock) -> None:
    """Every thread gets the same object."""
    async with collector(sinks=[]) as metrics:
        made: list[object] = []
        in_a_thread(lambda: made.append(metrics.counter("c", labels={"a": 1})))
        assert metrics.counter("c", labels={"a": 1}) is made[0]


async def test_fifty_threads_and_trios_create_and_update_at_once_and_every_sum_is_exact() -> None:
    """Collections and flushes go on while each thread uses its own instruments and the shared ones."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(flush_interval=0.01, max_instruments=100_000), sinks=[sink]) as metrics:

        def update(thread: int) -> None:
            for turn in range(40):
                metrics.counter("shared", labels={"turn": turn}).add()
                metrics.counter(f"own.{thread}.{turn}").add(2)
                metrics.gauge("gauge").inc()
                metrics.histogram("histogram", bounds=[1]).observe(turn % 2 + 0.5)
                metrics.stats()

        with restless():
            async with trio.open_nursery() as nursery:
                limiter = trio.CapacityLimiter(50)
                for thread in range(50):
                    nursery.start_soon(lambda thread=thread: trio.to_thread.run_sync(update, thread, limiter=limiter))  # type: ignore[misc]
                for _ in range(20):
                    assert (await metrics.flush()).ok
                update(50)
    counters = [event for event in sink.events if isinstance(event, Counter)]
    for turn in range(40):
        assert sum(event.value for event in counters if event.labels == {"turn": turn}) == 51
    own = {event.name: event.value for event in counters if event.name != "shared"}
    assert own == {f"own.{thread}.{turn}": 2 for thread in range(51) for turn in range(40)}
    assert [event.value for event in sink.events if isinstance(event, Gauge)][-1] == 51 * 40
    points = [event for event in sink.events if isinstance(event, HistogramPoint)]
    assert [sum(column) for column in zip(*(point.counts for point in points), strict=True)] == [51 * 20, 51 * 20]
    assert balanced(metrics.stats()).dropped_events == 0


async def test_threads_that_go_on_while_the_block_is_left_lose_nothing_uncounted() -> None:
    """Each update is in a point that arrived, or counts as closed, including those of last-moment instruments."""
    for _ in range(5):
        sink = RecordingSink()
        stop = threading.Event()
        added: list[int] = []

        def update(metrics: BatchMetricsCollector, stop: threading.Event = stop, added: list[int] = added) -> None:
            count = 0
            while not stop.is_set():
                metrics.counter(f"c.{threading.get_ident()}.{count}").add()
                metrics.counter("shared").add()
                count += 2
            added.append(count)

        with restless():
            async with trio.open_nursery() as nursery:
                try:
                    async with collector(BatchMetricsConfig(max_instruments=100_000), sinks=[sink]) as metrics:
                        for _ in range(4):
                            nursery.start_soon(trio.to_thread.run_sync, partial(update, metrics))  # noqa: ASYNC111 - the threads outlive the block on purpose
                        await trio.sleep(0.03)
                finally:
                    stop.set()
        arrived = sum(event.value for event in sink.events if isinstance(event, Counter))
        assert arrived + balanced(metrics.stats()).dropped.get("closed", 0) == sum(added)


# -- in the middle of anything


def test_instruments_can_be_created_while_another_is_created() -> None:
    """At each place, the same name and labels give the same object, and everything arrives."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(max_instruments=100_000), sinks=[sink]) as metrics:
            made = Made(metrics)

            def interrupt() -> None:
                made.one_of_each()
                inner.append(metrics.counter("x", labels={"a": 1}, unit="By"))
                inner[0].add(5)

            inner: list[Any] = []
            with interrupted_at(point, interrupt) as passed:
                outer = metrics.counter("x", labels={"a": 1}, unit="By")
                outer.add(3)
            assert not inner or inner[0] is outer
        made.check(sink.events)
        assert sum(event.value for event in sink.events if isinstance(event, Counter) and event.name == "x") == (
            8 if inner else 3
        )
        assert balanced(metrics.stats()).dropped_events == 0
        return passed[0]

    run_at_every_point(play, least=50)


def test_instruments_can_be_created_in_the_middle_of_a_collection(caplog: pytest.LogCaptureFixture) -> None:
    """At each place of a flush with bound and observable instruments, they arrive with it or with the next one."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        async with collector(BatchMetricsConfig(max_instruments=100_000), sinks=[sink]) as metrics:
            made = Made(metrics)
            for _ in range(2):
                made.one_of_each()
                metrics.counter("labelled", labels={"other": made.count}).add(0)
            with interrupted_at(point, made.one_of_each) as passed:
                report = await metrics.flush()
            assert report.ok
        made.check(sink.events)
        assert balanced(metrics.stats()).dropped_events == 0
        return passed[0]

    run_at_every_point(play, least=200, stride=STRIDE)
    assert caplog.records == []


def test_instruments_can_be_created_in_the_middle_of_opening_collecting_and_leaving(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At each place of a collector's life, their updates arrive, or count as closed."""

    async def play(point: int) -> int:
        sink = RecordingSink()
        made: Made | None = None

        def interrupt() -> None:
            if made is not None:
                made.one_of_each()

        with interrupted_at(point, interrupt) as passed:
            async with collector(
                BatchMetricsConfig(flush_interval=1, max_instruments=100_000), sinks=[sink]
            ) as metrics:
                made = Made(metrics)
                made.one_of_each()
                await trio.sleep(1.5)
                made.one_of_each()
        made.check(sink.events, closed=balanced(metrics.stats()).dropped.get("closed", 0))
        lines = [record.getMessage() for record in caplog.records]
        assert [line for line in lines if "closed" not in line] == []
        assert metrics.stats().failed_events == 0
        return passed[0]

    run_at_every_point(play, least=200, stride=4 * STRIDE)


class _Dying:
    """An object that creates instruments when it is garbage-collected."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.cycle = self

    def __del__(self) -> None:
        self.made.one_of_each()


class _Handler(logging.Handler):
    """A handler that creates instruments for each logged line."""

    def __init__(self, made: Made) -> None:
        super().__init__()
        self.made = made

    def emit(self, record: logging.LogRecord) -> None:
        self.made.one_of_each()


async def test_signal_handlers_finalizers_and_logging_handlers_create_instruments_while_everything_goes_on() -> None:
    """Thousands of real ones interrupt collections of thousands of instruments, and no update is lost."""
    sink = RecordingSink()
    logger = logging.getLogger("tests.app")
    thresholds = gc.get_threshold()
    async with collector(BatchMetricsConfig(flush_interval=0.01, max_instruments=100_000), sinks=[sink]) as metrics:
        made = Made(metrics)
        handler = _Handler(made)

        def broken() -> float:
            logger.warning("a line")  # in the middle of a collection
            return 1

        metrics.observable_gauge("logs", broken)
        before = signal.signal(signal.SIGALRM, lambda _signum, _frame: made.one_of_each())
        logger.addHandler(handler)
        logger.propagate = False
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        gc.set_threshold(50, 5, 5)
        try:
            for _ in range(30):
                for _ in range(5):
                    _Dying(made)
                metrics.counter("others").add()
                await metrics.flush()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            gc.set_threshold(*thresholds)
            gc.collect()
            logger.removeHandler(handler)
            logger.propagate = True
    assert made.count > 150
    made.check(sink.events)
    assert balanced(metrics.stats()).dropped_events == 0
    assert sum(event.value for event in sink.events if isinstance(event, Counter) and event.name == "others") == 30


# -- what is raised in a collection


@contextmanager
def raising_in_collection(of: int) -> Generator[None, None, None]:
    """Raise in the middle of a collection, once, at its n-th instrument (a signal handler may)."""
    calls = [0]

    def trace(frame: FrameType, event: str, _: object) -> None:
        if frame.f_code.co_name == "collect" and frame.f_code.co_filename.endswith("bound.py"):
            calls[0] += 1
            if calls[0] == of:
                sys.settrace(None)
                raise TimeoutError("from a signal handler")

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


async def test_a_collection_that_fails_costs_nothing_but_itself(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It hands on the points it has taken, and the next one the rest; it is logged with its traceback."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(flush_interval=10, max_instruments=100_000), sinks=[sink]) as metrics:
        for number in range(1000):
            metrics.counter("c", labels={"n": number}).add(number)
        with raising_in_collection(500):
            await trio.sleep(11)
        assert len(sink.events) == 499
        (record,) = caplog.records
        assert (record.levelname, record.exc_info is not None) == ("WARNING", True)
        assert (await metrics.flush()).processed == 501
    assert sum(event.value for event in sink.events if isinstance(event, Counter)) == sum(range(1000))


async def test_a_last_collection_that_fails_does_not_change_how_the_block_ends(autojump_clock: MockClock) -> None:
    """The body's own exception leaves; points already taken arrive, and the rest is given up, and counted."""
    sink = RecordingSink()
    mine = KeyError("mine")
    metrics: BatchMetricsCollector | None = None
    with pytest.raises(KeyError) as caught, raising_in_collection(500):
        async with collector(BatchMetricsConfig(flush_interval=10, max_instruments=100_000), sinks=[sink]) as metrics:
            for number in range(1000):
                metrics.counter("c", labels={"n": number}).add()
            raise mine
    assert caught.value is mine
    assert metrics is not None
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.failed_events) == (499, 501)
    assert len(sink.events) == 499


class Ending(BaseException):
    """An exception that isn't an `Exception`."""


def test_a_base_exception_that_ends_the_collector_leaves_no_update_uncounted() -> None:
    """A sink raises it: the points that no collection had taken are given up, and counted."""

    async def end(batch: object) -> None:
        raise Ending

    async def main() -> BatchMetricsCollector | None:
        metrics: BatchMetricsCollector | None = None
        with pytest.raises(Ending):
            async with collector(BatchMetricsConfig(batch_size=1), sinks=[end]) as metrics:
                for number in range(20_000):
                    metrics.counter("c", labels={"n": number % 2000, "m": number // 2000}).add()
                metrics.record_cache_metric("redis", "hit")
                await trio.sleep_forever()
        return metrics

    metrics = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert metrics is not None
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.failed_events, stats.pending_events) == (2002, 2002, 0)
    assert stats.overflowed == {"c": 18_000}
