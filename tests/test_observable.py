"""Observable gauges: their callbacks run at each collection while the body runs, and never after it."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import TimedSink
from tests.helpers import balanced
from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsConfig,
    BatchMetricsStats,
    Counter,
    Gauge,
    ObservableGauge,
    collector,
)
from trio_batchmetrics.testing import RecordingSink

TEN = BatchMetricsConfig(flush_interval=10)


def gauges(sink: RecordingSink) -> list[tuple[str, Mapping[str, Any], float]]:
    """Return the name, labels and value of each gauge that arrived."""
    return [(event.name, event.labels, event.value) for event in sink.events if isinstance(event, Gauge)]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the library's warnings."""
    return [
        record.getMessage()
        for record in caplog.records
        if (record.name, record.levelno) == ("trio_batchmetrics", logging.WARNING)
    ]


# -- when it is called


def test_a_callback_is_never_called_after_the_body_has_ended() -> None:
    """The callback isn't called even where its next collection is due at that very moment, in any order of tasks."""

    async def main() -> None:
        sink = RecordingSink()
        ended: list[bool] = []
        async with collector(TEN, sinks=[sink]) as metrics:
            metrics.observable_gauge("g", lambda: len(ended))
            metrics.counter("c").add()
            await trio.sleep(30)
            ended.append(True)
        assert {value for _, _, value in gauges(sink)} == {0}
        assert [event.value for event in sink.events if isinstance(event, Counter)] == [1]

    for _ in range(30):  # Trio shuffles the tasks of a round
        trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_callback_is_not_called_after_a_body_that_raised_or_was_cancelled(autojump_clock: MockClock) -> None:
    """The objects it reads may be gone by then; the body's exception leaves as the same object."""
    ended: list[bool] = []

    def read() -> float:
        assert not ended
        return 1

    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with collector(TEN, sinks=[]) as metrics:
            metrics.observable_gauge("g", read)
            ended.append(True)
            raise mine
    assert caught.value is mine
    ended.clear()
    with trio.move_on_after(5):
        async with collector(TEN, sinks=[]) as metrics:
            metrics.observable_gauge("g", read)
            try:
                await trio.sleep_forever()
            finally:
                ended.append(True)


async def test_a_flush_that_begins_after_the_body_has_ended_calls_no_callback(autojump_clock: MockClock) -> None:
    """Another task calls it while the last flush goes on."""
    reads: list[float] = []

    async def slow(batch: object) -> None:
        await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        async with collector(TEN, sinks=[slow]) as metrics:
            metrics.observable_gauge("g", lambda: reads.append(trio.current_time()) or 1)  # type: ignore[func-returns-value]
            metrics.counter("c").add()

            async def flush_later() -> None:
                await trio.sleep(2)
                await metrics.flush()

            nursery.start_soon(flush_later)
    assert reads == []
    assert balanced(metrics.stats()).processed_events == 1


async def test_a_closed_gauge_is_not_called_and_its_labels_may_be_observed_anew(autojump_clock: MockClock) -> None:
    """Another gauge's callback may close it in the middle of a collection; closing it again does nothing."""
    sink = TimedSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        first = metrics.observable_gauge("g", lambda: 1, labels={"a": "x"})
        assert isinstance(first, ObservableGauge)
        assert (first.name, first.labels, first.closed) == ("g", {"a": "x"}, False)
        await trio.sleep(11)
        first.close()
        first.close()
        assert first.closed
        second = metrics.observable_gauge("g", lambda: 2, labels={"a": "x"})
        first.close()  # has no effect on its successor
        with pytest.raises(ValueError, match="observed already"):
            metrics.observable_gauge("g", lambda: 3, labels={"a": "x"})
        await trio.sleep(10)

        def close_other() -> float:
            third.close()
            return 4

        second.close()
        metrics.observable_gauge("closing", close_other)
        third = metrics.observable_gauge("closed", lambda: 5)
        await trio.sleep(10)
        assert repr(third) == "<ObservableGauge 'closed' {}>"
    assert gauges(sink) == [("g", {"a": "x"}, 1), ("g", {"a": "x"}, 2), ("closing", {}, 4)]


# -- what it returns


