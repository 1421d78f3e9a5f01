"""A rejection costs only the events that it concerns, and counts each of them once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from tests.delivery.sinks import EncodingSink, ScriptedSink, account, record, upto
from tests.helpers import balanced, ids, report_balanced
from trio_batchmetrics import BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import EventSink, Payload, Receipt


@pytest.mark.parametrize("bad", [[1], [7], [499], [500, 501], [3, 4, 700], upto(1000)])
async def test_events_that_cannot_be_encoded_are_rejected_alone(bad: list[int], autojump_clock: MockClock) -> None:
    """The others are delivered in order, wherever the bad ones are; without others there is no attempt."""
    sink = EncodingSink(bad=bad, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics:
        record(metrics, 1, 1000)
        report = report_balanced(await metrics.flush(), 1000)
        record(metrics, 1001, 1002)
        await metrics.flush()
    good = [number for number in upto(1000) if number not in bad]
    assert sink.payloads == [*([good] if good else []), [1001, 1002]]
    assert all("".join(attempt.parts) == "".join(map(chr, attempt.events)) for attempt in sink.attempts)
    assert report.failed == len(bad)
    stats = account(metrics)
    assert (stats.rejected, stats.delivered) == (len(bad), len(good) + 2)
    assert stats.last_error == "cannot be encoded: ValueError: no way to say this"


async def test_an_event_that_cannot_be_encoded_is_rejected_once_though_its_neighbours_are_encoded_again(
    autojump_clock: MockClock,
) -> None:
    """Nothing counts twice, whether a payload turns out too long, is halved, or is tried again in part."""
    sink = EncodingSink(
        Receipt.split(), Receipt.retried(1, retry=[1]), bad=[2, 5, 30], max_payload_bytes=8, name="scripted"
    )
    async with collector(BatchMetricsConfig(batch_size=30), sinks=[sink]) as metrics:
        record(metrics, 1, 30)
        report = report_balanced(await metrics.flush(), 30)
        assert (report.processed, report.failed) == (27, 3)
    stats = account(metrics)
    assert (stats.total, stats.delivered, stats.rejected) == (30, 27, 3)
    assert sink.payloads[:4] == [[1, 3, 4, 6, 7, 8, 9, 10], [1, 3, 4, 6], [3], [7, 8, 9, 10]]
    assert [event for payload in sink.payloads[3:] for event in payload] == upto(29, 7)


async def test_rejected_items_are_rejected_and_the_others_delivered(autojump_clock: MockClock) -> None:
    """The rejected ones count as failed events, and the reason is reported."""
    sink = ScriptedSink(Receipt(rejected={1: "too old", 3: "too old"}))
    async with collector(BatchMetricsConfig(batch_size=5), sinks=[sink]) as metrics:
        record(metrics, 1, 5)
        report = report_balanced(await metrics.flush(), 5)
    assert (report.processed, report.failed) == (3, 2)
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (3, 2, 0)
    assert "too old" in str(stats.last_error)
    assert balanced(metrics.stats()).failed_events == 2


async def test_a_refusal_of_the_whole_payload_fails_it_at_once(autojump_clock: MockClock) -> None:
    """After ``Receipt(error="401")`` there is no retry, its events count as ``refused``, and later ones are tried."""
    sink = ScriptedSink(Receipt.failed("401"))
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        assert report_balanced(await metrics.flush(), 2).failed == 2
        assert trio.current_time() == 0
        record(metrics, 3, 4)
        assert (await metrics.flush()).processed == 2
    assert sink.payloads == [[1, 2], [3, 4]]
    stats = account(metrics)
    assert (stats.failed, stats.failures, stats.delivered) == (2, {"refused": 2}, 2)
    assert (stats.retries, stats.last_error) == (0, "401")


async def test_a_payload_has_only_the_events_that_could_be_encoded(autojump_clock: MockClock) -> None:
    """``payload.events`` corresponds to the parts, so that positions in a receipt name the right events."""
    sent: list[list[int]] = []

    class Picky(EventSink[str]):
        def encode(self, events: Sequence[MetricEvent]) -> str:
            if 2 in ids([*events]):
                raise ValueError("not this one")
            return "x"

        async def send(self, payload: Payload[str]) -> None:
            sent.append(ids([*payload.events]))

    async with collector(sinks=[Picky()]) as metrics:
        for number in range(1, 5):
            metrics.record_counter("c", {"id": number}, 1)
    assert sent == [[1, 3, 4]]
    assert balanced(metrics.stats()).sinks["picky"].rejected == 1
