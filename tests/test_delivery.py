"""Event sinks: what an attempt takes, what its answer means, when it is made again, and what a full queue gives up."""

from __future__ import annotations

import functools
import gc
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import MANY, Policy, assert_full_jitter, balanced, ids, report_balanced
from trio_batchmetrics import Batch, BatchMetricsCollector, BatchMetricsConfig, MetricEvent, SinkStats, collector
from trio_batchmetrics._concurrency.turns import Turn
from trio_batchmetrics._delivery.attempts import Attempts
from trio_batchmetrics._delivery.event_delivery import EventDelivery
from trio_batchmetrics._delivery.room import RoomSignal
from trio_batchmetrics._ledger.counters import SinkCounters
from trio_batchmetrics._ledger.ledger import Ledger
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.testing import FlakySink, PartialSink, RecordingSink, StuckSink


@attrs.frozen
class Attempt:
    """What a sink saw of one attempt."""

    at: float
    events: list[int]
    key: str
    parts: tuple[Any, ...]


class ScriptedSink(EventSink[Any]):
    """Answers by a script, then delivers; keeps every attempt."""

    def __init__(self, *script: Any, takes: float = 0.0, **settings: Any) -> None:
        """Answer like this.

        Args:
            script: an answer each attempt: an exception is raised, ``...`` never comes, all else is returned.
            takes: seconds before an answer.
            settings: of :class:`EventSink`.
        """
        super().__init__(**settings)
        self.script = list(script)
        self.takes = takes
        self.attempts: list[Attempt] = []
        self.ended: list[float] = []
        """When each attempt ended, by whatever."""

    @property
    def times(self) -> list[float]:
        """When attempts began."""
        return [attempt.at for attempt in self.attempts]

    @property
    def payloads(self) -> list[list[int]]:
        """What was in them."""
        return [attempt.events for attempt in self.attempts]

    @property
    def keys(self) -> list[str]:
        """The payloads' keys."""
        return [attempt.key for attempt in self.attempts]

    async def send(self, payload: Payload[Any]) -> Any:
        """Do as the script says."""
        answer = self.script.pop(0) if self.script else None
        self.attempts.append(Attempt(trio.current_time(), ids(list(payload.events)), payload.key, payload.parts))
        try:
            if self.takes:
                await trio.sleep(self.takes)
            if answer is ...:
                await trio.sleep_forever()
            if isinstance(answer, BaseException):
                raise answer
            return answer
        finally:
            self.ended.append(trio.current_time())


class EncodingSink(ScriptedSink):
    """Encodes each event as so many characters; cannot encode some."""

    def __init__(self, *script: Any, width: int = 1, bad: Iterable[int] = (), **settings: Any) -> None:
        """Encode like this.

        Args:
            script: as in :class:`ScriptedSink`.
            width: characters an event.
            bad: ids that raise.
            settings: as in :class:`ScriptedSink`.
        """
        super().__init__(*script, **settings)
        self.width = width
        self.bad = set(bad)
        self.encoded: list[list[int]] = []
        """The ids of each call."""
        self.widths: dict[int, int] = {}
        """Characters of an event that is another width, by id."""

    def encode(self, events: Sequence[MetricEvent]) -> str:
        """Encode, or fail."""
        found = ids(list(events))
        self.encoded.append(found)
        if self.bad.intersection(found):
            raise ValueError("no way to say this")
        return "".join(chr(event_id) * self.widths.get(event_id, self.width) for event_id in found)


class GatedSink(ScriptedSink):
    """Answers once it is opened."""

    def __init__(self, **settings: Any) -> None:
        """Start shut, and willing to wait for ever."""
        super().__init__(timeout=1e9, **settings)
        self.gate = trio.Event()

    async def send(self, payload: Payload[Any]) -> Any:
        """Wait, then deliver."""
        answer = await super().send(payload)
        await self.gate.wait()
        return answer


class GatedEncodingSink(GatedSink, EncodingSink):
    """Encodes, and answers once it is opened."""


def record(metrics: BatchMetricsCollector, first: int, last: int) -> None:
    """Record events numbered like this."""
    for number in range(first, last + 1):
        metrics.record_counter("c", {"id": number}, 1)


async def record_batches(metrics: BatchMetricsCollector, first: int, last: int, size: int) -> None:
    """Record so many at a time, and let them go as far as they can."""
    for start in range(first, last + 1, size):
        record(metrics, start, min(start + size - 1, last))
        await wait_all_tasks_blocked()


def kept() -> int:
    """Count the objects of the library's own classes that are alive."""
    gc.collect()
    return sum(str(type(one).__module__).startswith("trio_batchmetrics") for one in gc.get_objects())


def assert_let_in(seen: list[int]) -> None:
    """Assert that another task ran between any two steps (Trio's order within a round is random, so: any three)."""
    assert max(after - before for before, after in pairwise(seen)) <= 2


def account(metrics: BatchMetricsCollector, name: str = "scripted") -> SinkStats:
    """Return a sink's account, the books balanced."""
    return balanced(metrics.stats()).sinks[name]


def upto(last: int, first: int = 1) -> list[int]:
    """Return the numbers from the first to the last."""
    return list(range(first, last + 1))


# -- what an attempt takes


async def test_an_attempt_takes_everything_that_is_queued_across_batches_in_order(autojump_clock: MockClock) -> None:
    """What came in three batches while the first attempt was under way goes in the second."""
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
    """As many as that, though they come from several batches, and one batch may be spread over several payloads."""
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
async def test_a_payload_holds_as_many_bytes_as_it_may_and_no_more(
    width: int, limit: int, most: int, autojump_clock: MockClock
) -> None:
    """Never beyond max_payload_bytes, and never so little that the next event would have had room."""
    sink = EncodingSink(width=width, max_payload_bytes=limit, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=1300), sinks=[sink]) as metrics:
        record(metrics, 1, 1300)
        await metrics.flush()
    assert [event for payload in sink.payloads for event in payload] == upto(1300)
    for attempt in sink.attempts:
        assert sum(map(len, attempt.parts)) == len(attempt.events) * width <= limit
    assert [len(payload) for payload in sink.payloads[:-1]] == [most] * (1300 // most - (1300 % most == 0))


async def test_an_event_that_is_larger_than_max_payload_bytes_goes_alone(autojump_clock: MockClock) -> None:
    """It is for the back-end to refuse; its neighbours keep the limit and the order."""
    sink = EncodingSink(max_payload_bytes=3, name="scripted")
    sink.widths = {4: 50, 5: 50}
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 9)
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3], [4], [5], [6, 7, 8], [9]]


