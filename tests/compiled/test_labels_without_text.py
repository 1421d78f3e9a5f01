"""A label whose text isn't available is invalid, and costs no other event."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from tests.compiled.classes import HUGE_LABEL, Call, told
from tests.helpers import balanced
from tests.tally import Job
from trio_batchmetrics import BackendRequest, CacheMetric, Counter, HistogramPoint, HttpRequest, collector
from trio_batchmetrics.abc import Payload, Receipt, SeriesSink, SeriesStore
from trio_batchmetrics.testing import RecordingSink


class Sums(SeriesSink[None]):
    """A series sink that merges into a store."""

    def __init__(self) -> None:
        """Create a sink with an empty store."""
        super().__init__(name="sums")
        self.store = SeriesStore()

    def merge(self, events: Any) -> None:
        """Merge the events into the store."""
        self.store.merge(events)

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Report success."""
        return None


class OnlyOnce:
    """An object that has a text a limited number of times."""

    def __init__(self, times: int) -> None:
        """Create an object that returns its text the given number of times."""
        self.left = times

    def __str__(self) -> str:
        """Return the text, or raise."""
        if not self.left:
            raise RuntimeError("no more")
        self.left -= 1
        return "once"


@pytest.mark.parametrize("as_event", [False, True], ids=["row", "event"])
@pytest.mark.parametrize("value", [HUGE_LABEL, -HUGE_LABEL], ids=["positive", "negative"])
async def test_an_int_too_large_to_print_is_invalid_as_a_label(
    value: int, as_event: bool, autojump_clock: MockClock
) -> None:
    """It is invalid as a value, as a name and as a status; the other events of its batch are valid."""
    sinks: list[Any] = [Sums(), RecordingSink()]
    bad: list[Call] = [
        (Counter, ("c", {"a": value}, 1), {}),
        (Counter, ("c", {value: "a"}, 1), {}),
        (HttpRequest, ("GET", "/", value, 0.1), {}),
        (BackendRequest, ("p", "m", value, 0.1), {}),
        (CacheMetric, (value, "hit"), {}),
        (Job, (value, 1, 1, 1, 1), {}),
        (Job, ("q", 1, 1, 1, 1), {"code": value}),
        (HistogramPoint, ("h", {"a": value}, 1, 1.0, (1.0,), (1, 0)), {}),
    ]
    async with collector(sinks=sinks) as metrics:
        for kind, positional, keyword in bad:
            metrics.record_counter("c", {"a": 1}, 1)
            if as_event:
                metrics.record(kind(*positional, **keyword))
            else:
                metrics.make_recorder(kind)(*positional, **keyword)
            metrics.record_http_request("GET", "/", 200, 0.1)
    assert told(metrics.stats()) == (3 * len(bad), 2 * len(bad), 0, {"invalid": len(bad)})
    assert len(sinks[1].events) == 2 * len(bad)
    assert [sum(point.count or point.value for point in metric.points) for metric in sinks[0].store.snapshot()] == [
        len(bad)
    ] * 2


@pytest.mark.parametrize("times", [0, 1])
async def test_a_label_whose_text_is_not_always_available_costs_no_other_event(
    times: int, autojump_clock: MockClock
) -> None:
    """A lazy object of the application's is an example; it is invalid, or merged with the text it had."""
    sink = Sums()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"a": "b"}, 1)
        metrics.record_counter("c", {"a": OnlyOnce(times)}, 1)
        metrics.record_cache_metric("redis", "hit")
        await metrics.flush()
        metrics.record_counter("c", {"a": "b"}, 1)
    stats = balanced(metrics.stats())
    assert (stats.total_events, stats.failed_events) == (4, 0)
    assert stats.processed_events >= 3
