"""Series sinks: merged once, pushed until a push succeeds, and nothing counted that no push contained."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced, ids, report_balanced
from tests.tally import Job, Tally
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    BatchMetricsConfig,
    BatchMetricsStats,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HttpRequest,
    MetricEvent,
    SinkStats,
    collector,
)
from trio_batchmetrics.abc import (
    EventSink,
    Kind,
    Metric,
    Payload,
    Receipt,
    SeriesSink,
    SeriesStore,
    SinkContext,
)
from trio_batchmetrics.testing import FlakySink, PartialSink, RecordingSink, StuckSink


@attrs.frozen
class Snapshot:
    """What the series said at one moment: how many events, and the sum of their ids."""

    count: int
    """As the series have it: the sum of the counters."""
    total: int
    metrics: tuple[Metric, ...] = attrs.field(default=(), eq=False)


class MemorySink(SeriesSink[Snapshot]):
    """Series in memory, pushed to a back-end in memory, which keeps the last snapshot that arrived.

    The series are few, however many events there are: beyond 20 they share one.
    """

    store: SeriesStore

    def __init__(self, *script: Any, takes: float = 0.0, **settings: Any) -> None:
        """Answer pushes like this.

        Args:
            script: an answer each attempt: an exception is raised, ``...`` never comes, all else is returned.
            takes: seconds before an answer.
            settings: of :class:`SeriesSink`.
        """
        super().__init__(**settings)
        self.script = list(script)
        self.takes = takes
        self.down = False
        self.merged: list[int] = []
        self.calls: list[int] = []
        """How many events each call of merge had."""
        self.count = self.total = 0
        self.times: list[float] = []
        self.keys: list[str] = []
        self.snapshots: list[Snapshot] = []
        """What each attempt sent."""
        self.backend = Snapshot(0, 0)

    def bind(self, context: SinkContext) -> None:
        """Have no series yet."""
        super().bind(context)
        self.store = SeriesStore(attrs.evolve(context, max_series=20))

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Add the events to the series."""
        self.store.merge(events)
        found = ids(list(events))
        self.calls.append(len(found))
        self.merged += found
        self.count += len(found)
        self.total += sum(found)
        return None

    def snapshot(self) -> Snapshot:
        """Return the series as they stand."""
        metrics = self.store.snapshot()
        count = sum(point.value for metric in metrics if metric.kind is Kind.COUNTER for point in metric.points)
        return Snapshot(int(count), self.total, metrics)

    async def send(self, payload: Payload[Snapshot]) -> Any:
        """Push."""
        assert len(payload.events) == 0
        (snapshot,) = payload.parts
        self.times.append(trio.current_time())
        self.keys.append(payload.key)
        self.snapshots.append(snapshot)
        answer = self.script.pop(0) if self.script else None
        if self.takes:
            await trio.sleep(self.takes)
        if answer is ...:
            await trio.sleep_forever()
        if self.down:
            raise ConnectionError("down")
        if isinstance(answer, Exception):
            raise answer
        if answer is None or answer == Receipt():
            self.backend = snapshot
        return answer


def record(metrics: BatchMetricsCollector, first: int, last: int) -> None:
    """Record events numbered like this."""
    for number in range(first, last + 1):
        metrics.record_counter("c", {"id": number}, 1)


def account(metrics: BatchMetricsCollector, name: str = "memory") -> SinkStats:
    """Return a sink's account, the books balanced."""
    return balanced(metrics.stats()).sinks[name]


def upto(last: int, first: int = 1) -> list[int]:
    """Return the numbers from the first to the last."""
    return list(range(first, last + 1))


# -- merging


async def test_each_event_is_merged_once_in_order_at_the_hand_over(autojump_clock: MockClock) -> None:
    """Whatever becomes of the pushes."""
    sink = MemorySink(OSError(), OSError())
    async with collector(BatchMetricsConfig(batch_size=3, flush_interval=5), sinks=[sink]) as metrics:
        record(metrics, 1, 7)
        await wait_all_tasks_blocked()
        assert sink.merged == upto(6)
        await trio.sleep(5)
        await wait_all_tasks_blocked()
        assert sink.merged == upto(7)
        await metrics.flush()
    assert sink.merged == upto(7)
    assert sink.calls == [3, 3, 1]
    assert sink.backend == Snapshot(7, 28)


