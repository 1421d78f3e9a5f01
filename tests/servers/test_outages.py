"""Servers that are down, slow or hanging for long: the application is undisturbed, and its account stays correct.

The application notices nothing: recording continues, other sinks get their events, and the block exits in time. The
account matches the number of events that the server reports.
"""

import random
from collections.abc import Callable
from typing import Literal

import pytest
import trio

from tests.helpers import balanced
from tests.servers.cases import (
    EAGER,
    EVENT_CASES,
    HASTY,
    PATIENT,
    SERIES_CASES,
    SLACK,
    Case,
    InfluxDBCase,
    PushgatewayCase,
    made,
    only,
    record,
    some_retries,
)
from tests.servers.influxdb import InfluxDB
from tests.servers.prometheus import Pushgateway
from tests.servers.proxy import Proxy
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, collector


@pytest.fixture(params=[*EVENT_CASES, *SERIES_CASES])
def case(request: pytest.FixtureRequest, namespace: str) -> Case:
    """Each sink in turn."""
    return made(request, namespace)


Fault = Callable[[Proxy], None]

TIMESTAMP = 1_750_000_000_000_000_000


async def test_a_server_that_is_not_up_yet_costs_no_event(case: Case) -> None:
    """Connections are refused from the start, then accepted, refused again, and accepted again."""
    async with Proxy(case.server.host, case.server.port) as proxy:
        proxy.refuse()
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            for _ in range(2):
                record(metrics, 100)
                await some_retries(metrics)
                assert only(metrics.stats()).pending >= 100
                proxy.forward()
                assert (await metrics.flush()).ok
                proxy.refuse()
            proxy.forward()
        assert only(metrics.stats()).delivered == case.arrived() == 200