async def test_what_does_not_fit_into_a_payload_keeps_its_place_across_batches(autojump_clock: MockClock) -> None:
    """Events of several batches, put back because they are too many bytes, leave in the order they came in."""
    sink = GatedEncodingSink(width=17, max_payload_bytes=35, name="scripted")
    sink.widths = {1: 10}  # the first is small: so more are taken at a time than fit
    async with collector(BatchMetricsConfig(batch_size=1, buffer_size=100), sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 20, 1)
        sink.gate.set()
        await metrics.flush()
    assert [event for payload in sink.payloads for event in payload] == upto(20)
    assert max(map(len, sink.payloads)) == 2


async def test_encode_gets_at_most_500_events_at_a_time_with_checkpoints_between(autojump_clock: MockClock) -> None:
    """One payload of three parts; others run meanwhile."""
    sink = EncodingSink(name="scripted")
    steps: list[int] = []  # how many calls others have seen

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
    """Such a sink has no parts, and looks at the events."""
    sink = ScriptedSink()
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.attempts[0].parts == ()
    assert sink.payloads == [[1, 2]]


@pytest.mark.parametrize("bad", [[1], [7], [499], [500, 501], [3, 4, 700], upto(1000)])
async def test_events_that_cannot_be_encoded_are_rejected_alone(bad: list[int], autojump_clock: MockClock) -> None:
    """Wherever they stand, the others are delivered in order; where there are no others there is no attempt."""
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
    """Where a payload turns out too long, or is halved, or tried again in part, nothing is counted twice."""
    sink = EncodingSink(
        Receipt(too_large=True), Receipt(retry=[1], retry_after=1), bad=[2, 5, 30], max_payload_bytes=8, name="scripted"
    )
    async with collector(BatchMetricsConfig(batch_size=30), sinks=[sink]) as metrics:
        record(metrics, 1, 30)
        report = report_balanced(await metrics.flush(), 30)
        assert (report.processed, report.failed) == (27, 3)
    stats = account(metrics)
    assert (stats.total, stats.delivered, stats.rejected) == (30, 27, 3)
    assert sink.payloads[:4] == [[1, 3, 4, 6, 7, 8, 9, 10], [1, 3, 4, 6], [3], [7, 8, 9, 10]]
    assert [event for payload in sink.payloads[3:] for event in payload] == upto(29, 7)


# -- what its answer means


@pytest.mark.parametrize("answer", [None, Receipt(), Receipt(retry=[])])
async def test_none_and_an_empty_receipt_mean_delivered(answer: Receipt | None, autojump_clock: MockClock) -> None:
    """One attempt, and no error."""
    sink = ScriptedSink(answer)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        assert (await metrics.flush()).processed == 3
    stats = account(metrics)
    assert (stats.delivered, stats.retries, stats.last_error) == (3, 0, None)
    assert len(sink.attempts) == 1


async def test_rejected_items_are_rejected_and_the_others_delivered(autojump_clock: MockClock) -> None:
    """They count as failed events; the reason is told."""
    sink = ScriptedSink(Receipt(rejected={1: "too old", 3: "too old"}))
    async with collector(BatchMetricsConfig(batch_size=5), sinks=[sink]) as metrics:
        record(metrics, 1, 5)
        report = report_balanced(await metrics.flush(), 5)
    assert (report.processed, report.failed) == (3, 2)
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (3, 2, 0)
    assert "too old" in str(stats.last_error)
    assert balanced(metrics.stats()).failed_events == 2


@pytest.mark.parametrize(
    "answer",
    [ConnectionError("no route"), ExceptionGroup("g", [OSError("no route")]), Receipt(retry=True, error="no route")],
    ids=["error", "group", "receipt"],
)
async def test_what_raised_or_asks_for_it_is_tried_again_with_everything(
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


async def test_only_the_items_named_are_tried_again(autojump_clock: MockClock) -> None:
    """The others are delivered at once, those refused are settled at once, and the order is kept."""
    sink = ScriptedSink(
        Receipt(retry=[4, 1, 2], rejected={3: "bad"}, retry_after=5, error="503"),
        Receipt(retry=[0, 2], retry_after=5),
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


async def test_everything_but_what_is_rejected_may_be_tried_again(autojump_clock: MockClock) -> None:
    """``Receipt(retry=True, rejected=…)`` delivers nothing."""
    sink = ScriptedSink(Receipt(retry=True, rejected={0: "bad", 2: "bad"}, retry_after=5))
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        record(metrics, 1, 4)
        await wait_all_tasks_blocked()
        stats = account(metrics)
        assert (stats.delivered, stats.rejected, stats.pending) == (0, 2, 2)
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3, 4], [2, 4]]
    assert account(metrics).delivered == 2


async def test_retrying_what_is_left_encodes_it_anew(autojump_clock: MockClock) -> None:
    """The parts of a payload are those of its events; a retry of the whole has the same parts."""
    sink = EncodingSink(Receipt(retry=[0, 599]), Receipt(retry=True), name="scripted")
    async with collector(BatchMetricsConfig(batch_size=600), sinks=[sink]) as metrics:
        record(metrics, 1, 600)
        await metrics.flush()
    assert sink.payloads == [upto(600), [1, 600], [1, 600]]
    assert [attempt.parts for attempt in sink.attempts[1:]] == [(chr(1) + chr(600),)] * 2


async def test_a_payload_that_is_too_large_is_halved_until_it_fits(autojump_clock: MockClock) -> None:
    """At once, in order, each half a payload with a key of its own; and no half counts as a retry."""

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


async def test_a_half_of_what_may_have_arrived_may_have_too(autojump_clock: MockClock) -> None:
    """Too large, said of a payload of which some may be there."""
    sink = ScriptedSink(Receipt(too_large=True, uncertain=True), Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        for number in range(2):
            metrics.record_counter("c", {"id": number}, 1)
    account = balanced(metrics.stats()).sinks["scripted"]
    assert (account.delivered, account.rejected, account.failures) == (1, 0, {"rejected": 1})


async def test_a_pause_that_a_backend_asks_for_does_not_cost_the_last_attempts(autojump_clock: MockClock) -> None:
    """At the end of the block it is asked before, if there is no time to wait so long."""
    busy = Receipt(retry=True, retry_after=60, error="429")
    for busy_times, delivered in ((1, 1), (3, 1), (100, 0)):
        sink = ScriptedSink(*[busy] * busy_times)
        start = trio.current_time()
        async with collector(BatchMetricsConfig(shutdown_timeout=10), sinks=[sink]) as metrics:
            metrics.record_counter("c", {"id": 0}, 1)
        assert balanced(metrics.stats()).sinks["scripted"].delivered == delivered
        assert trio.current_time() - start <= 10
        assert len(sink.attempts) < 10


async def test_a_forked_child_does_not_close_what_is_its_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    """To close may be to speak to the back-end, as where a group is deleted on exit."""

    class Closing(ScriptedSink):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1
            await trio.lowlevel.checkpoint()

    for child in (True, False):
        sink, counters, pid = Closing(), SinkCounters("closing", series=False), os.getpid()
        delivery = EventDelivery(
            sink,
            counters,
            Ledger([counters]),
            capacity=1,
            run_id="",
            room=RoomSignal(Turn()),
            report=lambda: None,
        )
        delivery.finish()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda pid=pid + child: pid)
            await delivery.run()
        assert sink.closed == (not child)