async def test_merge_gets_at_most_500_events_at_a_time_with_checkpoints_between(autojump_clock: MockClock) -> None:
    """Others run meanwhile; a push that takes its snapshot in between is no harm."""
    sink = MemorySink()
    seen: list[int] = []

    async def others() -> None:
        while True:
            seen.append(sink.count)
            await trio.lowlevel.checkpoint()

    async with collector(BatchMetricsConfig(batch_size=5200), sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        record(metrics, 1, 5200)
        await metrics.flush()
        nursery.cancel_scope.cancel()
    assert sink.calls == [500] * 10 + [200]
    assert len(set(seen)) >= 6
    assert account(metrics).delivered == 5200


async def test_invalid_events_are_not_merged(autojump_clock: MockClock) -> None:
    """They are dropped before any sink sees them."""
    sink = MemorySink()
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        metrics.record_counter("c", {"id": 3}, -1)
        report = report_balanced(await metrics.flush(), 3)
        assert (report.processed, report.dropped) == (2, 1)
    assert sink.merged == [1, 2]
    assert account(metrics).total == 2


@pytest.mark.parametrize("with_event_sink", [False, True])
async def test_a_merge_that_raises_costs_its_batch_and_no_other(
    with_event_sink: bool, autojump_clock: MockClock
) -> None:
    """It is failed here (``merge``), goes on to the other sinks, and counts once as failed."""

    class Picky(MemorySink):
        """Cannot merge 4."""

        def merge(self, events: Sequence[MetricEvent]) -> None:
            if 4 in ids(list(events)):
                raise KeyError("what is 4?")
            super().merge(events)

    sink, other, event_sink = Picky(name="memory"), MemorySink(name="other"), RecordingSink()
    sinks: list[Any] = [sink, other, *([event_sink] if with_event_sink else [])]
    async with collector(BatchMetricsConfig(batch_size=3), sinks=sinks) as metrics:
        record(metrics, 1, 9)
        report = report_balanced(await metrics.flush(), 9)
        assert (report.processed, report.failed) == (6, 3)
    assert sink.merged == [1, 2, 3, 7, 8, 9]
    assert other.merged == upto(9)
    stats = account(metrics)
    assert (stats.total, stats.delivered, stats.failures) == (9, 6, {"merge": 3})
    assert "what is 4?" in str(stats.last_error)
    assert account(metrics, "other").delivered == 9
    if with_event_sink:
        assert ids(event_sink.events) == upto(9)
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (6, 3)


async def test_a_merge_that_raises_in_the_middle_of_a_batch_fails_all_of_it(autojump_clock: MockClock) -> None:
    """Part of it may have arrived: failed is given up without confirmation."""

    class Picky(MemorySink):
        """Cannot merge 700."""

        def merge(self, events: Sequence[MetricEvent]) -> None:
            if 700 in ids(list(events)):
                raise KeyError("what is 700?")
            super().merge(events)

    sink = Picky(name="memory")
    async with collector(BatchMetricsConfig(batch_size=1200), sinks=[sink]) as metrics:
        record(metrics, 1, 1200)
        assert (await metrics.flush()).failed == 1200
        record(metrics, 1201, 1202)
        assert (await metrics.flush()).processed == 2
    stats = account(metrics)
    assert (stats.delivered, stats.failures) == (2, {"merge": 1200})
    assert stats.delivered <= sink.backend.count <= stats.delivered + stats.failed


# -- pushing


async def test_merged_events_are_pending_until_a_push_that_contains_them_succeeds(autojump_clock: MockClock) -> None:
    """Those that a later snapshot contains count too; those merged meanwhile do not."""
    sink = MemorySink(takes=10)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(5)
        record(metrics, 3, 6)
        await trio.sleep(4)
        stats = account(metrics)
        assert (stats.delivered, stats.pending, balanced(metrics.stats()).processed_events) == (0, 6, 0)
        await trio.sleep(2)
        stats = account(metrics)
        assert (stats.delivered, stats.pending, balanced(metrics.stats()).processed_events) == (2, 4, 2)
        report = report_balanced(await metrics.flush(), 4)
        assert (report.processed, trio.current_time()) == (4, 20)
    assert sink.times == [0, 10, 20]
    assert [snapshot.count for snapshot in sink.snapshots] == [2, 6, 6]


async def test_a_snapshot_is_fresh_at_each_attempt(autojump_clock: MockClock) -> None:
    """What was merged while the sink backed off is in the next attempt, and settled by it."""
    again = Receipt(retry=True, retry_after=10, error="503")
    sink = MemorySink(again, again)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(5)
        record(metrics, 3, 4)
        await trio.sleep(10)
        record(metrics, 5, 6)
        await metrics.flush()
        assert trio.current_time() == 20
    assert sink.times == [0, 10, 20, 20]
    assert [snapshot.count for snapshot in sink.snapshots] == [2, 4, 6, 6]
    stats = account(metrics)
    assert (stats.delivered, stats.failed, stats.retries, stats.last_error) == (6, 0, 2, "503")
    assert stats.last_success is not None


async def test_a_snapshot_has_what_was_merged_before_its_attempt_and_the_ledger_counts_no_more(
    autojump_clock: MockClock,
) -> None:
    """At every instant: delivered ≤ what the back-end has."""
    dice = random.Random(4)
    sink = MemorySink(takes=0.1)
    merged_at: list[int] = []

    class Watching(MemorySink):
        """Compares at each attempt."""

        async def send(self, payload: Payload[Snapshot]) -> Any:
            merged_at.append(self.count - payload.parts[0].count)
            return await super().send(payload)

    sink = Watching(takes=0.1, name="memory")
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        for step in range(300):
            record(metrics, 4 * step + 1, 4 * step + dice.randint(1, 4))
            await trio.sleep(dice.choice([0, 0.03, 0.2]))
            sink.down = dice.random() < 0.3
            stats = account(metrics)
            assert stats.delivered <= sink.backend.count
            assert stats.delivered + stats.pending == stats.total == sink.count
        sink.down = False
        await metrics.flush()
    assert account(metrics).delivered == sink.backend.count == sink.count
    assert sink.backend.total == sum(sink.merged)
    assert 0 <= min(merged_at) <= max(merged_at) <= 1000


@pytest.mark.parametrize(
    "failure",
    [
        OSError("no route"),
        ...,
        Receipt(retry=True, error="503"),
        Receipt(error="401"),
        Receipt(too_large=True),
        Receipt(rejected={0: "bad"}),
        Receipt(retry=[0]),
        False,
        "ok",
    ],
    ids=str,
)
async def test_whatever_is_no_success_is_pushed_again(failure: Any, autojump_clock: MockClock) -> None:
    """Nothing is lost by a failed push while a later one succeeds; "for good" isn't an answer to a snapshot."""
    sink = MemorySink(failure, failure, timeout=2)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        assert account(metrics).pending == 2
        record(metrics, 3, 4)
        assert report_balanced(await metrics.flush(), 4).processed == 4
    assert sink.backend == Snapshot(4, 10)
    stats = account(metrics)
    assert (stats.delivered, stats.failed, stats.rejected, stats.retries) == (4, 0, 0, 2)
    assert stats.last_error


@pytest.mark.parametrize("success", [None, Receipt(), Receipt(retry=[]), Receipt(retry_after=5)])
async def test_a_push_that_succeeded_is_not_made_again(success: Receipt | None, autojump_clock: MockClock) -> None:
    """Before it is time to, or the block ends; a pause asked for without a retry means nothing."""
    sink = MemorySink(success, refresh=None)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(1000)
        assert account(metrics).delivered == 2
        assert account(metrics).retries == 0
        assert sink.times == [0]
    assert sink.times == [0, 1000]


async def test_a_snapshot_that_raises_is_tried_again(autojump_clock: MockClock) -> None:
    """Like a failed push; send is not called meanwhile."""

    class Failing(MemorySink):
        """Its first two snapshots raise."""

        failures = 2

        def snapshot(self) -> Snapshot:
            if self.failures:
                self.failures -= 1
                raise ValueError("in the middle of something")
            return super().snapshot()

    sink = Failing(name="memory")
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        assert (await metrics.flush()).processed == 2
    stats = account(metrics)
    assert (stats.delivered, stats.retries) == (2, 2)
    assert "snapshot" in str(stats.last_error)
    assert "in the middle of something" in str(stats.last_error)
    assert len(sink.times) == 2


async def test_each_snapshot_has_a_key_of_its_own(autojump_clock: MockClock) -> None:
    """They differ, so a back-end that can tell repetitions must not take a later one for an earlier."""
    sink = MemorySink(OSError(), OSError())
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    assert len(set(sink.keys)) == len(sink.keys) == 5


async def test_pauses_double_and_a_success_makes_them_short_again(autojump_clock: MockClock) -> None:
    """Up to 30 s, with full jitter, as for event sinks."""
    sinks = [MemorySink(*[OSError()] * 8, None, OSError()) for _ in range(60)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    for n, longest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, None, 0.5]):
        if longest is not None:
            pauses = [sink.times[n + 1] - sink.times[n] for sink in sinks]
            assert 0 <= min(pauses) < longest / 4
            assert longest * 3 / 4 < max(pauses) <= longest


