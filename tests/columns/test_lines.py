"""Lines written by column are those of each event by itself, whatever was written before."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.columns.drawn import DRAWN, STATIC, handed_over, known, made
from tests.helpers import examples
from trio_batchmetrics import Batch, Counter, Gauge, HistogramPoint, MetricEvent
from trio_batchmetrics._events.rows import Row
from trio_batchmetrics.abc import EventIds, SinkContext
from trio_batchmetrics.sinks._influxdb.timestamps import Timestamps
from trio_batchmetrics.sinks._influxdb.writer import LineWriter


def writer(static: dict[str, str] | None = None) -> LineWriter:
    """Return a writer that has written nothing."""
    return LineWriter("influxdb3", SinkContext(static_labels=static or {}), Timestamps())


@given(drawn=DRAWN, data=st.data())
@settings(max_examples=examples(150))
def test_lines_of_a_batch_are_those_of_its_events(drawn: list[Any], data: st.DataObject) -> None:
    """Timestamps rise, or are in any order; one writer writes the batch whole, in halves, and again."""
    stamps = [1_795_489_500_000_000_000 + 10 * at for at in range(len(drawn))]
    if data.draw(st.booleans()):
        stamps = data.draw(st.permutations(stamps))
    rows = made([attrs.evolve(each, stamp=stamp) for each, stamp in zip(drawn, stamps, strict=True)])
    batch, everything = handed_over(rows), known(rows)
    alone = [writer({**STATIC, **each.added}).write([each.event]) for each in everything]
    ours = writer(STATIC)
    middle = len(alone) // 2
    assert ours.write(batch) == b"".join(alone)
    assert ours.write(batch[middle:]) == b"".join(alone[middle:])
    assert ours.write(batch[:middle]) == b"".join(alone[:middle])
    other = writer(STATIC)
    assert other.write(batch[middle:]) == b"".join(alone[middle:])
    assert other.write(batch) == b"".join(alone)


def test_prefixes_of_different_series_are_never_mixed_up() -> None:
    """Equal labels occur under two names, in two classes, and with different bounds; one is named like a bucket."""
    events: list[MetricEvent] = []
    labels: list[dict[str, Any]] = [{"a": 1}, {"a": True}, {"a": "1"}, {"b": 1}, {}, {"1": "like a bucket"}, {"2": "x"}]
    for each in (*labels, *labels[::-1]):
        events += [
            Counter("x", each, 1, timestamp=0),
            Gauge("x", each, 1, timestamp=0),
            Gauge("y", each, 1, timestamp=0),
            HistogramPoint("x", each, 1, 0.5, (1.0,), (1, 0), timestamp=0),
            HistogramPoint("x", each, 1, 0.5, (2.0,), (1, 0), timestamp=0),
            HistogramPoint("x", each, 1, 0.5, (1.0, 2.0), (1, 0, 0), timestamp=0),
            HistogramPoint("y", each, 1, 0.5, (), (1,), timestamp=0),
        ]
    for at, event in enumerate(events):
        changed: Any = event
        events[at] = attrs.evolve(changed, timestamp=at)
    assert writer().write(events) == b"".join(writer().write([event]) for event in events)


def test_lines_of_two_classes_that_share_a_series_have_distinct_timestamps() -> None:
    """They are the same in each attempt, in its halves, and in an order of classes that differs."""
    rows: list[Row] = [(kind, 5, "x", {}, at) for at, kind in enumerate([Gauge, Counter, Gauge, Counter, Counter])]
    ours = writer()
    batch = Batch([*rows], ids=EventIds("run", range(10, 15)))
    lines = ours.write(batch).splitlines()
    assert len({line.rpartition(b" ")[2] for line in lines}) == 5
    assert [line.split(b" ")[1] for line in lines] == [b"value=%d.0" % at for at in range(5)]
    for start in range(5):
        for stop in range(start + 1, 6):
            assert ours.write(batch[start:stop]).splitlines() == lines[start:stop]
