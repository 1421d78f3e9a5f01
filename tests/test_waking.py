"""The waker: calls that touch Trio, requested from anywhere. `test_reentry` and similar tests cover their effects."""

from __future__ import annotations

import gc

import pytest
import trio

from trio_batchmetrics import collector
from trio_batchmetrics._concurrency.waker import Waker


async def test_a_waker_makes_calls_in_order_and_never_two_at_a_time() -> None:
    """They run at once from a task; a call requested in the middle of another comes after it."""
    waker = Waker()
    made: list[str] = []

    def first() -> None:
        made.append("first begins")
        waker(lambda: made.append("second"))
        made.append("first ends")

    waker(first)
    assert made == ["first begins", "first ends", "second"]


def test_a_waker_asked_after_the_run_or_in_a_child_does_nothing() -> None:
    """It neither raises nor calls."""
    made: list[str] = []

    async def main() -> Waker:
        child = Waker()
        child.close()
        child(lambda: made.append("in a child"))
        await trio.lowlevel.checkpoint()
        return Waker()

    waker = trio.run(main)
    waker(lambda: made.append("after the run"))
    assert made == []


async def test_where_no_file_descriptor_is_left_opening_raises_and_leaves_nothing_behind() -> None:
    """The system's error is the only one, no finalizer adds another, and with descriptors it opens."""
    resource = pytest.importorskip("resource")  # Windows doesn't have it
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            async with collector(sinks=[]):
                pass
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    async with collector(sinks=[]) as metrics:
        metrics.record_cache_metric("redis", "hit")
    assert metrics.stats().processed_events == 1
