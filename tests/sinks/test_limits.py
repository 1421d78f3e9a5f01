"""The largest labels that a back-end accepts: an event beyond a limit is rejected before it is sent."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.influxdb.server import FakeServer
from trio_batchmetrics import BatchMetricsConfig, CacheMetric, Counter, Histogram, collector
from trio_batchmetrics.abc import Limits, SinkContext
from trio_batchmetrics.sinks import (
    ElasticsearchSink,
    InfluxDBSeriesSink,
    InfluxDBSink,
    JSONLinesSink,
    PrometheusSink,
    PushgatewaySink,
    SQLiteSink,
)

URL = "http://server.example"
EVENT_OR_SERIES = pytest.mark.parametrize("kind", [InfluxDBSink, InfluxDBSeriesSink])

WITHIN: list[dict[str, str]] = [
    {"a": "é" * 2048},
    {"n" * 256: "x"},
    {f"l{number}": "x" for number in range(39)},
    {"db": "own", **{f"l{number}": "x" for number in range(39)}},
    {"empty": "", **{f"l{number}": "x" for number in range(39)}},
]
"""Labels that VictoriaMetrics stores at its defaults, in a database."""

BEYOND: list[dict[str, str]] = [
    {"a": "é" * 2048 + "x"},
    {"é" * 128 + "n": "x"},
    {f"l{number}": "x" for number in range(40)},
    {f"l{number:02}": "x" * 4000 for number in range(17)},
]
"""Labels that it does not store, although it answers 204."""


# -- the limits themselves


def test_sizes_are_in_bytes_and_empty_labels_do_not_count() -> None:
    """The message names the limit, and shows no more of a name than necessary."""
    limits = Limits(label_value_bytes=4, label_name_bytes=50, labels=2)
    assert limits.broken_by({"a": "éé", "n" * 50: "x", "empty": ""}) is None
    assert limits.broken_by({"a": "ééx"}) == "label 'a' has a value of 5 bytes (at most 4)"
    assert limits.broken_by({"n" * 51: "x"}) == f"label {'n' * 40!r}… has a name of 51 bytes (at most 50)"
    assert limits.broken_by({"a": "1", "b": "2", "c": "3"}) == "3 labels (at most 2)"
    assert Limits().broken_by({"n" * 10_000: "x" * 100_000}) is None
    assert Limits(7, 8, 9) == Limits(label_value_bytes=7, label_name_bytes=8, labels=9)


@pytest.mark.parametrize("field", ["label_value_bytes", "label_name_bytes", "labels"])
@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "40"])
def test_an_invalid_limit_is_refused(field: str, bad: Any) -> None:
    """The error names the rule and the value."""
    with pytest.raises(ValueError, match=rf"^{field} must be an int >= 1 or None \(got {bad!r}\)$"):
        Limits(**{field: bad})


@pytest.mark.parametrize("bad", [40, (4096, 256, 40), {"labels": 40}])
def test_a_value_that_is_not_a_limits_object_is_refused(bad: Any) -> None:
    """The constructor refuses it."""
    message = r"^limits must be a Limits or None \(got "
    with pytest.raises(ValueError, match=message):
        PrometheusSink(limits=bad)
    with pytest.raises(ValueError, match=message):
        PushgatewaySink(URL, job="j", limits=bad)
    with pytest.raises(ValueError, match=message):
        InfluxDBSink(URL, database="d", limits=bad)
    with pytest.raises(ValueError, match=message):
        SQLiteSink("events.sqlite3", limits=bad)
    with pytest.raises(ValueError, match=message):
        JSONLinesSink("events.jsonl", limits=bad)


# -- pages


def test_a_page_has_no_label_beyond_its_limits(caplog: pytest.LogCaptureFixture) -> None:
    """Labels count as they are on the page: translated, with static labels; the rejection is reported once."""
    sink = PrometheusSink(limits=Limits(label_value_bytes=5, label_name_bytes=5, labels=2))
    sink.bind(SinkContext(static_labels={"host": "h"}))
    events = [
        Counter("c", {"a": "12345"}, 1),
        Counter("c", {"a": "123456"}, 2),
        Counter("c", {"a.b": "12", "a_b": "345"}, 4),  # joined by a semicolon
        Counter("c", {"_a": 1}, 8),  # key_a
        Counter("c", {"__name__": 1}, 16),
        Counter("c", {"a": 1, "b": 2}, 32),
        Counter("c", {"a": 1, "b": ""}, 64),
        CacheMetric("redis", "hit"),
        Histogram("h", {}, 1),
        Histogram("h", {"b": "x"}, 1),  # and the label of a bucket
    ]
    for _ in range(2):
        assert sink.merge(events) == dict.fromkeys([1, 2, 4, 5, 7, 9], "limits")
    page = sink.render()[0].decode()
    assert sorted(line for line in page.splitlines() if line.startswith("c_total{")) == [
        'c_total{a="1",host="h"} 128.0',
        'c_total{a="12345",host="h"} 2.0',
        'c_total{host="h",key_a="1"} 16.0',
    ]
    assert caplog.messages == [
        "metrics: events of 'c' are rejected: label 'a' has a value of 6 bytes (at most 5); others are only counted"
    ]


def test_the_shared_series_needs_no_room_until_it_is_used() -> None:
    """Once it is used, its events are rejected if its own labels exceed a limit."""
    sink = PrometheusSink(limits=Limits(label_name_bytes=5))
    sink.bind(SinkContext(max_series=2))
    assert sink.merge([Counter("c", {"n": n}, 1) for n in range(2)]) is None
    assert sink.merge([Counter("c", {"n": n}, 1) for n in range(4)]) == {2: "limits", 3: "limits"}
    assert sink.overflowed == {}


# -- pushes and documents


async def test_a_push_has_no_label_beyond_its_limits(autojump_clock: MockClock) -> None:
    """The event is rejected, and the others are delivered."""
    bodies: list[str] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        bodies.append(request.content.decode())
        return httpx2.Response(200)

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    sink = PushgatewaySink(URL, job="j", client=client, limits=Limits(label_value_bytes=3))
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"a": "long"}, 1)
        metrics.record_counter("c", {"a": "ok"}, 1)
    account = balanced(metrics.stats()).sinks["pushgateway"]
    assert (account.delivered, account.rejected, account.last_error) == (1, 1, "1 of 2 events refused: limits")
    assert "long" not in bodies[-1]


def test_a_document_has_no_label_beyond_its_limits() -> None:
    """Static labels count too."""
    sink = ElasticsearchSink(URL, index="i", limits=Limits(labels=2))
    sink.bind(SinkContext(static_labels={"host": "h"}))
    for _ in range(2):
        assert sink.encode([Counter("c", {"a": 1}, 1), Counter("c", {}, 1)])
        with pytest.raises(ValueError, match=r"^limits: 3 labels \(at most 2\)$"):
            sink.encode([Counter("c", {}, 1), CacheMetric("redis", "hit")])


async def test_a_file_has_no_label_beyond_its_limits(tmp_path: Path) -> None:
    """Static labels count too; only that event is rejected, and the message gives the reason."""
    limits = Limits(label_value_bytes=3, labels=2)
    lines = JSONLinesSink(tmp_path / "events.jsonl", limits=limits)
    database = SQLiteSink(tmp_path / "events.sqlite3", limits=limits)
    async with collector(BatchMetricsConfig(static_labels={"host": "h"}), sinks=[lines, database]) as metrics:
        metrics.record_counter("long", {"a": "long"}, 1)
        metrics.record_counter("kept", {"a": "ok"}, 1)
        metrics.record_counter("many", {"a": 1, "b": 2}, 1)
    for account in balanced(metrics.stats()).sinks.values():
        assert (account.delivered, account.rejected) == (1, 2)
        assert "limits: " in str(account.last_error)
    assert [json.loads(line)["name"] for line in (tmp_path / "events.jsonl").read_text().splitlines()] == ["kept"]
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as connection:
        assert connection.execute("SELECT name FROM events").fetchall() == [("kept",)]


# -- VictoriaMetrics, by line protocol


@EVENT_OR_SERIES
@pytest.mark.parametrize("said", [True, False])
async def test_events_that_victoriametrics_would_ignore_are_rejected(
    kind: type[InfluxDBSink | InfluxDBSeriesSink], said: bool
) -> None:
    """The dialect implies the limits; if none is given, the server is asked before anything so large is written."""
    server = FakeServer(dialect="victoriametrics")
    settings: Any = {"dialect": "victoriametrics"} if said else {}
    sink = kind(URL, database="d", client=server.client, **settings)
    labels = [label_set for pair in zip(WITHIN, [*BEYOND, {}], strict=True) for label_set in pair]
    async with collector(BatchMetricsConfig(static_labels={"none": ""}), sinks=[sink]) as metrics:
        for number, label_set in enumerate(labels):
            metrics.record_gauge(f"g{number}", label_set, 1)
        report = await metrics.flush()
        assert (report.processed, report.failed) == (len(WITHIN) + 1, len(BEYOND))
    [account] = balanced(metrics.stats()).sinks.values()
    assert (account.delivered, account.rejected, account.failed) == (len(WITHIN) + 1, len(BEYOND), 0)
    assert "limits" in str(account.last_error)
    refused = [f"g{number}" for number, label_set in enumerate(labels) if label_set in BEYOND]
    assert {line.measurement for line in server.stored}.isdisjoint(refused)
    assert (sink.dialect, server.pings) == ("victoriametrics", 0 if said else 1)


async def test_events_that_another_server_accepts_are_written_to_it() -> None:
    """Large labels are a reason to ask, and InfluxDB accepts them."""
    server = FakeServer()
    sink = InfluxDBSink(URL, database="d", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        for label_set in BEYOND[:3]:
            metrics.record_gauge("g", label_set, 1)
    assert balanced(metrics.stats()).processed_events == 3
    assert [line.tags for line in server.stored] == BEYOND[:3]
    assert server.pings == 1


async def test_series_that_another_server_accepts_are_written_once_it_is_identified() -> None:
    """Until then they are rejected, because merged events cannot be taken back."""
    server = FakeServer()
    sink = InfluxDBSeriesSink(URL, database="d", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        for _ in range(3):
            metrics.record_counter("c", {"a": "x" * 5000}, 1)
            metrics.record_counter("c", {"a": "y"}, 1)
            await metrics.flush()
    account = balanced(metrics.stats()).sinks["influxdbseries"]
    assert (account.delivered, account.rejected) == (5, 1)
    assert {line.tags["a"][0]: line.fields["value"] for line in server.stored} == {"x": 2, "y": 3}
    assert server.pings == 1


async def test_series_are_not_rejected_once_the_server_was_identified_for_another_reason() -> None:
    """A backslash was the reason to ask."""
    server = FakeServer()
    sink = InfluxDBSeriesSink(URL, database="d", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"a": "\\x"}, 1)
        await metrics.flush()
        metrics.record_counter("c", {"a": "x" * 5000}, 1)
    account = balanced(metrics.stats()).sinks["influxdbseries"]
    assert (account.delivered, account.rejected, server.pings) == (2, 0, 1)


@EVENT_OR_SERIES
async def test_given_limits_replace_the_known_ones(
    kind: type[InfluxDBSink | InfluxDBSeriesSink],
) -> None:
    """The VictoriaMetrics may have other flags; the server is not asked."""
    server = FakeServer(dialect="victoriametrics")
    sink = kind(
        URL, database="d", client=server.client, dialect="victoriametrics", limits=Limits(label_value_bytes=5000)
    )
    async with collector(sinks=[sink]) as metrics:
        metrics.record_gauge("g", {"a": "x" * 5000}, 1)
        metrics.record_gauge("g", {"a": "x" * 5001}, 1)
        metrics.record_gauge("g", {f"l{number}": "x" for number in range(50)}, 1)
    [account] = balanced(metrics.stats()).sinks.values()
    assert (account.delivered, account.rejected) == (2, 1)
    assert server.pings == 0


@EVENT_OR_SERIES
@pytest.mark.parametrize("dialect", ["victoriametrics", "influxdb"])
async def test_given_limits_apply_to_names_too_on_victoriametrics(
    kind: type[InfluxDBSink | InfluxDBSeriesSink], dialect: Any
) -> None:
    """Measurement and field are one label there. Delivered events are written, whenever the dialect is detected."""
    server = FakeServer(dialect=dialect)
    sink = kind(URL, database="d", client=server.client, limits=Limits(label_value_bytes=20))
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("n" * 20, {}, 1)
        metrics.record_counter("c", {"a": "\\x"}, 1)
        await metrics.flush()
        metrics.record_counter("n" * 20, {}, 2)
    [account] = balanced(metrics.stats()).sinks.values()
    written = {line.measurement for line in server.stored}
    if dialect == "victoriametrics":
        assert (account.delivered, account.rejected, written) == (1, 2, {"c"})
    else:
        assert (account.delivered, written) == (3 - account.rejected, {"c", "n" * 20})
        assert account.rejected == (kind is InfluxDBSeriesSink)  # the first one, until the server was identified
    assert server.pings == 1


@pytest.mark.parametrize("status", [413, 401, 503])
async def test_a_payload_with_some_oversized_events_may_itself_be_refused(
    status: int, autojump_clock: MockClock
) -> None:
    """The limits of one event do not affect the others."""
    answers = [httpx2.Response(status, json={"error": "no"})]
    server = FakeServer(*answers, dialect="victoriametrics")
    sink = InfluxDBSink(URL, database="d", client=server.client, backoff=0.01)
    async with collector(sinks=[sink]) as metrics:
        for label_set in (WITHIN[0], BEYOND[0], WITHIN[1], BEYOND[1]):
            metrics.record_gauge("g", label_set, 1)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert len(server.stored) == account.delivered == (0 if status == 401 else 2)
    assert account.rejected + account.failed == 4 - account.delivered


async def test_a_payload_of_only_oversized_events_is_not_sent(autojump_clock: MockClock) -> None:
    """There is nothing to send."""
    server = FakeServer(dialect="victoriametrics")
    async with collector(sinks=[InfluxDBSink(URL, database="d", client=server.client)]) as metrics:
        for label_set in BEYOND:
            metrics.record_gauge("g", label_set, 1)
    account = balanced(metrics.stats()).sinks["influxdb"]
    assert (account.rejected, server.requests, server.pings) == (len(BEYOND), [], 1)
