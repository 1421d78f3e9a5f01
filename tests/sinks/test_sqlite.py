"""SQLiteSink: what is special about a database file. Threads, files and processes: the real clock.

Every count of rows comes from a connection of its own or another process, never from the sink.
"""

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter as Count
from collections.abc import Callable, Generator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.cancelling import Items, cancel
from tests.sinks.contract import record, until
from tests.sinks.processes import AS_NOBODY, child, give_to_nobody
from trio_batchmetrics import Batch, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.sinks import SQLiteSink

BIG = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the database shall be: the only thing in its folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "events.sqlite3"


@pytest.fixture
def nobodys() -> Generator[Path, None, None]:
    """Make a folder that another user can reach, with a folder `data` in it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").mkdir()
        yield Path(folder)


def files(path: Path) -> list[Path]:
    """Return what is in its folder."""
    return sorted(path.parent.iterdir())


def make_folder(path: Path) -> None:
    """Make a folder."""
    path.mkdir()


def rows(path: Path, query: str = "SELECT count(*) FROM events") -> int:
    """Ask the database for a number."""
    with closing(sqlite3.connect(path)) as database:
        [[number]] = database.execute(query).fetchall()
    return int(number)


def numbers(path: Path) -> list[int]:
    """Return the label `id` of each row, in order."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT json_extract(labels, '$.id') FROM events ORDER BY id"
        return [int(number) for (number,) in database.execute(query)]


def has_table(path: Path) -> bool:
    """Say whether there is a table of events yet."""
    return bool(path.exists() and rows(path, "SELECT count(*) FROM sqlite_master WHERE name = 'events'"))


# ------------------------------------------------------------------------------------------------- the file


async def test_the_table_has_the_columns_that_the_docs_name_and_an_index_on_time(path: Path) -> None:
    """And the database is written ahead, so that a reader disturbs nobody."""
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, [1])
    with closing(sqlite3.connect(path)) as database:
        columns = [(name, kind) for _, name, kind, *_ in database.execute("PRAGMA table_info(events)")]
        assert columns == [
            ("id", "INTEGER"),
            ("timestamp", "INTEGER"),
            ("kind", "TEXT"),
            ("name", "TEXT"),
            ("labels", "TEXT"),
            ("fields", "TEXT"),
        ]
        [plan] = database.execute("EXPLAIN QUERY PLAN SELECT * FROM events WHERE timestamp > 5").fetchall()
        assert "INDEX" in plan[-1]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_closing_leaves_one_file(path: Path) -> None:
    """The log is merged into the database, so that it can be copied."""
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(100))
        await metrics.flush()
        assert len(files(path)) == 3  # the log, and its index in memory
    assert files(path) == [path]


async def test_a_later_run_adds_to_the_file(path: Path) -> None:
    """Also to a table that has been given more columns meanwhile."""
    for start in (0, 10):
        async with collector(sinks=[SQLiteSink(path)]) as metrics:
            record(metrics, range(start, start + 10))
        if start == 0:
            with closing(sqlite3.connect(path)) as database:
                database.execute("ALTER TABLE events ADD COLUMN note TEXT")
    assert numbers(path) == list(range(20))


