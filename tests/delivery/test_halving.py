"""The collector halves a payload that is too large until each part fits."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.delivery.sinks import ScriptedSink, account, record, upto
from tests.helpers import ids, report_balanced
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Payload, Receipt


async def test_a_payload_that_is_too_large_is_halved_until_it_fits(autojump_clock: MockClock) -> None:
    """The halves go at once and in order, each as a payload with its own key, and no half counts as a retry."""

    class SmallServer(ScriptedSink):
        async def send(self, payload: Payload[Any]) -> Any:
            await super().send(payload)
            return Receipt.split(error="413") if len(payload.events) > 2 else None

    sink = SmallServer(name="scripted")
    async with collector(BatchMetricsConfig(batch_size=9), sinks=[sink]) as metrics:
        record(metrics, 1, 9)
        assert (await metrics.flush()).processed == 9
    assert [payload for payload in sink.payloads if len(payload) <= 2] == [[1, 2], [3, 4], [5, 6], [7], [8, 9]]
    assert sink.payloads[:3] == [upto(9), upto(4), [1, 2]]
    assert len(set(sink.keys)) == len(sink.keys)
    assert set(sink.times) == {0}
    stats = account(metrics)
    assert (stats.delivered, stats.retries, stats.last_error) == (9, 0, "413")


@pytest.mark.parametrize("error", ["413", None])
async def test_an_event_that_is_too_large_alone_is_rejected(error: str | None, autojump_clock: MockClock) -> None:
    """Its neighbours are delivered."""

    class SmallServer(ScriptedSink):
        async def send(self, payload: Payload[Any]) -> Any:
            await super().send(payload)
            return Receipt.split(error=error) if 3 in ids(list(payload.events)) else None

    sink = SmallServer(name="scripted")
    async with collector(BatchMetricsConfig(batch_size=6), sinks=[sink]) as metrics:
        record(metrics, 1, 6)
        report = report_balanced(await metrics.flush(), 6)
        assert (report.processed, report.failed) == (5, 1)
        record(metrics, 7, 8)
        await metrics.flush()
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (7, 1, 0)
    assert stats.last_error == (error or "too large")


async def test_rejected_events_are_settled_before_the_others_are_halved(autojump_clock: MockClock) -> None:
    """Two others are left here: each is sent alone, at once and under a key of its own, and that isn't a retry."""
    sink = ScriptedSink(Receipt.split(rejected={1: "bad"}, error="400"), name="scripted")
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        report = report_balanced(await metrics.flush(), 3)
        assert (report.processed, report.failed, trio.current_time()) == (2, 1, 0)
    assert sink.payloads == [[1, 2, 3], [1], [3]]
    assert len(set(sink.keys)) == 3
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed, stats.retries) == (2, 1, 0, 0)
    assert stats.last_error == "1 of 3 events refused: bad"


@pytest.mark.parametrize("end", [None, Receipt.split(error="413"), Receipt(rejected={0: "worse"})])
async def test_a_single_event_left_besides_rejected_ones_is_not_at_fault(
    end: Receipt | None, autojump_clock: MockClock
) -> None:
    """It is sent again alone, and only that response decides about it."""
    sink = ScriptedSink(Receipt.split(rejected={0: "bad"}), end)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        assert trio.current_time() == 0
    assert sink.payloads == [[1, 2], [2]]
    stats = account(metrics)
    delivered = int(end is None)
    assert (stats.delivered, stats.rejected, stats.failed, stats.retries) == (delivered, 2 - delivered, 0, 0)


async def test_a_payload_whose_events_are_all_rejected_is_not_sent_again(autojump_clock: MockClock) -> None:
    """There is nothing left to halve, to retry or to fail."""
    rejected = {0: "bad", 1: "bad"}
    script = [Receipt.split(rejected=rejected), Receipt.retried(9, rejected=rejected)]
    sink = ScriptedSink(*script, Receipt(rest="failed", rejected=rejected, error="400"))
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for first in (1, 3, 5):
            record(metrics, first, first + 1)
            await metrics.flush()
    assert sink.payloads == [[1, 2], [3, 4], [5, 6]]
    assert set(sink.times) == {0}
    stats = account(metrics)
    assert (stats.rejected, stats.failed, stats.retries) == (6, 0, 0)


async def test_a_half_that_fails_is_tried_again_before_the_other(autojump_clock: MockClock) -> None:
    """It keeps its own key; the other half waits its turn."""
    sink = ScriptedSink(Receipt.split(), Receipt.retried(4))
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        record(metrics, 1, 4)
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3, 4], [1, 2], [1, 2], [3, 4]]
    assert sink.times == [0, 0, 4, 4]
    assert sink.keys[1] == sink.keys[2]
    assert len(set(sink.keys)) == 3
    assert account(metrics).retries == 1
