"""The server ends and restarts repeatedly while an application keeps recording.

There is no proxy here: the system ends the connections in the middle of whatever is in progress. Recorded events are
stored exactly once, and the account agrees. Only raw events in VictoriaMetrics may be stored twice, because it keeps a
sample as often as it receives it; it is stopped gracefully, since it loses the latest samples when it is killed.
"""

from collections.abc import Callable

import pytest
import trio

from tests.helpers import balanced
from tests.servers.base import NewServer
from tests.servers.cases import (
    PATIENT,
    Case,
    InfluxDBCase,
    InfluxDBSeriesCase,
    OpenSearchCase,
    PushgatewayCase,
    VictoriaMetricsCase,
    VictoriaMetricsSeriesCase,
    case_parameter,
    record,
)
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, SinkStats, collector

CONFIG = BatchMetricsConfig(batch_size=20, flush_interval=0.02, buffer_size=100_000, shutdown_timeout=30)

PATIENCE = 60.0
"""Seconds after which an expected event counts as missing."""

ROUNDS = 2
"""The number of restarts."""


class Application:
    """Records an event every few milliseconds, until it is told to stop."""

    def __init__(self, metrics: BatchMetricsCollector) -> None:
        self.metrics = metrics
        self.recorded = 0
        self.stopped = False

    @property
    def account(self) -> SinkStats:
        """The only sink's account, which must balance at every instant."""
        (sink,) = balanced(self.metrics.stats()).sinks.values()
        return sink

    async def run(self) -> None:
        """Record events until stopped."""
        while not self.stopped:
            record(self.metrics, 3)
            self.recorded += 3
            await trio.sleep(0.003)

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for a condition."""
        with trio.fail_after(PATIENCE):
            while not happened():  # noqa: ASYNC110 - nothing signals this change of a real server
                await trio.sleep(0.005)

    async def has_delivered(self, more: int) -> None:
        """Wait until this many more events are delivered."""
        goal = self.account.delivered + more
        await self.until(lambda: self.account.delivered >= goal)

    async def has_retried(self, more: int) -> None:
        """Wait until the sink has retried this many more times."""
        goal = self.account.retries + more
        await self.until(lambda: self.account.retries >= goal)

    async def has_recorded(self, more: int) -> None:
        """Wait until this many more events are recorded."""
        goal = self.recorded + more
        await self.until(lambda: self.recorded >= goal)


@pytest.mark.parametrize(
    "case_class",
    [
        case_parameter(PushgatewayCase, "pushgateway"),
        case_parameter(InfluxDBCase, "influxdb"),
        case_parameter(InfluxDBSeriesCase, "influxdb series"),
        case_parameter(OpenSearchCase, "opensearch"),
        case_parameter(VictoriaMetricsCase, "victoriametrics"),
        case_parameter(VictoriaMetricsSeriesCase, "victoriametrics series"),
    ],
)
async def test_events_recorded_while_a_server_restarts_arrive(
    case_class: type[Case], new_server: NewServer, namespace: str
) -> None:
    """Every event arrives and the account agrees, while recording continues all the time."""
    server = new_server(case_class.kind)
    case = case_class(server, namespace)
    async with collector(CONFIG, sinks=[case.sink(server.url, **PATIENT)]) as metrics, trio.open_nursery() as nursery:
        application = Application(metrics)
        nursery.start_soon(application.run)
        for _ in range(ROUNDS):
            await application.has_delivered(200)
            await (server.akill() if case.survives_kill else server.astop())
            await application.has_recorded(200)
            await server.astart()
        await application.has_delivered(200)
        application.stopped = True
        assert (await metrics.flush()).ok
    stats = balanced(metrics.stats())
    account = application.account
    assert stats.processed_events == stats.total_events == account.delivered == application.recorded
    assert account.retries >= ROUNDS
    arrived = case.arrived()
    assert arrived >= application.recorded if case.may_repeat else arrived == application.recorded


@pytest.mark.parametrize(
    "case_class",
    [
        case_parameter(InfluxDBCase, "influxdb"),
        case_parameter(InfluxDBSeriesCase, "influxdb series"),
        case_parameter(OpenSearchCase, "opensearch"),
    ],
)
async def test_writes_that_a_server_applied_late_are_not_duplicated(
    case_class: type[Case], new_server: NewServer, namespace: str
) -> None:
    """The server is paused until attempts have timed out, and then processes every request that it received meanwhile.

    (A late push to a Pushgateway may replace a newer one: nothing in a push tells its age.)
    """
    server = new_server(case_class.kind)
    case = case_class(server, namespace)
    sink = case.sink(server.url, **{**PATIENT, "timeout": 1})
    async with collector(CONFIG, sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        application = Application(metrics)
        nursery.start_soon(application.run)
        for _ in range(2):
            await application.has_delivered(100)
            server.pause()
            await application.has_retried(1)
            server.resume()
        await application.has_delivered(100)
        application.stopped = True
        assert (await metrics.flush()).ok
    await trio.sleep(0.3)
    assert application.account.delivered == application.recorded == case.arrived()


@pytest.mark.server("influxdb")
async def test_events_given_up_in_a_long_outage_are_counted_and_the_rest_arrive(
    new_server: NewServer, namespace: str
) -> None:
    """An event counts as failed once its retry budget is used up; later events are delivered normally."""
    server = new_server(InfluxDBCase.kind)
    case = InfluxDBCase(server, namespace)
    sink = case.sink(server.url, **PATIENT, retry_budget=0.2, max_events=50)
    async with collector(CONFIG, sinks=[sink]) as metrics, trio.open_nursery() as nursery:
        application = Application(metrics)
        nursery.start_soon(application.run)
        await application.has_delivered(200)
        await server.akill()
        await application.until(lambda: application.account.failed >= 100)
        await server.astart()
        await application.has_delivered(200)
        application.stopped = True
        await metrics.flush()
    account = application.account
    assert account.failures == {"retry_budget": account.failed}
    assert account.delivered + account.failed == application.recorded
    assert account.delivered <= case.arrived() <= account.delivered + account.failed
