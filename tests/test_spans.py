"""`histogram.time()` and `gauge.track()`: with blocks and decorators; one object may be used often and concurrently."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from typing import Any, assert_type

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, BoundGauge, BoundHistogram, Gauge, HistogramPoint, collector
from trio_batchmetrics.testing import RecordingSink

BOUNDS = (0.5, 1, 2, 3, 5, 8)
"""Bounds that separate the durations below from each other."""


class Clocked:
    """A collector's histogram and gauge, and their values at the end of the block."""

    histogram: BoundHistogram
    gauge: BoundGauge
    sink: RecordingSink

    def counts(self) -> dict[float, int]:
        """Return how many durations fell into each bucket, by its upper bound; empty buckets are left out."""
        points = [event for event in self.sink.events if isinstance(event, HistogramPoint)]
        totals = [sum(column) for column in zip(*(point.counts for point in points), strict=True)]
        return {bound: count for bound, count in zip((*BOUNDS, 99), totals, strict=True) if count}

    def total(self) -> float:
        """Return the sum of all durations."""
        return sum(event.sum for event in self.sink.events if isinstance(event, HistogramPoint))

    def in_flight(self) -> list[float]:
        """Return the gauge's value at each collection."""
        return [event.value for event in self.sink.events if isinstance(event, Gauge)]


@asynccontextmanager
async def clocked(flush_interval: float = 1000) -> AsyncGenerator[Clocked, None]:
    """Open a collector with a histogram in seconds and a gauge."""
    one = Clocked()
    one.sink = RecordingSink()
    async with collector(BatchMetricsConfig(flush_interval=flush_interval), sinks=[one.sink]) as metrics:
        one.histogram = metrics.histogram("h", unit="s", bounds=BOUNDS)
        one.gauge = metrics.gauge("g")
        yield one
    assert balanced(metrics.stats()).dropped_events == 0


# -- with blocks


async def test_a_timer_can_be_used_again(autojump_clock: MockClock) -> None:
    """The uses follow each other, and each has its own duration."""
    async with clocked() as one:
        timer = one.histogram.time()
        for seconds in (1, 2, 5):
            with timer:
                await trio.sleep(seconds)
    assert one.counts() == {1: 1, 2: 1, 5: 1}


async def test_a_timer_can_be_used_inside_itself(autojump_clock: MockClock) -> None:
    """In one frame, the inner block ends first."""
    async with clocked() as one:
        timer = one.histogram.time()
        with timer:
            await trio.sleep(2)
            with timer, timer:
                await trio.sleep(1)
    assert one.counts() == {1: 2, 3: 1}


async def test_a_timer_can_be_used_in_many_tasks_at_once(autojump_clock: MockClock) -> None:
    """Each use keeps its own start, in whatever order they end."""
    async with clocked() as one:
        timer = one.histogram.time()

        async def work(begin: float, seconds: float) -> None:
            await trio.sleep(begin)
            with timer:
                await trio.sleep(seconds)

        async with trio.open_nursery() as nursery:
            for begin, seconds in ((0, 8), (1, 1), (2, 5), (3, 2), (3, 3)):
                nursery.start_soon(work, begin, seconds)
    assert one.counts() == {1: 1, 2: 1, 3: 1, 5: 1, 8: 1}


async def test_a_timer_can_be_used_in_generators_of_one_task_that_take_turns(autojump_clock: MockClock) -> None:
    """Unlike nested blocks, they don't end in the reverse of the order in which they began."""
    async with clocked() as one:
        timer = one.histogram.time()

        def plain() -> Generator[None, None, None]:
            with timer:
                yield

        async def asynchronous() -> AsyncGenerator[None, None]:
            with timer:
                yield  # noqa: ASYNC119 - the subject of the test

        first, second = plain(), asynchronous()
        next(first)  # at 0
        await trio.sleep(1)
        await anext(second)  # at 1
        await trio.sleep(1)
        assert next(first, "ended") == "ended"  # at 2
        await trio.sleep(4)
        await second.aclose()  # at 6
    assert one.counts() == {2: 1, 5: 1}


async def test_a_timer_can_be_used_in_many_threads_at_once() -> None:
    """Of 20 threads that wait for each other inside it, each observes once, and so does the one that times them."""
    async with clocked() as one:
        timer = one.histogram.time()
        barrier = threading.Barrier(20)

        def work() -> None:
            with timer:
                barrier.wait(30)

        async with trio.open_nursery() as nursery:
            limiter = trio.CapacityLimiter(20)
            for _ in range(20):
                nursery.start_soon(functools.partial(trio.to_thread.run_sync, work, limiter=limiter))
    assert sum(one.counts().values()) == 20


