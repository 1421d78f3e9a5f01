"""The collector retries only those events that haven't arrived, under the key of their payload."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.delivery.sinks import EncodingSink, ScriptedSink, account, record, upto
from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Payload, Receipt


@pytest.mark.parametrize(
    "answer",
    [ConnectionError("no route"), ExceptionGroup("g", [OSError("no route")]), Receipt.retried(error="no route")],
    ids=["error", "group", "receipt"],
)
async def test_a_whole_payload_is_tried_again_after_an_exception_or_a_request_to_retry(
    answer: Any, autojump_clock: MockClock
) -> None:
    """Nothing is settled in between."""
    sink = ScriptedSink(answer, answer)
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        await wait_all_tasks_blocked()
        assert account(metrics).pending == 3
        assert (await metrics.flush()).processed == 3
    assert sink.payloads == [[1, 2, 3]] * 3
    stats = account(metrics)
    assert (stats.delivered, stats.retries) == (3, 2)
    assert "no route" in str(stats.last_error)


async def test_only_the_named_items_are_tried_again(autojump_clock: MockClock) -> None:
    """The others are delivered at once, the refused ones are settled at once, and the order is kept."""
    sink = ScriptedSink(
        Receipt.retried(5, retry=[4, 1, 2], rejected={3: "bad"}, error="503"),
        Receipt.retried(5, retry=[0, 2]),
    )
    async with collector(BatchMetricsConfig(batch_size=6), sinks=[sink]) as metrics:
        record(metrics, 1, 6)
        await wait_all_tasks_blocked()
        stats = account(metrics)
        assert (stats.delivered, stats.rejected, stats.pending) == (2, 1, 3)
        await trio.sleep(5)
        await wait_all_tasks_blocked()
        assert account(metrics).delivered == 3
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3, 4, 5, 6], [2, 3, 5], [2, 5]]
    assert sink.times == [0, 5, 10]
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.retries) == (5, 1, 2)
    assert balanced(metrics.stats()).failed_events == 1


async def test_everything_except_the_rejected_items_may_be_tried_again(autojump_clock: MockClock) -> None:
    """``Receipt(retry=True, rejected=…)`` delivers nothing."""
    sink = ScriptedSink(Receipt.retried(5, rejected={0: "bad", 2: "bad"}))
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        record(metrics, 1, 4)
        await wait_all_tasks_blocked()
        stats = account(metrics)
        assert (stats.delivered, stats.rejected, stats.pending) == (0, 2, 2)
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3, 4], [2, 4]]
    assert account(metrics).delivered == 2


async def test_retrying_the_rest_encodes_it_anew(autojump_clock: MockClock) -> None:
    """The parts of a payload are those of its events; a retry of the whole payload has the same parts."""
    sink = EncodingSink(Receipt.retried(retry=[0, 599]), Receipt.retried(), name="scripted")
    async with collector(BatchMetricsConfig(batch_size=600), sinks=[sink]) as metrics:
        record(metrics, 1, 600)
        await metrics.flush()
    assert sink.payloads == [upto(600), [1, 600], [1, 600]]
    assert [attempt.parts for attempt in sink.attempts[1:]] == [(chr(1) + chr(600),)] * 2


async def test_a_payload_keeps_its_key_and_no_other_payload_has_it(autojump_clock: MockClock) -> None:
    """It keeps it through errors, timeouts and lies; other sinks and other collectors use other keys."""
    one, two = (
        ScriptedSink(OSError(), ..., True, None, OSError(), timeout=1, name="one"),
        ScriptedSink(OSError(), name="two"),
    )
    for _ in range(2):
        async with collector(BatchMetricsConfig(batch_size=2), sinks=[one, two]) as metrics:
            record(metrics, 1, 2)
            await metrics.flush()
            record(metrics, 3, 4)
            await metrics.flush()
    assert one.payloads == [[1, 2]] * 4 + [[3, 4]] * 2 + [[1, 2], [3, 4]]
    assert len(set(one.keys[:4])) == 1
    assert len(set(one.keys[4:6])) == 1
    assert len(set(one.keys)) == 4
    assert len(set(two.keys)) == 4
    assert not set(one.keys) & set(two.keys)
    assert all(key.isprintable() and key.isascii() for key in one.keys)


async def test_an_attempt_that_reported_success_is_never_made_again(autojump_clock: MockClock) -> None:
    """Not even a success that comes after the timeout, from a sink that ignored its cancellation, is repeated."""

    class SwallowingSink(ScriptedSink):
        """A sink that the timeout cancels, and that reports success all the same."""

        async def send(self, payload: Payload[Any]) -> Any:
            with trio.CancelScope(shield=True):
                return await super().send(payload)

    slow = SwallowingSink(takes=7, timeout=5, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[slow]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert slow.payloads == [[1, 2]]
    assert account(metrics).delivered == 2


async def test_a_retry_counts_as_soon_as_it_begins(autojump_clock: MockClock) -> None:
    """Even a retry that the deadline cuts off counts."""
    sink = ScriptedSink(OSError(), ...)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(5)
        assert account(metrics).retries == 1
    assert len(sink.attempts) == 2
    assert (account(metrics).retries, account(metrics).failures) == (1, {"shutdown": 2})
