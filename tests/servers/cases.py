"""Sinks over HTTP, each with its server and a way to ask that server how many events it has."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import pytest
import trio

from tests.helpers import balanced
from tests.servers.base import Server
from tests.servers.influxdb import InfluxDB
from tests.servers.prometheus import Prometheus3, Pushgateway
from tests.servers.search import OpenSearch
from tests.servers.victoriametrics import VictoriaMetrics
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, BatchMetricsStats, SinkStats
from trio_batchmetrics.abc import Sink
from trio_batchmetrics.sinks import ElasticsearchSink, InfluxDBSeriesSink, InfluxDBSink, OTLPSink, PushgatewaySink

__all__ = [
    "EAGER",
    "EVENT_CASES",
    "HASTY",
    "PATIENT",
    "SERIES_CASES",
    "SLACK",
    "Case",
    "InfluxDBCase",
    "InfluxDBSeriesCase",
    "OTLPCase",
    "OpenSearchCase",
    "PushgatewayCase",
    "VictoriaMetricsCase",
    "VictoriaMetricsSeriesCase",
    "case_parameter",
    "made",
    "only",
    "record",
    "some_retries",
]

PATIENT: dict[str, Any] = {"timeout": 20, "backoff": 0.05, "max_backoff": 0.1}
"""Settings of a sink that retries soon, and does not give up on a slow server."""


def record(metrics: BatchMetricsCollector, number: int) -> None:
    """Record this many events, each of which adds 1."""
    for n in range(number):
        metrics.record_counter("c", {"part": n % 7}, 1)


EAGER = BatchMetricsConfig(batch_size=50, flush_interval=0.05, shutdown_timeout=10)
HASTY = BatchMetricsConfig(batch_size=50, flush_interval=0.05, shutdown_timeout=0.2)

SLACK = 3.0
"""Seconds that a busy machine may take beyond what a deadline allows."""


def only(stats: BatchMetricsStats) -> SinkStats:
    """Return the only sink's account, after checking that it balances."""
    (sink,) = balanced(stats).sinks.values()
    return sink


async def some_retries(metrics: BatchMetricsCollector) -> None:
    """Wait until the sink has retried a few times."""
    before = only(metrics.stats()).retries
    while only(metrics.stats()).retries < before + 3:  # noqa: ASYNC110 - the account has no event for that
        await trio.sleep(0.01)


class Case(ABC):
    """A sink, its server, and the number of events that the server has."""

    kind: ClassVar[type[Server]]
    """The class of the server."""
    sends_events: ClassVar[bool] = True
    """Whether a payload consists of events; otherwise it is a snapshot of series."""
    gives_up: ClassVar[frozenset[int]] = frozenset()
    """Statuses that others retry, and this protocol doesn't."""
    repeats_refused: ClassVar[bool] = False
    """Whether a push that was refused for good is repeated, so that nothing has failed if a later one is accepted."""
    may_repeat: ClassVar[bool] = False
    """Whether the server stores an event twice that it was sent twice."""
    survives_kill: ClassVar[bool] = True
    """Whether the server keeps acknowledged data when it is killed."""

    def __init__(self, server: Any, namespace: str) -> None:
        self.server: Any = server
        self.namespace = namespace
        self.prepare()

    def prepare(self) -> None:  # noqa: B027 - most servers need nothing
        """Prepare the server for the namespace."""

    @abstractmethod
    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""

    @abstractmethod
    def arrived(self) -> float:
        """Ask the server how many events it has."""


class InfluxDBCase(Case):
    """Raw events in InfluxDB."""

    kind = InfluxDB

    def prepare(self) -> None:
        """Create the database."""
        self.server.create_database(self.namespace)

    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""
        return InfluxDBSink(url, database=self.namespace, **settings)

    def arrived(self) -> float:
        """Count the points."""
        rows = self.server.query('SELECT count("value") FROM "c"', database=self.namespace)
        return float(rows[0]["values"][0][1]) if rows else 0.0


class PushgatewayCase(Case):
    """Series in a Pushgateway."""

    kind = Pushgateway

    sends_events = False
    repeats_refused = True

    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""
        return PushgatewaySink(url, job=self.namespace, grouping_key={}, **settings)

    def arrived(self) -> float:
        """Read the counters."""
        (group,) = [one for one in self.server.groups() if one["labels"]["job"] == self.namespace] or [{}]
        samples = group.get("c_total", {"metrics": []})["metrics"]
        return sum(float(sample["value"]) for sample in samples)


class OpenSearchCase(Case):
    """Documents in OpenSearch."""

    kind = OpenSearch

    def prepare(self) -> None:
        """Create the index, which takes a while."""
        self.server.ask("PUT", f"/{self.namespace}", json={"settings": {"number_of_replicas": 0}})

    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""
        return ElasticsearchSink(url, index=self.namespace, **settings)

    def arrived(self) -> float:
        """Count the documents."""
        return float(self.server.count(self.namespace))


class InfluxDBSeriesCase(InfluxDBCase):
    """Series in InfluxDB."""

    sends_events = False
    repeats_refused = True

    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""
        return InfluxDBSeriesSink(url, database=self.namespace, **settings)

    def arrived(self) -> float:
        """Read the last value of each series."""
        rows = self.server.query('SELECT last("value") FROM "c" GROUP BY *', database=self.namespace)
        return sum(float(row["values"][0][1]) for row in rows)


class VictoriaMetricsCase(Case):
    """Raw events in VictoriaMetrics."""

    kind = VictoriaMetrics
    may_repeat = True
    survives_kill = False

    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""
        return InfluxDBSink(url, database=self.namespace, **settings)

    def arrived(self) -> float:
        """Count the samples."""
        return float(sum(len(series["values"]) for series in self.server.export(f'{{db="{self.namespace}"}}')))


class VictoriaMetricsSeriesCase(VictoriaMetricsCase):
    """Series in VictoriaMetrics."""

    sends_events = False
    may_repeat = False

    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""
        return InfluxDBSeriesSink(url, database=self.namespace, **settings)

    def arrived(self) -> float:
        """Read the last value of each series."""
        found = self.server.export(f'{{db="{self.namespace}"}}')
        return float(sum(max(zip(series["timestamps"], series["values"], strict=True))[1] for series in found))


class OTLPCase(Case):
    """Series in Prometheus 3, over OTLP."""

    kind = Prometheus3
    sends_events = False
    gives_up = frozenset({408, 500})

    def sink(self, url: str, **settings: Any) -> Sink:
        """Make the sink."""
        return OTLPSink(f"{url}/api/v1/otlp", resource={"service.name": self.namespace}, **settings)

    def arrived(self) -> float:
        """Read the counters."""
        return float(sum(self.server.values(f'c_total{{job="{self.namespace}"}}')))


def case_parameter(made: type[Case], name: str) -> Any:
    """Return a test parameter for a case, with the mark for its server."""
    return pytest.param(made, id=name, marks=pytest.mark.server(made.kind.kind))


EVENT_CASES = [case_parameter(InfluxDBCase, "influxdb"), case_parameter(OpenSearchCase, "opensearch")]
SERIES_CASES = [
    case_parameter(PushgatewayCase, "pushgateway"),
    case_parameter(InfluxDBSeriesCase, "influxdb series"),
    case_parameter(OTLPCase, "otlp"),
]


def made(request: pytest.FixtureRequest, namespace: str) -> Case:
    """Create the case that is this test's parameter, with the shared server."""
    case: Case = request.param(request.getfixturevalue(request.param.kind.kind), namespace)
    return case