async def test_a_relative_path_stays_where_it_was_when_the_sink_was_made(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the application goes afterwards."""
    monkeypatch.chdir(path.parent)
    sink = SQLiteSink(path.name)
    monkeypatch.chdir(tmp_path)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, [1])
    assert numbers(path) == [1]


async def test_all_that_is_queued_is_one_transaction(path: Path) -> None:
    """However many batches and parts it was: a reader sees all of it or nothing."""
    seen = Count[int]()
    with closing(sqlite3.connect(path)) as writer, closing(sqlite3.connect(path, isolation_level=None)) as reader:
        writer.execute("PRAGMA journal_mode = WAL").fetchone()
        config = BatchMetricsConfig(batch_size=700, buffer_size=7000)
        async with collector(config, sinks=[SQLiteSink(path, backoff=0.01, max_backoff=0.01)]) as metrics:
            writer.execute("BEGIN IMMEDIATE")
            record(metrics, range(700))
            await until(lambda: metrics.stats().sinks["sqlite"].retries > 0)
            record(metrics, range(700, 7000))
            await until(lambda: metrics.stats().sinks["sqlite"].total == 7000)
            writer.rollback()
            while metrics.stats().pending_events:
                if reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events'").fetchone() == (1,):
                    seen.update(reader.execute("SELECT count(*) FROM events").fetchone())
                await trio.lowlevel.checkpoint()
    assert set(seen) <= {700, 7000}
    assert numbers(path) == list(range(7000))


async def test_another_process_reads_while_it_writes(path: Path) -> None:
    """The number of rows it sees only grows, and is a number of whole transactions."""
    script = """
import sqlite3, sys
database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
count = 0
while count < 6000:
    count = database.execute("SELECT count(*) FROM events").fetchone()[0]
    print(count, flush=True)
"""
    async with collector(BatchMetricsConfig(batch_size=300), sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(300))
        await metrics.flush()
        async with trio.open_nursery() as nursery:
            command = [sys.executable, "-c", script, str(path)]
            reader: trio.Process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE))
            assert reader.stdout is not None
            output = await reader.stdout.receive_some()  # it reads already
            for start in range(300, 6000, 300):
                record(metrics, range(start, start + 300))
                assert (await metrics.flush()).ok
            async for data in reader.stdout:
                output += data
    counts = [int(line) for line in output.split()]
    assert counts == sorted(counts)
    assert counts[-1] == 6000
    assert all(count % 300 == 0 for count in counts)
    assert balanced(metrics.stats()).sinks["sqlite"].retries == 0


async def test_a_removed_file_is_noticed_and_begun_anew(path: Path) -> None:
    """What comes later goes to where a reader will look for it."""
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(10))
        assert (await metrics.flush()).ok
        for file in files(path):
            file.unlink()
        record(metrics, range(10, 15))
        assert (await metrics.flush()).ok
        assert numbers(path) == list(range(10, 15))


async def test_rows_older_than_max_age_are_deleted_as_others_are_written(path: Path) -> None:
    """By their timestamps and the wall clock."""
    hour = 3600 * 10**9
    ages = [100, 26, 25, 23, 1, 0]
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        for age in ages:
            metrics.record(Counter("jobs", {"id": age}, 1, timestamp=time.time_ns() - age * hour))
    assert numbers(path) == ages
    async with collector(sinks=[SQLiteSink(path, max_age=timedelta(hours=24))]) as metrics:
        assert rows(path) == len(ages)
        record(metrics, [0])
    assert numbers(path) == [23, 1, 0, 0]
    async with collector(sinks=[SQLiteSink(path, max_age=1800)]) as metrics:
        record(metrics, [5])
    assert numbers(path) == [0, 0, 5]


async def test_many_old_rows_are_deleted_a_part_at_a_time(path: Path) -> None:
    """So that no payload waits long for it; in the end they are gone."""
    async with collector(BIG, sinks=[SQLiteSink(path)]) as metrics:
        for number in range(20_000):
            metrics.record(Counter("jobs", {"id": number}, 1, timestamp=number))
    assert rows(path) == 20_000
    left = list[int]()
    async with collector(sinks=[SQLiteSink(path, max_age=60)]) as metrics:
        for number in range(4):
            record(metrics, [number])
            await metrics.flush()
            left.append(rows(path))
    assert left == [10_001, 2, 3, 4]


@pytest.mark.parametrize("age", [0, -1, float("nan"), float("inf"), True, "7d", timedelta(0), 10**400])
def test_an_age_that_makes_no_sense_is_refused(age: Any) -> None:
    """When the sink is made, naming the rule and the value."""
    with pytest.raises(ValueError, match=r"^max_age must be a number of seconds > 0, or a timedelta \(got "):
        SQLiteSink("events.sqlite3", max_age=age)


@pytest.mark.parametrize("age", [1e300, timedelta.max, 10**12])
async def test_an_age_beyond_time_deletes_nothing(path: Path, age: Any) -> None:
    """Such as one that no clock goes back to."""
    async with collector(sinks=[SQLiteSink(path, max_age=age)]) as metrics:
        metrics.record(Counter("jobs", {"id": 1}, 1, timestamp=0))
        await metrics.flush()
        record(metrics, [2])
    assert numbers(path) == [1, 2]


@pytest.mark.parametrize("timestamp", [2**63, -(2**63) - 1])
async def test_a_timestamp_beyond_64_bits_costs_only_its_event(path: Path, timestamp: int) -> None:
    """And the one before it is kept as it is."""
    inside = timestamp - 1 if timestamp > 0 else timestamp + 1
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        metrics.record(Counter("jobs", {"id": 1}, 1, timestamp=inside))
        metrics.record(Counter("jobs", {"id": 2}, 1, timestamp=timestamp))
        record(metrics, [3])
    account = balanced(metrics.stats()).sinks["sqlite"]
    assert (account.delivered, account.rejected) == (2, 1)
    assert account.last_error == f"cannot be encoded: ValueError: timestamp must fit into 64 bits (got {timestamp})"
    assert numbers(path) == [1, 3]
    assert rows(path, "SELECT timestamp FROM events ORDER BY id LIMIT 1") == inside


# ------------------------------------------------------------------------------------------- what goes wrong


async def test_while_the_database_is_locked_it_tries_again(path: Path) -> None:
    """And delivers everything once it is released."""
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


async def test_locked_until_the_deadline_nothing_is_written(path: Path) -> None:
    """Everything has failed, and the other's transaction is whole."""
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
    """A disk that is full at so many pages of 4 KiB: SQLite's own limit, which gives its own error."""

    pages = 20

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute(f"PRAGMA max_page_count = {self.pages}").fetchone()
        return connection


async def test_when_the_disk_is_full_it_tries_again(path: Path) -> None:
    """All of the payload arrives once there is room, none of it before."""
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


async def test_a_disk_that_takes_no_more_bytes_is_tried_again(path: Path) -> None:
    """The operating system's own refusal, in a process of its own: a limit on the size of files."""
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
    """A database that takes no text of more than 20 000 bytes: SQLite's own limit, which gives its own error."""

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 20_000)
        return connection


