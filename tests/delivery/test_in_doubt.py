"""An event that may have arrived counts as failed, never as rejected."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from tests.delivery.sinks import EncodingSink, ScriptedSink
from tests.helpers import balanced
from trio_batchmetrics import collector
from trio_batchmetrics.abc import Receipt


async def test_each_half_of_a_payload_in_doubt_is_in_doubt_too(autojump_clock: MockClock) -> None:
    """The back-end calls a payload too large that may have arrived in part."""
    sink = ScriptedSink(Receipt.split(in_doubt=True), Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        for number in range(2):
            metrics.record_counter("c", {"id": number}, 1)
    account = balanced(metrics.stats()).sinks["scripted"]
    assert (account.delivered, account.rejected, account.failures) == (1, 0, {"rejected": 1})


@pytest.mark.parametrize("refusal", [Receipt(rejected={0: "bad"}), Receipt.split(error="413")], ids=["named", "alone"])
async def test_events_left_by_a_split_in_doubt_fail_if_they_are_refused_alone(
    refusal: Receipt, autojump_clock: MockClock
) -> None:
    """The events rejected at once were not in doubt. Those that are halved are, and so is one that is left alone."""
    for others in (1, 2):
        script = [Receipt.split(rejected={0: "bad"}, in_doubt=True), *[refusal] * others]
        sink = ScriptedSink(*script, name="scripted")
        async with collector(sinks=[sink]) as metrics:
            for number in range(1 + others):
                metrics.record_counter("c", {"id": number}, 1)
        account = balanced(metrics.stats()).sinks["scripted"]
        assert (account.delivered, account.rejected, account.failures) == (0, 1, {"rejected": others})
        assert sink.payloads == [list(range(1 + others)), *([number] for number in range(1, 1 + others))]


async def test_events_to_retry_in_doubt_fail_if_they_are_refused_later(autojump_clock: MockClock) -> None:
    """That holds for the given positions, through another retry that leaves nothing in doubt."""
    script = [Receipt.retried(retry=[0, 2], error="reset", in_doubt=True), Receipt.retried(retry=[1]), Receipt.split()]
    sink = ScriptedSink(*script)
    async with collector(sinks=[sink]) as metrics:
        for number in range(3):
            metrics.record_counter("c", {"id": number}, 1)
    account = balanced(metrics.stats()).sinks["scripted"]
    assert (account.delivered, account.rejected, account.failures) == (2, 0, {"rejected": 1})
    assert sink.payloads == [[0, 1, 2], [0, 2], [2]]


async def test_a_single_event_at_fault_is_rejected_if_no_earlier_attempt_is_in_doubt(autojump_clock: MockClock) -> None:
    """It isn't tried again, so the doubt of this attempt doesn't concern it."""
    sink = ScriptedSink(Receipt.split(in_doubt=True))
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"id": 0}, 1)
    account = balanced(metrics.stats()).sinks["scripted"]
    assert (account.rejected, account.failed) == (1, 0)


REFUSALS = [
    Receipt.split(error="413"),
    Receipt(rejected={0: "bad"}),
    Receipt.retried(retry=[], rejected={0: "bad"}),
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("lost", [Receipt.retried(error="reset", in_doubt=True), ...], ids=["said", "timeout"])
@pytest.mark.parametrize("kind", [ScriptedSink, EncodingSink])
async def test_events_that_may_have_arrived_are_never_counted_as_refused(
    kind: type[ScriptedSink], lost: Any, refusal: Receipt, autojump_clock: MockClock
) -> None:
    """Only *failed* means that an event may have arrived, however often it was tried and split since."""
    sink = kind(lost, Receipt.retried(error="503"), Receipt.split(), refusal, refusal, timeout=5)
    async with collector(sinks=[sink]) as metrics:
        for number in range(2):
            metrics.record_counter("c", {"id": number}, 1)
        await metrics.flush()
        metrics.record_counter("c", {"id": 2}, 1)
        sink.script.append(refusal)
        await metrics.flush()
    account = balanced(metrics.stats()).sinks[next(iter(metrics.stats().sinks))]
    assert account.failures == {"rejected": 2}
    assert account.rejected == 1


@pytest.mark.parametrize("before", [Receipt.retried(error="503"), RuntimeError("down"), 7], ids=str)
async def test_events_that_did_not_arrive_before_are_counted_as_refused(before: Any, autojump_clock: MockClock) -> None:
    """A request to retry or an exception means that nothing arrived."""
    sink = ScriptedSink(before, Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"id": 0}, 1)
    assert balanced(metrics.stats()).sinks["scripted"].rejected == 1


async def test_only_the_payload_whose_outcome_is_unknown_is_in_doubt(autojump_clock: MockClock) -> None:
    """The next payload isn't in doubt; of items that are tried again, only those are."""
    lost = Receipt.retried(retry=[1], rejected={0: "bad"}, error="reset", in_doubt=True)
    sink = ScriptedSink(lost, Receipt(rejected={0: "bad"}), Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        for number in range(2):
            metrics.record_counter("c", {"id": number}, 1)
        await metrics.flush()
        metrics.record_counter("c", {"id": 2}, 1)
    account = balanced(metrics.stats()).sinks["scripted"]
    assert (account.rejected, account.failures) == (2, {"rejected": 1})
