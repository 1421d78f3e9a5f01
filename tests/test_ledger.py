"""The ledger compared with a model that knows every event."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck as Check
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.helpers import balanced, examples
from trio_batchmetrics import collector
from trio_batchmetrics._ledger.counters import SinkCounters, Verdict
from trio_batchmetrics._ledger.flush_waiter import FlushWaiter
from trio_batchmetrics._ledger.ledger import Ledger
from trio_batchmetrics._ledger.pending_batch import PendingBatch
from trio_batchmetrics._ledger.stats import FlushReport

EVENT, SERIES = ["e0", "e1", "e2"], ["s0", "s1"]


@attrs.define(eq=False)
class Modelled:
    """One event as the model sees it."""

    reached: set[str] = attrs.field(factory=set[str])
    settled: dict[str, str] = attrs.field(factory=dict[str, str])
    dropped: str | None = None
    over: bool = False
    """Whether it failed because the end came before it reached the sinks."""

    def outcome(self, sinks: list[str], *, handed: bool) -> str:
        """Return the count to which it belongs."""
        if self.dropped:
            return "dropped"
        if self.over:
            return "failed"
        if not handed or any(sink not in self.settled for sink in sinks):
            return "pending"
        verdicts = set(self.settled.values())
        if verdicts & {"failed", "rejected"}:
            return "failed"
        return "spooled" if "spooled" in verdicts else "processed"


@attrs.define(eq=False)
class Group:
    """A batch, and the model's knowledge of it."""

    batch: PendingBatch
    rows: list[Modelled]
    stage: str = "waiting"
    valid: list[Modelled] = attrs.field(factory=list[Modelled])
    unmerged: list[str] = attrs.field(factory=list[str])


@attrs.define(eq=False)
class Following:
    """A watch, and the events it follows."""

    watch: FlushWaiter
    events: list[Modelled]
    done: list[bool]


