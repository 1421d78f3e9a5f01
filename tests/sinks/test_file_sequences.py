"""Whatever other programs do to a sink's open file, some file has every delivered event afterwards.

How this works
==============

:data:`~tests.sinks.sequences.SEQUENCES` is the table of possible actions. Each action happens between two payloads, and
in the middle of one: while it is written, and (for SQLite) between the commit and the copying of the log. The expected
events come from the reports of `flush`, one payload each.
"""

import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.cancelling import Items
from tests.sinks.contract import record, until
from tests.sinks.processes import AS_NOBODY, child, give_to_nobody
from tests.sinks.sequences import (
    DATABASE,
    LINES,
    SEQUENCES,
    Sequence,
    check_bystanders,
    companions,
    copy_and_truncate,
    copy_back_in_place,
    files_below,
    read_all,
    read_lines,
    read_numbers,
    rename,
    rename_and_replace_by_foreign,
    replace_by_copy,
    truncate,
    unlink_log,
    unlink_log_and_index,
)
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.sinks import JSONLinesSink, SQLiteSink

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not rename open files")

QUICK: dict[str, Any] = {"backoff": 0.01, "max_backoff": 0.01}
# ------------------------------------------------------------------------------------------------- the sinks


class Once:
    """An action that happens once, in the thread that calls it."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act
        self.armed = False
        self.done = False

    def __call__(self) -> None:
        """Perform the action, if it is armed."""
        if self.armed and not self.done:
            self.done = True
            self.act()


class Database(SQLiteSink):
    """Performs an action while it inserts, or before it copies the log."""

    def __init__(self, path: Path, writing: Once, committed: Once) -> None:
        super().__init__(path, **QUICK)
        self.writing, self.committed = writing, committed

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.set_trace_callback(lambda statement: self.committed() if "wal_checkpoint" in statement else None)
        return connection

    async def send(self, payload: Payload[Any]) -> Receipt | None:
        """Commit a payload, with an action in between."""
        first, *others = payload.parts
        parts: Any = (Items.when(first, len(first) // 2, self.writing, 0), *others)
        return await super().send(Payload(payload.events, parts, payload.key))


class Lines(JSONLinesSink):
    """Performs an action in the middle of a line."""

    def __init__(self, path: Path, writing: Once) -> None:
        super().__init__(path, **QUICK)
        self.writing = writing

    async def send(self, payload: Payload[bytes]) -> Receipt | None:
        """Write a payload, with an action in between."""
        data = b"".join(payload.parts)
        middle = len(data) // 2 - 10
        parts: Any = Items.when([data[:middle], data[middle:]], 1, self.writing, passes=1)
        return await super().send(Payload(payload.events, parts, payload.key))


def make(kind: str, path: Path, act: Callable[[], None]) -> tuple[Any, dict[str, Once]]:
    """Create a sink, and the actions by the time at which they happen."""
    times = {"writing": Once(act), "committed": Once(act)}
    if kind == DATABASE:
        return Database(path, times["writing"], times["committed"]), times
    return Lines(path, times["writing"]), times


CASES = [
    pytest.param(kind, sequence, timing, id=f"{kind}-{sequence.act.__name__}-{timing}")
    for sequence in SEQUENCES
    for kind in sequence.sinks
    for timing in sequence.timings
    if (kind, timing) != (LINES, "committed")
]


def test_the_table_has_at_least_25_sequences_for_each_sink() -> None:
    """Both sinks go through all of them."""
    for kind in (DATABASE, LINES):
        assert len({sequence.act for sequence in SEQUENCES if kind in sequence.sinks}) >= 25


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Create a folder for everything that may happen; the sink's file is in its subfolder `data`."""
    (tmp_path / "root" / "data").mkdir(parents=True)
    return tmp_path / "root"


def path_of(kind: str, root: Path) -> Path:
    """Return the path of the sink's file."""
    return root / "data" / ("events.db" if kind == DATABASE else "events.jsonl")