async def test_last_success_is_not_of_a_payload_that_was_refused_whole(autojump_clock: MockClock) -> None:
    """The back-end is well, but it took nothing."""
    sink = ScriptedSink(Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"id": 0}, 1)
        await metrics.flush()
        assert metrics.stats().sinks["scripted"].last_success is None
        metrics.record_counter("c", {"id": 1}, 1)
        await metrics.flush()
        assert metrics.stats().sinks["scripted"].last_success is not None


REFUSALS = [
    Receipt(too_large=True, error="413"),
    Receipt(rejected={0: "bad"}),
    Receipt(retry=[], rejected={0: "bad"}),
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("lost", [Receipt(retry=True, uncertain=True, error="reset"), ...], ids=["said", "timeout"])
@pytest.mark.parametrize("kind", [ScriptedSink, EncodingSink])
async def test_what_may_have_arrived_is_never_counted_as_refused(
    kind: type[ScriptedSink], lost: Any, refusal: Receipt, autojump_clock: MockClock
) -> None:
    """Only *failed* says that it may be there, however often it was tried and split since."""
    sink = kind(lost, Receipt(retry=True, error="503"), Receipt(too_large=True), refusal, refusal, timeout=5)
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


@pytest.mark.parametrize("before", [Receipt(retry=True, error="503"), RuntimeError("down"), 7], ids=str)
async def test_what_did_not_arrive_before_is_counted_as_refused(before: Any, autojump_clock: MockClock) -> None:
    """A refusal to take it now, or an exception, says that nothing arrived."""
    sink = ScriptedSink(before, Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"id": 0}, 1)
    assert balanced(metrics.stats()).sinks["scripted"].rejected == 1


async def test_only_the_payload_whose_outcome_is_uncertain_is_in_doubt(autojump_clock: MockClock) -> None:
    """Not the next one; and of items that are tried again, those."""
    uncertain = Receipt(retry=[1], rejected={0: "bad"}, uncertain=True, error="reset")
    sink = ScriptedSink(uncertain, Receipt(rejected={0: "bad"}), Receipt(rejected={0: "bad"}))
    async with collector(sinks=[sink]) as metrics:
        for number in range(2):
            metrics.record_counter("c", {"id": number}, 1)
        await metrics.flush()
        metrics.record_counter("c", {"id": 2}, 1)
    account = balanced(metrics.stats()).sinks["scripted"]
    assert (account.rejected, account.failures) == (2, {"rejected": 1})


async def test_a_half_that_fails_is_tried_again_before_the_other(autojump_clock: MockClock) -> None:
    """With its own key; the other half waits its turn."""
    sink = ScriptedSink(Receipt(too_large=True), Receipt(retry=True, retry_after=4))
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        record(metrics, 1, 4)
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3, 4], [1, 2], [1, 2], [3, 4]]
    assert sink.times == [0, 0, 4, 4]
    assert sink.keys[1] == sink.keys[2]
    assert len(set(sink.keys)) == 3
    assert account(metrics).retries == 1


async def test_a_refusal_of_the_whole_payload_is_failure_at_once(autojump_clock: MockClock) -> None:
    """``Receipt(error="401")``: no retry, counted as ``refused``; later payloads are tried."""
    sink = ScriptedSink(Receipt(error="401"))
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


class _Unprintable(Exception):
    """Raises when it is printed."""

    def __str__(self) -> str:
        raise ValueError("this too")