async def test_an_event_too_large_for_the_database_is_rejected_alone(path: Path) -> None:
    """Its payload is halved until it is found."""
    async with collector(sinks=[NarrowSink(path, name="narrow")]) as metrics:
        record(metrics, range(20))
        metrics.record_counter("jobs", {"id": 20, "x": "x" * 50_000}, 1)
        record(metrics, range(21, 40))
    account = balanced(metrics.stats()).sinks["narrow"]
    assert (account.delivered, account.rejected) == (39, 1)
    assert account.last_error == "string or blob too big"
    assert numbers(path) == [number for number in range(40) if number != 20]


def _foreign_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE events (at TEXT, what TEXT)")
        database.execute("INSERT INTO events VALUES ('now', 'this')")
        database.commit()


def _photo(path: Path) -> None:
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 20)


def _diary(path: Path) -> None:
    path.write_text("Dear diary, " * 500, encoding="utf-8")


def _two_bytes(path: Path) -> None:
    path.write_bytes(b"hi")


def _half_a_database(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\x07" * 5000)


def state(path: Path) -> tuple[bytes, int, list[Path]]:
    """Return all that there is to say about a file: its bytes, when it changed, what is beside it."""
    return path.read_bytes(), path.stat().st_mtime_ns, files(path)


@pytest.mark.parametrize("make", [_photo, _diary, _two_bytes, _half_a_database, _foreign_table])
async def test_a_file_that_is_not_its_own_stays_untouched(path: Path, make: Callable[[Path], None]) -> None:
    """Its events have failed, with an error that says why; leaving does not wait for better times."""
    make(path)
    before = state(path)
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(3))
        with trio.fail_after(20):
            report = await metrics.flush()
            assert (report.failed, report.processed) == (3, 0)
    account = balanced(metrics.stats()).sinks["sqlite"]
    assert (account.failed, account.retries) == (3, 0)
    reason = "file is not a database"
    if make is _foreign_table:
        reason = "its table 'events' is not this sink's (it has no id, timestamp, kind, name, labels, fields)"
    assert account.last_error == f"{path}: {reason}"
    assert state(path) == before


async def test_a_folder_in_its_place_is_said_to_be_one(path: Path) -> None:
    """Given up at once."""
    make_folder(path)
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["sqlite"]
    assert (account.failed, account.retries, account.last_error) == (3, 0, f"{path}: it is a folder")


