"""An attempt that is cut short has committed all of its rows or none, and reports which."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.cancelling import Items, cancel
from tests.sinks.contract import record
from tests.sinks.processes import child
from tests.sinks.sqlite.database import BIG, files, has_table, numbers, rows
from trio_batchmetrics import Batch, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.sinks import SQLiteSink


@pytest.mark.parametrize("at", [0, 1, 2, 498, 499, 500])
async def test_an_attempt_cancelled_before_the_commit_writes_nothing(path: Path, at: int) -> None:
    """The cancellation strikes at any row or after the last; the sink notices it before the next. A retry succeeds."""
    sink = SQLiteSink(path)
    events = [Counter("jobs", {"id": number}, 1) for number in range(500)]
    encoded = sink.encode(events)
    scope = trio.CancelScope()
    part: Any = Items.cancelled_at(encoded, at, scope)
    with scope:
        await sink.send(Payload(Batch(events), (part,), "key"))
    assert scope.cancelled_caught
    assert part.seen <= at + 1
    assert not has_table(path)  # creating the table is part of the transaction
    assert await sink.send(Payload(Batch(events), (encoded,), "key 2")) is None
    await sink.aclose()
    assert rows(path) == 500


async def test_an_attempt_cancelled_during_the_commit_is_delivered(path: Path) -> None:
    """The timeout strikes after the last check: the attempt reports its success, so there is no second copy."""
    token = trio.lowlevel.current_trio_token()

    class Late(SQLiteSink):
        """Is cancelled as SQLite begins to commit."""

        def _connect(self) -> sqlite3.Connection:
            connection = super()._connect()
            connection.set_trace_callback(lambda statement: cancel(scope, token) if statement == "COMMIT" else None)
            return connection

    sink = Late(path)
    events = [Counter("jobs", {"id": 1}, 1)]
    receipts = list[Receipt | None]()
    with trio.CancelScope() as scope:
        receipts.append(await sink.send(Payload(Batch(events), (sink.encode(events),), "key")))
    assert scope.cancel_called
    assert receipts == [None]
    await sink.aclose()
    assert rows(path) == 1


async def test_uncommitted_events_are_rolled_back_and_counted_at_the_shutdown_deadline(path: Path) -> None:
    """No row of an oversized payload is left; the payload before it is delivered and counted."""

    class Slow(SQLiteSink):
        """Has inserted 15 000 rows when the deadline strikes."""

        async def send(self, payload: Payload[Any]) -> Receipt | None:
            parts: tuple[Any, ...] = payload.parts
            if len(parts) > 30:
                parts = (*parts[:30], Items.held_up_at(parts[30], 0), *parts[31:])
            return await super().send(Payload(payload.events, parts, payload.key))

    config = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000, shutdown_timeout=0.5)
    async with collector(config, sinks=[Slow(path, name="slow")]) as metrics:
        record(metrics, range(10))
        await metrics.flush()
        record(metrics, range(10, 20_010))
    account = balanced(metrics.stats()).sinks["slow"]
    assert (account.delivered, account.failed) == (10, 20_000)
    assert files(path) == [path]  # still closed properly
    assert numbers(path) == list(range(10))


class Unrollable:
    """A connection that can no longer roll back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def rollback(self) -> None:
        """Raise."""
        raise sqlite3.OperationalError("disk I/O error")


async def test_a_connection_that_cannot_roll_back_is_replaced(path: Path) -> None:
    """Closing it rolls back as well; the next attempt has a new connection."""

    class Breaking(SQLiteSink):
        """Has a broken first connection."""

        connections = 0

        def _connect(self) -> Any:
            self.connections += 1
            connection = super()._connect()
            return Unrollable(connection) if self.connections == 1 else connection

    sink = Breaking(path)
    events = [Counter("jobs", {"id": number}, 1) for number in range(3)]
    encoded = sink.encode(events)
    with trio.CancelScope() as scope:
        part: Any = Items.cancelled_at(encoded, 1, scope)
        await sink.send(Payload(Batch(events), (part,), "key"))
    assert scope.cancelled_caught
    assert await sink.send(Payload(Batch(events), (encoded,), "key 2")) is None
    await sink.aclose()
    assert sink.connections == 2
    assert numbers(path) == [0, 1, 2]


async def test_an_attempt_over_its_timeout_is_rolled_back_and_retried(path: Path) -> None:
    """The first attempt is cut short after inserting rows; the second delivers each of them once."""

    class Slow(SQLiteSink):
        """Never finishes the first attempt."""

        attempts = 0

        async def send(self, payload: Payload[Any]) -> Receipt | None:
            self.attempts += 1
            parts: tuple[Any, ...] = payload.parts
            if self.attempts == 1:
                parts = (parts[0], Items.held_up_at(parts[1], 10))
            return await super().send(Payload(payload.events, parts, payload.key))

    sink = Slow(path, name="slow", timeout=1, backoff=0.01)
    async with collector(BIG, sinks=[sink]) as metrics:
        record(metrics, range(1000))
    account = balanced(metrics.stats()).sinks["slow"]
    assert (account.delivered, account.retries, account.last_error) == (1000, 1, "no answer within 1 s")
    assert numbers(path) == list(range(1000))


@pytest.mark.parametrize("after", [1, 4, 9])
async def test_a_killed_process_leaves_whole_transactions(path: Path, after: int) -> None:
    """After a SIGKILL during writing the file opens, has every event reported as delivered, and no partial payload."""
    lines = await child(
        """
        async with collector(BIG, sinks=[SQLiteSink(path)]) as metrics:
            for start in range(0, 1_000_000, 2000):
                record(metrics, start, start + 2000)
                await metrics.flush()
                tell(metrics.stats().processed_events)
        """,
        path,
        kill_after=after,
    )
    delivered = lines[-1][0]
    count = rows(path)
    assert count >= delivered
    assert count % 2000 == 0
    assert numbers(path) == list(range(count))
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, [count])
    assert numbers(path) == list(range(count + 1))
    assert rows(path, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") == 1


async def test_a_forked_child_leaves_the_database_alone(path: Path) -> None:
    """The child closes and writes nothing, and the parent continues."""
    result = await child(
        """
        import os
        sink = SQLiteSink(path)
        async with collector(sinks=[sink]) as metrics:
            record(metrics, 0, 10)
            await metrics.flush()
            await trio.sleep(0.1)  # the worker thread has let go of Trio's lock, which the child could never get
            if (pid := os.fork()) == 0:
                with trio.fail_after(10):
                    await sink.aclose()
                    receipt = await sink.send(Payload(Batch([]), (), "key"))
                os._exit(0 if receipt.error.startswith("connected before a fork") and receipt.rest == "failed" else 1)
            tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            record(metrics, 10, 20)
        tell(metrics.stats().processed_events)
        """,
        path,
    )
    assert result == [[0], [20]]
    assert numbers(path) == list(range(20))
