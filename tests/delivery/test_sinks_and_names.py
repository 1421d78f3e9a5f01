"""The collector takes sinks and async functions, gives each its own name, and refuses anything else."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.delivery.sinks import account, record
from tests.helpers import balanced, ids
from trio_batchmetrics import Batch, BatchMetricsConfig, collector
from trio_batchmetrics.abc import Receipt
from trio_batchmetrics.testing import RecordingSink


async def test_sinks_are_named_after_their_classes_and_functions(autojump_clock: MockClock) -> None:
    """Class names lose "Sink", are lower case and numbered from the second on; ``name=`` and function names stay."""

    class Sink(RecordingSink):
        """A class whose name is empty without "Sink"."""

    class HTTPCollector(RecordingSink):
        """A class without "Sink" in its name."""

    async def My_function(batch: Batch) -> None:  # noqa: N802 - its case is kept
        """Deliver the batch."""

    sinks: list[Any] = [
        RecordingSink(),
        RecordingSink(),
        RecordingSink(name="Mine"),
        RecordingSink(name="Mine"),
        RecordingSink(),
        My_function,
        My_function,
        HTTPCollector(),
        Sink(),
        functools.partial(My_function),
    ]
    async with collector(sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    names = list(balanced(metrics.stats()).sinks)
    assert names[:8] == [
        "recording",
        "recording2",
        "Mine",
        "Mine2",
        "recording3",
        "My_function",
        "My_function2",
        "httpcollector",
    ]
    assert len(set(names)) == len(sinks)
    assert all(sink.delivered == 2 for sink in metrics.stats().sinks.values())


async def test_a_name_that_is_taken_is_not_used_twice(autojump_clock: MockClock) -> None:
    """Names stay unique even where the user has chosen a numbered name."""
    sinks = [RecordingSink(name="recording2"), RecordingSink(), RecordingSink(), RecordingSink(name="recording")]
    async with collector(sinks=sinks) as metrics:
        record(metrics, 1, 2)
    assert len(balanced(metrics.stats()).sinks) == 4
    assert list(metrics.stats().sinks)[:2] == ["recording2", "recording"]


async def test_batches_are_logged_where_no_sinks_are_given(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each batch gives one INFO line, which counts the kinds; the sink is called ``logging``."""
    caplog.set_level(logging.INFO, "trio_batchmetrics")
    async with collector(BatchMetricsConfig(batch_size=3)) as metrics:
        record(metrics, 1, 2)
        metrics.record_cache_metric("redis", "hit")
        await metrics.flush()
        assert list(metrics.stats().sinks) == ["logging"]
    lines = [line.getMessage() for line in caplog.records if line.levelno == logging.INFO]
    assert len(lines) == 1
    assert "2 Counter" in lines[0]
    assert "1 CacheMetric" in lines[0]
    assert balanced(metrics.stats()).processed_events == 3


async def test_with_no_sinks_events_are_validated_and_count_as_processed(autojump_clock: MockClock) -> None:
    """Without sinks, events have nothing to wait for."""
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[]) as metrics:
        record(metrics, 1, 2)
        metrics.record_counter("c", {}, -1)
        await wait_all_tasks_blocked()
        stats = balanced(metrics.stats())
        assert (stats.processed_events, stats.dropped, stats.sinks) == (2, {"invalid": 1}, {})


def plain(batch: Batch) -> None:
    """Do nothing, without being a coroutine function."""


@pytest.mark.parametrize("given", [None, 3, "sqlite", RecordingSink, object(), {}, [RecordingSink()]])
async def test_an_object_that_is_not_a_sink_raises_a_type_error_that_names_it(given: Any) -> None:
    """A class instead of an instance is refused as well."""
    with pytest.raises(TypeError, match=r"sinks\[1\]"):
        collector(sinks=[RecordingSink(), given])


async def test_a_function_that_is_not_async_raises_a_type_error() -> None:
    """The message says what the function should be."""
    sinks: list[Any] = [RecordingSink(), plain]
    with pytest.raises(TypeError, match="async def"):
        collector(sinks=sinks)


async def test_a_function_gets_everything_that_is_queued_and_may_be_tried_again(autojump_clock: MockClock) -> None:
    """An ``Exception`` from it causes a retry, and a receipt is understood."""
    batches: list[list[int]] = []

    async def sink(batch: Batch) -> Receipt | None:
        batches.append(ids(list(batch)))
        assert isinstance(batch, Batch)
        await trio.sleep(1)
        if len(batches) == 1:
            raise RuntimeError("not yet")
        return Receipt(rejected={1: "bad"}) if len(batches) == 2 else None

    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await wait_all_tasks_blocked()
        record(metrics, 3, 8)
        await metrics.flush()
    assert batches == [[1, 2], [1, 2], [3, 4, 5, 6, 7, 8]]
    stats = account(metrics, "sink")
    assert (stats.delivered, stats.rejected, stats.retries) == (7, 1, 1)


@pytest.mark.parametrize(
    ("setting", "value"),
    [(setting, value) for setting in ("timeout", "retry_budget", "backoff", "max_backoff") for value in (0, -1, True)]
    + [("timeout", "30"), ("max_events", 0), ("max_payload_bytes", -5)],
)
def test_a_delivery_setting_that_cannot_work_raises_a_value_error(setting: str, value: Any) -> None:
    """The error names the setting and the value."""
    with pytest.raises(ValueError, match=rf"{setting} .*{value!r}"):
        RecordingSink(**{setting: value})
