"""An attempt takes everything that is queued, in order, and no payload exceeds the sink's limits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.delivery.sinks import (
    EncodingSink,
    GatedEncodingSink,
    ScriptedSink,
    assert_let_in,
    record,
    record_batches,
    upto,
)
from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import EventSink, Payload


async def test_an_attempt_takes_everything_that_is_queued_across_batches_in_order(autojump_clock: MockClock) -> None:
    """Three batches that came during the first attempt go in the second."""
    sink = ScriptedSink(takes=1)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        record(metrics, 3, 8)
        await metrics.flush()
        assert sink.payloads == [[1, 2], [3, 4, 5, 6, 7, 8]]
        assert sink.times == [0, 1]
        assert trio.current_time() == 2
    assert balanced(metrics.stats()).batch_count == 4


@pytest.mark.parametrize("kind", [ScriptedSink, EncodingSink])
async def test_a_payload_holds_at_most_max_events(kind: type[ScriptedSink], autojump_clock: MockClock) -> None:
    """Payloads are full even across batches, and one batch may be spread over several payloads."""
    sink = kind(takes=1, max_events=10, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=7), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 9)
        await wait_all_tasks_blocked()
        record(metrics, 10, 34)
        await metrics.flush()
    assert sink.payloads == [[1, 2], upto(9, 3), upto(19, 10), upto(29, 20), upto(34, 30)]


@pytest.mark.parametrize(("width", "limit", "most"), [(10, 100, 10), (10, 109, 10), (7, 100, 14), (1, 600, 600)])
async def test_a_payload_holds_as_many_bytes_as_are_allowed_and_no_more(
    width: int, limit: int, most: int, autojump_clock: MockClock
) -> None:
    """It never exceeds max_payload_bytes, and never leaves room that the next event would have fitted into."""
    sink = EncodingSink(width=width, max_payload_bytes=limit, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=1300), sinks=[sink]) as metrics:
        record(metrics, 1, 1300)
        await metrics.flush()
    assert [event for payload in sink.payloads for event in payload] == upto(1300)
    for attempt in sink.attempts:
        assert sum(map(len, attempt.parts)) == len(attempt.events) * width <= limit
    assert [len(payload) for payload in sink.payloads[:-1]] == [most] * (1300 // most - (1300 % most == 0))


async def test_an_event_that_is_larger_than_max_payload_bytes_goes_alone(autojump_clock: MockClock) -> None:
    """Its refusal is up to the back-end; its neighbours keep the limit and the order."""
    sink = EncodingSink(max_payload_bytes=3, name="scripted")
    sink.widths = {4: 50, 5: 50}
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 9)
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3], [4], [5], [6, 7, 8], [9]]


async def test_events_that_do_not_fit_into_a_payload_keep_their_place_across_batches(autojump_clock: MockClock) -> None:
    """Events of several batches that are put back because they have too many bytes leave in their original order."""
    sink = GatedEncodingSink(width=17, max_payload_bytes=35, name="scripted")
    sink.widths = {1: 10}  # the first is small, so the sink takes more at a time than fit
    async with collector(BatchMetricsConfig(batch_size=1, buffer_size=100), sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 20, 1)
        sink.gate.set()
        await metrics.flush()
    assert [event for payload in sink.payloads for event in payload] == upto(20)
    assert max(map(len, sink.payloads)) == 2


async def test_encode_gets_at_most_500_events_at_a_time_with_checkpoints_between(autojump_clock: MockClock) -> None:
    """One payload has three parts, and other tasks run meanwhile."""
    sink = EncodingSink(name="scripted")
    steps: list[int] = []  # how many calls other tasks have seen

    async def others() -> None:
        while True:
            steps.append(len(sink.encoded))
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=1200), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        record(metrics, 1, 1200)
        await metrics.flush()
        nursery.cancel_scope.cancel()
    assert sink.encoded == [upto(500), upto(1000, 501), upto(1200, 1001)]
    assert sink.payloads == [upto(1200)]
    assert [list(map(ord, part)) for part in sink.attempts[0].parts] == sink.encoded
    assert_let_in(steps)


async def test_encode_is_not_called_where_it_is_not_overridden(autojump_clock: MockClock) -> None:
    """The sink then has no parts, and looks at the events."""
    sink = ScriptedSink()
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.attempts[0].parts == ()
    assert sink.payloads == [[1, 2]]


async def test_a_sink_may_lower_its_own_limit_while_it_is_open(autojump_clock: MockClock) -> None:
    """A back-end may state its limit with its first response."""
    sent: list[int] = []

    class Learning(EventSink[str]):
        def encode(self, events: Sequence[MetricEvent]) -> str:
            return "x" * len(events)

        async def send(self, payload: Payload[str]) -> None:
            sent.append(len(payload.events))
            self.max_payload_bytes = 2

    async with collector(BatchMetricsConfig(batch_size=6), sinks=[Learning()]) as metrics:
        record(metrics, 1, 6)
        await metrics.flush()
        record(metrics, 7, 12)
    assert sent == [6, 2, 2, 2]
