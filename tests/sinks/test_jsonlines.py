"""JSONLinesSink: what is special about lines in files and streams. Threads, files and processes: the real clock.

Every line is read back with a JSON parser, never through the sink.
"""

import errno
import io
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.sinks.cancelling import Items
from tests.sinks.contract import record, until
from tests.sinks.processes import AS_NOBODY, child, give_to_nobody
from trio_batchmetrics import Batch, BatchMetricsConfig, CacheMetric, Counter, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.sinks import JSONLinesSink
from trio_batchmetrics.sinks._jsonlines.files import LineFile

BIG = BatchMetricsConfig(batch_size=20_000, buffer_size=20_000)

LINE = (
    '{"@timestamp":"2026-11-24T03:05:00.123456789Z","kind":"CacheMetric",'
    '"labels":{"cache.type":"redis","cache.operation":"hit"},"fields":{}}\n'
)
FULL = Path("/dev/full")
HIT = CacheMetric("redis", "hit", timestamp=1_795_489_500_123_456_789)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the file shall be: the only thing in its folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "events.jsonl"


def numbers(*data: Path | bytes) -> list[int]:
    """Return the label `id` of each line, in order; each file ends with a whole line."""
    found = list[int]()
    for one in data:
        content = one if isinstance(one, bytes) else one.read_bytes()
        *lines, rest = content.split(b"\n")
        assert rest == b""
        found += [int(json.loads(line)["labels"]["id"]) for line in lines]
    return found


def put(path: Path, content: str | bytes) -> None:
    """Write a file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def get(path: Path) -> bytes:
    """Read a file."""
    return path.read_bytes()


def text(path: Path) -> str:
    """Read a file as text, every byte of it."""
    return get(path).decode()


def make_folder(path: Path) -> None:
    """Make a folder."""
    path.mkdir()


def rename(path: Path, name: str) -> Path:
    """Rename a file; return its new path."""
    return path.rename(path.with_name(name))


def remove(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def opened(target: Path | int, mode: str) -> Any:
    """Open a file or a file descriptor: `text`, `buffered` or `bare`."""
    if mode == "text":
        return open(target, "w", encoding="latin-1")  # noqa: PTH123 - or a file descriptor
    return open(target, "wb", buffering=0 if mode == "bare" else -1)  # noqa: PTH123


def oldest_first(path: Path) -> list[Path]:
    """Return the file and its backups, the oldest first."""
    return sorted(path.parent.iterdir(), key=lambda file: -int(file.name[len(path.name) + 1 :] or 0))


# ------------------------------------------------------------------------------------------------- the file


async def test_a_line_is_the_json_form_of_an_event(path: Path) -> None:
    """Byte for byte."""
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE


async def test_a_later_run_adds_to_the_file(path: Path) -> None:
    """Nothing of what was there is lost."""
    for start in (0, 10):
        async with collector(sinks=[JSONLinesSink(str(path))]) as metrics:
            record(metrics, range(start, start + 10))
    assert numbers(path) == list(range(20))


async def test_a_relative_path_stays_where_it_was_when_the_sink_was_made(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the application goes afterwards."""
    monkeypatch.chdir(path.parent)
    sink = JSONLinesSink(path.name)
    monkeypatch.chdir(tmp_path)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, [1])
    assert numbers(path) == [1]


async def test_rotation_keeps_lines_whole_and_files_within_their_size(path: Path) -> None:
    """Every event is in one of them, in order, the oldest in the one with the highest number."""
    sink = JSONLinesSink(path, max_bytes=20_000, backups=100)
    async with collector(BatchMetricsConfig(batch_size=50), sinks=[sink]) as metrics:
        record(metrics, range(3000))
    files = oldest_first(path)
    assert len(files) > 15
    assert files[-1] == path
    assert files[0].name == f"{path.name}.{len(files) - 1}"
    assert all(0 < file.stat().st_size <= 20_000 for file in files)
    assert numbers(*files) == list(range(3000))
    assert balanced(metrics.stats()).processed_events == 3000


async def test_rotation_keeps_so_many_backups_and_no_more(path: Path) -> None:
    """The oldest is overwritten: what remains is the newest, without a gap."""
    sink = JSONLinesSink(path, max_bytes=5000, backups=3, max_events=10)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, range(1000))
    files = oldest_first(path)
    assert [file.name for file in files] == [f"{path.name}.3", f"{path.name}.2", f"{path.name}.1", path.name]
    found = numbers(*files)
    assert found == list(range(found[0], 1000))
    assert 40 < len(found) < 200


