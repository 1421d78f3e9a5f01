"""100 000 events from three collectors reach InfluxDB and VictoriaMetrics by line protocol, exact to the last one.

The events are written raw and compressed, and as cumulative series. One request is refused, the response to another is
lost so that it is sent twice, and the server ends and is restarted in the middle. The expected numbers are the
traffic's own (:mod:`tests.servers.expected`).

By its own design, VictoriaMetrics keeps a raw sample as often as it receives it, and loses the last seconds when it is
killed. So no response to its raw events is lost, and it is stopped gracefully.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple

import pytest
import trio

from tests.helpers import balanced
from tests.servers.base import NewServer
from tests.servers.expected import Labels, Series
from tests.servers.hostile import CASES, record_cases
from tests.servers.influxdb import InfluxDB
from tests.servers.player import assert_all_delivered, record_all
from tests.servers.proxy import Proxy
from tests.servers.traffic import TENTHS, Traffic, all_series, streams
from tests.servers.trouble import trouble
from tests.servers.victoriametrics import VictoriaMetrics
from trio_batchmetrics import collector
from trio_batchmetrics.abc import Limits, Sink
from trio_batchmetrics.sinks import InfluxDBSeriesSink, InfluxDBSink

PATIENT: dict[str, Any] = {"timeout": 20.0, "backoff": 0.05, "max_backoff": 0.1}


@pytest.fixture(scope="module")
def traffics() -> list[Traffic]:
    """The traffic of three collectors, where every sum is exact."""
    return streams()


@pytest.fixture(scope="module")
def traffics_in_tenths() -> list[Traffic]:
    """The traffic of three collectors, for a server that keeps about 13 digits."""
    return streams(step=TENTHS)


def make_raw(url: str) -> Callable[[Traffic], Sink]:
    """Return a function that creates sinks for raw events."""
    return lambda _: InfluxDBSink(url, database="metrics", max_events=1000, **PATIENT)


def make_series(url: str) -> Callable[[Traffic], Sink]:
    """Return a function that creates sinks for cumulative series."""
    return lambda _: InfluxDBSeriesSink(url, database="metrics", **PATIENT)


# ----------------------------------------------------------------------------------------------------- expected results


class Line(NamedTuple):
    """A field of a series, as the servers store it."""

    measurement: str
    labels: Labels
    field: str


class Found(NamedTuple):
    """The number of points and their sum."""

    points: int
    total: float


def _bucket_fields(one: Series) -> dict[str, float]:
    bounds = [*(f"{bound:g}" for bound in one.bounds), "+Inf"]
    return {"count": one.values, "sum": one.total, **dict(zip(bounds, accumulate(one.counts), strict=True))}


def expected_raw(traffics: Sequence[Traffic]) -> dict[Line, Found]:
    """Return the points of each field if every event is one line."""
    lines: dict[Line, Found] = {}
    for (instrument, labels), one in all_series(traffics).items():
        if instrument.name == "worker.wait":
            for field, value in _bucket_fields(one).items():
                lines[Line(instrument.name, labels, field)] = Found(one.points, value)
        else:
            lines[Line(instrument.name, labels, "value")] = Found(one.points, one.points_total)
    return lines


def expected_last(traffics: Sequence[Traffic]) -> dict[Line, float]:
    """Return the last value of each field of the cumulative series."""
    lines: dict[Line, float] = {}
    for (instrument, labels), one in all_series(traffics).items():
        value = one.last if instrument.kind == "gauge" else one.total
        for field, number in (_bucket_fields(one) if one.bounds else {"value": value}).items():
            lines[Line(instrument.name, labels, field)] = number
    return lines


# ----------------------------------------------------------------------------------------------------------- InfluxDB


def asked(server: InfluxDB, function: str) -> dict[Line, float]:
    """Return the result of an InfluxQL function for each field of each series."""
    answers: dict[Line, float] = {}
    for series in server.query(f"SELECT {function}(*) FROM /.*/ GROUP BY *", database="metrics"):
        labels = tuple(sorted((tag, text) for tag, text in series["tags"].items() if text))
        (values,) = series["values"]
        for column, value in zip(series["columns"], values, strict=True):
            if column != "time" and value is not None:
                answers[Line(series["name"], labels, column.removeprefix(f"{function}_"))] = value
    return answers


@pytest.mark.server("influxdb")
async def test_influxdb_has_each_event_of_three_collectors_once(
    new_server: NewServer, traffics: Sequence[Traffic]
) -> None:
    """Points and sums per series are exact: a line that was sent twice is stored once, and no event hides another."""
    server = new_server(InfluxDB)
    server.create_database("metrics")
    async with Proxy(server.host, server.port) as proxy:
        harm = trouble(server, proxy)
        accounts = await record_all(traffics, make_raw(proxy.url), harm, enable_compression=True)
    assert_all_delivered(traffics, accounts)
    assert proxy.forwarded >= 20
    assert sum(sink.retries for account in accounts.values() for sink in account.sinks.values()) >= 3
    counts, sums = asked(server, "count"), asked(server, "sum")
    assert {line: Found(int(counts[line]), sums[line]) for line in counts} == expected_raw(traffics)


@pytest.mark.server("influxdb")
async def test_influxdb_has_the_series_of_three_collectors(new_server: NewServer, traffics: Sequence[Traffic]) -> None:
    """Sums, last values and buckets include every event up to the last one."""
    server = new_server(InfluxDB)
    server.create_database("metrics")
    async with Proxy(server.host, server.port) as proxy:
        accounts = await record_all(traffics, make_series(proxy.url), trouble(server, proxy))
    assert_all_delivered(traffics, accounts)
    assert sum(sink.retries for account in accounts.values() for sink in account.sinks.values()) >= 3
    assert asked(server, "last") == expected_last(traffics)


async def test_influxdb_keeps_hostile_texts(influxdb: InfluxDB, namespace: str) -> None:
    """Texts are unchanged except for what line protocol cannot carry, and no injected line adds anything."""
    influxdb.create_database(namespace)
    sink = InfluxDBSink(influxdb.url, database=namespace)
    async with collector(sinks=[sink]) as metrics:
        record_cases(metrics)
        assert (await metrics.flush()).processed == len(CASES)
    balanced(metrics.stats())
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for series in influxdb.query("SELECT count(value) FROM /.*/ GROUP BY *", database=namespace):
        labels = {tag: text for tag, text in series["tags"].items() if text}
        assert [row[1] for row in series["values"]] == [1]
        assert labels["case"] not in found
        found[labels["case"]] = series["name"], labels
    assert found == {case.key: case.in_influxdb() for case in CASES}


async def test_a_lost_character_is_counted_once(influxdb: InfluxDB, namespace: str) -> None:
    """A lost character counts once even if a backslash elsewhere makes the sink ask for the server's dialect."""
    influxdb.create_database(namespace)
    sink = InfluxDBSink(influxdb.url, database=namespace)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {"text": "two\nlines"}, 1)
        metrics.record_counter("c", {"text": "C:\\temp"}, 1)
        assert (await metrics.flush()).ok
    assert sink.replacements == 1


