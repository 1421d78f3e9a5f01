"""A series without new events leaves the page on time, and starts over at 0 if it comes back."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.sinks.prometheus.pages import TEXT, read
from tests.sinks.prometheus_parsing import OPENMETRICS, labelled, parsed
from trio_batchmetrics import BatchMetricsConfig, Counter, Histogram, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.sinks._prometheus.page import Page


@pytest.mark.parametrize("expire_after", [60, 60.0, timedelta(minutes=1)])
async def test_idle_series_leave_the_page_and_start_over_at_0(
    expire_after: float | timedelta, autojump_clock: MockClock
) -> None:
    """They expire exactly by Trio's clock, whether anything is merged meanwhile or not."""
    sink = PrometheusSink(expire_after=expire_after)
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:

        async def record(*queues: str) -> None:
            for queue in queues:
                metrics.record_counter("jobs", {"queue": queue}, 1)
                metrics.record_histogram("size", {"queue": queue}, 1)
            await wait_all_tasks_blocked()

        def shown() -> dict[str, float]:
            found = read(sink, OPENMETRICS)
            jobs = {dict(labels)["queue"]: value for labels, value in found.of("jobs_total").items()}
            sizes = {dict(labels)["queue"]: value for labels, value in found.of("size_count").items()}
            assert jobs == sizes
            return jobs

        await trio.sleep(5)
        await record("a", "b")
        await trio.sleep(40)
        await record("b")
        assert shown() == {"a": 1, "b": 2}
        await trio.sleep(19.999)
        assert shown() == {"a": 1, "b": 2}
        await trio.sleep(0.002)
        assert shown() == {"b": 2}
        await record("a")
        assert shown() == {"a": 1, "b": 2}
        await trio.sleep(61)
        assert sink.render() == (b"", TEXT)
        await record("b")
        assert shown() == {"b": 1}
        assert metrics.stats().processed_events == 10
    assert shown() == {"b": 1}


def test_everything_that_belongs_to_an_expired_series_goes_with_it() -> None:
    """If it comes back, it starts over at 0, however its labels are written."""
    now = 1_000
    page = Page(SinkContext(), lambda: now, 100)
    page.merge([Counter("c", {"a.b": 1}, 1), Counter("c", {"n": 2}, 2), Histogram("h", {"n": 2}, 2)])
    now += 50
    page.merge([Counter("c", {"a_b": 1}, 3)])
    assert b'c_total{a_b="1"} 4.0\n' in page.write(openmetrics=False)
    now += 60
    assert parsed(page.write(openmetrics=False), openmetrics=False).of("c_total") == {labelled(a_b="1"): 4}
    page.merge([])
    assert len(page) == sum(len(series) for _, _, series in page.families()) == 1
    now += 1000
    page.merge([])
    assert (len(page), page.write(openmetrics=False)) == (0, b"")
    page.merge([Counter("c", {"a-b": 1}, 6)])
    assert parsed(page.write(openmetrics=True), openmetrics=True).of("c_total") == {labelled(a_b="1"): 6}


def test_each_series_expires_on_time_while_others_continue() -> None:
    """This holds for any rate of events, although few merges check all series."""
    now = 1000
    page = Page(SinkContext(), lambda: now, 100)
    for now in range(1000, 1400, 10):
        page.merge([Counter("c", {"n": "busy"}, 1), *([Counter("c", {"n": now}, 1)] if now % 70 == 0 else [])])
        recent = {labelled(n=str(at)) for at in range(1000, now + 1, 10) if at % 70 == 0 and at >= now - 100}
        found = parsed(page.write(openmetrics=False), openmetrics=False).of("c_total")
        assert set(found) == {labelled(n="busy"), *recent}
        assert len(page) == len(found)


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan, True, "60", timedelta(0), 10**400])
def test_an_invalid_expire_after_is_refused(bad: Any) -> None:
    """The error names the rule and the value."""
    with pytest.raises(ValueError, match=r"^expire_after must be seconds > 0, a timedelta > 0 or None \(got "):
        PrometheusSink(expire_after=bad)


@pytest.mark.parametrize("ever", [1e300, timedelta.max])
async def test_an_expire_after_beyond_any_clock_is_accepted(ever: Any, autojump_clock: MockClock) -> None:
    """The series never expire."""
    sink = PrometheusSink(expire_after=ever)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("jobs", {}, 1)
        await metrics.flush()
        assert b"jobs_total 1.0" in sink.render()[0]
