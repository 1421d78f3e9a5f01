"""The collector halves a payload that is too large until each part fits."""

from __future__ import annotations

from typing import Any

import pytest
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
            return Receipt(too_large=True, error="413") if len(payload.events) > 2 else None

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
            return Receipt(too_large=True, error=error) if 3 in ids(list(payload.events)) else None

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


async def test_a_half_that_fails_is_tried_again_before_the_other(autojump_clock: MockClock) -> None:
    """It keeps its own key; the other half waits its turn."""
    sink = ScriptedSink(Receipt(too_large=True), Receipt(retry=True, retry_after=4))
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        record(metrics, 1, 4)
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3, 4], [1, 2], [1, 2], [3, 4]]
    assert sink.times == [0, 0, 4, 4]
    assert sink.keys[1] == sink.keys[2]
    assert len(set(sink.keys)) == 3
    assert account(metrics).retries == 1
