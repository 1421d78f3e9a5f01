"""The next page has every merged event, and merged events are delivered."""

from __future__ import annotations

import math
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced
from tests.sinks.prometheus.pages import STRICT, TEXT, filled, read
from tests.sinks.prometheus_parsing import OPENMETRICS, labelled
from trio_batchmetrics import BatchMetricsConfig, Counter, Gauge, collector
from trio_batchmetrics.abc import Payload
from trio_batchmetrics.sinks import PrometheusSink


async def test_merged_events_are_on_the_next_page_and_count_as_delivered(autojump_clock: MockClock) -> None:
    """Pages before, in and after the block have them, including points of bound instruments."""
    sink = PrometheusSink()
    assert sink.render() == (b"", TEXT)
    assert sink.render(OPENMETRICS) == (b"# EOF\n", STRICT)
    async with collector(
        BatchMetricsConfig(batch_size=2, static_labels={"service.name": "shop"}), sinks=[sink]
    ) as metrics:
        assert sink.is_open
        for _ in range(5):
            metrics.record_counter("jobs", {"queue": "a"}, 2)
        await wait_all_tasks_blocked()
        assert read(sink).of("jobs_total") == {labelled(queue="a", service_name="shop"): 8}
        metrics.histogram("size", bounds=[1, 2], unit="By", description="How large.").observe(2)
        metrics.counter("done", unit="{job}").add(3)
        assert (await metrics.flush()).ok
        found = read(sink, OPENMETRICS)
        assert found.of("jobs_total") == {labelled(queue="a", service_name="shop"): 10}
        assert found.of("size_bytes_bucket")[labelled(service_name="shop", le="2.0")] == 1
        assert found.families["size_bytes"] == ("histogram", "bytes", "How large.")
        assert found.of("done_total") == {labelled(service_name="shop"): 3}
        metrics.record_counter("jobs", {"queue": "b"}, 1)
    assert not sink.is_open
    account = balanced(metrics.stats()).sinks["prometheus"]
    assert (account.total, account.delivered, account.failed) == (8, 8, 0)
    assert read(sink).of("jobs_total")[labelled(queue="b", service_name="shop")] == 1


def test_it_takes_the_delivery_settings_of_every_sink() -> None:
    """So one set of settings fits all sinks; they have no effect, because pages are fetched. Bad ones are named."""
    settings: dict[str, Any] = {"timeout": 5, "retry_budget": 60, "backoff": 0.1, "max_backoff": 2}
    sink = PrometheusSink(**settings)
    assert {name: getattr(sink, name) for name in settings} == settings
    with pytest.raises(ValueError, match=r"^retry_budget must be .*> 0"):
        PrometheusSink(retry_budget=0)


async def test_a_sink_starts_over_with_each_collector(autojump_clock: MockClock) -> None:
    """It counts only what that collector recorded."""
    sink = PrometheusSink(name="scraped")
    for number in (1, 2):
        async with collector(sinks=[sink]) as metrics:
            metrics.record_counter("jobs", {}, number)
        assert read(sink).of("jobs_total") == {labelled(): number}
        assert metrics.stats().sinks["scraped"].delivered == 1


async def test_a_disabled_collector_leaves_an_empty_page() -> None:
    """The sink isn't even bound."""
    sink = PrometheusSink()
    async with collector(BatchMetricsConfig(enabled=False), sinks=[sink]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    assert sink.render()[0] == b""


async def test_closing_twice_and_sending_do_no_harm() -> None:
    """The engine does neither."""
    sink = filled(Counter("c", {}, 1))
    await sink.aclose()
    await sink.aclose()
    await sink.send(Payload[None](events=[], parts=(None,), key="x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert read(sink).of("c_total") == {labelled(): 1}


def test_invalid_events_are_skipped() -> None:
    """A collector never hands over any."""
    sink = filled(Counter("c", {}, math.nan), Counter("c", {}, 1), Gauge("", {}, 1))
    assert read(sink).samples == {("c_total", labelled()): 1}