class LedgerMachine(RuleBasedStateMachine):
    """A machine that makes every transition in any order and compares each count with the model after each."""

    @initialize(event_sinks=st.integers(0, 3), series_sinks=st.integers(0, 2))
    def open(self, event_sinks: int, series_sinks: int) -> None:
        """Create a ledger for some sinks."""
        self.event, self.series = EVENT[:event_sinks], SERIES[:series_sinks]
        self.accounts = {name: SinkCounters(name, series=name in SERIES) for name in [*self.series, *self.event]}
        self.ledger = Ledger(list(self.accounts.values()))
        self.events: list[Modelled] = []
        self.handed: set[Modelled] = set()
        self.groups: list[Group] = []
        self.merged: dict[str, list[Modelled]] = {name: [] for name in SERIES}
        self.snapshot: dict[str, list[Modelled] | None] = dict.fromkeys(SERIES)
        self.watches: list[Following] = []
        self.rows: list[Modelled] = []
        self.ledger.recorded.watch_rows(self.rows)
        self.open_group: Group | None = None
        self.ended = False

    def _new(self) -> Modelled:
        event = Modelled()
        self.events.append(event)
        return event

    @rule(count=st.integers(1, 5))
    @precondition(lambda self: not self.ended)
    def record(self, count: int) -> None:
        """Record events; the first one opens a cohort."""
        for _ in range(count):
            self.rows.append(self._new())
        if self.open_group is None:
            self.open_group = Group(self.ledger.batches.open(self.rows), self.rows)
            self.groups.append(self.open_group)

    @rule(count=st.integers(1, 3))
    @precondition(lambda self: not self.ended)
    def record_points(self, count: int) -> None:
        """Hand on the points of a collection."""
        rows = [self._new() for _ in range(count)]
        self.groups.append(Group(self.ledger.open_points(rows), rows))

    @rule(reason=st.sampled_from(["buffer_full", "closed", "invalid"]))
    def refuse(self, reason: str) -> None:
        """Refuse an event."""
        self.ledger.recorded.refuse(reason)
        self._new().dropped = reason

    @rule()
    @precondition(lambda self: self.open_group is not None and not self.ended)
    def seal(self) -> None:
        """Complete the open batch, and begin a new list."""
        group, self.open_group = self.open_group, None
        assert group is not None
        self.rows = []
        self.ledger.recorded.watch_rows(self.rows)
        self.ledger.batches.seal(group.batch)

    @rule(data=st.data())
    @precondition(lambda self: any(group.stage == "waiting" for group in self.groups))
    def push_out(self, data: st.DataObject) -> None:
        """Evict a waiting event to make room."""
        waiting = [g for g in self.groups if g.stage == "waiting" and g.batch.waiting and not g.batch.points]
        if waiting:
            group = data.draw(st.sampled_from(waiting))
            next(event for event in group.rows if not event.dropped).dropped = "buffer_full"
            self.ledger.evict(group.batch)

    @rule(data=st.data())
    @precondition(lambda self: any(g.stage == "waiting" and g is not self.open_group for g in self.groups))
    @precondition(lambda self: not any(g.stage == "taken" for g in self.groups))
    def take(self, data: st.DataObject) -> None:
        """Let the flush task take the oldest batch, one at a time, and find some of it invalid."""
        group = next(g for g in self.groups if g.stage == "waiting" and g is not self.open_group)
        alive = [event for event in group.rows if not event.dropped]
        self._take(group, data.draw(st.integers(0, len(alive))))

    def _take(self, group: Group, bad: int) -> None:
        self.ledger.take(group.batch)
        alive = [event for event in group.rows if not event.dropped]
        for event in alive[:bad]:
            event.dropped = "invalid"
        self.ledger.invalid(group.batch, bad)
        group.valid = alive[bad:]
        group.unmerged = list(self.series)
        group.stage = "taken" if group.valid else "gone"

    @rule(data=st.data(), works=st.booleans())
    @precondition(lambda self: any(g.stage == "taken" and g.unmerged for g in self.groups))
    def merge(self, data: st.DataObject, works: bool) -> None:
        """Let a series sink merge a batch, except for some events that it refuses, or fail to."""
        group = data.draw(st.sampled_from([g for g in self.groups if g.stage == "taken" and g.unmerged]))
        refused = data.draw(st.sets(st.integers(0, len(group.valid) - 1)))
        self._merge(group, works, refused)

    def _merge(self, group: Group, works: bool, refused: Collection[int] = ()) -> None:
        name = group.unmerged.pop(0)
        account = self.accounts[name]
        self.ledger.received(account, len(group.valid))
        for event in group.valid:
            event.reached.add(name)
        if works:
            self.ledger.merged(account, group.batch, len(group.valid), refused)
            for at in refused:
                group.valid[at].settled[name] = "rejected"
            self.merged[name] += [event for at, event in enumerate(group.valid) if at not in refused]
        else:
            self.ledger.merge_failed(account, group.batch, len(group.valid))
            for event in group.valid:
                event.settled[name] = "failed"

    @rule(data=st.data())
    @precondition(lambda self: any(g.stage == "taken" and not g.unmerged for g in self.groups))
    def hand_over(self, data: st.DataObject) -> None:
        """Hand a batch over to the event sinks."""
        self._hand_over(data.draw(st.sampled_from([g for g in self.groups if g.stage == "taken" and not g.unmerged])))

    @rule(count=st.integers(1, 6), data=st.data())
    @precondition(lambda self: not self.ended)
    @precondition(lambda self: not any(g.stage in ("waiting", "taken") for g in self.groups))
    def whole_batch(self, count: int, data: st.DataObject) -> None:
        """Hand a batch over to all sinks in one step, so that there is always something to settle."""
        self.record(count)
        group = self.open_group
        assert group is not None
        self.seal()
        self._take(group, 0)
        while group.unmerged:
            works = data.draw(st.sampled_from([True, True, True, False]))
            self._merge(group, works, data.draw(st.sets(st.integers(0, len(group.valid) - 1), max_size=2)))
        self._hand_over(group)

    def _hand_over(self, group: Group) -> None:
        now: Any = None
        self.ledger.hand_over(group.batch, len(group.valid), now)
        group.stage = "handed"
        for event in group.valid:
            event.reached.update(self.event)
            self.handed.add(event)

    @rule(data=st.data(), verdict=st.sampled_from(list(Verdict)))
    @precondition(lambda self: self.event and any(g.stage == "handed" for g in self.groups))
    def settle(self, data: st.DataObject, verdict: Verdict) -> None:
        """Let an event sink settle a run of events that it hasn't settled."""
        name = data.draw(st.sampled_from(self.event))
        group = data.draw(st.sampled_from([g for g in self.groups if g.stage == "handed"]))
        open_positions = [at for at, event in enumerate(group.valid) if name not in event.settled]
        if not open_positions:
            return
        start = data.draw(st.sampled_from(open_positions))
        stop = start + 1
        while stop in open_positions and data.draw(st.booleans()):
            stop += 1
        self.ledger.settle(self.accounts[name], group.batch, start, stop, verdict, "why")
        for event in group.valid[start:stop]:
            event.settled[name] = verdict.name.lower()

    @rule(data=st.data())
    @precondition(lambda self: bool(self.series))
    def begin_push(self, data: st.DataObject) -> None:
        """Let a series sink take a snapshot."""
        name = data.draw(st.sampled_from(self.series))
        self.ledger.begin_push(self.accounts[name])
        self.snapshot[name] = list(self.merged[name])

    @rule(data=st.data())
    @precondition(lambda self: any(self.snapshot[name] is not None for name in self.series))
    def pushed(self, data: st.DataObject) -> None:
        """Let the push of the last snapshot succeed."""
        name = data.draw(st.sampled_from([name for name in self.series if self.snapshot[name] is not None]))
        self.ledger.pushed(self.accounts[name])
        for event in self.snapshot[name] or []:
            event.settled.setdefault(name, "delivered")
        self.snapshot[name] = None

    def _outcome(self, event: Modelled) -> str:
        return event.outcome([*self.event, *self.series], handed=event in self.handed)

    @rule()
    @precondition(lambda self: len(self.watches) < 4)
    def watch(self) -> None:
        """Begin a flush, which makes the open batch leave."""
        if self.open_group is not None:
            self.seal()
        done: list[bool] = []
        watch = self.ledger.add_waiter(lambda: done.append(True))
        self.watches.append(Following(watch, [e for e in self.events if self._outcome(e) == "pending"], done))

    @rule(data=st.data())
    @precondition(lambda self: bool(self.watches))
    def unwatch(self, data: st.DataObject) -> None:
        """Cancel a flush."""
        following = data.draw(st.sampled_from(self.watches))
        self.watches.remove(following)
        self.ledger.remove_waiter(following.watch)

    @rule()
    def end(self) -> None:
        """Let the block's deadline pass."""
        for event in self.events:
            if self._outcome(event) == "pending":
                event.over = True
            for name in event.reached:
                if not event.dropped:
                    event.settled.setdefault(name, "failed")
        self.ledger.fail_pending("shutdown")
        self.groups.clear()
        self.open_group = None
        self.merged = {name: [] for name in SERIES}
        self.snapshot = dict.fromkeys(SERIES)
        self.ended = True

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Assert that each count is the model's, and that both equations hold."""
        if not hasattr(self, "ledger"):
            return
        stats = balanced(self.ledger.snapshot(None))
        outcomes = [self._outcome(event) for event in self.events]
        assert stats.total_events == len(self.events)
        assert stats.processed_events == outcomes.count("processed")
        assert stats.dropped_events == outcomes.count("dropped")
        assert stats.failed_events == outcomes.count("failed")
        assert stats.spooled_events == outcomes.count("spooled")
        assert stats.pending_events == outcomes.count("pending")
        for name, sink in stats.sinks.items():
            verdicts = [event.settled.get(name) for event in self.events if name in event.reached]
            assert sink.total == len(verdicts)
            assert sink.delivered == verdicts.count("delivered")
            assert sink.rejected == verdicts.count("rejected")
            assert sink.failed == verdicts.count("failed")
            assert sink.spooled == verdicts.count("spooled")
        for following in self.watches:
            expected = [self._outcome(event) for event in following.events]
            assert self.ledger.report(following.watch) == FlushReport(
                processed=expected.count("processed"),
                failed=expected.count("failed"),
                spooled=expected.count("spooled"),
                dropped=expected.count("dropped"),
                pending=expected.count("pending"),
            )
            assert bool(following.done) == ("pending" not in expected)

    @invariant()
    def keeps_little(self) -> None:
        """Assert that settled events are forgotten, and that events only in series sinks are a handful of numbers."""
        if hasattr(self, "ledger"):
            unsettled = [g for g in self.groups if any(self._outcome(event) == "pending" for event in g.rows)]
            empty = [g for g in self.groups if g.stage == "waiting"]
            sections = 1 + len(self.series) + len(self.watches)
            owed = sections * (2 ** len(self.series) - 1)
            assert self.ledger.retained <= len(unsettled) + len(empty) + sections + owed


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=examples(100),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[Check.filter_too_much, Check.too_slow, Check.data_too_large],
)