# -- events that a sink refuses


class RefusingSink(MemorySink):
    """Refuses to merge the odd ones."""

    def merge(self, events: Sequence[MetricEvent]) -> dict[int, str] | None:
        """Merge the others."""
        found = ids(list(events))
        super().merge([event for event, number in zip(events, found, strict=True) if number % 2 == 0])
        return {at: "odd" for at, number in enumerate(found) if number % 2}


@pytest.mark.parametrize("scraped", [False, True])
@pytest.mark.parametrize("beside", [0, 1, 2])
async def test_events_that_a_series_sink_refuses_are_rejected_at_once(
    scraped: bool, beside: int, autojump_clock: MockClock
) -> None:
    """Over several calls of merge, whichever sinks are beside it; the first reason is the sink's last error."""
    sink, others = RefusingSink(name="memory"), [RecordingSink() for _ in range(beside)]
    sink.scraped = scraped
    async with collector(BatchMetricsConfig(batch_size=1201), sinks=[sink, *others]) as metrics:
        sink.down = True
        record(metrics, 1, 1201)
        await wait_all_tasks_blocked()
        stats = account(metrics)
        assert (stats.total, stats.rejected) == (1201, 601)
        assert stats.last_error in ("601 of 1201 events refused: odd", "ConnectionError: down")
        sink.down = False
        await metrics.flush()
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failed) == (600, 601, 0)
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (600, 601)
    assert all(ids(other.events) == upto(1201) for other in others)