@pytest.mark.parametrize(("kind", "sequence", "timing"), CASES)
async def test_delivered_events_are_in_some_file_whatever_happens_to_the_sinks_file(
    kind: str, sequence: Sequence, timing: str, root: Path, tmp_path: Path
) -> None:
    """Events arrive before, during and after the action; unwritable ones fail, and other files stay the same."""
    path = path_of(kind, root)
    sink, times = make(kind, path, lambda: sequence.act(path))
    before = {*range(20), *range(100, 120)}
    delivered = set(before)
    with trio.fail_after(20):
        async with collector(BatchMetricsConfig(batch_size=50, shutdown_timeout=3), sinks=[sink]) as metrics:
            for start in (0, 100):
                record(metrics, range(start, start + 20))
                assert (await metrics.flush()).ok
            if timing == "between":
                sequence.act(path)
            else:
                times[timing].armed = True
                record(metrics, range(200, 240))
                report = await metrics.flush()
                assert times[timing].done
                assert (report.processed, report.failed) in ([(40, 0), (0, 40)] if sequence.fails else [(40, 0)])
                delivered.update(range(200, 240) if report.ok else ())
            record(metrics, range(300, 320))
            report = await metrics.flush()
            assert (report.processed, report.failed) == ((0, 20) if sequence.fails else (20, 0))
            delivered.update(range(300, 320) if report.ok else ())
    [account] = balanced(metrics.stats()).sinks.values()
    assert account.delivered == len(delivered)
    check_bystanders(sequence.act, path, root)
    found = read_all(root, tmp_path / "scratch", copied=sequence.act is copy_and_truncate)
    assert delivered - found <= (set() if sequence.keeps else before)
    assert found <= delivered
    if not path.is_symlink() and path.parent.is_dir():
        assert companions(path) == []


LOG_REMOVED = (unlink_log, unlink_log_and_index)
OVERWRITTEN = (truncate, copy_and_truncate, copy_back_in_place, replace_by_copy)
"""A copied database lacks the rows that are only in its log, and the log doesn't match an overwritten database."""

WITH_READER = [
    each
    for each in SEQUENCES
    if DATABASE in each.sinks and "between" in each.timings and each.act not in (*LOG_REMOVED, *OVERWRITTEN)
]


@pytest.mark.parametrize("sequence", WITH_READER, ids=lambda sequence: sequence.act.__name__)
async def test_rows_that_a_reader_keeps_in_the_log_are_not_lost(sequence: Sequence, root: Path, tmp_path: Path) -> None:
    """They can't be copied while it reads: the log follows its database, or is set aside with a warning."""
    path = path_of(DATABASE, root)
    delivered = set[int]()
    with trio.fail_after(20):
        async with collector(BatchMetricsConfig(shutdown_timeout=3), sinks=[SQLiteSink(path, **QUICK)]) as metrics:
            record(metrics, range(20))
            assert (await metrics.flush()).ok
            with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                assert reader.execute("SELECT count(*) FROM events").fetchone() == (20,)
                record(metrics, range(100, 120))
                assert (await metrics.flush()).ok
                inode = path.stat().st_ino
                sequence.act(path)
                record(metrics, range(300, 320))
                report = await metrics.flush()
                assert (report.processed, report.failed) == ((0, 20) if sequence.fails else (20, 0))
                delivered.update(range(300, 320) if report.ok else ())
                check_bystanders(sequence.act, path, root)
    if sequence.keeps:
        delivered.update(range(20), range(100, 120))
    assert read_all(root, tmp_path / "scratch", log_of=inode) >= delivered


