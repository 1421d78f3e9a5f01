"""Fresh pages: everything recorded before a request is on its page, and no request harms another."""

from __future__ import annotations

import asyncio
import math
import time
import timeit
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_batchmetrics import BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.sinks._prometheus.asgi import wants_gzip, wants_openmetrics
from trio_batchmetrics.testing import StuckSink


class Collector:
    """Stands in for a collector: each hand-over takes a while, then merges one event."""

    def __init__(self, takes: float = 0.0) -> None:
        """Create a collector whose hand-over takes this many seconds."""
        self.takes = takes
        self.calls = 0
        self.finished = 0
        self.sink = PrometheusSink()

    async def hand_over(self) -> None:
        """Wait, then merge one event."""
        self.calls += 1
        await trio.sleep(self.takes)
        self.sink.merge([Counter("c", {}, 1)])
        self.finished += 1

    def bind(self) -> PrometheusSink:
        """Bind the sink and return it."""
        self.sink.bind(SinkContext(hand_over=self.hand_over))
        return self.sink


def shown(page: tuple[bytes, str]) -> float:
    """Return the value of the counter on a page; 0 if it is missing."""
    found = [line for line in page[0].decode().splitlines() if line.startswith("c_total ")]
    return float(found[0].removeprefix("c_total ")) if found else 0.0


@asynccontextmanager
async def pages(sink: PrometheusSink, count: int, **settings: Any) -> AsyncGenerator[list[tuple[float, float]], None]:
    """Request pages at once; yield the arrival time and counter of each."""
    got: list[tuple[float, float]] = []

    async def ask() -> None:
        said = shown(await sink.page(**settings))
        got.append((trio.current_time(), said))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)
        yield got


async def test_a_page_has_everything_recorded_before_the_request(autojump_clock: MockClock) -> None:
    """The request waits for that, and is a checkpoint even if there is nothing to wait for."""
    made = Collector(takes=0.2)
    sink = made.bind()
    assert shown(sink.render()) == 0
    with assert_checkpoints():
        assert shown(await sink.page()) == 1
    assert trio.current_time() == 0.2
    with assert_checkpoints():
        await sink.page()
    assert made.calls == 1


@pytest.mark.parametrize("within", [0.1, timedelta(milliseconds=100)])
async def test_a_page_is_returned_as_is_when_its_time_is_up(within: Any, autojump_clock: MockClock) -> None:
    """The default is 0.25 s; an unfinished hand-over is cancelled, and the next request starts another."""
    made = Collector(takes=1)
    sink = made.bind()
    assert shown(await sink.page(within=within)) == 0
    assert trio.current_time() == pytest.approx(0.1)
    await sink.page()
    assert trio.current_time() == pytest.approx(0.35)
    await sink.page(within=0)
    assert trio.current_time() == pytest.approx(0.35)
    assert shown(await sink.page(within=5)) == 1
    assert trio.current_time() == pytest.approx(1.35)
    assert (made.calls, made.finished) == (3, 1)


@pytest.mark.parametrize("bad", [-1, math.nan, timedelta(seconds=-1)])
async def test_an_invalid_time_limit_is_refused(bad: Any) -> None:
    """The error names the rule and the value."""
    with pytest.raises(ValueError, match=r"^within must be seconds >= 0 or a timedelta \(got "):
        await PrometheusSink().page(within=bad)


async def test_simultaneous_requests_share_the_work(autojump_clock: MockClock) -> None:
    """A hundred requests need one hand-over, and so do requests during it and up to 50 ms later."""
    made = Collector(takes=0.2)
    sink = made.bind()
    async with pages(sink, 100) as got, trio.open_nursery() as nursery:
        await trio.sleep(0.1)
        async with pages(sink, 10) as later:
            pass
        nursery.cancel_scope.cancel()
    assert got == [(0.2, 1)] * 100
    assert later == [(0.2, 1)] * 10
    await trio.sleep(0.04)
    assert shown(await sink.page()) == 1
    assert trio.current_time() == pytest.approx(0.24)
    assert made.calls == 1
    await trio.sleep(0.02)
    assert shown(await sink.page()) == 2
    assert made.calls == 2