NONSENSE: dict[str, Any] = {
    "True": True,
    "False": False,
    "text": "ok",
    "a number": 200,
    "the class": Receipt,
    "a position beyond the end": Receipt(rejected={3: "?"}),
    "a position below 0": Receipt(rejected={-1: "?"}),
    "a position that is a bool": Receipt(rejected={True: "?"}),
    "a position that is text": Receipt(retry=["0"]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    "a retry beyond the end": Receipt(retry=[0, 3]),
    "a retry named twice": Receipt(retry=[1, 1]),
    "both rejected and to be retried": Receipt(rejected={1: "?"}, retry=[0, 1]),
    "a retry that is text": Receipt(retry="yes"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "an error that cannot be printed": _Unprintable(),
}
"""Answers that say nothing certain about a payload of three."""

MISTYPED: dict[str, dict[str, Any]] = {
    "rejected is None": {"rejected": None},
    "rejected is a list": {"rejected": [0, 1]},
    "rejected is a number": {"rejected": 1},
    "retry is a number": {"retry": 1},
    "retry_after is text": {"retry": True, "retry_after": "5"},
    "retry_after is a timedelta": {"retry": True, "retry_after": timedelta(seconds=5)},
    "error is an exception": {"retry": True, "error": OSError("no route")},
    "a refusal with an exception": {"error": OSError("no route")},
    "a retry of things that do not hash": {"retry": [[0]]},
}
"""Receipts made by an author whose code is not typed."""


@pytest.mark.parametrize("name", [*NONSENSE, *MISTYPED])
async def test_an_answer_that_makes_no_sense_is_tried_again_and_harms_nobody(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A sink that lies costs its own time only: nothing crashes, the good sink goes on, and the retry delivers."""

    class LyingSink(ScriptedSink):
        async def send(self, payload: Payload[Any]) -> Any:
            await super().send(payload)
            if len(self.attempts) > 1:
                return None
            if name in MISTYPED:
                return Receipt(**MISTYPED[name])  # inside the attempt: should it raise, that is the attempt's failure
            if isinstance(NONSENSE[name], Exception):
                raise NONSENSE[name]
            return NONSENSE[name]

    good, sink = RecordingSink(), LyingSink(name="scripted")
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink, good]) as metrics:
        record(metrics, 1, 3)
        await metrics.flush()
        record(metrics, 4, 6)
        await metrics.flush()
    assert not [line for line in caplog.records if line.exc_info], "the library's own tasks crashed"
    assert ids(good.events) == upto(6)
    stats = account(metrics)
    if name == "a refusal with an exception" and len(sink.attempts) == 2:
        assert stats.failures == {"refused": 3}
        return
    assert sink.payloads == [[1, 2, 3], [1, 2, 3], [4, 5, 6]]
    assert sink.keys[0] == sink.keys[1]
    assert (stats.delivered, stats.retries) == (6, 1)
    assert stats.last_error


async def test_a_payload_keeps_its_key_and_no_other_has_it(autojump_clock: MockClock) -> None:
    """Through errors, timeouts and lies; different in another sink and in another collector."""
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
    """Not even where it comes after the timeout, from a sink that let nothing cut it off."""

    class SwallowingSink(ScriptedSink):
        """Is cancelled by the timeout, and still says that it has delivered."""

        async def send(self, payload: Payload[Any]) -> Any:
            with trio.CancelScope(shield=True):
                return await super().send(payload)

    slow = SwallowingSink(takes=7, timeout=5, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[slow]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert slow.payloads == [[1, 2]]
    assert account(metrics).delivered == 2


# -- time


async def test_an_attempt_is_cut_off_at_its_timeout_and_made_again(autojump_clock: MockClock) -> None:
    """To the instant; the error says so."""
    sink = ScriptedSink(..., ..., timeout=7)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    lengths = [end - at for at, end in zip(sink.times, sink.ended, strict=True)]
    assert lengths == pytest.approx([7, 7, 0], abs=1e-9)  # the pauses between them are random
    stats = account(metrics)
    assert (stats.delivered, stats.retries) == (2, 2)
    assert "7 s" in str(stats.last_error)


async def test_a_timeout_is_what_is_told_of_a_sink_whose_tasks_fail_as_they_are_cut_off(
    autojump_clock: MockClock,
) -> None:
    """Its own errors come from being cut off; that there was no answer in time is the reason."""

    class Nested(ScriptedSink):
        """Has a nursery, the first time, and a task that fails when it is cancelled."""

        async def send(self, payload: Payload[Any]) -> Any:
            """Hang and fail, or take the batch."""
            if self.attempts:
                return await super().send(payload)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await super().send(payload)
                finally:
                    raise ValueError("cut off")

    sink = Nested(..., timeout=2, name="scripted")
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.ended[0] == 2
    stats = account(metrics)
    assert (stats.delivered, stats.retries, stats.last_error) == (2, 1, "no answer within 2 s")


async def test_a_retry_counts_from_its_beginning(autojump_clock: MockClock) -> None:
    """Also one that the deadline cuts off."""
    sink = ScriptedSink(OSError(), ...)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(5)
        assert account(metrics).retries == 1
    assert len(sink.attempts) == 2
    assert (account(metrics).retries, account(metrics).failures) == (1, {"shutdown": 2})


async def test_the_timeout_is_thirty_seconds_by_default(autojump_clock: MockClock) -> None:
    """Also for a function, and for a subclass that does not call ``__init__``."""

    class Careless(EventSink[None]):
        def __init__(self) -> None:
            self.times: list[float] = []

        async def send(self, payload: Payload[None]) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.times.append(trio.current_time())

    times: list[float] = []

    async def function(batch: Batch) -> None:
        try:
            await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    careless = Careless()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=0), sinks=[careless, function]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(30)
        await wait_all_tasks_blocked()
        assert careless.times == times == [30]


async def test_no_retry_begins_after_the_budget_and_the_last_one_at_its_end(autojump_clock: MockClock) -> None:
    """Then the payload is failed, at that instant, and the next has a budget of its own."""
    failure = Receipt(retry=True, retry_after=3, error="503")
    sink = ScriptedSink(*[failure] * 5, failure, failure, retry_budget=10)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(1)
        record(metrics, 3, 4)
        report = report_balanced(await metrics.flush(), 4)
    assert sink.times == [0, 3, 6, 9, 10, 10, 13, 16]
    assert sink.payloads == [[1, 2]] * 5 + [[3, 4]] * 3
    assert (report.processed, report.failed) == (2, 2)
    stats = account(metrics)
    assert (stats.failures, stats.retries, stats.last_error) == ({"retry_budget": 2}, 6, "503")


async def test_an_attempt_that_outlasts_the_budget_is_the_last(autojump_clock: MockClock) -> None:
    """No retry after it, not even at once."""
    sink = ScriptedSink(OSError("late"), takes=12, retry_budget=10)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        assert (await metrics.flush()).failed == 2
        assert trio.current_time() == 12
    assert sink.times == [0]
    assert account(metrics).failures == {"retry_budget": 2}


async def test_what_is_left_of_a_payload_shares_its_budget(autojump_clock: MockClock) -> None:
    """Items that come back again and again do not stay for ever."""
    failure = Receipt(retry=[0], retry_after=4)
    sink = ScriptedSink(*[failure] * 9, retry_budget=10)
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        report = await metrics.flush()
        assert trio.current_time() == 10
    assert sink.payloads == [[1, 2, 3], [1], [1], [1]]
    assert sink.times == [0, 4, 8, 10]
    assert (report.processed, report.failed) == (2, 1)


async def test_the_budget_is_300_seconds_by_default(autojump_clock: MockClock) -> None:
    """The last attempt is made at 300 s exactly."""
    sink = FlakySink(fail=10**6)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        assert (await metrics.flush()).failed == 2
        assert trio.current_time() == 300
    assert account(metrics, "flaky").failures == {"retry_budget": 2}


async def test_pauses_double_up_to_the_longest_with_full_jitter(autojump_clock: MockClock) -> None:
    """Half a second, then 1, 2, 4, 8, 16, 30, 30 …: each pause is anything from 0 to that."""
    sinks = [ScriptedSink(*[OSError()] * 9, retry_budget=1e6) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    for n, longest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, 30]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)


async def test_pauses_are_what_the_sink_says(autojump_clock: MockClock) -> None:
    """``backoff`` and ``max_backoff``."""
    sinks = [ScriptedSink(*[OSError()] * 4, backoff=2, max_backoff=5) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    for n, longest in enumerate([2, 4, 5, 5]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)


async def test_the_pause_is_carried_over_to_the_next_payload(autojump_clock: MockClock) -> None:
    """A back-end that is down is asked rarely, whatever payload it is."""
    sinks = [ScriptedSink(*[OSError()] * 5, Receipt(error="401"), OSError()) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    assert all(sink.payloads == [[1, 2]] * 6 + [[3, 4]] * 2 for sink in sinks)
    assert_full_jitter([sink.times[7] - sink.times[6] for sink in sinks], 16)


@pytest.mark.parametrize("success", [None, Receipt(rejected={0: "bad"}), Receipt(retry=[0])])
async def test_a_success_makes_pauses_short_again(success: Receipt | None, autojump_clock: MockClock) -> None:
    """After five failures and one delivery the next failure waits half a second at most."""
    sinks = [ScriptedSink(*[OSError()] * 5, success, OSError()) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    retried = success is not None and success.retry
    pauses = [sink.times[7] - sink.times[6] for sink in sinks]
    assert_full_jitter(pauses, 1 if retried else 0.5)  # what is left of a payload has had its first pause already


@pytest.mark.parametrize(("asked", "waits"), [(0.001, 0.001), (17, 17), (300, 300), (301, 300), (math.inf, 300)])
async def test_a_pause_that_the_backend_asks_for_is_kept_exactly(
    asked: float, waits: float, autojump_clock: MockClock
) -> None:
    """Up to 300 s, however short its own pause would be."""
    sink = ScriptedSink(Receipt(retry=True, retry_after=asked), retry_budget=1e6)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.times == [0, waits]


@pytest.mark.parametrize("asked", [None, 0, -1, -0.0, -math.inf, math.nan])
async def test_a_pause_of_zero_or_less_is_the_ordinary_one(asked: float | None, autojump_clock: MockClock) -> None:
    """A back-end that says "at once" is not hammered: the pause doubles as ever."""
    sinks = [ScriptedSink(*[Receipt(retry=True, retry_after=asked)] * 3) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    for n, longest in enumerate([0.5, 1, 2]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)


async def test_last_error_and_last_success_tell_how_a_sink_is(autojump_clock: MockClock) -> None:
    """The error stays after a success, which is told by the wall clock; before, there is neither."""
    sink = ScriptedSink(Receipt(retry=True, retry_after=5, error="503"), None, OSError("later\nand worse"))
    before = datetime.now(UTC)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        assert (account(metrics).last_error, account(metrics).last_success) == (None, None)
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        assert (account(metrics).last_error, account(metrics).last_success) == ("503", None)
        await metrics.flush()
        first = account(metrics).last_success
        assert first is not None
        assert before <= first <= datetime.now(UTC)
        assert account(metrics).last_error == "503"
        record(metrics, 3, 4)
        await wait_all_tasks_blocked()
        assert account(metrics).last_success == first
        assert account(metrics).last_error == "OSError: later and worse"
        await metrics.flush()
        second = account(metrics).last_success
        assert second is not None
        assert second > first


async def test_an_error_is_kept_short(autojump_clock: MockClock) -> None:
    """A back-end that answers with a page does not fill the memory, or a log."""
    sink = ScriptedSink(OSError("x" * 10**6), None, Receipt(error="y" * 10**6))
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for start in (1, 3):
            record(metrics, start, start + 1)
            await metrics.flush()
            assert len(account(metrics).last_error or "") == 500


# -- queues


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_while_every_queue_is_full_the_buffer_fills_and_on_full_decides(
    policy: Policy, autojump_clock: MockClock
) -> None:
    """Two in flight, six in the queue, six in the buffer; nothing is failed, and the rest is dropped as configured."""
    one, two = GatedSink(name="one"), GatedSink(name="two")
    config = BatchMetricsConfig(batch_size=2, buffer_size=6, on_full=policy)
    async with collector(config, sinks=[one, two]) as metrics:
        await record_batches(metrics, 1, 14, 2)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.dropped_events) == (14, 0)
        assert stats.sinks["one"].pending == stats.sinks["two"].pending == 8
        await record_batches(metrics, 15, 19, 1)
        stats = balanced(metrics.stats())
        assert stats.dropped == {"buffer_full": 5}
        assert stats.pending_events == 14
        assert stats.sinks["one"].total == 8
        one.gate.set()
        two.gate.set()
        report = report_balanced(await metrics.flush(), 14)
        assert report.processed == 14
    for sink in (one, two):
        arrived = [event for payload in sink.payloads for event in payload]
        assert arrived == (upto(14) if policy == "drop_newest" else [*upto(8), *upto(19, 14)])
        assert sink.payloads[:2] == [[1, 2], upto(8, 3)]
    assert balanced(metrics.stats()).failed_events == 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5])
async def test_where_only_some_queues_are_full_they_give_up_their_oldest(
    batch_size: int, autojump_clock: MockClock
) -> None:
    """As few as make room, never the attempt in flight; the good sink has everything at once and loses nothing."""
    good, bad = ScriptedSink(name="good"), GatedSink(name="bad")
    async with collector(BatchMetricsConfig(batch_size=batch_size, buffer_size=5), sinks=[bad, good]) as metrics:
        for number in range(1, 61):  # a multiple of each size: nothing is open in the end
            record(metrics, number, number)
            await wait_all_tasks_blocked()
            whole = number - number % batch_size
            assert [event for payload in good.payloads for event in payload] == upto(whole)
            stats = account(metrics, "bad")
            assert (stats.total, stats.failed) == (whole, max(whole - batch_size - 5, 0))
            assert balanced(metrics.stats()).failed_events == stats.failed
        bad.gate.set()
        await metrics.flush()
    stats = account(metrics, "bad")
    assert stats.failures == {"queue_full": 60 - batch_size - 5}
    assert bad.payloads[0] == upto(batch_size)
    assert bad.payloads[1] == upto(60, 56)
    assert account(metrics, "good").delivered == 60
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (batch_size + 5, 60 - batch_size - 5)
    assert set(good.times) == {0}


async def test_what_a_full_queue_gives_up_is_told(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A WARNING at once, and the number at the end."""
    sinks = [StuckSink(), RecordingSink()]
    async with collector(BatchMetricsConfig(batch_size=1, buffer_size=2, shutdown_timeout=0), sinks=sinks) as metrics:
        await record_batches(metrics, 1, 5, 1)
    lines = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert "stuck: failed 1 (queue_full)" in lines[0]
    assert "queue_full 2" in lines[-1]


async def test_room_wakes_what_waits_for_it_at_once(autojump_clock: MockClock) -> None:
    """The attempt ends at 10 s, the next takes the queue, and what waited is queued at that instant."""
    sink = ScriptedSink(takes=10)
    async with collector(BatchMetricsConfig(batch_size=2, buffer_size=4), sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 10, 2)
        assert (account(metrics).total, balanced(metrics.stats()).pending_events) == (6, 10)
        await trio.sleep(10)
        await wait_all_tasks_blocked()
        assert account(metrics).total == 10
        record(metrics, 11, 14)
        await metrics.flush()
    assert sink.payloads == [[1, 2], [3, 4, 5, 6], [7, 8, 9, 10], [11, 12, 13, 14]]
    assert sink.times == [0, 10, 20, 30]
    assert balanced(metrics.stats()).processed_events == 14


async def test_a_sink_that_encodes_tells_of_its_room_too(autojump_clock: MockClock) -> None:
    """What waits for room in its queue goes on as soon as the queue is taken."""
    sink = GatedEncodingSink(name="scripted")
    async with collector(BatchMetricsConfig(batch_size=2, buffer_size=2), sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 6, 2)  # a batch under way, one in the queue, one that waits for room
        sink.gate.set()
        with trio.fail_after(1):
            assert (await metrics.flush()).processed == 6
    assert sink.payloads == [[1, 2], [3, 4], [5, 6]]


async def test_a_batch_that_waits_for_room_may_be_pushed_out_and_is_then_forgotten(autojump_clock: MockClock) -> None:
    """What comes after it is handed over in its place."""
    sink = GatedSink(name="scripted")
    config = BatchMetricsConfig(batch_size=3, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 9, 3)
        assert account(metrics).total == 6
        await record_batches(metrics, 10, 12, 1)
        stats = balanced(metrics.stats())
        assert (stats.dropped, stats.pending_events, stats.batch_count) == ({"buffer_full": 3}, 9, 2)
        sink.gate.set()
        await metrics.flush()
    assert sink.payloads == [[1, 2, 3], [4, 5, 6], [10, 11, 12]]
    assert balanced(metrics.stats()).batch_count == 3


async def test_what_is_left_of_a_batch_goes_as_soon_as_it_fits(autojump_clock: MockClock) -> None:
    """A queue is full while the next batch does not fit: pushed out in part, it may fit, and then loses no more."""
    sink = GatedSink(name="scripted")
    config = BatchMetricsConfig(batch_size=3, buffer_size=4, on_full="drop_oldest")
    async with collector(config, sinks=[sink]) as metrics:
        await record_batches(metrics, 1, 9, 3)
        assert account(metrics).total == 6  # 3 in flight, 3 of 4 places taken: 7 to 9 do not fit
        await record_batches(metrics, 10, 11, 1)  # pushes out 7
        await record_batches(metrics, 12, 12, 1)  # pushes out 8: what is left is 9, which fits
        assert account(metrics).total == 7
        await record_batches(metrics, 13, 13, 1)
        assert balanced(metrics.stats()).dropped == {"buffer_full": 2}
        sink.gate.set()
        await metrics.flush()
    assert [event for payload in sink.payloads for event in payload] == [*upto(6), *upto(13, 9)]


async def test_the_work_for_a_long_queue_grows_with_its_length_and_not_with_the_square(
    autojump_clock: MockClock,
) -> None:
    """Two thousand batches of one event, one a payload: a fraction of a second, not half a minute of a held loop."""
    bad, good = GatedSink(name="bad", max_events=1), ScriptedSink(name="good")
    async with collector(BatchMetricsConfig(batch_size=1, buffer_size=2000), sinks=[bad, good]) as metrics:
        await record_batches(metrics, 1, 2001, 1)
        start = time.process_time()
        bad.gate.set()
        await metrics.flush()
        assert time.process_time() - start < 5
    assert [event for payload in bad.payloads for event in payload] == upto(2001)


async def test_batches_that_are_pushed_out_whole_take_no_memory(autojump_clock: MockClock) -> None:
    """However long a sink is stuck: what waits is bounded, also the batches that nothing is left of."""

    async def push_out(count: int) -> None:
        for number in range(count):
            record(metrics, number, number)
            await trio.lowlevel.checkpoint()

    config = BatchMetricsConfig(batch_size=1, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[StuckSink()]) as metrics:
        await push_out(100)
        before = kept()
        await push_out(500)
        assert balanced(metrics.stats()).dropped["buffer_full"] > 500
        assert kept() - before < 20


async def test_pushing_out_takes_no_longer_the_longer_a_sink_is_stuck(autojump_clock: MockClock) -> None:
    """Ten thousand batches that nothing is left of: a fraction of a second, they are not looked through each time."""
    config = BatchMetricsConfig(batch_size=1, buffer_size=3, on_full="drop_oldest")
    async with collector(config, sinks=[StuckSink()]) as metrics:
        start = time.process_time()
        record(metrics, 1, 10_000)
        assert time.process_time() - start < 2
        assert balanced(metrics.stats()).dropped == {"buffer_full": 9997}


# -- sinks beside each other


async def test_a_slow_sink_never_delays_a_good_one(autojump_clock: MockClock) -> None:
    """Stuck, backing off or dawdling beside it: the good one has each batch the moment it is full."""
    good = ScriptedSink(name="good")
    sinks = [StuckSink(), FlakySink(fail=10**6), ScriptedSink(takes=20, name="slow"), good]
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=0), sinks=sinks) as metrics:
        for second in range(100):
            record(metrics, 2 * second + 1, 2 * second + 2)
            await trio.sleep(1)
    assert good.times == list(range(100))
    assert good.payloads == [[2 * second + 1, 2 * second + 2] for second in range(100)]
    assert account(metrics, "good").delivered == 200


async def test_a_sink_that_raises_gets_its_later_batches(autojump_clock: MockClock) -> None:
    """Given up, refused or rejected, what comes later is tried."""
    sink = ScriptedSink(OSError(), ValueError(), Receipt(error="400"), KeyError(), retry_budget=0.001)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        for start in range(1, 20, 2):
            record(metrics, start, start + 1)
            await metrics.flush()
    stats = account(metrics)
    assert stats.failed >= 2
    assert stats.failed + stats.delivered == 20
    assert sink.payloads[-1] == [19, 20]
    assert [payload for payload in sink.payloads if payload[0] > 8] == [[n, n + 1] for n in range(9, 20, 2)]


async def test_an_event_failed_in_one_sink_and_delivered_in_another_counts_once_as_failed(
    autojump_clock: MockClock,
) -> None:
    """And it is pending until the last sink has settled it."""
    slow = ScriptedSink(takes=5, name="slow")
    sinks = [ScriptedSink(Receipt(error="401"), name="bad"), PartialSink(reject=is_one_of([2, 3])), slow]
    async with collector(BatchMetricsConfig(batch_size=4), sinks=sinks) as metrics:
        record(metrics, 1, 4)
        await trio.sleep(4.9)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.failed_events, stats.processed_events) == (4, 0, 0)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.failed_events, stats.processed_events) == (0, 4, 0)
        record(metrics, 5, 8)
        record(metrics, 2, 3)
        report = report_balanced(await metrics.flush(), 6)
        assert (report.processed, report.failed) == (4, 2)
    assert [account(metrics, name).failed for name in ("bad", "partial", "slow")] == [4, 0, 0]
    assert [account(metrics, name).rejected for name in ("bad", "partial", "slow")] == [0, 4, 0]
    assert [account(metrics, name).delivered for name in ("bad", "partial", "slow")] == [6, 6, 10]