@pytest.mark.parametrize("nonsense", [{3: "beyond"}, {-1: "before"}, {"0": "text"}, [0], 7])
async def test_a_merge_that_refuses_what_it_was_not_given_has_failed(nonsense: Any, autojump_clock: MockClock) -> None:
    """Its batch may have been merged: failed, like one that raises."""

    class Confused(MemorySink):
        """Names other events."""

        def merge(self, events: Sequence[MetricEvent]) -> Any:
            super().merge(events)
            return nonsense if 1 in ids(list(events)) else None

    sink = Confused(name="memory")
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink]) as metrics:
        record(metrics, 1, 6)
        await metrics.flush()
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.failures) == (3, 0, {"merge": 3})


# -- a back-end that may have lost its memory


async def test_everything_is_pushed_again_every_minute_while_the_block_is_open(autojump_clock: MockClock) -> None:
    """After the last push, be there news or not; nothing counts twice."""
    sink = MemorySink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        await trio.sleep(200)
        assert sink.times == []  # nothing was ever merged
        record(metrics, 1, 2)
        await trio.sleep(70)
        record(metrics, 3, 4)
        await trio.sleep(130)
        assert sink.times == [200, 260, 270, 330, 390]
        assert account(metrics).delivered == 4
    assert sink.times[-1] == 400
    assert (account(metrics).delivered, account(metrics).retries) == (4, 0)


@pytest.mark.parametrize("refresh", [7, 7.0, timedelta(seconds=7)])
async def test_how_often_is_a_setting(refresh: Any, autojump_clock: MockClock) -> None:
    """In seconds, or a timedelta."""
    sink = MemorySink(refresh=refresh)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await trio.sleep(20)
    assert sink.times == [0, 7, 14, 20]


@pytest.mark.parametrize("refresh", [0, -1, True, "60", float("nan"), timedelta(0)])
def test_a_bad_refresh_is_named(refresh: Any) -> None:
    """With rule and value."""
    with pytest.raises(ValueError, match=r"^refresh must be seconds > 0, a timedelta > 0 or None \(got "):
        MemorySink(refresh=refresh)


async def test_a_push_that_only_repeats_costs_nothing_if_it_fails(autojump_clock: MockClock) -> None:
    """It is retried while the block is open; at its end there is one attempt."""
    sink = MemorySink()
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        sink.down = True
        await trio.sleep(200)
        attempts, retries = len(sink.times), account(metrics).retries
        assert attempts > 5
        assert retries > 3
        left = trio.current_time()
    assert trio.current_time() == left
    assert len(sink.times) == attempts + 1
    stats = account(metrics)
    assert (stats.delivered, stats.failed, stats.last_error) == (2, 0, "ConnectionError: down")
    assert balanced(metrics.stats()).processed_events == 2


async def test_one_push_at_the_end_is_enough(autojump_clock: MockClock) -> None:
    """If it has everything, it is not repeated; with no time for an attempt there is none."""
    for shutdown_timeout, times in ((10, [0]), (0, [])):
        sink = MemorySink()
        config = BatchMetricsConfig(shutdown_timeout=shutdown_timeout)
        async with collector(config, sinks=[sink]) as metrics:
            record(metrics, 1, 2)
        assert sink.times == times
    sink = MemorySink()
    async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.times == [0]


async def test_a_last_push_that_hangs_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    """And loses nothing, since nothing was pending."""
    sink = MemorySink(None, ...)
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert trio.current_time() == 3
    assert (account(metrics).delivered, account(metrics).failed) == (2, 0)


# -- a back-end that is down for long


