"""Long work gives the run loop a turn between steps, and large bodies are joined off the loop."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints

from trio_batchmetrics._concurrency.pace import Pace
from trio_batchmetrics._concurrency.turns import work_clock
from trio_batchmetrics.abc import in_steps, joined


def burn(seconds: float) -> None:
    """Use CPU time."""
    end = work_clock() + seconds
    while work_clock() < end:
        pass


def parts(count: int, seconds: float = 0.0) -> Iterator[int]:
    """Yield numbers, each after some work."""
    for number in range(count):
        burn(seconds)
        yield number


async def test_quick_work_is_done_at_once() -> None:
    """There is no checkpoint for a few quick values, of any iterable."""
    with assert_no_checkpoints():
        assert await in_steps([]) == []
        assert await in_steps([1, 2]) == [1, 2]
        assert await in_steps(parts(3)) == [0, 1, 2]


async def test_others_get_a_turn_after_half_a_millisecond() -> None:
    """Every value that takes longer is followed by a turn of the other tasks."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        with assert_checkpoints():
            assert await in_steps(parts(20, 0.0006)) == [*range(20)]
        assert turns >= 19
        turns = 0
        assert await in_steps(parts(20, 0.0002)) == [*range(20)]
        assert 5 <= turns <= 12
        nursery.cancel_scope.cancel()


async def test_a_generator_is_closed_when_its_steps_are_cancelled() -> None:
    """Its cleanup runs at once, not when it is collected as garbage."""
    closed: list[int] = []

    def endless() -> Iterator[int]:
        try:
            yield from parts(10**9, 0.0006)
        finally:
            closed.append(1)

    with trio.move_on_after(0.02) as scope:
        await in_steps(endless())
    assert scope.cancelled_caught
    assert closed == [1]


async def test_an_exception_half_way_propagates() -> None:
    """It is the generator's own."""

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        await in_steps(failing())


async def test_small_parts_are_joined_without_a_checkpoint() -> None:
    """A single part isn't copied."""
    whole = b"x" * 5_000_000
    with assert_no_checkpoints():
        assert await joined([]) == b""
        assert await joined([b"a", b"b"]) == b"ab"
        assert await joined([whole]) is whole


async def test_more_than_a_megabyte_is_joined_in_a_thread() -> None:
    """The run loop is free meanwhile."""
    pieces = [bytes([number]) * 100_000 for number in range(100)]
    with assert_checkpoints():
        assert await joined(pieces) == b"".join(pieces)


async def test_the_loop_is_not_blocked_by_thousands_of_steps() -> None:
    """Another task never waits much longer than two steps; 20 ms leave room for a busy machine."""
    longest = 0.0

    async def probe() -> None:
        nonlocal longest
        while True:
            start = time.thread_time()
            await trio.lowlevel.checkpoint()
            longest = max(longest, time.thread_time() - start)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe)
        await in_steps(parts(500, 0.0001))
        nursery.cancel_scope.cancel()
    assert longest < 0.02


class SetClock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_steps_become_shorter_after_two_that_took_too_long() -> None:
    """They grow again once they are quick; a single long one may have been the garbage collector's."""
    wall, cpu = SetClock(), SetClock()
    pace = Pace(wall, cpu)

    def step(seconds: float, of_cpu: float | None = None) -> int:
        pace.begin()
        wall.now += seconds
        cpu.now += seconds if of_cpu is None else of_cpu
        pace.end(pace.size)
        return pace.size

    assert [step(0.0005), step(0.01), step(0.0005)] == [500, 500, 500]
    assert [step(0.01), step(0.01)] == [500, 25]
    assert [step(0.0005), step(0.0005), step(0.0005)] == [50, 100, 200]
    for _ in range(5):
        step(0.0001)
    assert pace.size == 500
    # Another process runs all the time: the thread itself was quick.
    assert {step(0.02, of_cpu=0.0001) for _ in range(10)} == {500}


def test_steps_never_become_shorter_than_a_few_events() -> None:
    """However slow they are."""
    clock = SetClock()
    pace = Pace(clock, clock)
    for _ in range(10):
        pace.begin()
        clock.now += 100
        pace.end(pace.size)
    assert pace.size == 5