# ---------------------------------------------------------------------------------------------------- VictoriaMetrics


def exported(server: VictoriaMetrics) -> dict[Line, Mapping[str, Any]]:
    """Return all samples, by field."""
    samples: dict[Line, Mapping[str, Any]] = {}
    for series in server.export('{db="metrics"}'):
        labels = {key: text for key, text in series["metric"].items() if key not in ("__name__", "db")}
        measurement, _, field = series["metric"]["__name__"].rpartition("_")
        line = Line(measurement, tuple(sorted(labels.items())), field)
        assert line not in samples
        samples[line] = series
    return samples


def rounded(value: float) -> float:
    """Return a number with the precision that VictoriaMetrics keeps."""
    return round(value, 1)


@pytest.mark.server("victoriametrics")
async def test_victoriametrics_has_each_event_of_three_collectors_once(
    new_server: NewServer, traffics_in_tenths: Sequence[Traffic]
) -> None:
    """The number of samples and their sum per series are exact after a refusal and a restart."""
    server = new_server(VictoriaMetrics)
    async with Proxy(server.host, server.port) as proxy:
        harm = trouble(server, proxy, lost_answer=False, crash=False)
        accounts = await record_all(traffics_in_tenths, make_raw(proxy.url), harm, enable_compression=True)
    assert_all_delivered(traffics_in_tenths, accounts)
    assert proxy.forwarded >= 20
    assert sum(sink.retries for account in accounts.values() for sink in account.sinks.values()) >= 2
    found = {line: Found(len(one["values"]), rounded(sum(one["values"]))) for line, one in exported(server).items()}
    expected = {line: Found(one.points, rounded(one.total)) for line, one in expected_raw(traffics_in_tenths).items()}
    assert found == expected