async def test_a_timer_observes_however_its_block_ends(autojump_clock: MockClock) -> None:
    """An exception, a cancellation and a return pass through it unchanged."""
    async with clocked() as one:
        timer = one.histogram.time()

        async def work(seconds: float) -> str:
            with timer:
                await trio.sleep(seconds)
                if seconds == 2:
                    raise KeyError("mine")
                return "done"

        assert await work(1) == "done"
        with pytest.raises(KeyError, match="mine"):
            await work(2)
        with trio.move_on_after(5) as scope:
            await work(99)
        assert scope.cancelled_caught
    assert one.counts() == {1: 1, 2: 1, 5: 1}


async def test_an_exit_stack_may_hold_a_timer(autojump_clock: MockClock) -> None:
    """It enters in one frame and leaves in another; so does an asynchronous one, or one that is handed on."""
    async with clocked() as one:
        with ExitStack() as stack:
            stack.enter_context(one.histogram.time())
            await trio.sleep(1)
        async with AsyncExitStack() as asynchronous:
            asynchronous.enter_context(one.histogram.time())
            await trio.sleep(2)
            handed_on = asynchronous.pop_all()
        await trio.sleep(1)
        await handed_on.aclose()
    assert one.counts() == {1: 1, 3: 1}


async def test_a_tracker_can_be_used_again_and_at_once(autojump_clock: MockClock) -> None:
    """Each use counts one, as do generators that take turns."""
    async with clocked(flush_interval=10) as one:
        tracker = one.gauge.track()

        def plain() -> Generator[None, None, None]:
            with tracker:
                yield

        first, second = plain(), plain()
        with tracker, tracker:
            next(first)
            next(second)
            await trio.sleep(11)
        next(first, None)
        await trio.sleep(10)
        second.close()
    assert one.in_flight() == [4, 1, 0]


async def test_a_timer_observes_in_the_unit_of_its_histogram(autojump_clock: MockClock) -> None:
    """A histogram whose unit isn't a unit of time observes seconds."""
    sink = RecordingSink()
    units = {"s": 3, "ms": 3000, "us": 3e6, "ns": 3e9, "min": 0.05, "h": 3 / 3600, "": 3, "By": 3}
    async with collector(sinks=[sink]) as metrics:
        timers = [metrics.histogram(f"in.{unit}", unit=unit).time() for unit in units]
        with ExitStack() as stack:
            for timer in timers:
                stack.enter_context(timer)
            await trio.sleep(3)
    sums = {event.name: event.sum for event in sink.events if isinstance(event, HistogramPoint)}
    assert sums == {f"in.{unit}": pytest.approx(expected) for unit, expected in units.items()}


# -- decorators


async def test_a_timed_async_function_is_timed_until_it_returns(autojump_clock: MockClock) -> None:
    """The time doesn't end when the coroutine is created; of concurrent calls, each has its own duration."""
    async with clocked() as one:

        @one.histogram.time()
        async def work(seconds: float, *, doubled: bool = False) -> str:
            """Work."""
            await trio.sleep(seconds * (2 if doubled else 1))
            return f"{seconds}"

        assert_type(await work(1), str)
        assert (await work(2, doubled=True), work.__name__, work.__doc__) == ("2", "work", "Work.")
        async with trio.open_nursery() as nursery:
            for seconds in (8, 1, 2):
                nursery.start_soon(work, seconds)
        never = work(3)
        never.close()  # never run: never timed
    assert one.counts() == {1: 2, 2: 1, 5: 1, 8: 1}


async def test_a_timed_function_is_timed(autojump_clock: MockClock) -> None:
    """Its arguments, its value and its exception pass through."""
    async with clocked() as one:

        @one.histogram.time()
        def work(seconds: float) -> float:
            autojump_clock.jump(seconds)
            if seconds == 2:
                raise KeyError("mine")
            return seconds * 2

        assert_type(work(1), float)
        assert work(seconds=3) == 6
        with pytest.raises(KeyError, match="mine"):
            work(2)

        @one.histogram.time()
        def nested(depth: int) -> None:
            autojump_clock.jump(0.5)
            if depth:
                nested(depth - 1)

        nested(2)
    assert one.counts() == {0.5: 1, 1: 2, 2: 2, 3: 1}
    assert one.total() == 1 + 2 + 3 + 0.5 + 1 + 1.5


def _wrapped(function: Callable[[float], Coroutine[Any, Any, str]]) -> Callable[[float], Coroutine[Any, Any, str]]:
    """Decorate as many decorators do: the result doesn't look asynchronous."""

    @functools.wraps(function)
    def wrapper(seconds: float) -> Coroutine[Any, Any, str]:
        return function(seconds)

    return wrapper


