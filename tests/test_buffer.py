"""The buffer compared with a model, with everything that may record: tasks, handlers, finalizers and threads."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

import trio
from hypothesis import HealthCheck as Check
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import MockClock

from tests.helpers import balanced, examples
from trio_batchmetrics import Counter, collector
from trio_batchmetrics._buffer.buffer import Buffer
from trio_batchmetrics._concurrency.turns import Turn
from trio_batchmetrics._config import BatchMetricsConfig
from trio_batchmetrics._events.compiled import row_of_event
from trio_batchmetrics._events.invalid import InvalidEvents
from trio_batchmetrics._events.rows import UnusualRow
from trio_batchmetrics._ledger.ledger import Ledger
from trio_batchmetrics._ledger.pending_batch import PendingBatch
from trio_batchmetrics._ledger.reporting import LossReporter
from trio_batchmetrics.testing import RecordingSink


class _LoggingHandler(logging.Handler):
    def __init__(self, machine: BufferMachine) -> None:
        super().__init__()
        self.machine = machine

    def emit(self, record: logging.LogRecord) -> None:
        self.machine.put_one()


class _Dying:
    def __init__(self, machine: BufferMachine) -> None:
        self.machine = machine

    def __del__(self) -> None:
        self.machine.put_one()


class BufferMachine(RuleBasedStateMachine):
    """The buffer without a run loop: tasks, signal handlers, threads, finalizers and logging handlers record."""

    @initialize(
        batch_size=st.integers(1, 6),
        buffer_size=st.integers(1, 12),
        policy=st.sampled_from(["drop_newest", "drop_oldest"]),
    )
    def open(self, batch_size: int, buffer_size: int, policy: Any) -> None:
        """Create a buffer whose calls into Trio are kept in a list."""
        self.config = BatchMetricsConfig(batch_size=batch_size, buffer_size=buffer_size, on_full=policy)
        self.ledger = Ledger([])
        self.calls: list[Any] = []
        waker: Any = self.calls.append
        reporter = LossReporter(self.ledger, waker, InvalidEvents(time.monotonic))
        self.buffer = Buffer(self.config, self.ledger, waker, MockClock(), reporter, Turn())
        self.put = 0
        self.threads = False
        self.kept: list[int] = []
        self.hand: PendingBatch | None = None
        self.out: list[int] = []
        self.closed = False
        self.logger = logging.getLogger("tests.machine")
        self.logger.propagate = False
        self.logger.handlers.clear()
        self.logger.addHandler(_LoggingHandler(self))
        signal.signal(signal.SIGUSR2, lambda _signum, _frame: self.put_one())

    def teardown(self) -> None:
        """Restore the signal's handler."""
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)

    def _expect(self) -> int:
        """Do in the model what one more event does; return its number."""
        self.put += 1
        if self.closed:
            return self.put
        if len(self.kept) < self.config.buffer_size:
            self.kept.append(self.put)
        elif self.config.on_full == "drop_oldest":
            self.kept.pop(0)
            self.kept.append(self.put)
        return self.put

    def put_one(self) -> None:
        """Record from Trio's thread."""
        self.buffer.put(row_of_event(Counter("c", {"id": self._expect()}, 1)))

    @rule(count=st.integers(1, 9))
    def record(self, count: int) -> None:
        """Record in a task."""
        for _ in range(count):
            self.put_one()

    @rule()
    def record_in_a_signal_handler(self) -> None:
        """Record in a signal handler."""
        signal.raise_signal(signal.SIGUSR2)

    @rule()
    def record_in_a_finalizer(self) -> None:
        """Record in ``__del__``."""
        _Dying(self)

    @rule()
    def record_in_a_logging_handler(self) -> None:
        """Record in a logging handler."""
        self.logger.warning("anything")

    @rule(count=st.integers(1, 4))
    def record_in_a_thread(self, count: int) -> None:
        """Record in another thread."""
        events = [Counter("c", {"id": self._expect()}, 1) for _ in range(count)]

        def put() -> None:
            for event in events:
                self.buffer.put(row_of_event(event))

        thread = threading.Thread(target=put)
        thread.start()
        thread.join()
        self.threads = True  # the gate is shut until Trio's thread has looked

    @rule()
    @precondition(lambda self: self.hand is None)
    def take_in_hand(self) -> None:
        """Let the flush task select the oldest batch, whose events still wait."""
        self.hand = self.buffer.next_batch()

    @rule()
    @precondition(lambda self: self.hand is not None)
    def take(self) -> None:
        """Let the flush task take the batch's events."""
        assert self.hand is not None
        self.buffer.seal(self.hand)
        rows = self.buffer.take(self.hand)
        taken = [row.row.labels["id"] for row in rows if isinstance(row, UnusualRow) and isinstance(row.row, Counter)]
        assert taken == self.kept[: len(taken)], "first in, first out"
        assert len(taken) <= min(self.config.batch_size, self.config.buffer_size)
        del self.kept[: len(taken)]
        self.out += taken
        self.hand = None

    @rule()
    def hurry(self) -> None:
        """Let a flush send the open batch on its way."""
        self.buffer.seal_open_batch()

    @rule()
    @precondition(lambda self: not self.closed)
    def close(self) -> None:
        """Leave the block."""
        self.buffer.close()
        self.closed = True

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Assert that waiting events are the model's, never exceed the buffer, and that everything is counted."""
        if hasattr(self, "ledger"):
            stats = balanced(self.ledger.snapshot(None))
            assert (
                self.ledger.recorded.waiting - self.ledger.recorded.excess == len(self.kept) <= self.config.buffer_size
            )
            assert stats.total_events == self.put
            assert stats.dropped_events == self.put - len(self.kept) - len(self.out)
            if not self.threads:
                assert (self.buffer.gate != 0) == (len(self.kept) < self.config.buffer_size and not self.closed)


TestBufferMachine = BufferMachine.TestCase
TestBufferMachine.settings = settings(
    max_examples=examples(100),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[Check.filter_too_much, Check.too_slow, Check.data_too_large],
)


async def test_an_event_recorded_in_the_middle_of_a_change_is_looked_at_afterwards(autojump_clock: MockClock) -> None:
    """It opens a batch, though no event is recorded after it."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        with metrics._engine.buffer._change:  # as a signal handler does while the flush task changes the structure
            metrics.record_counter("c", {}, 1)
        await trio.sleep(6)
        assert len(sink.events) == 1
    assert balanced(metrics.stats()).processed_events == 1