@pytest.mark.server("victoriametrics")
async def test_victoriametrics_has_the_series_of_three_collectors(
    new_server: NewServer, traffics_in_tenths: Sequence[Traffic]
) -> None:
    """Sums, last values and buckets include every event up to the last one, even after a lost response."""
    server = new_server(VictoriaMetrics)
    async with Proxy(server.host, server.port) as proxy:
        accounts = await record_all(traffics_in_tenths, make_series(proxy.url), trouble(server, proxy, crash=False))
    assert_all_delivered(traffics_in_tenths, accounts)
    assert sum(sink.retries for account in accounts.values() for sink in account.sinks.values()) >= 3
    last: dict[Line, float] = {}
    for line, series in exported(server).items():
        _, latest = max(zip(series["timestamps"], series["values"], strict=True), key=itemgetter(0))
        last[line] = rounded(latest)
    assert last == {line: rounded(value) for line, value in expected_last(traffics_in_tenths).items()}


def exported_from(server: VictoriaMetrics, databases: str) -> list[Mapping[str, Any]]:
    """Return the series of the databases whose names match a pattern."""
    server.flush()
    asked = {"match[]": f'{{db=~"{databases}"}}', "end": int(time.time()) + 3600}
    # Lines of JSON may contain characters that str.splitlines treats as line ends.
    lines = server.ask("GET", "/api/v1/export", query=asked).text.split("\n")
    return [json.loads(line) for line in lines if line]


async def test_victoriametrics_keeps_hostile_texts(victoriametrics: VictoriaMetrics, namespace: str) -> None:
    """Texts are unchanged except for newlines, because the sink detects how backslashes are written here.

    This version accepts longer texts than current versions, whose limits are the sink's defaults.
    """
    sink = InfluxDBSink(victoriametrics.url, database=namespace, limits=Limits(label_value_bytes=16_000))
    async with collector(sinks=[sink]) as metrics:
        record_cases(metrics)
        assert (await metrics.flush()).processed == len(CASES)
    balanced(metrics.stats())
    assert sink.dialect == "victoriametrics"
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for series in exported_from(victoriametrics, f"{namespace}|x"):  # one case has a label "db"
        labels = {key: text for key, text in series["metric"].items() if key != "__name__"}
        assert series["values"] == [1]
        assert labels["case"] not in found
        found[labels["case"]] = series["metric"]["__name__"].removesuffix("_value"), labels
    expected = {case.key: case.in_victoriametrics() for case in CASES}
    assert found == {key: (name, {"db": namespace, **labels}) for key, (name, labels) in expected.items()}


@pytest.mark.parametrize("status", [401, 404, 200])
async def test_a_proxy_that_answers_before_the_server_is_up_is_not_mistaken_for_it(
    victoriametrics: VictoriaMetrics, namespace: str, status: int
) -> None:
    """A proxy that answers "not found" until its server is up must not decide how backslashes are written."""
    async with Proxy(victoriametrics.host, victoriametrics.port) as proxy:
        async with collector(sinks=[InfluxDBSink(proxy.url, database=namespace, **PATIENT)]) as metrics:
            proxy.answer(status, body=b"<html>nothing here</html>")
            metrics.record_counter("early", {"text": "a\\,b"}, 1)
            with trio.move_on_after(0.2):
                await metrics.flush()
            proxy.forward()
            metrics.record_counter("late", {"text": "a\\,b"}, 1)
            assert (await metrics.flush()).ok
    late = [series["metric"] for series in exported_from(victoriametrics, namespace) if "late" in str(series)]
    assert [labels["text"] for labels in late] == ["a\\,b"]
