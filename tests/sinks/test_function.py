"""A plain `async def` as a sink."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced, ids
from trio_batchmetrics import Batch, BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import Receipt


def record(metrics: Any, count: int) -> None:
    """Record this many counters, labelled by their number."""
    for number in range(count):
        metrics.record_counter("jobs", {"id": number}, 1)


async def test_a_function_gets_batches_and_delivers_them_by_returning(autojump_clock: MockClock) -> None:
    """It gets all queued events in order, as a batch that counts by kind."""
    batches = list[Batch]()

    async def keep(batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        batches.append(batch)

    async with collector(BatchMetricsConfig(batch_size=10), sinks=[keep]) as metrics:
        record(metrics, 25)
    assert ids([event for batch in batches for event in batch]) == list(range(25))
    assert sum(batch.kinds()["Counter"] for batch in batches) == 25
    assert balanced(metrics.stats()).sinks["keep"].delivered == 25


async def test_a_batch_is_retried_after_an_exception(autojump_clock: MockClock) -> None:
    """The retry has the same events."""
    tries = list[list[int]]()

    async def flaky(batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        tries.append(ids(list(batch)))
        if len(tries) < 3:
            raise ConnectionError("not yet")

    async with collector(sinks=[flaky]) as metrics:
        record(metrics, 2)
        assert (await metrics.flush()).ok
    assert tries == [[0, 1]] * 3
    account = balanced(metrics.stats()).sinks["flaky"]
    assert (account.delivered, account.retries, account.last_error) == (2, 2, "ConnectionError: not yet")


async def test_a_function_may_return_a_receipt(autojump_clock: MockClock) -> None:
    """The receipt works as for any other sink."""
    tries = list[list[int]]()

    async def choosy(batch: Batch) -> Receipt | None:
        await trio.lowlevel.checkpoint()
        tries.append(ids(list(batch)))
        return Receipt.retried(retry=[2], rejected={1: "odd"}) if len(tries) == 1 else None

    async with collector(sinks=[choosy]) as metrics:
        record(metrics, 4)
    assert tries == [[0, 1, 2, 3], [2]]
    account = balanced(metrics.stats()).sinks["choosy"]
    assert (account.delivered, account.rejected, account.failed) == (3, 1, 0)


async def test_any_other_return_value_is_a_failed_attempt(autojump_clock: MockClock) -> None:
    """The value may be a mistake, and nothing confirms that the events arrived."""
    answers = [True, 200, "ok", None]

    async def talkative(_: Batch) -> Any:
        await trio.lowlevel.checkpoint()
        return answers.pop(0)

    async with collector(sinks=[talkative]) as metrics:
        record(metrics, 3)
        assert (await metrics.flush()).ok
    account = balanced(metrics.stats()).sinks["talkative"]
    assert (account.delivered, account.retries) == (3, 3)
    assert account.last_error == "send() must return None or a Receipt (got str)"


async def test_a_function_that_never_returns_is_cancelled_at_the_deadline(autojump_clock: MockClock) -> None:
    """Leaving takes exactly the shutdown timeout."""

    async def stuck(_: Batch) -> None:
        await trio.sleep_forever()

    async with collector(BatchMetricsConfig(shutdown_timeout=3), sinks=[stuck]) as metrics:
        record(metrics, 3)
        left = trio.current_time()
    assert trio.current_time() == left + 3
    assert balanced(metrics.stats()).sinks["stuck"].failed == 3


class Service:
    """An object with a method that can be a sink."""

    def __init__(self) -> None:
        self.events = list[MetricEvent]()

    async def deliver(self, batch: Sequence[MetricEvent]) -> None:
        """Keep the events."""
        self.events.extend(batch)

    async def __call__(self, batch: Sequence[MetricEvent]) -> None:
        """Keep the events too."""
        self.events.extend(batch)


async def test_a_method_a_partial_and_a_callable_object_are_accepted(autojump_clock: MockClock) -> None:
    """Any callable is accepted that takes a batch and can be awaited."""
    one, two, three, four = (Service() for _ in range(4))

    async def to(service: Service, batch: Sequence[MetricEvent]) -> None:
        await trio.lowlevel.checkpoint()
        service.events.extend(batch)

    short: Callable[[Batch], Awaitable[None]] = lambda batch: four.deliver(batch)  # noqa: E731 - users may do this
    sinks: list[Callable[[Batch], Awaitable[None]]] = [one.deliver, functools.partial(to, two), three, short]
    async with collector(sinks=sinks) as metrics:
        record(metrics, 3)
    assert [ids(service.events) for service in (one, two, three, four)] == [[0, 1, 2]] * 4
    names = list(balanced(metrics.stats()).sinks)
    assert names[0] == "deliver"
    assert len(set(names)) == 4


async def test_functions_of_the_same_name_are_numbered(autojump_clock: MockClock) -> None:
    """So each function has its own account."""

    async def keep(_: Batch) -> None:
        await trio.lowlevel.checkpoint()

    async with collector(sinks=[keep, keep, keep]) as metrics:
        record(metrics, 3)
    assert {name: sink.delivered for name, sink in balanced(metrics.stats()).sinks.items()} == {
        "keep": 3,
        "keep2": 3,
        "keep3": 3,
    }


def test_a_plain_function_is_refused() -> None:
    """It is refused at once, not when the first batch is due."""

    def sync(_: Batch) -> None:
        pass

    sink: Any = sync
    with pytest.raises(TypeError, match="a sink function must be async def"):
        collector(sinks=[sink])


@pytest.mark.parametrize("sink", [None, 7, "sink", Service])
def test_a_value_that_is_not_a_sink_is_refused(sink: Any) -> None:
    """The error gives its place in the list."""
    with pytest.raises(TypeError, match=r"^sinks\[1\] must be a sink or an async function"):
        collector(sinks=[Service(), sink])
