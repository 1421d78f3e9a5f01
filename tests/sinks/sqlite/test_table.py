"""Each event is one row of a documented table, which other processes may read at any time."""

import sqlite3
import subprocess
import sys
from collections import Counter as Count
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.contract import record, until
from tests.sinks.sqlite.database import files, numbers, rows
from trio_batchmetrics import BatchMetricsConfig, Counter, collector
from trio_batchmetrics.sinks import SQLiteSink


async def test_the_table_has_the_documented_columns_and_an_index_on_time(path: Path) -> None:
    """The database uses a write-ahead log, so that readers disturb no one."""
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
    """The log is merged into the database, so that the file can be copied."""
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(100))
        await metrics.flush()
        assert len(files(path)) == 3  # the log, and its index in shared memory
    assert files(path) == [path]


async def test_a_later_run_adds_to_the_file(path: Path) -> None:
    """This also works for a table that has been given more columns."""
    for start in (0, 10):
        async with collector(sinks=[SQLiteSink(path)]) as metrics:
            record(metrics, range(start, start + 10))
        if start == 0:
            with closing(sqlite3.connect(path)) as database:
                database.execute("ALTER TABLE events ADD COLUMN note TEXT")
    assert numbers(path) == list(range(20))


async def test_a_relative_path_is_resolved_when_the_sink_is_constructed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application may change its working directory afterwards."""
    monkeypatch.chdir(path.parent)
    sink = SQLiteSink(path.name)
    monkeypatch.chdir(tmp_path)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, [1])
    assert numbers(path) == [1]


async def test_all_queued_events_are_one_transaction(path: Path) -> None:
    """However many batches and parts there are, a reader sees all of them or none."""
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


async def test_another_process_can_read_while_the_sink_writes(path: Path) -> None:
    """The number of rows it sees only grows, and always covers whole transactions."""
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
            output = await reader.stdout.receive_some()  # it is already reading
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


async def test_a_removed_file_is_noticed_and_created_again(path: Path) -> None:
    """Later events go to the path where a reader will look for them."""
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(10))
        assert (await metrics.flush()).ok
        for file in files(path):
            file.unlink()
        record(metrics, range(10, 15))
        assert (await metrics.flush()).ok
        assert numbers(path) == list(range(10, 15))


@pytest.mark.parametrize("timestamp", [2**63, -(2**63) - 1])
async def test_a_timestamp_beyond_64_bits_costs_only_its_event(path: Path, timestamp: int) -> None:
    """A timestamp just inside the range is kept exactly."""
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