def is_one_of(refused: list[int]) -> Callable[[Any], bool]:
    """Return a predicate that is true for the events with these ids."""
    return lambda event: event.labels["id"] in refused


async def test_an_event_counts_as_processed_once_its_last_sink_has_it(autojump_clock: MockClock) -> None:
    """One second, three seconds: at three."""
    sinks = [ScriptedSink(takes=1, name="one"), ScriptedSink(takes=3, name="three", max_events=1)]
    processed: list[int] = []
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        for _ in range(7):
            await wait_all_tasks_blocked()
            processed.append(balanced(metrics.stats()).processed_events)
            await trio.sleep(1)
    assert processed == [0, 0, 0, 1, 1, 1, 2]


async def test_the_same_through_many_sinks_settles_each_event_once(autojump_clock: MockClock) -> None:
    """Eighty sinks, each refusing another event."""
    sinks = [ScriptedSink(Receipt(rejected={n: "no"}, retry=[n + 1])) for n in range(80)]
    async with collector(BatchMetricsConfig(batch_size=100), sinks=sinks) as metrics:
        record(metrics, 1, 100)
        report = report_balanced(await metrics.flush(), 100)
        assert (report.processed, report.failed) == (20, 80)
    assert all(sink.delivered == 99 for sink in balanced(metrics.stats()).sinks.values())