async def test_a_line_longer_than_a_file_has_a_file_of_its_own(path: Path) -> None:
    """It is written, not refused."""
    async with collector(sinks=[JSONLinesSink(path, max_bytes=1000)]) as metrics:
        for number, size in enumerate([5000, 10, 5000]):
            metrics.record_counter("jobs", {"id": number, "x": "x" * size}, 1)
    assert [numbers(file) for file in oldest_first(path)] == [[0], [1], [2]]


async def test_without_a_limit_nothing_is_rotated(path: Path) -> None:
    """`max_bytes=None`."""
    sink = JSONLinesSink(path, max_bytes=None)
    assert sink.max_payload_bytes is None
    async with collector(BIG, sinks=[sink]) as metrics:
        record(metrics, range(5000))
    assert oldest_first(path) == [path]


async def test_a_gap_left_by_a_rotation_that_was_killed_is_filled_first(path: Path) -> None:
    """So that no backup is overwritten while there is room."""
    for number in (1, 3, 4):
        put(path.with_name(f"{path.name}.{number}"), str(number))
    put(path, LINE * 10)
    async with collector(sinks=[JSONLinesSink(path, max_bytes=500, backups=4)]) as metrics:
        metrics.record(HIT)
    names = [path.with_name(f"{path.name}.{number}") for number in range(1, 5)]
    assert [text(file) for file in (path, *names)] == [LINE, LINE * 10, "1", "3", "4"]


async def test_a_renamed_or_removed_file_is_noticed_and_begun_anew(path: Path) -> None:
    """As a tool that rotates logs does it."""
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


async def test_a_file_that_is_emptied_meanwhile_has_no_gap(path: Path) -> None:
    """The other way to rotate logs: copy, then truncate."""
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(10))
        await metrics.flush()
        put(path, b"")
        record(metrics, range(10, 15))
    assert numbers(path) == list(range(10, 15))


