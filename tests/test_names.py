"""Names become text wherever they are sent: half a surrogate pair, which no encoding can carry, costs no event."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import balanced
from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsConfig,
    Counter,
    HistogramPoint,
    MetricEvent,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import EventSink, Payload, Receipt
from trio_batchmetrics.sinks import (
    ElasticsearchSink,
    InfluxDBSeriesSink,
    InfluxDBSink,
    JSONLinesSink,
    OTLPSink,
    PrometheusSink,
    PushgatewaySink,
    SQLiteSink,
)

HALF, WHOLE = "\udc80", "\ufffd"


@metric_event
class Job(MetricEvent):
    """A class declared with halves of surrogate pairs."""

    queue: str = label(f"queue{HALF}")
    size: int = measure(Counter, "job.size", description=f"How large.{HALF}")


Record = Callable[[BatchMetricsCollector], object]
NAMED: dict[str, Record] = {
    "a recorded name": lambda metrics: metrics.record_counter(f"jobs{HALF}", {"a": "b"}, 1),
    "a label's name": lambda metrics: metrics.record_counter("jobs", {f"a{HALF}": "b"}, 1),
    "a label's value": lambda metrics: metrics.record_gauge("jobs", {"a": f"b{HALF}"}, 1),
    "a point's name": lambda metrics: metrics.record(HistogramPoint(f"jobs{HALF}", {}, 1, 1.0, (1.0,), (1, 0))),
    "a bound counter's name": lambda metrics: metrics.counter(f"jobs{HALF}").add(1),
    "a bound gauge's name": lambda metrics: metrics.gauge(f"jobs{HALF}").set(1),
    "a bound histogram's name": lambda metrics: metrics.histogram(f"jobs{HALF}").observe(1),
    "an observed name": lambda metrics: metrics.observable_gauge(f"jobs{HALF}", lambda: 1),
    "a bound label's name": lambda metrics: metrics.counter("jobs", labels={f"a{HALF}": "b"}).add(1),
    "a bound label's value": lambda metrics: metrics.counter("jobs", labels={"a": f"b{HALF}"}).add(1),
    "a unit": lambda metrics: metrics.counter("jobs", unit=f"{{job{HALF}}}").add(1),
    "a description": lambda metrics: metrics.counter("jobs", description=f"Jobs done.{HALF}").add(1),
    "a declared label": lambda metrics: metrics.make_recorder(Job)("q", 1),
    "a static label": lambda metrics: metrics.record_cache_metric("redis", "hit"),
}
"""Every way in which an application may name something; each case has static labels of this kind, too."""

CONFIG = BatchMetricsConfig(static_labels={f"zone{HALF}": "eu", "region": f"west{HALF}"}, bounds={f"jobs{HALF}": [5]})


class Encoding(EventSink[Any]):
    """A sink that lets an HTTP sink encode the events, and sends them nowhere."""

    def __init__(self, real: Any) -> None:
        """Create a sink around another one."""
        super().__init__(name=type(real).__name__)
        self.real = real

    def bind(self, context: Any) -> None:
        """Pass on the collector's context."""
        super().bind(context)
        self.real.bind(context)

    def encode(self, events: Any) -> Any:
        """Encode, as an event sink or as a series sink."""
        if hasattr(self.real, "encode"):
            return self.real.encode(events)
        self.real.merge(events)
        return self.real.snapshot()

    async def send(self, payload: Payload[Any]) -> Receipt | None:
        """Report success."""
        return None


@pytest.mark.parametrize("what", NAMED)
async def test_no_sink_loses_an_event_because_of_its_names(what: str, tmp_path: Path) -> None:
    """No name breaks a page either: the half becomes U+FFFD."""
    prometheus = PrometheusSink()
    http: list[Any] = [
        ElasticsearchSink("http://localhost:1", index="i"),
        InfluxDBSink("http://localhost:1", database="d"),
        InfluxDBSeriesSink("http://localhost:1", database="d"),
        OTLPSink("http://localhost:1"),
        PushgatewaySink("http://localhost:1", job="j"),
    ]
    encoding = [*map(Encoding, http)]
    sinks = [prometheus, SQLiteSink(tmp_path / "events.db"), JSONLinesSink(tmp_path / "events.jsonl"), *encoding]
    async with collector(CONFIG, sinks=sinks) as metrics:
        NAMED[what](metrics)
        await metrics.flush()
        page, _ = prometheus.render()
        openmetrics, _ = prometheus.render("application/openmetrics-text")
        declared = dict(prometheus.context.declared)
    stats = balanced(metrics.stats())
    assert stats.total_events == stats.processed_events >= 1
    assert {sink.delivered for sink in stats.sinks.values()} == {stats.total_events}
    assert WHOLE in page.decode() + openmetrics.decode()
    assert declared.keys() <= {"jobs", f"jobs{WHOLE}"}
    with closing(sqlite3.connect(tmp_path / "events.db")) as database:
        name, labels = database.execute("SELECT name, labels FROM events").fetchone()
    form = json.loads((tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert json.loads(labels) == form["labels"]
    assert form["labels"].items() >= {f"zone{WHOLE}": "eu", "region": f"west{WHOLE}"}.items()
    assert name == form.get("name")


async def test_an_instrument_is_known_by_the_text_of_its_name() -> None:
    """The configuration's bounds apply to it, and another half is the same name."""
    async with collector(CONFIG, sinks=[]) as metrics:
        histogram = metrics.histogram(f"jobs{HALF}")
        assert (histogram.name, histogram.bounds) == (f"jobs{WHOLE}", (5.0,))
        assert metrics.histogram("jobs\ud800") is histogram