def test_more_event_sinks_than_a_byte_can_count_are_refused() -> None:
    """80 sinks are accepted, and 81 are refused."""
    Ledger([SinkCounters(f"s{n}", series=False) for n in range(80)])
    with pytest.raises(ValueError, match="at most 80"):
        Ledger([SinkCounters(f"s{n}", series=False) for n in range(81)])


@pytest.mark.parametrize("count", [2, 80])
def test_the_last_of_many_sinks_settles_an_event(count: int) -> None:
    """One byte holds the state of all the sinks that are allowed."""
    accounts = [SinkCounters(f"s{n}", series=False) for n in range(count)]
    ledger = Ledger(accounts)
    rows = [1, 2]
    ledger.recorded.watch_rows(rows)
    batch = ledger.batches.open(rows)
    ledger.recorded.watch_rows([])
    ledger.batches.seal(batch)
    ledger.take(batch)
    now: Any = None
    ledger.hand_over(batch, 2, now)
    for account in accounts[:-1]:
        ledger.settle(account, batch, 0, 2, Verdict.DELIVERED)
        assert ledger.pending == 2
    ledger.settle(accounts[-1], batch, 0, 1, Verdict.DELIVERED)
    ledger.settle(accounts[-1], batch, 1, 2, Verdict.SPOOLED)
    stats = balanced(ledger.snapshot(None))
    assert (stats.processed_events, stats.spooled_events, stats.pending_events) == (1, 1, 0)


