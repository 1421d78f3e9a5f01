"""A place that can't be written to costs its events and stays untouched."""

import sqlite3
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.contract import record
from tests.sinks.processes import AS_NOBODY, child, give_to_nobody
from tests.sinks.sqlite.database import files, numbers
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import SQLiteSink


@pytest.fixture
def nobodys() -> Generator[Path, None, None]:
    """Yield a folder that another user can reach, with a folder `data` in it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").mkdir()
        yield Path(folder)


def make_folder(path: Path) -> None:
    """Make a folder."""
    path.mkdir()


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
    """Return everything observable about a file: its bytes, when it changed, and its neighbours."""
    return path.read_bytes(), path.stat().st_mtime_ns, files(path)


@pytest.mark.parametrize("make", [_photo, _diary, _two_bytes, _half_a_database, _foreign_table])
async def test_a_foreign_file_stays_untouched(path: Path, make: Callable[[Path], None]) -> None:
    """The events fail with an error that says why, and the collector doesn't wait for better times."""
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


async def test_a_folder_in_place_of_the_file_is_reported(path: Path) -> None:
    """The events are given up at once."""
    make_folder(path)
    async with collector(sinks=[SQLiteSink(path)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["sqlite"]
    assert (account.failed, account.retries, account.last_error) == (3, 0, f"{path}: it is a folder")


async def test_events_arrive_once_the_folder_exists(path: Path) -> None:
    """Events recorded earlier are given up, and later ones arrive."""
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
async def test_events_are_given_up_where_permission_is_denied(nobodys: Path, forbidden: str) -> None:
    """The process isn't root's."""
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
