"""An attempt that is cut short has written all of its lines or none, and reports which."""

import errno
import io
import os
from pathlib import Path

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.cancelling import Items
from tests.sinks.contract import record
from tests.sinks.jsonlines.files import get, numbers
from tests.sinks.processes import child
from trio_batchmetrics import Batch, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.sinks import JSONLinesSink
from trio_batchmetrics.sinks._jsonlines.files import LineFile


@pytest.mark.parametrize("at", [0, 1, 2, 8, 9, 10])
async def test_an_attempt_cancelled_at_any_part_writes_everything_or_nothing(path: Path, at: int) -> None:
    """Earlier content stays, and the next attempt succeeds."""
    sink = JSONLinesSink(path)
    events = [Counter("jobs", {"id": number}, 1) for number in range(100)]
    first = Payload(Batch(events[:1]), (sink.encode(events[:1]),), "key 0")
    assert await sink.send(first) is None
    encoded = [sink.encode(events[start : start + 10]) for start in range(0, 100, 10)]
    arrived = 0
    scope = trio.CancelScope()
    parts = Items.cancelled_at(encoded, at, scope, passes=1)  # the first pass sums up their sizes
    with scope:
        assert await sink.send(Payload(Batch(events), parts, "key 1")) is None
        arrived = 100
    assert scope.cancel_called
    assert arrived == (100 if at == 10 else 0)  # after the last part it is too late
    assert parts.seen <= at + 1
    assert numbers(path) == [0, *range(arrived)]
    assert await sink.send(Payload(Batch(events), tuple(encoded), "key 2")) is None
    await sink.aclose()
    assert numbers(path) == [0, *range(arrived), *range(100)]


class Uncuttable(io.FileIO):
    """A file that cannot be truncated, the first few times."""

    refusals = 2

    def truncate(self, size: int | None = None, /) -> int:
        """Fail, or truncate."""
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().truncate(size)


class UncuttableFile(LineFile):
    """Opens a file that cannot be truncated."""

    def _open(self) -> io.FileIO:
        super()._open().close()
        self._file = Uncuttable(self._path, "a+b")
        return self._file


async def test_the_rest_of_a_failed_write_is_cut_off_before_anything_else_is_written(path: Path) -> None:
    """Until this succeeds nothing is written, and nothing arrives twice."""
    sink = JSONLinesSink(path)
    sink._file = UncuttableFile(path, None, 1)
    events = [Counter("jobs", {"id": number}, 1) for number in range(10)]
    encoded = sink.encode(events)
    scope = trio.CancelScope()
    parts = Items.cancelled_at([encoded[:300], encoded[300:]], 1, scope, passes=1)
    with scope:
        await sink.send(Payload(Batch(events), parts, "key 1"))
    assert scope.cancelled_caught
    assert get(path) == encoded[:300]
    again = Payload(Batch(events), (encoded,), "key 1")
    error = f"{path}: the rest of a failed write cannot be cut off"
    assert await sink.send(again) == Receipt.retried(error=error)
    assert get(path) == encoded[:300]
    assert await sink.send(again) is None
    await sink.aclose()
    assert numbers(path) == list(range(10))


async def test_unfinished_writes_are_cut_off_and_counted_at_the_shutdown_deadline(path: Path) -> None:
    """No line of an oversized payload is left; the payload before it is delivered and counted."""

    class Slow(JSONLinesSink):
        """Has written half of a payload when the deadline strikes."""

        async def send(self, payload: Payload[bytes]) -> Receipt | None:
            parts = payload.parts
            if len(parts) > 1:
                parts = Items.held_up_at(parts, len(parts) // 2, passes=1)
            return await super().send(Payload(payload.events, parts, payload.key))

    config = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000, shutdown_timeout=0.5)
    async with collector(config, sinks=[Slow(path, name="slow")]) as metrics:
        record(metrics, range(10))
        await metrics.flush()
        record(metrics, range(10, 20_010))
    account = balanced(metrics.stats()).sinks["slow"]
    assert (account.delivered, account.failed) == (10, 20_000)
    assert numbers(path) == list(range(10))


async def test_a_disk_that_refuses_more_bytes_leaves_no_half_line(path: Path) -> None:
    """A short write is followed by a refusal: the line is cut off, and everything arrives once there is room."""
    result = await child(
        """
        import resource
        limit = resource.RLIMIT_FSIZE
        resource.setrlimit(limit, (100_001, resource.RLIM_INFINITY))
        async with collector(BIG, sinks=[JSONLinesSink(path, backoff=0.01, max_backoff=0.01)]) as metrics:
            record(metrics, 0, 100)
            await metrics.flush()
            record(metrics, 100, 5000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(metrics.flush)
                await until(lambda: metrics.stats().sinks["jsonlines"].retries >= 3)
                sink = metrics.stats().sinks["jsonlines"]
                data = path.read_bytes()
                while not data.endswith(b"\\n") or data.count(b"\\n") > 100:  # an attempt is under way
                    data = path.read_bytes()
                tell(sink.delivered, sink.last_error, data.count(b"\\n"))
                resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        tell(metrics.stats().processed_events, metrics.stats().failed_events)
        """,
        path,
    )
    assert result == [[100, f"{path}: {os.strerror(27)}", 100], [5000, 0]]
    assert numbers(path) == list(range(5000))


async def test_a_disk_that_stays_full_until_the_deadline_keeps_only_delivered_lines(path: Path) -> None:
    """The file has not one byte more."""
    result = await child(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, resource.RLIM_INFINITY))
        config = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000, shutdown_timeout=0.3)
        async with collector(config, sinks=[JSONLinesSink(path, backoff=0.01, max_backoff=0.01)]) as metrics:
            record(metrics, 0, 100)
            await metrics.flush()
            record(metrics, 100, 5000)
        tell(metrics.stats().processed_events, metrics.stats().failed_events)
        """,
        path,
    )
    assert result == [[100, 4900]]
    assert numbers(path) == list(range(100))


async def test_a_forked_child_leaves_the_file_alone(path: Path) -> None:
    """The child writes nothing, and the parent continues."""
    result = await child(
        """
        import os
        sink = JSONLinesSink(path)
        async with collector(sinks=[sink]) as metrics:
            record(metrics, 0, 10)
            await metrics.flush()
            await trio.sleep(0.1)  # the worker thread has let go of Trio's lock, which the child could never get
            if (pid := os.fork()) == 0:
                with trio.fail_after(10):
                    await sink.aclose()
                    receipt = await sink.send(Payload(Batch([]), (b"x",), "key"))
                os._exit(0 if "before a fork" in receipt.error and receipt.rest == "failed" else 1)
            tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            record(metrics, 10, 20)
        tell(metrics.stats().processed_events)
        """,
        path,
    )
    assert result == [[0], [20]]
    assert numbers(path) == list(range(20))