@pytest.mark.parametrize("remove", LOG_REMOVED)
async def test_a_log_removed_under_a_reader_is_copied_once_the_reader_has_finished(
    remove: Callable[[Path], None], root: Path
) -> None:
    """Until then it lives on without a name, and the next payload is retried."""
    path = path_of(DATABASE, root)
    with trio.fail_after(20):
        async with collector(BatchMetricsConfig(shutdown_timeout=3), sinks=[SQLiteSink(path, **QUICK)]) as metrics:
            record(metrics, range(20))
            assert (await metrics.flush()).ok
            with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                assert reader.execute("SELECT count(*) FROM events").fetchone() == (20,)
                record(metrics, range(20, 40))
                assert (await metrics.flush()).ok
                remove(path)
                record(metrics, range(40, 60))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(metrics.flush)
                    await until(lambda: metrics.stats().sinks["sqlite"].retries >= 2)
                    error = "its log was removed while another process was reading it"
                    assert metrics.stats().sinks["sqlite"].last_error == f"{path}: {error}"
                    reader.execute("COMMIT")
    assert balanced(metrics.stats()).sinks["sqlite"].delivered == 60
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (60,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


MANY = {
    DATABASE: "SQLiteSink(path, backoff=0.01, max_backoff=0.02)",
    LINES: "JSONLinesSink(path, max_bytes=15_000, backups=1000, backoff=0.01, max_backoff=0.02)",
}
"""Lines are rotated all the time, by whichever process finds the file full."""


@pytest.mark.parametrize("kind", [DATABASE, LINES])
async def test_several_processes_write_to_one_path(kind: str, root: Path, tmp_path: Path) -> None:
    """Each event is stored once and each line is whole, although every process renames the file when it sees fit."""
    path = path_of(kind, root)

    async def write(first: int) -> None:
        [[delivered]] = await child(
            f"""
            async with collector(sinks=[{MANY[kind]}]) as metrics:
                for start in range({first}, {first} + 2000, 20):
                    record(metrics, start, start + 20)
                    await metrics.flush()
            tell(metrics.stats().processed_events)
            """,
            path,
        )
        assert delivered == 2000

    async with trio.open_nursery() as nursery:
        for first in (0, 2000, 4000):
            nursery.start_soon(write, first)
    found = [number for file in files_below(root) for number in read_numbers(file, tmp_path)]
    assert sorted(found) == list(range(6000))
    count = len(list(files_below(root)))
    assert count == 1 if kind == DATABASE else count > 30


@pytest.mark.parametrize("kind", [DATABASE, LINES])
async def test_several_sinks_of_one_collector_write_to_one_path(kind: str, root: Path, tmp_path: Path) -> None:
    """Each event is stored once per sink."""
    path = path_of(kind, root)
    sinks: list[Any] = [(SQLiteSink if kind == DATABASE else JSONLinesSink)(path, **QUICK) for _ in range(3)]
    async with collector(BatchMetricsConfig(batch_size=20), sinks=sinks) as metrics:
        for start in range(0, 1000, 20):
            record(metrics, range(start, start + 20))
            await metrics.flush()
    assert balanced(metrics.stats()).processed_events == 1000
    assert sorted(read_numbers(path, tmp_path)) == sorted([*range(1000)] * 3)


async def test_another_process_with_the_file_open_cuts_off_the_half_line_of_a_killed_one(root: Path) -> None:
    """The next writer sees that the file has grown, and how it ends."""
    path = path_of(LINES, root)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(20))
        await metrics.flush()
        with path.open("ab") as other:
            other.write(path.read_bytes()[:70])
        record(metrics, range(20, 40))
    assert read_lines(path, is_copy=False) == list(range(40))


async def test_writing_is_retried_while_another_process_has_locked_the_file(root: Path) -> None:
    """Neither the application nor the end of the block waits for it beyond the deadline."""
    fcntl = pytest.importorskip("fcntl")
    path = path_of(LINES, root)
    async with collector(sinks=[JSONLinesSink(path, **QUICK)]) as metrics:
        with path.open("ab") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            record(metrics, range(20))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(metrics.flush)
                await until(lambda: metrics.stats().sinks["jsonlines"].retries >= 2)
                assert path.read_bytes() == b""
                assert metrics.stats().sinks["jsonlines"].last_error == f"{path}: another process is writing to it"
                fcntl.flock(other, fcntl.LOCK_UN)
    assert read_lines(path, is_copy=False) == list(range(20))


