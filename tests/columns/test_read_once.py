"""Columns are read once, whoever reads them; and a sink needs nothing but the public interface for it."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from trio.testing import MockClock

from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, CacheMetric, MetricEvent, collector
from trio_batchmetrics._events.examining import examined
from trio_batchmetrics._events.reading import ClassReader
from trio_batchmetrics._events.rows import event_of
from trio_batchmetrics.abc import Batch, EventSink, Payload, Receipt, SeriesSink, SeriesStore, label_text, labels_of
from trio_batchmetrics.testing import FlakySink, RecordingSink


class Counts:
    """How many rows were read by column, how many were looked at one by one, and how many events were built."""

    def __init__(self) -> None:
        """Start at 0."""
        self.read = 0
        self.examined = 0
        self.built = 0


@contextmanager
def counted() -> Generator[Counts, None, None]:
    """Count in this thread."""
    counts = Counts()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        if frame.f_code is ClassReader.read.__code__:
            counts.read += len(frame.f_locals["columns"][0])
        elif frame.f_code is examined.__code__:
            counts.examined += 1
        elif frame.f_code is event_of.__code__:
            counts.built += 1

    sys.setprofile(note)
    try:
        yield counts
    finally:
        sys.setprofile(None)


class Reader(EventSink[int]):
    """A sink that reads the columns of every part that it encodes, and of the payload."""

    def __init__(self, **settings: Any) -> None:
        """Create a sink that has read nothing."""
        super().__init__(**settings)
        self.events = 0

    def encode(self, events: Sequence[MetricEvent]) -> int:
        """Read the columns."""
        return sum(len(columns.label_sets) for columns in Batch.of(events).columns())

    async def send(self, payload: Payload[int]) -> Receipt | None:
        """Read the columns again."""
        assert sum(map(len, payload.events.columns())) == sum(payload.parts) == len(payload.events)
        self.events += len(payload.events)
        return None


class Merging(SeriesSink[None]):
    """A series sink that merges into a store."""

    def __init__(self) -> None:
        """Create a sink with an empty store."""
        super().__init__()
        self.store = SeriesStore()

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Merge the events into the store."""
        self.store.merge(events)

    async def send(self, payload: Payload[None]) -> Receipt | None:
        """Report success."""
        return None


def record(metrics: BatchMetricsCollector, rounds: int) -> None:
    """Record five plain events per round, of four classes."""
    for number in range(rounds):
        metrics.record_http_request("GET", "/", 200, 0.5)
        metrics.record_cache_metric("redis", "hit")
        metrics.record_counter("c", {"id": number % 7, "ok": True}, 1)
        metrics.record_cache_metric("redis", "miss")
        metrics.record_health_check("db", True, 0.1)


@pytest.mark.parametrize("rounds", [9, 400])
async def test_events_are_read_once_for_all_sinks(rounds: int, autojump_clock: MockClock) -> None:
    """Three sinks read columns, in payloads of different sizes, and one merges; no event is looked at by itself."""
    sinks: list[Any] = [Reader(), Reader(max_events=33), Reader(max_events=7), Merging()]
    with counted() as counts:
        async with collector(BatchMetricsConfig(batch_size=150, buffer_size=10_000), sinks=sinks) as metrics:
            record(metrics, rounds)
    assert balanced(metrics.stats()).processed_events == 5 * rounds
    assert [sink.events for sink in sinks[:3]] == [5 * rounds] * 3
    assert (counts.read, counts.examined, counts.built) == (5 * rounds, 0, 0)


async def test_a_sink_that_only_records_costs_no_second_reading(autojump_clock: MockClock) -> None:
    """The batches that it keeps, and the parts of them that are retried, have their columns already."""
    sinks = [RecordingSink(), FlakySink(2, max_events=13)]
    with counted() as counts:
        async with collector(BatchMetricsConfig(batch_size=100), sinks=sinks) as metrics:
            record(metrics, 60)
        assert (counts.read, counts.examined, counts.built) == (300, 0, 0)
        for sink in sinks:
            for batch in sink.batches:
                assert sum(map(len, batch.columns())) == len(batch)
                assert sum(map(len, batch[1:].columns())) == len(batch) - 1
                assert batch.columns() is batch.columns()
        assert (counts.read, counts.examined, counts.built) == (300, 0, 0)
        assert len(sinks[0].events) == len(sinks[1].events) == 300
        assert 300 <= counts.built <= 600, "at most once per sink; a slice has the events that its batch has built"


async def test_an_invalid_event_causes_few_others_to_be_looked_at(autojump_clock: MockClock) -> None:
    """Those of other classes are read once; of its own class, most are not looked at one by one."""
    sinks = [Reader(), Reader(max_events=10)]
    with counted() as counts:
        async with collector(BatchMetricsConfig(batch_size=2500), sinks=sinks) as metrics:
            record(metrics, 50)
            metrics.record_counter("c", {}, math.nan)
            record(metrics, 50)
    assert balanced(metrics.stats()).dropped == {"invalid": 1}
    assert [sink.events for sink in sinks] == [500, 500]
    assert 1 <= counts.examined <= 10
    assert counts.read <= 400 + 101 * 9


class CSVSink(EventSink[str]):
    """A user's sink: one line per event, written by column with the public interface only."""

    def __init__(self, **settings: Any) -> None:
        """Create a sink with an empty file."""
        super().__init__(**settings)
        self.written = ""

    def encode(self, events: Sequence[MetricEvent]) -> str:
        """Return the lines of some events, in recording order."""
        batch = Batch.of(events)
        lines: list[Any] = [None] * len(batch)
        for columns in batch.columns():
            schema = columns.schema
            kind = schema.event_class.__name__
            known: dict[Any, str] = {}
            for key in columns.label_sets:
                if key not in known:
                    pairs = [(name, label_text(value)) for name, value in schema.label_pairs(key)]
                    known[key] = ";".join(f"{name}={text}" for name, text in sorted(pairs) if text is not None)
            rows = zip(columns.ids, columns.timestamps, map(known.__getitem__, columns.label_sets), strict=True)
            values = zip(*columns.values, strict=True) if columns.values else [()] * len(columns)
            for at, row, measured in zip(columns.positions, rows, values, strict=True):
                lines[at] = (kind, *row, *measured)
        file = io.StringIO()
        csv.writer(file).writerows(lines)
        return file.getvalue()

    async def send(self, payload: Payload[str]) -> Receipt | None:
        """Append the lines."""
        self.written += "".join(payload.parts)
        return None


async def test_a_users_sink_reads_columns_with_the_public_interface_alone(autojump_clock: MockClock) -> None:
    """Its lines are those of the events, whatever the size of its payloads."""
    sink, small, recorded = CSVSink(), CSVSink(max_events=7), RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=40), sinks=[sink, small, recorded]) as metrics:
        record(metrics, 30)
        metrics.record(CacheMetric("a,b", 'c"d', timestamp=7))
        metrics.record_histogram("h", {"x": 1.0, "y": None, "z": 1}, -2)
    wanted: list[list[str]] = []
    for batch in recorded.batches:
        for event, event_id in zip(batch, batch.ids, strict=True):
            labels = ";".join(f"{name}={text}" for name, text in sorted(labels_of(event).items()))
            schema = event.__metric_schema__
            assert schema is not None
            values = [str(float(getattr(event, each.field))) for each in schema.measures if each.field]
            wanted.append([type(event).__name__, event_id, str(event.timestamp), labels, *values])
    assert len(wanted) == 152
    assert [*csv.reader(io.StringIO(sink.written))] == wanted
    assert small.written == sink.written
