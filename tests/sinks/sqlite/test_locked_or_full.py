"""The sink retries while the database is locked or the disk is full, and rejects only events too large for it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import trio

from tests.helpers import balanced
from tests.sinks.contract import record, until
from tests.sinks.processes import child
from tests.sinks.sqlite.database import BIG, has_table, numbers, rows
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import SQLiteSink


async def test_the_sink_retries_while_the_database_is_locked(path: Path) -> None:
    """It delivers everything once the lock is released."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("BEGIN EXCLUSIVE")
        sink = SQLiteSink(path, backoff=0.01, max_backoff=0.01)
        async with collector(BatchMetricsConfig(batch_size=50), sinks=[sink]) as metrics:
            record(metrics, range(50))
            await until(lambda: metrics.stats().sinks["sqlite"].retries >= 2)
            account = balanced(metrics.stats()).sinks["sqlite"]
            assert (account.delivered, account.pending) == (0, 50)
            assert account.last_error == f"{path}: database is locked"
            other.rollback()
            assert (await metrics.flush()).ok
    assert numbers(path) == list(range(50))


async def test_nothing_is_written_to_a_database_that_is_locked_until_the_deadline(path: Path) -> None:
    """All events fail, and the other program's transaction is complete."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("BEGIN IMMEDIATE")
        async with collector(BatchMetricsConfig(shutdown_timeout=0.5), sinks=[SQLiteSink(path)]) as metrics:
            record(metrics, range(50))
        other.execute("INSERT INTO mine VALUES (1)")
        other.execute("COMMIT")
    account = balanced(metrics.stats()).sinks["sqlite"]
    assert (account.failed, account.delivered) == (50, 0)
    assert account.last_error is not None
    assert "locked" in account.last_error
    assert not has_table(path)
    assert rows(path, "SELECT count(*) FROM mine") == 1


class SmallSink(SQLiteSink):
    """A disk that is full after a number of pages of 4 KiB: SQLite's own limit, which gives SQLite's own error."""

    pages = 20

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute(f"PRAGMA max_page_count = {self.pages}").fetchone()
        return connection


async def test_the_sink_retries_while_the_disk_is_full(path: Path) -> None:
    """The whole payload arrives once there is room, and no part of it before."""
    sink = SmallSink(path, name="small", backoff=0.01, max_backoff=0.01)
    async with collector(BIG, sinks=[sink]) as metrics:
        record(metrics, range(100))
        assert (await metrics.flush()).ok
        record(metrics, range(100, 3000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metrics.flush)
            await until(lambda: metrics.stats().sinks["small"].retries >= 2)
            account = balanced(metrics.stats()).sinks["small"]
            assert (account.delivered, account.pending) == (100, 2900)
            assert account.last_error == f"{path}: database or disk is full"
            assert numbers(path) == list(range(100))
            sink.pages = 100_000
            await until(lambda: metrics.stats().pending_events == 0)
    assert numbers(path) == list(range(3000))


async def test_the_sink_retries_while_the_system_refuses_more_bytes(path: Path) -> None:
    """The operating system itself refuses, in a child process with a limit on file sizes."""
    result = await child(
        """
        import resource
        limit = resource.RLIMIT_FSIZE
        resource.setrlimit(limit, (150_000, resource.RLIM_INFINITY))
        async with collector(BIG, sinks=[SQLiteSink(path, backoff=0.01, max_backoff=0.01)]) as metrics:
            record(metrics, 0, 100)
            await metrics.flush()
            record(metrics, 100, 5000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(metrics.flush)
                await until(lambda: metrics.stats().sinks["sqlite"].retries >= 3)
                tell(metrics.stats().sinks["sqlite"].delivered, metrics.stats().sinks["sqlite"].last_error)
                resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        tell(metrics.stats().processed_events, metrics.stats().failed_events)
        """,
        path,
    )
    assert result[0][0] == 100
    assert result[0][1] in (f"{path}: disk I/O error", f"{path}: database or disk is full")
    assert result[1] == [5000, 0]
    assert numbers(path) == list(range(5000))
    assert rows(path, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") == 1


class NarrowSink(SQLiteSink):
    """A database that accepts no text of more than 20 000 bytes: SQLite's own limit, which gives SQLite's own error."""

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 20_000)
        return connection


async def test_an_event_too_large_for_the_database_is_rejected_alone(path: Path) -> None:
    """Its payload is halved until the event is found."""
    async with collector(sinks=[NarrowSink(path, name="narrow")]) as metrics:
        record(metrics, range(20))
        metrics.record_counter("jobs", {"id": 20, "x": "x" * 50_000}, 1)
        record(metrics, range(21, 40))
    account = balanced(metrics.stats()).sinks["narrow"]
    assert (account.delivered, account.rejected) == (39, 1)
    assert account.last_error == "string or blob too big"
    assert numbers(path) == [number for number in range(40) if number != 20]