async def test_rows_may_be_in_two_files_but_not_in_none_where_a_removal_looks_like_a_move(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some systems lack file descriptors that only identify a file: payloads in progress are written again there."""
    monkeypatch.delattr(os, "O_PATH", raising=False)
    path = path_of(DATABASE, root)
    sink, times = make(DATABASE, path, lambda: rename(path))
    async with collector(sinks=[sink]) as metrics:
        record(metrics, range(20))
        assert (await metrics.flush()).ok
        times["committed"].armed = True
        record(metrics, range(20, 40))
        assert (await metrics.flush()).ok
    assert balanced(metrics.stats()).processed_events == 40
    for file, numbers in ((path.with_name("moved-events.db"), range(40)), (path, range(20, 40))):
        (tmp_path / file.stem).mkdir()
        assert read_numbers(file, tmp_path / file.stem) == list(numbers)


async def test_an_undisturbed_database_needs_one_connection(root: Path) -> None:
    """This holds for any number of payloads."""

    class Counting(SQLiteSink):
        """Counts its connections."""

        connections = 0

        def _connect(self) -> sqlite3.Connection:
            self.connections += 1
            return super()._connect()

    sink = Counting(path_of(DATABASE, root))
    async with collector(sinks=[sink]) as metrics:
        for start in range(0, 100, 5):
            record(metrics, range(start, start + 5))
            assert (await metrics.flush()).ok
    assert sink.connections == 1


async def test_a_log_that_another_program_has_started_to_use_is_left_alone(root: Path, tmp_path: Path) -> None:
    """It opened the replacing database before the sink noticed: its rows are neither copied nor removed."""
    path = path_of(DATABASE, root)
    foreign = root / "foreign.db"
    with closing(sqlite3.connect(foreign, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL").fetchone()
        database.execute("CREATE TABLE mine (x)")
    async with collector(sinks=[SQLiteSink(path, **QUICK)]) as metrics:
        record(metrics, range(20))
        assert (await metrics.flush()).ok
        path.rename(path.with_name("moved.db"))
        foreign.rename(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("INSERT INTO mine VALUES ('before')")
            record(metrics, range(20, 40))
            assert (await metrics.flush()).ok
            other.execute("INSERT INTO mine VALUES ('after')")
    account = balanced(metrics.stats()).sinks["sqlite"]
    assert (account.delivered, account.retries) == (40, 1)
    assert account.last_error == f"{path}: it was replaced while another process was writing to it"
    assert companions(path) == []
    assert read_all(root, tmp_path / "scratch") == set(range(40))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT x FROM mine").fetchall() == [("before",), ("after",)]


@pytest.mark.parametrize("kind", [DATABASE, LINES])
async def test_a_file_that_is_removed_during_each_attempt_is_retried_later(kind: str, root: Path) -> None:
    """An attempt doesn't loop endlessly, and no removed event counts as delivered."""
    path = path_of(kind, root)
    removals = list[int]()

    def remove() -> None:
        if len(removals) < 8:
            removals.append(len(removals))
            path.unlink()

    class Lines(JSONLinesSink):
        """Removes its file before each payload's last part."""

        async def send(self, payload: Payload[bytes]) -> Receipt | None:
            parts: Any = Items.when([b"".join(payload.parts), b""], 1, remove, passes=1)
            return await super().send(Payload(payload.events, parts, payload.key))

    class Database(SQLiteSink):
        """Removes its file before each commit."""

        def _connect(self) -> sqlite3.Connection:
            connection = super()._connect()
            connection.set_trace_callback(lambda statement: remove() if statement == "COMMIT" else None)
            return connection

    sink: Any = (Database if kind == DATABASE else Lines)(path, **QUICK)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, range(20))
        with trio.fail_after(20):
            assert (await metrics.flush()).ok
    [account] = balanced(metrics.stats()).sinks.values()
    assert account.retries >= 2
    assert "keeps being" in (account.last_error or "")
    (root / "scratch").mkdir()
    assert read_numbers(path, root / "scratch") == list(range(20))


