"""A stream gets every line once, stays open, and can't delay the shutdown."""

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.contract import record, until
from tests.sinks.jsonlines.files import BIG, numbers
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks import JSONLinesSink

FULL = Path("/dev/full")


def opened(target: Path | int, mode: str) -> Any:
    """Open a file or a file descriptor in the mode `text`, `buffered` or `bare`."""
    if mode == "text":
        return open(target, "w", encoding="latin-1")  # noqa: PTH123 - or a file descriptor
    return open(target, "wb", buffering=0 if mode == "bare" else -1)  # noqa: PTH123


async def test_standard_output_gets_utf_8_regardless_of_its_encoding(path: Path) -> None:
    """The lines follow earlier output, and the stream stays open."""
    script = f"""
import sys, trio
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import JSONLinesSink
async def main():
    print("before")
    async with collector(sinks=[JSONLinesSink(sys.stdout)]) as metrics:
        metrics.record_counter("jobs", {{"id": 1, "emoji": "{chr(0x1F642)}"}}, 1)
    print("after", metrics.stats().processed_events)
trio.run(main)
"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    environment.pop("PYTHONUNBUFFERED", None)
    done = await trio.run_process([sys.executable, "-c", script], capture_stdout=True, env=environment)
    before, line, after = done.stdout.decode("utf-8").splitlines()
    assert (before, after) == ("before", "after 1")
    assert json.loads(line)["labels"] == {"id": "1", "emoji": chr(0x1F642)}


@pytest.mark.parametrize("mode", ["text", "buffered", "bare"])
async def test_an_open_file_is_written_to_and_left_open(path: Path, mode: str) -> None:
    """The file is text in any encoding, buffered bytes, or unbuffered bytes."""
    with opened(path, mode) as stream:
        async with collector(BIG, sinks=[JSONLinesSink(stream)]) as metrics:
            record(metrics, range(5000))
            await metrics.flush()
            assert numbers(path) == list(range(5000))  # already flushed
            record(metrics, [5000])
        assert not stream.closed
    assert numbers(path) == list(range(5001))
    assert balanced(metrics.stats()).processed_events == 5001


async def test_a_stream_may_be_anything_with_write_and_flush() -> None:
    """This one takes bytes, and doesn't report how many it took."""
    written = list[bytes]()

    class Wire:
        def write(self, data: bytes) -> None:
            written.append(data)

        def flush(self) -> None:
            pass

    target: Any = Wire()
    async with collector(BIG, sinks=[JSONLinesSink(target)]) as metrics:
        record(metrics, range(500))
    assert len(written) > 3
    assert all(piece.endswith(b"\n") for piece in written)
    assert numbers(b"".join(written)) == list(range(500))


@pytest.mark.skipif(not FULL.exists(), reason="this system has no such device")
async def test_a_stream_on_a_full_disk_is_retried() -> None:
    """The device is always full."""
    with opened(FULL, "bare") as stream:
        sink = JSONLinesSink(stream, backoff=0.01, max_backoff=0.01)
        async with collector(BatchMetricsConfig(shutdown_timeout=0.5), sinks=[sink]) as metrics:
            record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.delivered) == (3, 0)
    assert account.retries > 0
    assert str(account.last_error).startswith("the stream: No space left on device")  # the last attempt may be cut off


class Moody(io.RawIOBase):
    """Takes a little at a time, and refuses every third write."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.writes = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int | None:
        """Take some, or nothing, or raise."""
        self.writes += 1
        if self.writes % 3 == 0:
            raise OSError(28, "No space left on device")
        if self.writes % 3 == 1:
            return None  # would block
        taken = bytes(data)[:1000]
        self.data += taken
        return len(taken)


@pytest.mark.parametrize("buffered", [False, True])
async def test_a_stream_that_takes_little_and_fails_often_gets_every_line_once(buffered: bool) -> None:
    """The next attempt continues where the last one stopped."""
    raw = Moody()
    stream: Any = io.BufferedWriter(raw) if buffered else raw
    async with collector(sinks=[JSONLinesSink(stream, backoff=0.001, max_backoff=0.001)]) as metrics:
        record(metrics, range(400))
    assert numbers(raw.data) == list(range(400))
    assert balanced(metrics.stats()).processed_events == 400
    assert metrics.stats().sinks["jsonlines"].retries > 10
    if buffered:
        stream.detach()


async def test_a_closed_stream_is_given_up() -> None:
    """It cannot be opened again."""
    stream = io.StringIO()
    stream.close()
    async with collector(sinks=[JSONLinesSink(stream)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries) == (3, 0)
    assert account.last_error == "the stream: I/O operation on closed file"


async def test_a_stream_whose_reader_is_gone_is_given_up() -> None:
    """It is a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    with opened(writer, "bare") as stream:
        async with collector(sinks=[JSONLinesSink(stream)]) as metrics:
            record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries, account.last_error) == (3, 0, "the stream: Broken pipe")


class Blocked(io.RawIOBase):
    """Takes one write, then blocks until it is released, like a pipe with a slow reader."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.writing = 0
        self.released = threading.Event()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int:
        """Take the data, sooner or later."""
        self.writing += 1
        assert self.writing == 1  # two threads would mix up their lines
        if self.data:
            assert self.released.wait(30)
        self.data += bytes(data)
        self.writing -= 1
        return len(bytes(data))


async def test_a_stream_that_blocks_cannot_delay_the_shutdown() -> None:
    """The collector doesn't wait for it; its events count as failed, although they may arrive."""
    stream = Blocked()
    target: Any = stream
    async with collector(BatchMetricsConfig(shutdown_timeout=0.1), sinks=[JSONLinesSink(target)]) as metrics:
        record(metrics, [0])
        await metrics.flush()
        record(metrics, [1])
    assert not stream.released.is_set()
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.delivered, account.failed) == (1, 1)
    stream.released.set()
    await until(lambda: numbers(stream.data) == [0, 1])


async def test_a_stream_that_was_blocked_beyond_a_timeout_gets_every_line_once() -> None:
    """Later attempts wait for the first one's thread, and see what it has written."""
    stream = Blocked()
    target: Any = stream
    sink = JSONLinesSink(target, timeout=0.05, backoff=0.001, max_backoff=0.001)
    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics:
        record(metrics, range(1000))
        await until(lambda: metrics.stats().sinks["jsonlines"].retries >= 3)
        stream.released.set()
    assert balanced(metrics.stats()).processed_events == 1000
    assert numbers(stream.data) == list(range(1000))


def test_a_thread_left_behind_in_one_run_does_not_delay_the_next() -> None:
    """A sink may be used again once its stream accepts data."""
    stream = Blocked()
    target: Any = stream
    sink = JSONLinesSink(target)

    async def run(number: int, seconds: float) -> int:
        async with collector(BatchMetricsConfig(shutdown_timeout=seconds), sinks=[sink]) as metrics:
            record(metrics, [number])
        return balanced(metrics.stats()).processed_events

    assert trio.run(run, 0, 20) == 1
    assert trio.run(run, 1, 0.3) == 0
    stream.released.set()
    while stream.writing:
        threading.Event().wait(0.001)
    assert trio.run(run, 2, 20) == 1
    assert numbers(stream.data) == [0, 1, 2]