LASTING: dict[str, Fault] = {
    "refused": Proxy.refuse,
    "reset": Proxy.reset,
    "reset after the server got everything": Proxy.reset_after,
    "no answer": Proxy.black_hole,
    "an answer that comes too late": lambda proxy: proxy.slow(60),
    "502": lambda proxy: proxy.answer(502),
    "429 for long": lambda proxy: proxy.answer(429, {"Retry-After": "300"}),
    "no HTTP": Proxy.garbage,
    "half an answer": Proxy.truncate,
}
"""Faults that last as long as the block is open."""


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING.keys())
async def test_leaving_the_block_takes_bounded_time_whatever_the_server_does(case: Case, fault: Fault) -> None:
    """The block exits within `shutdown_timeout` with the body's own exception; unconfirmed events count as failed."""
    error = ValueError("the body's own")
    async with Proxy(case.server.host, case.server.port) as proxy:
        begin = 0.0
        metrics: BatchMetricsCollector | None = None
        with pytest.raises(ValueError, match="the body's own") as caught:
            async with collector(HASTY, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
                record(metrics, 100)
                assert (await metrics.flush()).ok
                fault(proxy)
                record(metrics, 100)
                await trio.sleep(0.1)
                begin = trio.current_time()
                raise error
        assert trio.current_time() - begin < HASTY.shutdown_timeout + SLACK
        assert caught.value is error
        assert metrics is not None
        sink = only(metrics.stats())
        assert (sink.delivered, sink.failed, sink.pending) == (100, 100, 0)
        assert sink.failures == {"shutdown": 100}
        assert sink.delivered <= case.arrived() <= sink.delivered + sink.failed


async def test_a_connection_closed_while_idle_costs_no_attempt(case: Case) -> None:
    """Servers close connections that are idle for long, so the next payload uses a new connection."""
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            for number in range(3):
                record(metrics, 50)
                assert (await metrics.flush()).ok
                assert proxy.connections == number + 1
                proxy.drop_connections()
                await trio.sleep(0.05)
        sink = only(metrics.stats())
    assert sink.delivered == case.arrived() == 150
    assert sink.retries == 0
    assert sink.last_error is None


async def test_events_recorded_by_a_cancelled_application_arrive(case: Case) -> None:
    """The application is cancelled while the server is slow: everything recorded before is still delivered."""
    recorded = 0
    metrics: BatchMetricsCollector | None = None
    async with Proxy(case.server.host, case.server.port) as proxy:
        proxy.slow(0.05)
        with trio.move_on_after(0.3) as scope:
            async with collector(EAGER, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
                while True:
                    record(metrics, 10)
                    recorded += 10
                    await trio.sleep(0.003)
        assert scope.cancelled_caught
        assert metrics is not None
        sink = only(metrics.stats())
    assert recorded >= 100
    assert sink.delivered == case.arrived() == recorded


@pytest.mark.parametrize("on_full", ["drop_newest", "drop_oldest"])
async def test_dropped_events_are_counted_and_do_not_arrive(
    case: Case, on_full: Literal["drop_newest", "drop_oldest"]
) -> None:
    """While the server is slow, more events are recorded than the buffer holds: those that were not dropped arrive."""
    config = BatchMetricsConfig(
        batch_size=20, buffer_size=100, flush_interval=0.02, shutdown_timeout=10, on_full=on_full
    )
    async with Proxy(case.server.host, case.server.port) as proxy:
        proxy.slow(0.02)
        async with collector(config, sinks=[case.sink(proxy.url, **PATIENT)]) as metrics:
            for _ in range(20):
                record(metrics, 150)
                await trio.sleep(0.005)
        stats = balanced(metrics.stats())
    sink = only(stats)
    assert stats.total_events == 3000
    assert stats.dropped["buffer_full"] >= 20 * 50
    assert sink.delivered == stats.processed_events == case.arrived()
    assert stats.dropped_events + sink.delivered == 3000


@pytest.mark.server("influxdb", "pushgateway")
async def test_a_server_that_is_down_does_not_delay_another(
    influxdb: InfluxDB, pushgateway: Pushgateway, namespace: str
) -> None:
    """Every other sink delivers all events while one waits for its server, and that one delivers them afterwards."""
    cases = [InfluxDBCase(influxdb, namespace), PushgatewayCase(pushgateway, namespace)]
    async with Proxy(influxdb.host, influxdb.port) as first, Proxy(pushgateway.host, pushgateway.port) as second:
        proxies = [first, second]
        sinks = [case.sink(proxy.url, name=proxy.url, **PATIENT) for case, proxy in zip(cases, proxies, strict=True)]
        async with collector(EAGER, sinks=sinks) as metrics:
            for down, up, case in [(first, second, cases[1]), (second, first, cases[0])]:
                down.refuse()
                record(metrics, 100)
                before = metrics.stats().sinks[up.url].delivered
                with trio.fail_after(SLACK):
                    while metrics.stats().sinks[up.url].delivered < before + 100:  # noqa: ASYNC110 - as above
                        await trio.sleep(0.01)
                assert case.arrived() == before + 100
                assert balanced(metrics.stats()).pending_events == 100
                down.forward()
                assert (await metrics.flush()).ok
        assert [case.arrived() for case in cases] == [200, 200]
    assert [sink.delivered for sink in balanced(metrics.stats()).sinks.values()] == [200, 200]


WEATHER: list[Fault] = [
    Proxy.forward,
    Proxy.drop_connections,
    lambda proxy: proxy.reset(times=1),
    lambda proxy: proxy.reset_after(times=1),
    lambda proxy: proxy.black_hole(times=1),
    lambda proxy: proxy.slow(0.6, times=1),
    lambda proxy: proxy.answer(502, times=1),
    lambda proxy: proxy.answer(429, {"Retry-After": "0.1"}, times=1),
    lambda proxy: proxy.garbage(times=1),
    lambda proxy: proxy.truncate(times=1),
]


@pytest.mark.parametrize("seed", range(2))
async def test_recorded_events_arrive_once_despite_random_faults(case: Case, seed: int) -> None:
    """Random faults follow each other while events are recorded, some of them with equal timestamps."""
    chance = random.Random(seed)
    config = BatchMetricsConfig(
        batch_size=chance.choice((5, 50, 500)),
        flush_interval=0.02,
        shutdown_timeout=30,
        enable_compression=chance.random() < 0.5,
    )
    settings = {**PATIENT, "timeout": 0.5, **({"max_events": chance.choice((7, 60))} if case.sends_events else {})}
    recorded = 0
    async with Proxy(case.server.host, case.server.port) as proxy:
        async with collector(config, sinks=[case.sink(proxy.url, **settings)]) as metrics:
            for _ in range(20):
                chance.choice(WEATHER)(proxy)
                for _ in range(chance.randrange(60)):
                    labels = {"part": chance.randrange(3)}
                    times = {"timestamp": TIMESTAMP + chance.randrange(3)} if chance.random() < 0.5 else {}
                    metrics.record(Counter("c", labels, 1, **times))
                    recorded += 1
                await trio.sleep(chance.random() * 0.05)
                balanced(metrics.stats())
            proxy.forward()
        sink = only(metrics.stats())
    assert sink.delivered == case.arrived() == recorded
