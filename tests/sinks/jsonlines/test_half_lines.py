"""The next start cuts off the half line that a killed process left, and nothing else."""

import signal
from pathlib import Path

import pytest

from tests.helpers import balanced
from tests.sinks.contract import record
from tests.sinks.jsonlines.files import HIT, LINE, get, numbers, put, text
from tests.sinks.processes import child
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import JSONLinesSink


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("size", [1, 5, 14, 15, 60, len(LINE) - 2])
async def test_a_half_line_that_a_killed_process_left_is_cut_off(path: Path, before: int, size: int) -> None:
    """Wherever the line breaks off, the next start repairs it before it writes."""
    put(path, LINE * before + LINE[:size])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * (before + 1)


async def test_a_half_line_is_cut_off_after_lines_of_other_kinds(path: Path) -> None:
    """Another program started the file."""
    put(path, '{"log": "started"}\n' + LINE[:30])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == '{"log": "started"}\n' + LINE


async def test_a_half_line_may_be_longer_than_one_read(path: Path) -> None:
    """It has several megabytes without a line end."""
    half = LINE[:-3] + "x" * 3_500_000
    put(path, LINE + half)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 2


async def test_a_half_character_is_cut_off_with_its_line(path: Path) -> None:
    """A multi-byte character is broken in the middle."""
    put(path, LINE.encode() + LINE.encode()[:60] + "é".encode()[:1])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 2


async def test_zeros_that_a_power_cut_left_are_cut_off(path: Path) -> None:
    """The file system recorded the size, but not the bytes."""
    put(path, LINE.encode() + b"\0" * 5000)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 2


async def test_a_whole_line_that_lacks_only_its_end_is_kept(path: Path) -> None:
    """An editor may leave such a line, or a process that was killed at exactly that byte."""
    put(path, LINE + LINE[:-1])
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE * 3


@pytest.mark.parametrize("content", [b"hello", b"one\ntwo", b"\0" * 5000, b"\xff\xd8\xff\xe0\x00\x10JFIF" * 200])
async def test_a_foreign_file_stays_untouched(path: Path, content: bytes) -> None:
    """It ends with neither a line nor a recognizable half line, so cutting something off could destroy it."""
    put(path, content)
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        record(metrics, range(3))
    account = balanced(metrics.stats()).sinks["jsonlines"]
    reason = "it ends with neither a line nor a half line of this sink"
    assert (account.failed, account.retries, account.last_error) == (3, 0, f"{path}: {reason}")
    assert get(path) == content


async def test_the_next_start_repairs_a_line_that_a_kill_broke_off(path: Path) -> None:
    """The kernel kills the process at a known byte, where the file would exceed a size limit."""
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
async def test_the_next_start_can_repair_whatever_a_killed_process_left(path: Path, after: int) -> None:
    """After a SIGKILL during writing, every event reported as delivered is there, and the next start continues."""
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