async def test_with_defaults_two_thousand_events_a_second_through_a_slow_sink_lose_nothing(
    autojump_clock: MockClock,
) -> None:
    """An attempt takes 100 ms: a slow back-end costs latency, not data."""
    sink = ScriptedSink(takes=0.1)
    async with collector(sinks=[sink]) as metrics:
        start = trio.current_time()
        for step in range(1000):
            record(metrics, 20 * step + 1, 20 * step + 20)
            await trio.sleep_until(start + (step + 1) / 100)
            assert balanced(metrics.stats()).pending_events <= 600
        left = trio.current_time()
    assert trio.current_time() - left <= 0.2001
    assert [event for payload in sink.payloads for event in payload] == upto(20_000)
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.dropped_events, stats.failed_events) == (20_000, 0, 0)


async def test_a_send_that_never_waits_does_not_hold_the_run_loop(autojump_clock: MockClock) -> None:
    """A hundred payloads, a hundred chances for others to run."""

    class Instant(EventSink[None]):
        """Answers with no checkpoint."""

        attempts = 0

        async def send(self, payload: Payload[None]) -> None:
            self.attempts += 1

    sink = Instant(max_events=10)
    seen: list[int] = []

    async def others() -> None:
        while True:
            seen.append(sink.attempts)
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        record(metrics, 1, 1000)
        await metrics.flush()
        nursery.cancel_scope.cancel()
    assert sink.attempts == 100
    assert_let_in(seen)