@pytest.mark.parametrize("beside", ["alone", "event sinks", "another series sink", "a stuck event sink"])
async def test_hours_of_outage_lose_nothing_and_cost_a_few_numbers(beside: str, autojump_clock: MockClock) -> None:
    """A hundred thousand events over five hours: no retry budget, no queue_full, and the books stay small."""
    sink = MemorySink()
    sink.down = True
    beside_sinks: dict[str, list[Any]] = {
        "alone": [],
        "event sinks": [RecordingSink(), PartialSink(reject=lambda event: event.labels["id"] % 1000 == 0)],
        "another series sink": [MemorySink(name="other"), FlakySink(fail=3)],
        "a stuck event sink": [StuckSink()],
    }
    sinks = [sink, *beside_sinks[beside]]
    config = BatchMetricsConfig(batch_size=100, buffer_size=1000, shutdown_timeout=0)
    largest = 0
    async with collector(config, sinks=sinks) as metrics:
        ledger = metrics._engine.ledger
        for step in range(1000):
            record(metrics, 100 * step + 1, 100 * step + 100)
            await trio.sleep(18)
            largest = max(largest, ledger.held)
        assert trio.current_time() == 18_000
        stats = account(metrics)
        assert (stats.total, stats.delivered, stats.failed, stats.pending) == (100_000, 0, 0, 100_000)
        assert len(sink.times) >= 1000
        sink.down = False
        if beside != "a stuck event sink":
            report = report_balanced(await metrics.flush(), 100_000)
            assert report.failed == (100 if beside == "event sinks" else 0)
            assert ledger.held == 0
        else:
            await trio.sleep(31)
        assert account(metrics).delivered == 100_000
    # With a stuck sink, what it holds queued or under way is some 20 batches of a hundred.
    assert largest <= (40 if beside == "a stuck event sink" else 8)
    assert sink.backend == Snapshot(100_000, 5_000_050_000)
    assert account(metrics).failures == {}


async def test_flushes_that_give_up_in_an_outage_leave_the_books_small(autojump_clock: MockClock) -> None:
    """A thousand flushes, each cancelled: no watch stays, and what they watched is one number again."""
    sink = MemorySink()
    sink.down = True
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink, RecordingSink()]) as metrics:
        for step in range(1000):
            record(metrics, step + 1, step + 1)
            with trio.move_on_after(1):
                await metrics.flush()
        ledger = metrics._engine.ledger
        assert ledger.held <= 8
        sink.down = False
        assert report_balanced(await metrics.flush(), 1000).ok


async def test_flushes_that_wait_through_an_outage_each_account_for_their_own(autojump_clock: MockClock) -> None:
    """Twenty at once, called at different times, end at the same push with different sums."""
    sink = MemorySink()
    sink.down = True
    sums: list[int] = []
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink, RecordingSink()]) as metrics:

        async def flush() -> None:
            report = await metrics.flush()
            assert report.ok
            sums.append(report.processed)

        async with trio.open_nursery() as nursery:
            for step in range(20):
                record(metrics, 5 * step + 1, 5 * step + 5)
                nursery.start_soon(flush)
                await trio.sleep(7)
            assert sums == []
            sink.down = False
    assert sorted(sums) == [5 * step + 5 for step in range(20)]


# -- what the series say


def any_event(dice: random.Random) -> MetricEvent:
    """Make an event of any kind, in one of a few series."""
    some: Any = dice.choice(["a", "b", 1, True, None, "1"])
    seconds = dice.choice([0.005, 0.1, 0.3, 1, 10.5])
    number = dice.randint(0, 9)
    return dice.choice(
        [
            HttpRequest("GET", some, dice.choice([200, 503]), seconds),
            BackendRequest("p", "m", dice.random() < 0.5, seconds, some),
            HealthCheck(some, dice.random() < 0.5, seconds),
            CacheMetric("redis", some),
            Counter("c", {"x": some}, number),
            Histogram("h", {"x": some, "y": 1}, number),
            Gauge("g", {"y": 1, "x": some}, number),
            Job(some, number, number, number, seconds),
        ]
    )


@pytest.mark.parametrize("seed", range(8))
async def test_what_a_back_end_has_adds_up_to_what_was_recorded(seed: int, autojump_clock: MockClock) -> None:
    """Sums, counts, buckets and last values, static labels included, at each flush, whatever pushes failed before."""
    dice = random.Random(seed)
    answers = [None, OSError(), Receipt(retry=True, retry_after=2), ..., Receipt(error="500")]
    sink = MemorySink(*[dice.choice(answers) for _ in range(40)], OSError(), takes=0.1, timeout=5)
    static = {"region": "eu", "x": "static"}
    tally = Tally(static)
    config = BatchMetricsConfig(batch_size=dice.choice([1, 7, 100]), static_labels=static)
    recorded = 0
    async with collector(config, sinks=[sink]) as metrics:
        for _ in range(10):
            for _ in range(dice.randint(1, 60)):
                event = any_event(dice)
                metrics.record(event)
                tally.add(event)
                recorded += 1
                if dice.random() < 0.05:
                    await trio.sleep(dice.choice([0, 0.05, 3]))
            assert (await metrics.flush()).ok
            tally.assert_told_by(sink.backend.metrics)
    assert account(metrics).retries > 0
    assert account(metrics).delivered == recorded


