"""Both InfluxDB sinks pass the contract of every sink."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.sinks.contract import (
    AWKWARD,
    Arrived,
    EventSinkCase,
    EventSinkContract,
    SeriesSinkCase,
    SeriesSinkContract,
    account_of,
)
from tests.sinks.influxdb.server import LOST, URL, FakeServer, arrived
from trio_batchmetrics import collector
from trio_batchmetrics.sinks._influxdb.series_sink import InfluxDBSeriesSink
from trio_batchmetrics.sinks._influxdb.sink import InfluxDBSink


class InfluxDBCase(EventSinkCase):
    """A fake server that parses what it is sent."""

    name = "influxdb"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = FakeServer()

    def make(self, **settings: Any) -> InfluxDBSink:
        """Create the sink."""
        return self.server.sink(**settings)

    def arrived(self) -> list[Arrived]:
        """Return the events that the server stored."""
        return arrived(self.server.stored)


@pytest.fixture
def case(tmp_path: Path) -> EventSinkCase:
    """The case of the sink."""
    return InfluxDBCase(tmp_path)


class TestInfluxDB(EventSinkContract):
    """The contract, except for texts that line protocol cannot carry."""

    async def test_awkward_text_arrives_unchanged(self, case: EventSinkCase) -> None:
        """Newlines and a backslash at the end are replaced, and empty texts are left out."""
        async with collector(sinks=[case.make()]) as metrics:
            metrics.record_gauge("all", AWKWARD, 1)
            for value in AWKWARD.values():
                metrics.record_gauge(value or "-", {value: value}, 1)
        assert account_of(metrics.stats(), case).delivered == 1 + len(AWKWARD)
        carried = {
            **{name: text for name, text in AWKWARD.items() if text},
            "backslashes": f"\\ \\n \\u0000 C:{LOST}",
            "newlines": f"one{LOST}two\r{LOST}three\u2028four\x85five",
        }
        # With a backslash before a space and a quote somewhere, InfluxDB would misread the following lines.
        together = {**carried, "backslashes": f"{LOST} \\n \\u0000 C:{LOST}"}
        expected: list[tuple[str | None, dict[str, str]]] = [("all", together)]
        for key in AWKWARD:
            if not AWKWARD[key]:
                expected.append(("-", {}))
                continue
            name = carried[key].replace("\\ ", f"{LOST} ").replace("\0", LOST, carried[key].startswith("\0"))
            expected.append((name, {carried[key]: carried[key]}))
        assert [(event.name, event.labels) for event in case.arrived()] == expected


class InfluxDBSeriesCase(SeriesSinkCase):
    """A fake server that parses what it is sent."""

    name = "influxdbseries"

    def make(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> InfluxDBSeriesSink:
        """Create the sink."""
        self.server = FakeServer(*[httpx2.Response(503) for _ in range(fail)])
        self.server.hang = hang
        return InfluxDBSeriesSink(URL, database="db", client=self.server.client, **settings)

    def sums(self) -> dict[str, float]:
        """Return the sums of the latest points."""
        latest = max((line.timestamp for line in self.server.stored), default=0)
        sums = dict[str, float]()
        for line in self.server.stored:
            if line.timestamp == latest and "value" in line.fields:
                sums[line.measurement] = sums.get(line.measurement, 0.0) + line.fields["value"]
        return sums


@pytest.fixture
def series(tmp_path: Path) -> SeriesSinkCase:
    """The case of the series sink."""
    return InfluxDBSeriesCase(tmp_path)


class TestInfluxDBSeries(SeriesSinkContract):
    """The contract of series sinks."""