async def test_a_sink_that_fails_at_once_does_not_hold_the_run_loop(autojump_clock: MockClock) -> None:
    """Refusing, halving and rejecting too: always a checkpoint an attempt."""

    class Instant(EventSink[None]):
        """Answers with no checkpoint."""

        attempts = 0

        async def send(self, payload: Payload[None]) -> Receipt:
            self.attempts += 1
            return Receipt(too_large=True)

    sink = Instant()
    seen: list[int] = []

    async def others() -> None:
        while True:
            seen.append(sink.attempts)
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=32), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        record(metrics, 1, 32)
        await metrics.flush()
        nursery.cancel_scope.cancel()
    assert sink.attempts == 63
    assert_let_in(seen)
    assert account(metrics, "instant").rejected == 32


# -- flush


async def test_flush_waits_while_a_sink_backs_off(autojump_clock: MockClock) -> None:
    """It returns at the instant the retry succeeds, though another sink was done at once."""
    sink = ScriptedSink(Receipt(retry=True, retry_after=17), takes=1)
    async with collector(sinks=[RecordingSink(), sink]) as metrics:
        record(metrics, 1, 3)
        report = report_balanced(await metrics.flush(), 3)
        assert trio.current_time() == 19
        assert report.ok


async def test_flush_returns_when_what_it_waits_for_is_given_up(autojump_clock: MockClock) -> None:
    """Given up by the budget is settled too."""
    sink = StuckSink(timeout=4, retry_budget=3)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(1)
        record(metrics, 3, 4)
        report = report_balanced(await metrics.flush(), 4)
        assert trio.current_time() == 8
        assert (report.failed, report.ok) == (4, False)


async def test_several_flushes_at_once_each_account_for_their_own(autojump_clock: MockClock) -> None:
    """One that is called later waits for more, and neither for what comes after."""
    sink = ScriptedSink(takes=10)
    done: dict[str, tuple[float, int]] = {}

    async def flush(name: str) -> None:
        report = await metrics.flush()
        done[name] = (trio.current_time(), report.processed)

    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        record(metrics, 1, 2)
        nursery.start_soon(flush, "a")
        await trio.sleep(5)
        record(metrics, 3, 5)
        nursery.start_soon(flush, "b")
        nursery.start_soon(flush, "c")
        await trio.sleep(6)
        record(metrics, 6, 7)
    assert done == {"a": (10, 2), "b": (20, 5), "c": (20, 5)}


@pytest.mark.parametrize("moment", [0.0, 0.5, 3.0])
async def test_a_flush_that_is_cancelled_leaves_no_trace(moment: float, autojump_clock: MockClock) -> None:
    """What it handed over goes on its way; nothing keeps an eye on it any more."""
    sink = ScriptedSink(Receipt(retry=True, retry_after=200), takes=1)
    async with collector(sinks=[RecordingSink(), sink]) as metrics:
        for repetition in range(50):
            record(metrics, 2 * repetition + 1, 2 * repetition + 2)
            with trio.move_on_after(moment) as scope:
                await metrics.flush()
            assert scope.cancelled_caught
        ledger = metrics._engine.ledger
        assert ledger.held == 50, "the batches that are pending, and nothing for the flushes"
        await metrics.flush()
    assert balanced(metrics.stats()).processed_events == 100
    assert [event for payload in sink.payloads[1:] for event in payload] == upto(100)