async def test_a_file_that_is_emptied_meanwhile_is_cut_back_to_nothing(path: Path) -> None:
    """Not to where it ended before."""
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_bytes": 0}, r"^max_bytes must be an int >= 1 \(got 0\)$"),
        ({"max_bytes": 1.5}, r"^max_bytes must be an int >= 1 \(got 1.5\)$"),
        ({"backups": 0}, r"^backups must be an int >= 1 \(got 0\)$"),
        ({"backups": True}, r"^backups must be an int >= 1 \(got True\)$"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    """When the sink is made, naming the rule and the value."""
    with pytest.raises(ValueError, match=message):
        JSONLinesSink("events.jsonl", **settings)


@pytest.mark.parametrize("target", [None, 7, b"events.jsonl", object()])
def test_what_is_neither_path_nor_stream_is_refused(target: Any) -> None:
    """When the sink is made."""
    with pytest.raises(TypeError, match=r"^path_or_stream must be a path or a stream \(got "):
        JSONLinesSink(target)


# ------------------------------------------------------------------------------------------------- mending


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("size", [1, 5, 14, 15, 60, len(LINE) - 2])
async def test_a_half_line_that_a_killed_process_left_is_cut_off(path: Path, before: int, size: int) -> None:
    """Wherever it breaks off, the next start mends the end before it writes."""
    put(path, LINE * before + LINE[:size])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * (before + 1)


async def test_a_half_line_is_cut_off_after_lines_of_other_kinds(path: Path) -> None:
    """A file that something else began."""
    put(path, '{"log": "started"}\n' + LINE[:30])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == '{"log": "started"}\n' + LINE


async def test_a_half_line_may_be_longer_than_what_is_read_at_once(path: Path) -> None:
    """Several megabytes without an end."""
    half = LINE[:-3] + "x" * 3_500_000
    put(path, LINE + half)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 2


async def test_a_half_character_is_cut_off_with_its_line(path: Path) -> None:
    """A multi-byte one, broken in the middle."""
    put(path, LINE.encode() + LINE.encode()[:60] + "é".encode()[:1])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 2


async def test_zeros_that_a_power_cut_left_are_cut_off(path: Path) -> None:
    """Where a file system has the size but not the bytes."""
    put(path, LINE.encode() + b"\0" * 5000)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 2


async def test_a_whole_line_that_lacks_only_its_end_is_kept(path: Path) -> None:
    """An editor may leave one so, or a process killed at just that byte."""
    put(path, LINE + LINE[:-1])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 3


@pytest.mark.parametrize("content", [b"hello", b"one\ntwo", b"\0" * 5000, b"\xff\xd8\xff\xe0\x00\x10JFIF" * 200])
async def test_a_file_that_is_not_its_own_stays_untouched(path: Path, content: bytes) -> None:
    """It ends with no line, and does not look like half of one: cutting something off could destroy it."""
    put(path, content)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    reason = "it ends with neither a line nor a half line of this sink"
    assert (account.failed, account.retries, account.last_error) == (3, 0, f"{path}: {reason}")
    assert get(path) == content


# ------------------------------------------------------------------------------------------------- cut short


@pytest.mark.parametrize("at", [0, 1, 2, 8, 9, 10])
async def test_cancelled_at_any_part_it_has_written_all_or_nothing(path: Path, at: int) -> None:
    """And says which; what was there before stays, and the next attempt finds everything in order."""
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
    assert arrived == (100 if at == 10 else 0)  # after the last piece it is too late
    assert parts.seen <= at + 1
    assert numbers(path) == [0, *range(arrived)]
    assert await sink.send(Payload(Batch(events), tuple(encoded), "key 2")) is None
    await sink.aclose()
    assert numbers(path) == [0, *range(arrived), *range(100)]


class Uncuttable(io.FileIO):
    """A file that cannot be cut off, a few times."""

    refusals = 2

    def truncate(self, size: int | None = None, /) -> int:
        """Fail, or truncate."""
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().truncate(size)


class UncuttableFile(LineFile):
    """Opens such a file."""

    def _open(self) -> io.FileIO:
        super()._open().close()
        self._file = Uncuttable(self._path, "a+b")
        return self._file


async def test_what_could_not_be_cut_off_is_cut_off_before_anything_else(path: Path) -> None:
    """Until that has worked nothing is written, and nothing arrives twice."""
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
    assert await sink.send(again) == Receipt(retry=True, error=error)
    assert get(path) == encoded[:300]
    assert await sink.send(again) is None
    await sink.aclose()
    assert numbers(path) == list(range(10))


async def test_unwritten_at_the_shutdown_deadline_is_cut_off_and_counted(path: Path) -> None:
    """A payload too big for the time there is: no line of it is left; one before it is, and is counted."""

    class Slow(JSONLinesSink):
        """Has written half when the deadline strikes."""

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


async def test_a_disk_that_takes_no_more_bytes_leaves_no_half_line(path: Path) -> None:
    """A short write, then a refusal: cut off at once, tried again, and everything arrives once there is room."""
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


async def test_a_disk_that_stays_full_until_the_deadline_leaves_what_was_delivered(path: Path) -> None:
    """And not a byte more."""
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


async def test_killed_in_the_middle_of_a_line_the_next_start_mends_it(path: Path) -> None:
    """The kernel kills the process at a byte that is known: where a file would grow beyond a limit."""
    await child(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, resource.RLIM_INFINITY))
        async with collector(BIG, sinks=[JSONLinesSink(path)]) as metrics:
            record(metrics, 0, 5000)
        """,
        path,
        dies_of=signal.SIGXFSZ,
    )
    left = get(path)
    assert len(left) == 100_001
    assert not left.endswith(b"\n")
    whole = left.count(b"\n")
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(whole, whole + 10))
    assert numbers(path) == list(range(whole + 10))


@pytest.mark.parametrize("after", [1, 4, 9])
async def test_a_killed_process_leaves_nothing_that_cannot_be_mended(path: Path, after: int) -> None:
    """SIGKILL in the middle of writing: what was said to be delivered is there, and the next start writes on."""
    lines = await child(
        """
        async with collector(BIG, sinks=[JSONLinesSink(path, max_bytes=None)]) as metrics:
            for start in range(0, 1_000_000, 500):
                record(metrics, start, start + 500, x="x" * 10_000)
                await metrics.flush()
                tell(metrics.stats().processed_events)
        """,
        path,
        kill_after=after,
    )
    delivered = lines[-1][0]
    count = get(path).count(b"\n")
    assert count >= delivered
    async with collector(sinks=[JSONLinesSink(path, max_bytes=None)]) as metrics:
        record(metrics, [count])
    assert numbers(path) == list(range(count + 1))


# ------------------------------------------------------------------------------------------- what goes wrong


async def test_a_folder_in_its_place_is_said_to_be_one(path: Path) -> None:
    """Given up at once."""
    make_folder(path)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries, account.last_error) == (3, 0, f"{path}: it is a folder")


@pytest.mark.parametrize("kind", ["pipe", "device"])
async def test_what_is_no_file_is_not_opened(path: Path, kind: str) -> None:
    """It could not be cut back, and opening a pipe may wait for ever."""
    if kind == "pipe":
        os.mkfifo(path)
    target = path if kind == "pipe" else Path("/dev/null")
    async with collector(sinks=[JSONLinesSink(target)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries) == (3, 0)
    assert account.last_error == f"{target}: it is not a regular file; open it and pass the stream"


async def test_once_its_folder_is_there_events_arrive(path: Path) -> None:
    """What was recorded before is given up, what comes afterwards is not."""
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
    """Make a folder that another user can reach, with a folder `data` in it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").mkdir()
        yield Path(folder)