# -- the end


async def test_what_no_push_contained_by_the_end_is_failed(autojump_clock: MockClock) -> None:
    """Two were pushed, the rest was merged and is given up at the deadline, to the second."""
    sink = MemorySink()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=4), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        sink.down = True
        record(metrics, 3, 7)
    assert trio.current_time() == 4
    assert sink.merged == upto(7)
    stats = account(metrics)
    assert (stats.delivered, stats.failures, stats.pending) == (2, {"shutdown": 5}, 0)
    overall = balanced(metrics.stats())
    assert (overall.processed_events, overall.failed_events) == (2, 5)
    assert sink.backend == Snapshot(2, 3)


async def test_leaving_pushes_what_is_merged_at_once(autojump_clock: MockClock) -> None:
    """A backoff is cut short; the last push contains everything."""
    sink = MemorySink(Receipt(retry=True, retry_after=200))
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics:
        record(metrics, 1, 12)
        await trio.sleep(1)
        record(metrics, 13, 15)
        left = trio.current_time()
    assert trio.current_time() == left == 1
    assert sink.backend == Snapshot(15, 120)
    assert balanced(metrics.stats()).processed_events == 15


async def test_a_push_that_the_deadline_cuts_off_may_have_arrived(autojump_clock: MockClock) -> None:
    """Its events are failed, and those of the push before stay delivered."""
    sink = MemorySink(None, ...)
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=3), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await wait_all_tasks_blocked()
        assert len(sink.times) == 2
        left = trio.current_time()
    assert trio.current_time() - left == 3
    stats = account(metrics)
    assert (stats.delivered, stats.failures) == (2, {"shutdown": 2})


# -- scraped


class ScrapedSink(MemorySink):
    """Waits to be asked."""

    scraped = True

    async def send(self, payload: Payload[Snapshot]) -> Any:
        """Never be called."""
        raise AssertionError("a scraped sink is not pushed")


@pytest.mark.parametrize("shutdown_timeout", [0, 10])
async def test_for_a_scraped_sink_merged_is_delivered(shutdown_timeout: float, autojump_clock: MockClock) -> None:
    """At once, with no attempt ever; leaving takes no time."""
    sink = ScrapedSink()
    async with collector(BatchMetricsConfig(batch_size=2, shutdown_timeout=shutdown_timeout), sinks=[sink]) as metrics:
        record(metrics, 1, 4)
        await wait_all_tasks_blocked()
        assert account(metrics, "scraped").delivered == 4
        record(metrics, 5, 5)
        report = report_balanced(await metrics.flush(), 1)
        assert report.ok
        assert trio.current_time() == 0
    assert sink.merged == upto(5)
    assert balanced(metrics.stats()).processed_events == 5
    assert trio.current_time() == 0


async def test_a_scraped_sink_beside_others_settles_first(autojump_clock: MockClock) -> None:
    """The event is processed once the slow one has it, failed if that one refuses it."""

    async def slow(batch: Sequence[MetricEvent]) -> Receipt:
        await trio.sleep(5)
        return Receipt(rejected={1: "bad"})

    async with collector(BatchMetricsConfig(batch_size=3), sinks=[ScrapedSink(), slow]) as metrics:
        record(metrics, 1, 3)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.pending_events, stats.sinks["scraped"].delivered) == (3, 3)
        await metrics.flush()
    stats = balanced(metrics.stats())
    assert (stats.processed_events, stats.failed_events) == (2, 1)


# -- beside each other


async def test_an_event_is_processed_only_after_every_sink_has_it(autojump_clock: MockClock) -> None:
    """Two series sinks and two event sinks, done at 1, 2, 3 and 4 s: at 4 s, in whatever order."""
    for order in ([1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]):
        start = trio.current_time()
        sinks = [
            MemorySink(takes=order[0], name="series1"),
            SlowSink(order[1], name="event1"),
            MemorySink(takes=order[2], name="series2"),
            SlowSink(order[3], name="event2"),
        ]
        async with collector(BatchMetricsConfig(batch_size=5), sinks=sinks) as metrics:
            record(metrics, 1, 5)
            for second in range(4):
                await trio.sleep_until(start + second + 0.5)
                stats = balanced(metrics.stats())
                assert (stats.pending_events, stats.processed_events) == (5, 0)
                assert sum(sink.delivered for sink in stats.sinks.values()) == 5 * second
            report = report_balanced(await metrics.flush(), 5)
            assert trio.current_time() - start == 4
            assert report.processed == 5
        assert metrics._engine.ledger.held == 0