async def test_a_callback_may_return_pairs_of_labels_and_a_number(autojump_clock: MockClock) -> None:
    """Any iterable is accepted; labels are added to the gauge's, and of pairs with equal labels the later one wins."""
    sink = RecordingSink()

    def generate() -> Iterator[tuple[Mapping[str, Any], float]]:
        yield {"queue": "mail"}, 1
        yield {"queue": "sms"}, 2.5

    async with collector(sinks=[sink]) as metrics:
        metrics.observable_gauge("generated", generate, labels={"host": "a"})
        metrics.observable_gauge("listed", lambda: [({"n": 1}, 1), ({"n": "1"}, 2), ({"n": 1}, 3)])
        metrics.observable_gauge("own", lambda: [({"host": "b"}, 1), ({}, 2)], labels={"host": "a"})
        metrics.observable_gauge("none", list)
        await metrics.flush()
    assert [one for one in gauges(sink) if one[0] == "generated"] == [
        ("generated", {"host": "a", "queue": "mail"}, 1),
        ("generated", {"host": "a", "queue": "sms"}, 2.5),
    ]
    assert [one for one in gauges(sink) if one[0] == "listed"] == [("listed", {"n": "1"}, 2), ("listed", {"n": 1}, 3)]
    assert [one for one in gauges(sink) if one[0] == "own"] == [("own", {"host": "b"}, 1), ("own", {"host": "a"}, 2)]
    assert len(gauges(sink)) == 6
    assert balanced(metrics.stats()).dropped == {}


async def test_each_bad_pair_counts_as_invalid_and_the_others_are_read(autojump_clock: MockClock) -> None:
    """Bad numbers, labels that aren't a mapping and items that aren't a pair are tried."""
    sink = RecordingSink()
    bad: list[Any] = [({}, "1"), ({}, None), ("a=b", 1), (None, 1), 3, ({}, 1, 2), "ab", None]
    async with collector(sinks=[sink]) as metrics:
        metrics.observable_gauge("g", lambda: [({"n": "1"}, 1), *bad, ({"n": "2"}, 2)])
        await metrics.flush()
        assert balanced(metrics.stats()).dropped == {"invalid": len(bad)}
    assert gauges(sink) == [("g", {"n": "1"}, 1), ("g", {"n": "2"}, 2)]


async def test_label_sets_beyond_max_series_lose_their_labels(autojump_clock: MockClock) -> None:
    """They share the limit with bound instruments of the same name; earlier label sets keep their labels."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(max_series=3), sinks=[sink]) as metrics:
        metrics.gauge("g", labels={"n": 0}).set(0)
        metrics.observable_gauge("g", lambda: [({"n": number}, number) for number in (1, 2, 3, 4)])
        for _ in range(2):
            await metrics.flush()
        assert metrics.stats().overflowed == {"g": 4}
    overflow = {"otel.metric.overflow": "true"}
    read = [("g", {"n": 1}, 1), ("g", {"n": 2}, 2), ("g", overflow, 3), ("g", overflow, 4)]
    assert gauges(sink) == [("g", {"n": 0}, 0), *read, *read]


# -- what goes wrong


async def _async_function() -> float:
    return 1


async def _async_generator() -> AsyncGenerator[float, None]:
    yield 1


class _AsyncCall:
    async def __call__(self) -> float:
        return 1


class _AsyncMethod:
    async def read(self) -> float:
        return 1


ASYNC: list[Any] = [
    _async_function,
    _async_generator,
    _AsyncCall(),
    _AsyncMethod().read,
    functools.partial(_async_function),
    functools.partial(functools.partial(_AsyncCall())),
]


@pytest.mark.parametrize("callback", ASYNC, ids=lambda callback: type(callback).__name__)
async def test_an_async_callback_is_refused(callback: Any, autojump_clock: MockClock) -> None:
    """The message says what to do instead, and nothing is left behind."""
    async with collector(sinks=[]) as metrics:
        with pytest.raises(ValueError, match=r"callback must be a plain function, .*: a collection cannot wait"):
            metrics.observable_gauge("g", callback)
        metrics.counter("g")


RETURNED: dict[str, Callable[[], Any]] = {
    "coroutine": lambda: _async_function(),
    "async generator": lambda: _async_generator(),
}


@pytest.mark.parametrize("returned", RETURNED)
async def test_a_callback_that_returns_something_asynchronous_is_logged_and_skipped(
    returned: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the call shows that it is asynchronous; the returned object is closed, and the others are read."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.observable_gauge("bad", RETURNED[returned])
        metrics.observable_gauge("good", lambda: 1)
        await metrics.flush()
    assert gauges(sink) == [("good", {}, 1)]
    (line,) = warnings(caplog)
    assert "'bad'" in line
    assert "got the async" in line
    assert balanced(metrics.stats()).dropped == {}


async def test_a_callback_whose_iterable_raises_is_logged_and_skipped_whole(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The callback counts as one that raises itself."""
    sink = RecordingSink()

    def generate() -> Iterator[tuple[Mapping[str, Any], float]]:
        yield {}, 1
        raise OSError("sensor is gone")

    async with collector(sinks=[sink]) as metrics:
        metrics.observable_gauge("g", generate)
        await metrics.flush()
    assert gauges(sink) == []
    (line,) = warnings(caplog)
    assert "'g'" in line
    assert "sensor is gone" in line