@pytest.mark.parametrize("forbidden", ["file", "folder", "above"])
async def test_what_it_may_not_write_is_given_up(nobodys: Path, forbidden: str) -> None:
    """In a process that is not root's. A forbidden folder matters where the file is to be rotated."""
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


async def test_a_forked_child_leaves_the_file_alone(path: Path) -> None:
    """It writes nothing; the parent goes on."""
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
                os._exit(0 if "before a fork" in receipt.error and not receipt.retry else 1)
            tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            record(metrics, 10, 20)
        tell(metrics.stats().processed_events)
        """,
        path,
    )
    assert result == [[0], [20]]
    assert numbers(path) == list(range(20))


# ------------------------------------------------------------------------------------------------- streams


async def test_standard_output_gets_utf_8_whatever_its_encoding(path: Path) -> None:
    """After what was printed before, and it is left open."""
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
    """Text in any encoding, buffered bytes, or bare ones."""
    with opened(path, mode) as stream:
        async with collector(BIG, sinks=[JSONLinesSink(stream)]) as metrics:
            record(metrics, range(5000))
            await metrics.flush()
            assert numbers(path) == list(range(5000))  # flushed
            record(metrics, [5000])
        assert not stream.closed
    assert numbers(path) == list(range(5001))
    assert balanced(metrics.stats()).processed_events == 5001


async def test_a_stream_may_be_anything_with_write_and_flush() -> None:
    """One for bytes, which says nothing about how much it took."""
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


@pytest.mark.skipif(not FULL.exists(), reason="no such device here")
async def test_a_stream_with_a_full_disk_beneath_is_tried_again() -> None:
    """A device that is always full."""
    with opened(FULL, "bare") as stream:
        sink = JSONLinesSink(stream, backoff=0.01, max_backoff=0.01)
        async with collector(BatchMetricsConfig(shutdown_timeout=0.5), sinks=[sink]) as metrics:
            record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.delivered) == (3, 0)
    assert account.retries > 0
    assert str(account.last_error).startswith("the stream: No space left on device")  # the last one may be cut off


class Moody(io.RawIOBase):
    """Takes a little at a time, and refuses every third write."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.writes = 0

    def writable(self) -> bool:
        """Say so."""
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
    """The next attempt goes on where the last one stopped."""
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
    """It will not open again."""
    stream = io.StringIO()
    stream.close()
    async with collector(sinks=[JSONLinesSink(stream)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries) == (3, 0)
    assert account.last_error == "the stream: I/O operation on closed file"


async def test_a_stream_whose_reader_has_gone_is_given_up() -> None:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with opened(writer, "bare") as stream:
        async with collector(sinks=[JSONLinesSink(stream)]) as metrics:
            record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    assert (account.failed, account.retries, account.last_error) == (3, 0, "the stream: Broken pipe")


class Blocked(io.RawIOBase):
    """Takes one write, then blocks until it is released, as a pipe does whose reader is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.writing = 0
        self.released = threading.Event()

    def writable(self) -> bool:
        """Say so."""
        return True

    def write(self, data: Any, /) -> int:
        """Take it, sooner or later."""
        self.writing += 1
        assert self.writing == 1  # two threads would mix up their lines
        if self.data:
            assert self.released.wait(30)
        self.data += bytes(data)
        self.writing -= 1
        return len(bytes(data))


async def test_a_stream_that_blocks_cannot_hold_up_the_shutdown() -> None:
    """Leaving does not wait for it; its events count as failed, though they may arrive."""
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


async def test_a_stream_that_was_blocked_over_a_timeout_gets_every_line_once() -> None:
    """The attempts after it wait for the first one's thread, and see what it has written."""
    stream = Blocked()
    target: Any = stream
    sink = JSONLinesSink(target, timeout=0.05, backoff=0.001, max_backoff=0.001)
    async with collector(BatchMetricsConfig(batch_size=1000), sinks=[sink]) as metrics:
        record(metrics, range(1000))
        await until(lambda: metrics.stats().sinks["jsonlines"].retries >= 3)
        stream.released.set()
    assert balanced(metrics.stats()).processed_events == 1000
    assert numbers(stream.data) == list(range(1000))


def test_a_thread_left_behind_in_one_run_does_not_hold_up_the_next() -> None:
    """A sink may be used again once its stream takes something."""
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
