"""A push of series is one snapshot with a rising timestamp, and a refused push is retried."""

import json
from collections import Counter as Count
from typing import Any

import pytest
import trio

from tests.sinks.contract import SAMPLES
from tests.sinks.influxdb.server import CONFLICT, HOSTILE, LOST, URL, FakeServer, error
from tests.sinks.line_parsers import PARSERS
from trio_batchmetrics import Counter, collector
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink


def made_series(server: FakeServer, **context: Any) -> InfluxDBSeriesSink:
    """Create a series sink outside a collector."""
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client)
    sink.bind(SinkContext(**context))
    return sink


def test_series_of_a_snapshot_share_one_rising_timestamp() -> None:
    """Each snapshot is later than the one before, even if the clock is set back."""
    sink = made_series(FakeServer(), static_labels={"host": "h"})
    sink.merge([event for event, _ in SAMPLES])
    stamps = list[int]()
    for _ in range(100):
        lines = PARSERS["influxdb"](b"".join(sink.snapshot()).decode())
        [stamp] = {line.timestamp for line in lines}
        stamps.append(stamp)
    assert stamps == sorted(set(stamps))
    ahead = vars(sink)["_now"] = stamps[-1] + 10**15  # the clock was set back
    assert [b"".join(sink.snapshot()).rpartition(b" ")[2] for _ in range(2)] == [
        b"%d\n" % (ahead + more) for more in (1, 2)
    ]
    lines = PARSERS["influxdb"](b"".join(sink.snapshot()).decode())
    found = {line.measurement: line.fields for line in lines}
    assert found["jobs"] == {"value": 42.0}
    assert found["depth"] == {"value": 0.0}
    assert found["cache.operations"] == {"value": 1.0}
    assert found["wait"] == {"count": 3.0, "sum": 4.5, "1": 1.0, "2": 1.0, "+Inf": 3.0}
    http = found["http.server.request.duration"]
    assert (http["count"], http["sum"], http["0.1"], http["0.25"], http["+Inf"]) == (1.0, 0.15, 0.0, 1.0, 1.0)
    assert all(line.tags["host"] == "h" for line in lines)
    assert Count(line.measurement for line in lines)["backend.request.duration"] == 2


def test_an_unwritable_series_is_refused_and_a_sum_beyond_any_float_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Labels that are too long are reported once, and the other series are written."""
    sink = made_series(FakeServer())
    huge = [Counter("huge", {}, 1.7e308), Counter("huge", {}, 1.7e308)]
    long = Counter("long", {"a": "x" * 70_000}, 1)
    assert sink.merge([*huge, long, Counter("fine", {}, 1), long]) == {2: "limits", 4: "limits"}
    for _ in range(2):
        assert [line.measurement for line in PARSERS["influxdb"](b"".join(sink.snapshot()).decode())] == ["fine"]
    [message] = caplog.messages
    assert message == (
        "metrics: events of 'long' are rejected: name and labels must have at most 65535 bytes together (got 70016); "
        "others are only counted"
    )


@pytest.mark.parametrize("dialect", ["influxdb", "influxdb3", "victoriametrics"])
async def test_a_backslash_in_a_series_is_written_as_the_server_reads_it(dialect: str) -> None:
    """The server is asked once."""
    server = FakeServer(dialect=dialect)
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client, backoff=0.001)
    async with collector(sinks=[sink]) as metrics:
        for _ in range(3):
            metrics.record_counter("m", HOSTILE, 1)
            await metrics.flush()
    tail = "\\" if dialect == "victoriametrics" else LOST
    assert [(line.tags, line.fields) for line in server.stored] == [
        ({"a": "x\\, y", f"b{tail}": f"tail{tail}", "c": f"\\{tail}"}, {"value": float(number)})
        for number in (1, 2, 3, 3)
    ]
    assert (server.pings, sink.dialect) == (1, dialect)
    assert sink.replacements == (0 if tail == "\\" else 3)


async def test_a_conflict_of_one_series_rejects_exactly_its_events(autojump_clock: trio.testing.MockClock) -> None:
    """The other series are delivered, and the refused one is left out until it changes."""
    server = FakeServer(error(400, CONFLICT.format("m", 1)), dialect="victoriametrics")
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client, refresh=None)
    async with collector(sinks=[sink]) as metrics:
        for name in ("k", "m", "m", "n"):
            metrics.record_counter(name, {}, 1)
        report = await metrics.flush()
        assert (report.processed, report.failed, report.pending) == (2, 2, 0)
        metrics.record_counter("k", {}, 1)
        assert (await metrics.flush()).ok
        assert {line.measurement for line in server.stored} == {"k", "n"}
        metrics.record_counter("m", {}, 1)
        assert (await metrics.flush()).ok
    assert [line.fields["value"] for line in server.stored if line.measurement == "m"][:1] == [3.0]
    account = metrics.stats().sinks["influxdbseries"]
    assert (account.delivered, account.rejected, account.failed) == (4, 2, 0)


async def test_a_refused_push_of_series_is_retried(autojump_clock: trio.testing.MockClock) -> None:
    """A partial write delivers nothing: the next push has everything."""
    server = FakeServer(error(400, CONFLICT.format("m", 1)), error(413, "too large"), dialect="victoriametrics")
    sink = InfluxDBSeriesSink(URL, database="db", client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("m", {}, 1)
        assert (await metrics.flush()).ok
    account = metrics.stats().sinks["influxdbseries"]
    assert (account.delivered, account.retries) == (1, 2)
    assert json.loads(str(account.last_error).partition(": ")[2]) == {"error": "too large"}