class SlowSink(EventSink[None]):
    """Takes a while over each payload, then answers."""

    def __init__(self, takes: float, answer: Receipt | None = None, **settings: Any) -> None:
        """Answer like this, after so many seconds."""
        super().__init__(**settings)
        self.takes = takes
        self.answer = answer

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take a while, and answer."""
        await trio.sleep(self.takes)
        return self.answer


@pytest.mark.parametrize("series_takes", [1, 9])
async def test_an_event_that_an_event_sink_fails_is_failed_once_the_series_have_it(
    series_takes: float, autojump_clock: MockClock
) -> None:
    """Failed is failed, whichever is done first; until the last is done it is pending."""
    event_sink = SlowSink(5, Receipt(rejected={0: "bad", 2: "bad"}), name="event")
    async with collector(
        BatchMetricsConfig(batch_size=4), sinks=[MemorySink(takes=series_takes), event_sink]
    ) as metrics:
        record(metrics, 1, 4)
        await trio.sleep(max(series_takes, 5) - 0.5)
        stats = balanced(metrics.stats())
        assert (stats.processed_events, stats.failed_events, stats.pending_events) == (0, 0, 4)
        await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert (stats.processed_events, stats.failed_events, stats.pending_events) == (2, 2, 0)
    assert account(metrics).delivered == 4


async def test_a_series_sink_that_is_down_does_not_delay_an_event_sink(autojump_clock: MockClock) -> None:
    """Nor one that hangs in its push; nor the other way round."""
    series, hanging, good = MemorySink(), MemorySink(*[...] * 100, name="hanging"), RecordingSink()
    series.down = True
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, shutdown_timeout=0)
    async with collector(config, sinks=[series, hanging, StuckSink(), good]) as metrics:
        for step in range(50):
            record(metrics, 2 * step + 1, 2 * step + 2)
            await wait_all_tasks_blocked()
            assert ids(good.events) == upto(2 * step + 2)
            assert series.merged == hanging.merged == upto(2 * step + 2)
            await trio.sleep(1)
        stats = balanced(metrics.stats())
        assert stats.dropped_events == 0
        assert stats.sinks["stuck"].failures == {"queue_full": 100 - 6}
        assert stats.sinks["memory"].failed == 0


async def test_a_series_sink_has_no_queue_so_a_full_one_beside_it_gives_up_its_oldest(
    autojump_clock: MockClock,
) -> None:
    """The flush task does not wait: the series go on."""
    series, stuck = MemorySink(), StuckSink(timeout=1e9)
    config = BatchMetricsConfig(batch_size=2, buffer_size=4, shutdown_timeout=0)
    async with collector(config, sinks=[series, stuck]) as metrics:
        for step in range(20):
            record(metrics, 2 * step + 1, 2 * step + 2)
            await wait_all_tasks_blocked()
        assert series.backend.count == 40
        stats = balanced(metrics.stats())
        assert stats.sinks["stuck"].failures == {"queue_full": 34}
        assert (stats.failed_events, stats.pending_events, stats.dropped_events) == (34, 6, 0)


async def test_points_of_bound_instruments_are_merged_like_other_events(autojump_clock: MockClock) -> None:
    """Each once, whether a push succeeds or not."""
    sums: list[float] = []

    class Sums(SeriesSink[None]):
        """Adds up counters' values; its first three pushes fail."""

        attempts = 0

        def merge(self, events: Sequence[MetricEvent]) -> None:
            sums.extend(event.value for event in events if isinstance(event, Counter))

        async def send(self, payload: Payload[None]) -> Receipt | None:
            self.attempts += 1
            return Receipt(retry=True) if self.attempts <= 3 else None

    async with collector(BatchMetricsConfig(flush_interval=1), sinks=[Sums()]) as metrics:
        counter = metrics.counter("n")
        await trio.sleep(0.5)  # between two collections
        for n in range(1, 5):
            counter.add(n)
            await trio.sleep(1)
        await metrics.flush()
    assert sums == [1, 2, 3, 4]
    assert balanced(metrics.stats()).processed_events == len(sums)


# -- any mix, against a model that counts event by event