async def test_once_its_folder_is_there_events_arrive(path: Path) -> None:
    """What was recorded before is given up, what comes afterwards is not."""
    file = path.parent / "later" / path.name
    async with collector(sinks=[SQLiteSink(file)]) as metrics:
        record(metrics, range(3))
        await metrics.flush()
        assert metrics.stats().sinks["sqlite"].last_error == f"{file}: its folder does not exist"
        file.parent.mkdir()
        record(metrics, range(3, 6))
        assert (await metrics.flush()).ok
    assert numbers(file) == [3, 4, 5]


@pytest.mark.parametrize("forbidden", ["file", "folder", "above", "new"])
async def test_what_it_may_not_write_is_given_up(nobodys: Path, forbidden: str) -> None:
    """In a process that is not root's."""
    path = nobodys / "data" / "events.sqlite3"
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(3))
    locked = {"file": path, "folder": path.parent, "above": nobodys, "new": path.parent}[forbidden]
    mode = {"file": 0o400, "folder": 0o500, "above": 0o600, "new": 0o500}[forbidden]
    give_to_nobody(nobodys)
    locked.chmod(mode)
    target = path.with_name("new") if forbidden == "new" else path
    result = await child(
        AS_NOBODY
        + """
        async with collector(sinks=[SQLiteSink(path)]) as metrics:
            record(metrics, 3, 6)
        sink = metrics.stats().sinks["sqlite"]
        tell(sink.failed, sink.retries, sink.last_error)
        """,
        target,
    )
    locked.chmod(0o700)
    [[failed, retries, error]] = result
    assert (failed, retries) == (3, 0)
    assert error in (f"{target}: permission denied", f"{target}: attempt to write a readonly database")
    assert numbers(path) == [0, 1, 2]


# ------------------------------------------------------------------------------------------------- cut short


@pytest.mark.parametrize("at", [0, 1, 2, 498, 499, 500])
async def test_cancelled_before_the_commit_it_has_written_nothing(path: Path, at: int) -> None:
    """At any row, and after the last: it notices before the next one. The next attempt finds everything in order."""
    sink = SQLiteSink(path)
    events = [Counter("jobs", {"id": number}, 1) for number in range(500)]
    encoded = sink.encode(events)
    scope = trio.CancelScope()
    part: Any = Items.cancelled_at(encoded, at, scope)
    with scope:
        await sink.send(Payload(Batch(events), (part,), "key"))
    assert scope.cancelled_caught
    assert part.seen <= at + 1
    assert not has_table(path)  # it is part of the transaction
    assert await sink.send(Payload(Batch(events), (encoded,), "key 2")) is None
    await sink.aclose()
    assert rows(path) == 500


async def test_cancelled_in_the_commit_it_is_delivered(path: Path) -> None:
    """The timeout strikes after the last look: the attempt says so, so there is no second copy."""
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


async def test_uncommitted_at_the_shutdown_deadline_is_rolled_back_and_counted(path: Path) -> None:
    """A payload too big for the time there is: no row of it is left; one before it is, and is counted."""

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
    assert files(path) == [path]  # closed all the same
    assert numbers(path) == list(range(10))


class Unrollable:
    """A connection that cannot roll back any more."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def rollback(self) -> None:
        """Fail."""
        raise sqlite3.OperationalError("disk I/O error")


async def test_a_connection_that_cannot_roll_back_is_replaced(path: Path) -> None:
    """Closing rolls back as well; the next attempt has a new connection."""

    class Breaking(SQLiteSink):
        """Its first connection is broken."""

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


async def test_an_attempt_over_its_timeout_is_rolled_back_and_made_again(path: Path) -> None:
    """The first attempt is cut with rows inserted; the second delivers each of them once."""

    class Slow(SQLiteSink):
        """Takes for ever, the first time."""

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
    """SIGKILL in the middle of writing: the file opens, has what was said to be delivered, and no half payload."""
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
    """It closes nothing, writes nothing; the parent goes on."""
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
                os._exit(0 if receipt.error.startswith("connected before a fork") and not receipt.retry else 1)
            tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            record(metrics, 10, 20)
        tell(metrics.stats().processed_events)
        """,
        path,
    )
    assert result == [[0], [20]]
    assert numbers(path) == list(range(20))