async def test_cancelling_the_request_that_does_the_work_does_not_affect_the_others(
    autojump_clock: MockClock,
) -> None:
    """Another request does the work, and each still keeps its own time limit."""
    made = Collector(takes=0.1)
    sink = made.bind()
    async with trio.open_nursery() as nursery:
        scopes: list[trio.CancelScope] = []

        async def first() -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                await sink.page()
                raise AssertionError("the request should have been cancelled")

        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        assert made.calls == 1
        async with pages(sink, 20) as got:
            await trio.sleep(0.05)
            scopes[0].cancel()
    assert [(round(when, 3), said) for when, said in got] == [(0.15, 1)] * 20
    assert (made.calls, made.finished) == (2, 1)


async def test_a_request_with_less_time_leaves_the_work_to_requests_with_more(autojump_clock: MockClock) -> None:
    """It gets its page as is."""
    made = Collector(takes=0.1)
    sink = made.bind()
    async with pages(sink, 1, within=0.05) as hurried:
        await wait_all_tasks_blocked()
        async with pages(sink, 5, within=1) as patient:
            pass
    assert hurried == [(0.05, 0)]
    assert [(round(when, 3), said) for when, said in patient] == [(0.15, 1)] * 5


async def test_a_failed_request_does_not_fail_another(autojump_clock: MockClock) -> None:
    """An error of the hand-over is raised only in the request that called it."""
    made = Collector()
    failures = [RuntimeError("once")]

    async def hand_over() -> None:
        await trio.sleep(0.1)
        if failures:
            raise failures.pop()
        await made.hand_over()

    made.sink.bind(SinkContext(hand_over=hand_over))
    outcomes: list[object] = []

    async def ask() -> None:
        try:
            outcomes.append(shown(await made.sink.page()))
        except RuntimeError as exc:
            outcomes.append(str(exc))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert sorted(outcomes, key=str) == [1, 1, "once"]


async def test_outside_the_collectors_run_the_page_is_returned_as_is() -> None:
    """With asyncio, in another Trio run, after the block, or without a collector, there is no hand-over."""
    made = Collector()
    sink = made.bind()
    assert shown(await sink.page()) == 1

    async def ask() -> tuple[bytes, str]:
        return await sink.page("text/plain")

    async def ask_in_trio() -> tuple[bytes, str]:
        with assert_checkpoints():
            return await ask()

    ways: list[Callable[[], Any]] = [lambda: asyncio.run(ask()), lambda: trio.run(ask_in_trio)]
    for way in ways:
        assert shown(await trio.to_thread.run_sync(way)) == 1
    await sink.aclose()
    assert shown(await ask_in_trio()) == 1
    assert made.calls == 1
    assert (await PrometheusSink().page())[0] == b""


async def test_the_asgi_application_serves_fresh_pages(autojump_clock: MockClock) -> None:
    """It uses the requested format."""
    made = Collector(takes=0.2)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("there is nothing to receive")

    app: Callable[..., Awaitable[None]] = made.bind().asgi_app()
    headers = [(b"accept", b"application/openmetrics-text; version=1.0.0")]
    await app({"type": "http", "method": "GET", "path": "/", "headers": headers}, receive, send)
    assert sent[1]["body"].endswith(b"c_total 1.0\n# EOF\n")


# -- in a collector


async def test_a_page_that_is_fetched_during_a_request_shows_the_gauge_in_flight(autojump_clock: MockClock) -> None:
    """The page also has just recorded events, however long the flush interval is."""
    sink = PrometheusSink()
    async with collector(BatchMetricsConfig(flush_interval=3600, batch_size=1000), sinks=[sink]) as metrics:
        gauge, counter = metrics.gauge("in.flight"), metrics.counter("requests")
        for number in range(1, 4):
            with gauge.track():
                counter.add()
                metrics.record_counter("recorded", {}, 1)
                page = (await sink.page())[0].decode()
                assert "in_flight 1.0\n" in page
                assert f"requests_total {number}.0\n" in page
                assert f"recorded_total {number}.0\n" in page
            await trio.sleep(1)
        assert "in_flight 0.0\n" in (await sink.page())[0].decode()
        assert trio.current_time() == 3