class _Callable:
    """An object that is called like an async function."""

    async def __call__(self, seconds: float) -> str:
        await trio.sleep(seconds)
        return "done"

    async def method(self, seconds: float) -> str:
        """Do the same."""
        await trio.sleep(seconds)
        return "done"


async def _sleep(seconds: float) -> str:
    await trio.sleep(seconds)
    return "done"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: _wrapped(_sleep), id="behind another decorator"),
        pytest.param(lambda: functools.partial(_sleep), id="partial"),
        pytest.param(_Callable, id="callable object"),
        pytest.param(lambda: _Callable().method, id="method"),
    ],
)
async def test_a_function_that_only_turns_out_to_be_asynchronous_is_timed_until_it_ends(
    make: Callable[[], Callable[[float], Coroutine[Any, Any, str]]], autojump_clock: MockClock
) -> None:
    """However it hides that, it is also in flight for the same time."""
    async with clocked(flush_interval=10) as one:
        function = make()
        both = one.gauge.track()(one.histogram.time()(function))
        assert await both(2) == "done"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both, 12)
            nursery.start_soon(both, 5)
            await trio.sleep(8)  # collected at 10, when one of them goes on
    assert one.counts() == {2: 1, 5: 1, 99: 1}
    assert one.in_flight() == [1, 0]


async def test_a_timed_generator_is_timed_until_it_is_exhausted_or_closed(autojump_clock: MockClock) -> None:
    """Sent values and thrown exceptions reach it, and its return value comes back."""
    async with clocked() as one:

        @one.histogram.time()
        def work() -> Generator[str, str, int]:
            try:
                received = yield "first"
            except KeyError:
                received = "thrown"
            autojump_clock.jump(1)
            yield received
            return 3

        def delegate() -> Generator[str, str, None]:
            returned.append((yield from work()))

        returned: list[int] = []
        generator = delegate()
        assert next(generator) == "first"
        assert generator.send("sent") == "sent"
        assert next(generator, "ended") == "ended"
        assert returned == [3]
        thrown = work()
        next(thrown)
        assert thrown.throw(KeyError()) == "thrown"
        autojump_clock.jump(1)
        thrown.close()
        unused: Iterator[str] = work()
        del unused  # never run: never timed
    assert one.counts() == {1: 1, 2: 1}


async def test_a_timed_async_generator_is_timed_until_it_is_exhausted_or_closed(autojump_clock: MockClock) -> None:
    """Sent and thrown objects reach it, it closes with the outer one, and a cancellation passes through."""
    closed: list[float] = []
    async with clocked() as one:

        @one.histogram.time()
        async def work() -> AsyncGenerator[str, str]:
            try:
                await trio.sleep(1)
                try:
                    received = yield "first"
                except KeyError:
                    received = "thrown"
                await trio.sleep(1)
                yield received
                await trio.sleep(90)
            finally:
                closed.append(trio.current_time())

        start = trio.current_time()
        sent = work()
        assert (await anext(sent), await sent.asend("sent")) == ("first", "sent")
        await trio.sleep(0.5)
        await sent.aclose()
        assert [moment - start for moment in closed] == [2.5]

        thrown = work()
        assert (await anext(thrown), await thrown.athrow(KeyError())) == ("first", "thrown")
        with trio.move_on_after(3):
            await anext(thrown)

        async def values() -> list[str]:
            found: list[str] = []
            async with aclosing(short()) as generator:
                async for value in generator:
                    found.append(value)
            return found

        @one.histogram.time()
        async def short() -> AsyncGenerator[str, None]:
            await trio.sleep(0.25)
            yield "a"
            yield "b"

        assert await values() == ["a", "b"]
    assert one.counts() == {0.5: 1, 3: 1, 5: 1}
    assert len(closed) == 2


async def test_an_exception_in_a_timed_async_generator_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    """The exception is its own, or one that was thrown into it and that it doesn't handle."""
    async with clocked() as one:

        @one.histogram.time()
        async def work() -> AsyncGenerator[int, None]:
            yield 1
            raise KeyError("own")

        generator = work()
        await anext(generator)
        with pytest.raises(KeyError, match="own"):
            await anext(generator)
        other = work()
        await anext(other)
        with pytest.raises(ValueError, match="thrown"):
            await other.athrow(ValueError("thrown"))
    assert one.counts() == {0.5: 2}


async def test_a_tracked_function_counts_while_it_is_in_flight(autojump_clock: MockClock) -> None:
    """Plain and async functions are tried, however they end."""
    async with clocked(flush_interval=10) as one:

        @one.gauge.track()
        async def work() -> None:
            await trio.sleep_forever()

        @one.gauge.track()
        def fail() -> None:
            raise KeyError("mine")

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(work)
            await trio.sleep(11)
            with pytest.raises(KeyError, match="mine"):
                fail()
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert one.in_flight() == [3, 3, 0]