def steps_beside(pending: int) -> tuple[int, int]:
    """Return how many lines of code a flush and a push take while so many batches are pending at an event sink."""
    event, series = SinkCounters("event", series=False), SinkCounters("series", series=True)
    ledger = Ledger([event, series])
    now: Any = None
    for _ in range(pending):
        rows: list[Any] = [1]
        ledger.recorded.watch_rows(rows)
        batch = ledger.batches.open(rows)
        ledger.batches.seal(batch)
        ledger.take(batch)
        ledger.merged(series, batch, 1)
        ledger.hand_over(batch, 1, now)
    lines = 0

    def trace(_frame: object, kind: str, _argument: object) -> Any:
        nonlocal lines
        lines += kind == "line"
        return trace

    def steps(*calls: Callable[[], object]) -> int:
        nonlocal lines
        lines = 0
        sys.settrace(trace)
        try:
            for call in calls:
                call()
        finally:
            sys.settrace(None)
        return lines

    def flush() -> None:
        waiter = ledger.add_waiter(lambda: None)
        assert ledger.report(waiter).pending == pending
        ledger.remove_waiter(waiter)

    flushing = steps(flush)
    pushing = steps(lambda: ledger.begin_push(series), lambda: ledger.pushed(series))
    assert series.delivered == pending
    return flushing, pushing


def test_a_flush_and_a_push_cost_the_same_however_many_batches_are_pending() -> None:
    """The cost is the number of executed lines of code."""
    assert steps_beside(10) == steps_beside(1_000)


def test_the_stats_can_be_read_without_a_trio_run() -> None:
    """stats() works after trio.run, and has the time since the last flush by the run's clock."""

    async def main() -> Any:
        async with collector(sinks=[]) as metrics:
            metrics.record_cache_metric("redis", "hit")
            metrics.record_cache_metric("redis", "miss")
        return metrics

    metrics = trio.run(main)
    stats = balanced(metrics.stats())
    assert stats.processed_events == 2
    assert stats.time_since_last_flush is not None
    assert stats.last_flush_time is not None
    assert stats.last_flush_time.tzinfo is not None