async def test_a_sink_that_is_down_does_not_prevent_a_fresh_page(autojump_clock: MockClock) -> None:
    """A page needs only merged events."""
    sink = PrometheusSink()
    config = BatchMetricsConfig(flush_interval=3600, batch_size=1000, shutdown_timeout=0)
    async with collector(config, sinks=[sink, StuckSink()]) as metrics:
        metrics.record_counter("c", {}, 1)
        assert shown(await sink.page()) == 1
        assert trio.current_time() < 0.25


async def test_a_newly_created_counter_is_on_the_next_page(autojump_clock: MockClock) -> None:
    """It is 0; a gauge is missing until it has a value. Bound instruments stay, even if others expire."""
    sink = PrometheusSink(expire_after=10)
    async with collector(sinks=[sink]) as metrics:
        assert await sink.page() == (b"", "text/plain; version=0.0.4; charset=utf-8")
        metrics.counter("c")
        gauge = metrics.gauge("g")
        metrics.histogram("h", bounds=[1])
        page = sink.render()[0]
        assert b"c_total 0.0\n" in page
        assert b'h_bucket{le="+Inf"} 0\n' in page
        assert b"g " not in page
        gauge.set(4)
        metrics.record_gauge("r", {}, 5)
        await trio.sleep(0.1)  # otherwise the next page shares the previous hand-over
        page = (await sink.page())[0]
        assert b"g 4.0\n" in page
        assert b"r 5.0\n" in page
        await trio.sleep(100)
        page = (await sink.page())[0]
        assert b"g 4.0\n" in page
        assert b"c_total 0.0\n" in page
        assert b"r 5.0\n" not in page


async def test_a_bound_instrument_keeps_its_series_once_it_has_one(autojump_clock: MockClock) -> None:
    """A series that expires makes room for it."""
    sink = PrometheusSink(expire_after=10)
    async with collector(BatchMetricsConfig(max_series=1), sinks=[sink]) as metrics:
        metrics.record_counter("c", {"n": "recorded"}, 1)
        await metrics.flush()
        bound = metrics.counter("c", labels={"n": "bound"})
        bound.add(2)
        await metrics.flush()
        assert b'c_total{otel_metric_overflow="true"} 2.0\n' in sink.render()[0]
        await trio.sleep(20)
        bound.add(4)
        await metrics.flush()
        assert b'c_total{n="bound"} 4.0\n' in sink.render()[0]
        await trio.sleep(100)
        metrics.record_counter("other", {}, 1)
        page = (await sink.page())[0]
        assert b'c_total{n="bound"} 4.0\n' in page
        assert b"recorded" not in page


def least_time(function: Callable[[], object]) -> float:
    """Return the CPU seconds of the fastest of ten calls."""
    return min(timeit.repeat(function, timer=time.thread_time, number=1, repeat=10))


@pytest.mark.parametrize("reads", [wants_openmetrics, wants_gzip])
@pytest.mark.parametrize("filler", [",", ";", "a;q=1,", "gzip,", 'x="'])
def test_a_header_of_a_megabyte_is_read_quickly(reads: Callable[[str], bool], filler: str) -> None:
    """Only as much of it is read as a reasonable header has."""
    header = filler * (1_000_000 // len(filler))
    assert least_time(partial(reads, header)) < 10 * least_time(partial(reads, header[:4000]))
    asked = "application/openmetrics-text;q=0.9,gzip;q=0.9,text/plain;q=0.1,identity;q=0.1"
    assert reads(f"{asked},{header}")
    assert not reads(f"{',' * 4000}{asked}")


def test_a_truncated_header_item_is_skipped() -> None:
    """Its quality would be wrong."""
    assert not wants_gzip(f"{'a' * 3990},gzip;q=0{'0' * 100}")
    assert wants_gzip(f"gzip{' ' * 3990},identity;q=1")