class ModelSeries(SeriesSink[int]):
    """Remembers which events the last successful push contained."""

    def __init__(self, dice: random.Random, name: str) -> None:
        """Fail as the dice say."""
        super().__init__(name=name, timeout=5)
        self.dice = dice
        self.merged: list[int] = []
        self.bad: set[int] = set()
        self.delivered: set[int] = set()
        self.luck = dice.choice([0.2, 0.6, 1.0])

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Merge, or fail."""
        found = ids(list(events))
        if self.dice.random() < 0.1:
            self.bad.update(found)
            raise ValueError("merge")
        self.merged += found

    def snapshot(self) -> int:
        """Return how much is merged, or fail."""
        if self.dice.random() < 0.1:
            raise ValueError("snapshot")
        return len(self.merged)

    async def send(self, payload: Payload[int]) -> Receipt | None:
        """Push, or fail."""
        await trio.sleep(self.dice.choice([0, 0.1, 3, 6]))
        if self.dice.random() > self.luck:
            raise OSError("down")
        self.delivered = set(self.merged[: payload.parts[0]])
        return None


class ModelEvents(EventSink[None]):
    """Remembers which events it has confirmed, refused and given up."""

    def __init__(self, dice: random.Random, name: str) -> None:
        """Fail as the dice say."""
        super().__init__(name=name, timeout=5, max_events=dice.choice([None, 3]), retry_budget=1e6)
        self.dice = dice
        self.bad: set[int] = set()
        self.delivered: set[int] = set()

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Take, or fail."""
        await trio.sleep(self.dice.choice([0, 0.1, 3, 6]))
        found = ids(list(payload.events))
        assert not self.delivered.intersection(found)
        assert not self.bad.intersection(found)
        places = list(range(len(found)))
        self.dice.shuffle(places)
        refused, again = places[: self.dice.choice([0, 0, 1])], places[1 : self.dice.choice([0, 0, 3])]
        match self.dice.randint(0, 4):
            case 0:
                return Receipt(retry=True)
            case 1:
                self.bad.update(found)
                return Receipt(error="401")
            case _:
                self.bad.update(found[at] for at in refused)
                self.delivered.update(set(found) - {found[at] for at in (*refused, *again)})
                return Receipt(rejected=dict.fromkeys(refused, "bad"), retry=again)


def assert_as_modelled(stats: BatchMetricsStats, sinks: Sequence[ModelSeries | ModelEvents], handed_over: int) -> None:
    """Compare the books with what the sinks remember, event by event."""
    processed = failed = 0
    for number in range(1, handed_over + 1):
        if all(number in sink.delivered or number in sink.bad for sink in sinks):
            if any(number in sink.bad for sink in sinks):
                failed += 1
            else:
                processed += 1
    assert (stats.processed_events, stats.failed_events) == (processed, failed)
    for sink in sinks:
        counts = stats.sinks[sink.name or ""]
        assert counts.delivered == len(sink.delivered)
        assert counts.rejected + counts.failed == len(sink.bad)
        assert counts.total == handed_over


@pytest.mark.parametrize("seed", range(60))
async def test_any_mix_of_sinks_accounts_as_a_model_does_event_by_event(seed: int, autojump_clock: MockClock) -> None:
    """Series and event sinks that fail in every way, with flushes cut off meanwhile: checked at every stop."""
    dice = random.Random(seed)
    either: list[Callable[[random.Random, str], ModelSeries | ModelEvents]] = [ModelSeries, ModelEvents]
    kinds = [ModelSeries, *(dice.choice(either) for _ in range(dice.randint(0, 3)))]
    sinks = [kind(dice, f"sink{n}") for n, kind in enumerate(kinds)]
    batch_size = dice.choice([1, 3, 7])
    recorded = 0
    async with collector(BatchMetricsConfig(batch_size=batch_size, flush_interval=1e6), sinks=sinks) as metrics:
        handed_over = 0
        for _ in range(30):
            count = dice.randint(0, 9)
            record(metrics, recorded + 1, recorded + count)
            recorded += count
            handed_over += (recorded - handed_over) // batch_size * batch_size
            match dice.randint(0, 3):
                case 0:
                    with trio.move_on_after(dice.choice([0.05, 2, 20])):
                        handed_over = recorded
                        pending = balanced(metrics.stats()).pending_events
                        report_balanced(await metrics.flush(), pending)
                case _:
                    await trio.sleep(dice.choice([0.05, 1.7, 13]))
            await wait_all_tasks_blocked()
            assert_as_modelled(balanced(metrics.stats()), sinks, handed_over)
        await metrics.flush()
        assert_as_modelled(balanced(metrics.stats()), sinks, recorded)
        assert balanced(metrics.stats()).pending_events == 0
        assert metrics._engine.ledger.held == 0
