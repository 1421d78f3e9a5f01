"""The sink notices that another program has renamed, removed or emptied its file."""

from pathlib import Path

import trio

from tests.sinks.cancelling import Items
from tests.sinks.contract import record
from tests.sinks.jsonlines.files import get, numbers, put
from trio_batchmetrics import Batch, Counter, collector
from trio_batchmetrics.abc import Payload
from trio_batchmetrics.sinks import JSONLinesSink


def rename(path: Path, name: str) -> Path:
    """Rename a file and return its new path."""
    return path.rename(path.with_name(name))


def remove(path: Path) -> None:
    """Remove a file."""
    path.unlink()


async def test_a_renamed_or_removed_file_is_noticed_and_created_again(path: Path) -> None:
    """A tool for log rotation does this."""
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(10))
        await metrics.flush()
        moved = rename(path, "moved")
        record(metrics, range(10, 15))
        await metrics.flush()
        assert (numbers(moved), numbers(path)) == (list(range(10)), list(range(10, 15)))
        remove(path)
        record(metrics, [20])
        await metrics.flush()
        assert numbers(path) == [20]


async def test_a_file_that_another_program_empties_has_no_gap(path: Path) -> None:
    """This is the other way to rotate logs: copy, then truncate."""
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(10))
        await metrics.flush()
        put(path, b"")
        record(metrics, range(10, 15))
    assert numbers(path) == list(range(10, 15))


async def test_a_file_that_another_program_empties_is_cut_back_to_nothing(path: Path) -> None:
    """A cancelled write isn't cut back to the file's former end."""
    sink = JSONLinesSink(path)
    events = [Counter("jobs", {"id": number}, 1) for number in range(10)]
    encoded = sink.encode(events)
    assert await sink.send(Payload(Batch(events), (encoded,), "key 1")) is None
    put(path, b"")
    scope = trio.CancelScope()
    parts = Items.cancelled_at([encoded[:100], encoded[100:]], 1, scope, passes=1)
    with scope:
        await sink.send(Payload(Batch(events), parts, "key 2"))
    assert scope.cancelled_caught
    assert get(path) == b""
    await sink.aclose()
