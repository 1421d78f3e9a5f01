"""A made recorder counts like any other: in threads, when full, closed or disabled, and under Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.compiled.classes import ODD, Checked, Odd, OwnInit, PostInit, told
from tests.helpers import balanced, interrupted_at
from trio_batchmetrics import BatchMetricsConfig, CacheMetric, Counter, collector
from trio_batchmetrics.testing import RecordingSink


@pytest.mark.parametrize("kind", [CacheMetric, PostInit])
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_a_made_recorder_counts_like_others(kind: Any, policy: Any, autojump_clock: MockClock) -> None:
    """Full buffers, closed blocks and invalid events are tried, compiled or not, in any thread."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(buffer_size=3, on_full=policy), sinks=[sink]) as metrics:
        recorders = [each.make_recorder(kind) for each in (metrics, metrics.from_thread())]
        for number in range(3):
            for recorder in recorders:
                recorder(str(number), 1)
        assert told(metrics.stats()) == (6, 0, 3, {"buffer_full": 3})
        await metrics.flush()
        for recorder in recorders:
            recorder("3", 1, timestamp="never")
        await metrics.flush()
        assert told(metrics.stats()) == (8, 3, 0, {"buffer_full": 3, "invalid": 2})
    for recorder in recorders * 2:
        recorder("4", 1)
    assert told(metrics.stats()) == (12, 3, 0, {"buffer_full": 3, "invalid": 2, "closed": 4})
    arrived = [getattr(event, "cache_type", None) or getattr(event, "queue", None) for event in sink.events]
    assert arrived == (["0", "0", "1"] if policy == "drop_newest" else ["1", "2", "2"])


@pytest.mark.parametrize("kind", [CacheMetric, Counter, Odd, Checked, PostInit, OwnInit])
async def test_a_made_recorder_works_in_another_thread(kind: Any, autojump_clock: MockClock) -> None:
    """Room, a full buffer and a left block are tried, also with a recorder made from ``from_thread()``."""
    arguments: dict[Any, tuple[Any, ...]] = {Counter: ("c", {}, 1), Odd: ODD, OwnInit: ("http://host/",)}

    def run(recorder: Callable[..., None]) -> None:
        thread = threading.Thread(target=recorder, args=arguments.get(kind, ("a", 1)))
        thread.start()
        thread.join()

    sink = RecordingSink()
    async with collector(BatchMetricsConfig(buffer_size=3), sinks=[sink]) as metrics:
        ours, theirs = metrics.make_recorder(kind), metrics.from_thread().make_recorder(kind)
        run(ours)
        for _ in range(2):
            run(theirs)
        run(ours)
        assert told(metrics.stats()) == (4, 0, 3, {"buffer_full": 1})
    run(ours)
    run(theirs)
    assert told(metrics.stats()) == (6, 3, 0, {"buffer_full": 1, "closed": 2})
    assert [type(event) for event in sink.events] == [kind] * 3


@pytest.mark.parametrize("kind", [CacheMetric, PostInit])
async def test_a_disabled_collectors_made_recorder_does_nothing(kind: Any, autojump_clock: MockClock) -> None:
    """It accepts the same arguments, in any thread, in the block and after it."""
    sink = RecordingSink()

    def record() -> None:
        for recorder in recorders:
            recorder("bad", 1)
            recorder("good", 1)

    async with collector(BatchMetricsConfig(enabled=False), sinks=[sink]) as metrics:
        recorders: list[Any] = [each.make_recorder(kind) for each in (metrics, metrics.from_thread())]
        record()
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
    record()
    assert told(metrics.stats()) == (0, 0, 0, {})
    assert sink.events == []


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(CacheMetric, ("redis", "hit")), (Counter, ("c", {"a": 1}, 1)), (Odd, ODD), (PostInit, ("bad", 1))],
    ids=["compiled", "labels", "fallback", "refused"],
)
@pytest.mark.parametrize("size", [1, 2])
async def test_a_ctrl_c_in_the_middle_of_a_made_recorder_waits_for_its_end(
    kind: Any, arguments: tuple[Any, ...], size: int, autojump_clock: MockClock
) -> None:
    """A Ctrl-C at any place in its own lines or the calls it makes never leaves half an event."""
    protected: list[bool] = []
    async with collector(BatchMetricsConfig(batch_size=size), sinks=[]) as metrics:
        recorder = metrics.make_recorder(kind)
        point, places, calls = 0, 1, 0
        while point < places:
            with interrupted_at(point, lambda: protected.append(trio.lowlevel.currently_ki_protected())) as passed:
                recorder(*arguments)
            places = passed[0]
            point, calls = point + 1, calls + 1
    assert len(protected) >= 3
    assert all(protected)
    assert balanced(metrics.stats()).total_events == calls