async def test_a_callback_that_keeps_raising_is_logged_once_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each callback has its own minute."""

    def broken() -> float:
        raise RuntimeError("broken")

    async with collector(TEN, sinks=[]) as metrics:
        metrics.observable_gauge("one", broken)
        metrics.observable_gauge("two", broken)
        await trio.sleep(65)
        assert len(warnings(caplog)) == 2
        await trio.sleep(10)
        assert len(warnings(caplog)) == 4


async def test_a_callback_that_makes_and_closes_instruments_in_a_collection_harms_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It handles thousands of every kind: the collection goes on, and the next one has them all."""
    sink = RecordingSink()
    async with collector(TEN, sinks=[sink]) as metrics:
        made: list[ObservableGauge] = []

        def read() -> float:
            number = len(made)
            for n in range(100):
                metrics.counter(f"c.{number}.{n}").add()
            made.append(metrics.observable_gauge(f"o.{number}", lambda: 1))
            if number:
                made[number - 1].close()
            return number

        metrics.observable_gauge("g", read)
        await trio.sleep(55)
    assert [value for name, _, value in gauges(sink) if name == "g"] == [0, 1, 2, 3, 4]
    assert sum(isinstance(event, Counter) for event in sink.events) == 500
    assert caplog.records == []
    assert balanced(metrics.stats()).dropped_events == 0


class Leaving(BaseException):
    """An exception that isn't an `Exception`."""


async def test_a_base_exception_of_a_callback_leaves_a_flush_and_costs_no_points(
    autojump_clock: MockClock,
) -> None:
    """Points already taken from the instruments are handed on all the same."""
    sink = RecordingSink()

    def leave() -> float:
        raise Leaving

    async with collector(sinks=[sink]) as metrics:
        for number in range(1000):
            metrics.counter("c", labels={"n": number}).add(number)
        observable = metrics.observable_gauge("g", leave)
        with pytest.raises(Leaving):
            await metrics.flush()
        observable.close()
        assert balanced(metrics.stats()).pending_events == 1000
        assert (await metrics.flush()).processed == 1000
    assert sum(event.value for event in sink.events if isinstance(event, Counter)) == sum(range(1000))


def test_a_base_exception_of_a_callback_leaves_the_block_and_everything_is_counted() -> None:
    """A periodic collection raises it, unwrapped; points already taken are given up, not forgotten."""

    async def main() -> BatchMetricsStats:
        metrics: BatchMetricsCollector | None = None

        def leave() -> float:
            raise Leaving

        with pytest.raises(Leaving):
            async with collector(TEN, sinks=[RecordingSink()]) as metrics:
                for number in range(100):
                    metrics.counter("c", labels={"n": number}).add(number)
                metrics.observable_gauge("g", leave)
                await trio.sleep_forever()
        assert metrics is not None
        return metrics.stats()

    stats = balanced(trio.run(main, clock=MockClock(autojump_threshold=0)))
    assert (stats.total_events, stats.pending_events) == (100, 0)


def generated() -> Generator[int, None, None]:
    """Yield numbers, not pairs."""
    yield 1


@pytest.mark.parametrize("value", [generated, lambda: {"a": 1}, lambda: b"1", lambda: (1, 2)])
async def test_an_iterable_without_pairs_counts_as_invalid(value: Callable[[], Any], autojump_clock: MockClock) -> None:
    """Each item that isn't a pair counts once, and a mapping or bytes counts once as a whole."""
    async with collector(sinks=[]) as metrics:
        metrics.observable_gauge("g", value)
        await metrics.flush()
        got: Iterable[object] = value()
        expected = 1 if isinstance(got, dict | bytes) else len(list(got))
        assert balanced(metrics.stats()).dropped == {"invalid": expected}
