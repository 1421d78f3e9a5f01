"""Compares writing a page for Prometheus with prometheus_client's page of the same series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import trio

from trio_batchmetrics import Counter, HttpRequest, MetricEvent
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import PrometheusSink

from .effort import Effort
from .figures import Figure, Outcome, ratio
from .instruments import durations
from .timing import Contender, compete

__all__ = ["run"]

LABELS = ["http_request_method", "http_route", "http_response_status_code"]
ONCE = "for _ in (None,)"


class Subject(NamedTuple):
    """The series on the page."""

    name: str
    events: Sequence[MetricEvent]
    """One event per series."""
    registry: Any
    """A prometheus_client registry with the same series."""


def _client() -> Any:
    client: Any = import_module("prometheus_client")
    client.disable_created_metrics()  # our page has no such samples either
    return client


def _counters(number: int) -> Subject:
    client = _client()
    registry = client.CollectorRegistry()
    counter = client.Counter("requests", "requests", LABELS, registry=registry)
    events: list[MetricEvent] = []
    for index in range(number):
        values, added = ("GET", f"/api/{index}", "200"), 1 + index * 7919 % 1_000_000
        counter.labels(*values).inc(added)
        events.append(Counter("requests", dict(zip(LABELS, values, strict=True)), added))
    return Subject(f"{number:_} counters".replace("_", " "), events, registry)


def _histograms(number: int) -> Subject:
    client = _client()
    registry = client.CollectorRegistry()
    name, text = "http_server_request_duration_seconds", "Duration of HTTP server requests."
    bounds = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    histogram = client.Histogram(name, text, LABELS, buckets=bounds, registry=registry)
    events: list[MetricEvent] = []
    for index, duration in enumerate(durations(number)):
        histogram.labels("GET", f"/api/{index}", "200").observe(duration)
        events.append(HttpRequest("GET", f"/api/{index}", 200, duration))
    return Subject(f"{number:_} histograms of 14 bounds".replace("_", " "), events, registry)


def _sink_with_series(subject: Subject) -> tuple[PrometheusSink, Callable[[], None]]:
    """Return a sink with the same series, and a function that adds to each of them."""
    sink = PrometheusSink()
    sink.bind(SinkContext(max_series=len(subject.events)))

    def change() -> None:
        sink.merge(subject.events)

    change()
    lines = _client().generate_latest(subject.registry).splitlines()
    assert len(lines) == len(sink.render()[0].splitlines())  # noqa: S101 - otherwise, the work would differ
    return sink, change


async def _alongside(subject: Subject, effort: Effort) -> list[Figure]:
    sink, change = _sink_with_series(subject)
    ours = {"sink": sink}
    theirs = {"generate_latest": _client().generate_latest, "registry": subject.registry}
    contenders = [
        Contender("changed", "sink.render()", ours, calls=len(subject.events), loop=ONCE, before=change),
        Contender("unchanged", "sink.render()", ours, calls=len(subject.events), loop=ONCE),
        Contender("theirs", "generate_latest(registry)", theirs, calls=len(subject.events), loop=ONCE),
    ]
    rounds = await compete(contenders, effort.seconds)
    name = f"a page of {subject.name}, {{}}, ÷ prometheus_client's `generate_latest`"
    return [
        ratio(name.format("all of them changed"), rounds["changed"], rounds["theirs"], 1 / 15),
        ratio(name.format("none of them changed"), rounds["unchanged"], rounds["theirs"], 0.01),
    ]


async def _run(effort: Effort) -> Outcome:
    number = effort.events // 100
    figures = await _alongside(_counters(number), effort)
    return Outcome([*figures, *await _alongside(_histograms(number // 10), effort)])


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    return trio.run(_run, effort)