async def test_a_database_that_is_replaced_while_it_is_opened_is_opened_again(root: Path, tmp_path: Path) -> None:
    """Otherwise the connection would belong to one file, and all later checks to another."""
    path = path_of(DATABASE, root)

    class Replaced(SQLiteSink):
        """Another database takes the path right after it is opened, once."""

        replaced = False

        def _connect(self) -> sqlite3.Connection:
            connection = super()._connect()
            if not self.replaced:
                self.replaced = True
                rename_and_replace_by_foreign(path)
            return connection

    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE other (x)")
    async with collector(sinks=[Replaced(path, name="replaced", **QUICK)]) as metrics:
        record(metrics, range(20))
        assert (await metrics.flush()).ok
    account = balanced(metrics.stats()).sinks["replaced"]
    assert (account.delivered, account.last_error) == (20, f"{path}: it was replaced while being opened")
    check_bystanders(rename_and_replace_by_foreign, path, root)
    assert read_numbers(path, tmp_path) == list(range(20))


async def test_events_fail_where_a_log_cannot_be_removed() -> None:
    """The folder now belongs to another user. The process isn't root's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data" / "events.db"
        path.parent.mkdir()
        give_to_nobody(Path(folder))
        result = await child(
            AS_NOBODY
            + """
        async with collector(sinks=[SQLiteSink(path, backoff=0.01)]) as metrics:
            record(metrics, 0, 20)
            await metrics.flush()
            path.rename(path.with_name("moved.db"))
            path.parent.chmod(0o500)
            record(metrics, 20, 40)
            await metrics.flush()
            path.parent.chmod(0o700)
        sink = metrics.stats().sinks["sqlite"]
        tell(sink.delivered, sink.failed, sink.retries, sink.last_error)
            """,
            path,
        )
        assert result == [[20, 20, 1, f"{path}: permission denied"]]
        assert read_numbers(path.with_name("moved.db"), Path(folder)) == list(range(20))


# ------------------------------------------------------------------------------------------------- after a kill


def leave_log(path: Path) -> bytes:
    """Leave a log with rows, like a process killed between its commit and the copying of the log; return the log."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL").fetchone()
        database.execute("CREATE TABLE mine (x)")
        log = other.with_name("other.db-wal").read_bytes()
    other.unlink()
    path.with_name(f"{path.name}-wal").write_bytes(log)
    return log


async def test_a_log_whose_database_is_gone_is_set_aside(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite would delete it; a warning says where it is."""
    path = path_of(DATABASE, root)
    log = leave_log(path)
    assert len(log) > 4096
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(20))
    assert path.with_name("events.db.1-wal").read_bytes() == log
    [line] = [each.getMessage() for each in caplog.records if "log was left" in each.getMessage()]
    assert line.startswith(f"{path}: a log was left without its database, and is now events.db.1-wal")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (20,)


async def test_a_log_does_not_turn_another_file_into_a_database(root: Path) -> None:
    """Both stay unchanged, because they may belong to a program that encrypts its database."""
    path = path_of(DATABASE, root)
    log = leave_log(path)
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" * 1000)
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(20))
    account = balanced(metrics.stats()).sinks["sqlite"]
    assert (account.failed, account.last_error) == (20, f"{path}: file is not a database")
    assert path.read_bytes() == b"\xff\xd8\xff\xe0\x00\x10JFIF" * 1000
    assert path.with_name("events.db-wal").read_bytes() == log


async def test_a_database_and_the_log_of_a_killed_process_are_read_together(root: Path, tmp_path: Path) -> None:
    """The content of the log was committed, so it counts as usual."""
    path = path_of(DATABASE, root)
    await child(
        """
        class Uncopied(SQLiteSink):
            def _connect(self):
                connection = super()._connect()
                connection.set_trace_callback(lambda it: os.kill(os.getpid(), 9) if "checkpoint" in it and full else 0)
                return connection

        full = []
        async with collector(sinks=[Uncopied(path)]) as metrics:
            record(metrics, 0, 20)
            await metrics.flush()
            full.append(True)
            record(metrics, 20, 40)
            tell("about to die")
        """,
        path,
        dies_of=signal.SIGKILL,
    )
    assert path.with_name("events.db-wal").stat().st_size > 0
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(40, 60))
    assert read_numbers(path, tmp_path) == list(range(60))
