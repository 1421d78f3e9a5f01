"""A place that can't be written to costs its events, with an error that says why."""

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers import balanced
from tests.sinks.contract import record
from tests.sinks.jsonlines.files import numbers
from tests.sinks.processes import AS_NOBODY, child, give_to_nobody
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import JSONLinesSink


def make_folder(path: Path) -> None:
    """Make a folder."""
    path.mkdir()


async def test_a_folder_in_place_of_the_file_is_reported(path: Path) -> None:
    """The events are given up at once."""
    make_folder(path)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries, account.last_error) == (3, 0, f"{path}: it is a folder")


@pytest.mark.parametrize("kind", ["pipe", "device"])
async def test_pipes_and_devices_are_not_opened(path: Path, kind: str) -> None:
    """They could not be cut back, and opening a pipe may block forever."""
    if kind == "pipe":
        os.mkfifo(path)
    target = path if kind == "pipe" else Path("/dev/null")
    async with collector(sinks=[JSONLinesSink(target)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries) == (3, 0)
    assert account.last_error == f"{target}: it is not a regular file; open it and pass the stream"


async def test_events_arrive_once_the_folder_exists(path: Path) -> None:
    """Events recorded earlier are given up, and later ones arrive."""
    file = path.parent / "later" / path.name
    async with collector(sinks=[JSONLinesSink(file)]) as metrics:
        record(metrics, range(3))
        await metrics.flush()
        assert metrics.stats().sinks["jsonlines"].last_error == f"{file}: No such file or directory"
        file.parent.mkdir()
        record(metrics, range(3, 6))
        assert (await metrics.flush()).ok
    assert numbers(file) == [3, 4, 5]


@pytest.fixture
def nobodys() -> Generator[Path, None, None]:
    """Yield a folder that another user can reach, with a folder `data` in it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").mkdir()
        yield Path(folder)


@pytest.mark.parametrize("forbidden", ["file", "folder", "above"])
async def test_events_are_given_up_where_permission_is_denied(nobodys: Path, forbidden: str) -> None:
    """The process isn't root's. A forbidden folder matters when the file is to be rotated."""
    path = nobodys / "data" / "events.jsonl"
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(3))
    locked, mode = {"file": (path, 0o400), "folder": (path.parent, 0o500), "above": (nobodys, 0o600)}[forbidden]
    give_to_nobody(nobodys)
    locked.chmod(mode)
    result = await child(
        AS_NOBODY
        + """
        async with collector(sinks=[JSONLinesSink(path, max_bytes=500)]) as metrics:
            record(metrics, 3, 6)
        sink = metrics.stats().sinks["jsonlines"]
        tell(sink.failed, sink.retries, sink.last_error)
        """,
        path,
    )
    locked.chmod(0o700)
    assert result == [[3, 0, f"{path}: Permission denied"]]
    assert numbers(path) == [0, 1, 2]
