"""Whatever the state and the reason, every event is delivered or counted, in a known time."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import balanced, ids
from tests.leaving.sinks import ENDINGS, BodyError, SlowSink, ctrl_c, record
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.testing import RecordingSink


class BusySink(SlowSink):
    """A sink that asks for a retry after 20 s, which then takes 2 s."""

    def __init__(self) -> None:
        """Create a sink that takes 2 s the second time."""
        super().__init__(2)

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Ask for a retry, or take the batch."""
        if self.attempts == 0:
            self.attempts += 1
            return Receipt.retried(20, error="429")
        return await super().send(payload)


STATES: dict[str, tuple[Callable[[], RecordingSink], int, float]] = {
    "waiting for the first event": (RecordingSink, 0, 0),
    "filling a batch": (RecordingSink, 2, 0),
    "inside a sink's send": (lambda: SlowSink(3), 3, 2),
    "backing off": (BusySink, 3, 2),
    "in a blocked arecord": (lambda: SlowSink(3), 9, 8),
}
"""By name: the sink, how many events are recorded at 0 s (batch and buffer are 3), how long leaving at 1 s takes."""


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("state", STATES)
def test_the_matrix_of_states_and_endings(state: str, ending: str) -> None:
    """Whatever the state and the ending, every recorded event arrives unless a second Ctrl-C prevents it."""
    make, count, leaving = STATES[state]
    sink = make()
    error = BodyError()
    closed: list[float] = []
    times: dict[str, float] = {}
    metrics: BatchMetricsCollector | None = None
    first: list[BaseException] = []

    async def arecord() -> None:
        assert metrics is not None
        await metrics.arecord(Counter("c", {"id": 99}, 1))
        closed.append(trio.current_time())

    async def main() -> None:
        nonlocal metrics
        start = trio.current_time()
        with trio.CancelScope(deadline=start + 1 if ending == "deadline" else float("inf")) as outer:
            async with trio.open_nursery() as nursery:

                @trio.lowlevel.enable_ki_protection
                async def provoke() -> None:
                    await trio.sleep(1)
                    if ending == "outer cancel":
                        outer.cancel()
                    elif ending.startswith("ctrl-c"):
                        ctrl_c()
                        await trio.sleep(0.5)
                        if ending == "ctrl-c again":
                            times["again"] = trio.current_time() - start
                            ctrl_c()

                if ending in ("outer cancel", "ctrl-c", "ctrl-c again"):
                    trio.lowlevel.spawn_system_task(provoke)
                try:
                    async with collector(BatchMetricsConfig(batch_size=3, buffer_size=3), sinks=[sink]) as metrics:
                        record(metrics, min(count, 3))
                        for _ in range(count // 3 - 1):
                            await trio.testing.wait_all_tasks_blocked()
                            record(metrics, 3)
                        if "arecord" in state:
                            await trio.testing.wait_all_tasks_blocked()
                            nursery.start_soon(arecord)
                        try:
                            if ending in ("normal exit", "body error"):
                                await trio.sleep(1)
                            else:
                                await trio.sleep_forever()
                        except BaseException as exc:
                            first.append(exc)
                            raise
                        finally:
                            times["left"] = trio.current_time() - start
                        if ending == "body error":
                            raise error
                finally:
                    times["out"] = trio.current_time() - start
                    assert metrics is not None

    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    except BaseException as caught:  # noqa: BLE001, ASYNC103 - the exception that came out is examined here
        out = caught
        while isinstance(out, BaseExceptionGroup):  # the group comes from the nursery in this test
            out = cast("BaseExceptionGroup[BaseException]", out).exceptions[0]
        if ending == "body error":
            assert out is error
        elif ending == "ctrl-c":
            assert out is first[0]
        else:
            assert ending == "ctrl-c again"
            assert isinstance(out, KeyboardInterrupt)
            if leaving:
                assert out is not first[0]
                assert out.__context__ is first[0]
    else:
        assert ending in ("normal exit", "outer cancel", "deadline")
    assert times["left"] == 1
    assert metrics is not None
    stats = balanced(metrics.stats())
    if ending == "ctrl-c again" and leaving:
        assert times["out"] == times["again"] == 1.5
        assert stats.failed_events + stats.processed_events == count
        assert stats.processed_events == len(sink.events)
        assert stats.sinks[next(iter(stats.sinks))].failures["shutdown"] == stats.failed_events or "arecord" in state
    else:
        assert times["out"] == 1 + leaving
        assert stats.processed_events == len(sink.events) == count
        assert ids(sink.events) == [*range(1, min(count, 3) + 1), *[1, 2, 3] * (count // 3 - 1)]
        assert stats.failed_events == 0
    assert stats.pending_events == 0
    if "arecord" in state:
        cancelled = ending in ("outer cancel", "deadline")  # like its own task
        assert stats.dropped == ({} if cancelled else {"closed": 1})
        assert closed == ([] if cancelled else [1])