async def test_flush_leaves_nothing_behind_when_all_is_settled(autojump_clock: MockClock) -> None:
    """The ledger's books hold no cohort and no watch, however much went through."""
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[RecordingSink(), FlakySink(3)]) as metrics:
        for repetition in range(30):
            record(metrics, 5 * repetition + 1, 5 * repetition + 5)
            assert report_balanced(await metrics.flush(), 5).ok
        ledger = metrics._engine.ledger
        assert ledger.held == 0


async def test_a_batch_of_invalid_events_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """It is forgotten like any other that is settled."""
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[]) as metrics:
        before = kept()
        for _ in range(100):
            metrics.record_counter("", {}, 1)
            metrics.record_counter("", {}, 1)
            assert (await metrics.flush()).dropped == 2
        assert kept() - before < 20


# -- what a sink is, and what it is called


async def test_sinks_are_named_after_their_classes_and_functions(autojump_clock: MockClock) -> None:
    """Lower case, without Sink, a number from the second on; ``name=`` wins; a function's own name as it is."""

    class Sink(RecordingSink):
        """Has nothing left of its name without Sink."""

    class HTTPCollector(RecordingSink):
        """Has no Sink in its name."""

    async def My_function(batch: Batch) -> None:  # noqa: N802 - its case is kept
        """Deliver."""

    sinks: list[Any] = [
        RecordingSink(),
        RecordingSink(),
        RecordingSink(name="Mine"),
        RecordingSink(name="Mine"),
        RecordingSink(),
        My_function,
        My_function,
        HTTPCollector(),
        Sink(),
        functools.partial(My_function),
    ]
    async with collector(sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    names = list(balanced(metrics.stats()).sinks)
    assert names[:8] == [
        "recording",
        "recording2",
        "Mine",
        "Mine2",
        "recording3",
        "My_function",
        "My_function2",
        "httpcollector",
    ]
    assert len(set(names)) == len(sinks)
    assert all(sink.delivered == 2 for sink in metrics.stats().sinks.values())


async def test_a_name_that_is_taken_is_not_given_twice(autojump_clock: MockClock) -> None:
    """Not even where somebody has chosen the number's name."""
    sinks = [RecordingSink(name="recording2"), RecordingSink(), RecordingSink(), RecordingSink(name="recording")]
    async with collector(sinks=sinks) as metrics:
        record(metrics, 1, 2)
    assert len(balanced(metrics.stats()).sinks) == 4
    assert list(metrics.stats().sinks)[:2] == ["recording2", "recording"]


async def test_without_sinks_given_batches_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One INFO line a batch, which counts the kinds; the sink is called ``logging``."""
    caplog.set_level(logging.INFO, "trio_batchmetrics")
    async with collector(BatchMetricsConfig(batch_size=3)) as metrics:
        record(metrics, 1, 2)
        metrics.record_cache_metric("redis", "hit")
        await metrics.flush()
        assert list(metrics.stats().sinks) == ["logging"]
    lines = [line.getMessage() for line in caplog.records if line.levelno == logging.INFO]
    assert len(lines) == 1
    assert "2 Counter" in lines[0]
    assert "1 CacheMetric" in lines[0]
    assert balanced(metrics.stats()).processed_events == 3


async def test_with_no_sinks_events_are_validated_and_count_as_processed(autojump_clock: MockClock) -> None:
    """Nothing waits for anybody."""
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[]) as metrics:
        record(metrics, 1, 2)
        metrics.record_counter("c", {}, -1)
        await wait_all_tasks_blocked()
        stats = balanced(metrics.stats())
        assert (stats.processed_events, stats.dropped, stats.sinks) == (2, {"invalid": 1}, {})


def plain(batch: Batch) -> None:
    """Be no coroutine function."""


@pytest.mark.parametrize("given", [None, 3, "sqlite", RecordingSink, object(), {}, [RecordingSink()]])
async def test_what_is_no_sink_is_a_type_error_that_says_which(given: Any) -> None:
    """A class instead of an instance too."""
    with pytest.raises(TypeError, match=r"sinks\[1\]"):
        collector(sinks=[RecordingSink(), given])


async def test_a_function_that_is_not_async_is_a_type_error() -> None:
    """It says what it should be."""
    sinks: list[Any] = [RecordingSink(), plain]
    with pytest.raises(TypeError, match="async def"):
        collector(sinks=sinks)


async def test_a_function_gets_all_that_is_queued_and_may_be_tried_again(autojump_clock: MockClock) -> None:
    """An ``Exception`` from it is retried; a receipt is understood."""
    batches: list[list[int]] = []

    async def sink(batch: Batch) -> Receipt | None:
        batches.append(ids(list(batch)))
        assert isinstance(batch, Batch)
        await trio.sleep(1)
        if len(batches) == 1:
            raise RuntimeError("not yet")
        return Receipt(rejected={1: "bad"}) if len(batches) == 2 else None

    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        record(metrics, 3, 8)
        await metrics.flush()
    assert batches == [[1, 2], [1, 2], [3, 4, 5, 6, 7, 8]]
    stats = account(metrics, "sink")
    assert (stats.delivered, stats.rejected, stats.retries) == (7, 1, 1)


@pytest.mark.parametrize(
    ("setting", "value"),
    [(setting, value) for setting in ("timeout", "retry_budget", "backoff", "max_backoff") for value in (0, -1, True)]
    + [("timeout", "30"), ("max_events", 0), ("max_payload_bytes", -5)],
)
def test_a_delivery_setting_that_cannot_work_is_a_value_error(setting: str, value: Any) -> None:
    """It names the setting and the value."""
    with pytest.raises(ValueError, match=rf"{setting} .*{value!r}"):
        RecordingSink(**{setting: value})


async def test_a_cancelled_task_makes_no_attempt_however_rested_it_is() -> None:
    """At a ``shutdown_timeout`` of 0 there is no further attempt, not even by a task that was just woken."""
    sink = RecordingSink()
    attempts = Attempts(sink, SinkCounters("recording", series=False), lambda: None)
    attempts.just_resumed = True
    with trio.CancelScope() as scope:
        scope.cancel()
        await attempts.attempt(Payload(Batch([]), (), "a key"))
    assert scope.cancelled_caught
    assert sink.attempts == 0
