"""One scrape of a prometheus_client registry has the sink's series, and the registry stays usable."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from importlib import import_module
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.sinks.prometheus.pages import client, read
from tests.sinks.prometheus_parsing import OPENMETRICS, labelled, parsed, parsed_registry
from tests.threads import restless
from trio_batchmetrics import Counter, Gauge, Histogram, collector
from trio_batchmetrics.abc import EventSink, Payload, SinkContext
from trio_batchmetrics.sinks import PrometheusSink

openmetrics_of: Any = import_module("prometheus_client.openmetrics.exposition")


async def test_one_scrape_of_a_registry_shows_its_metrics_and_ours(autojump_clock: MockClock) -> None:
    """Both formats have them, in and after the block, and joining a registry costs nothing."""
    registry = client.CollectorRegistry(auto_describe=True)
    own = client.Counter("own", "Their own.", ["a"], registry=registry)
    own.labels("b").inc(3)
    sink = PrometheusSink(registry)
    assert b"jobs" not in client.generate_latest(registry)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("jobs", {"queue": 'a"\\\n', "__name__": "x"}, 2)
        metrics.record_http_request("GET", "/a", 200, 0.15)
        metrics.record_gauge("depth", {}, -1)
        metrics.record_counter("total", {}, 1)
        metrics.record_histogram("below", {}, -1)
        await metrics.flush()
        pages = [client.generate_latest(registry), openmetrics_of.generate_latest(registry)]
    for page in (*pages, client.generate_latest(registry)):
        found = parsed(page, openmetrics=page is pages[1])
        assert found.of("own_total") == {labelled(a="b"): 3}
        assert found.of("jobs_total") == {labelled(queue='a"\\\n', key__name__="x"): 2}
        assert found.of("depth") == {labelled(): -1}
        assert found.of("below_bucket")[labelled(le="0.0")] == 1
        assert (found.of("below_sum"), found.of("below_count")) == ({}, {})
    families = parsed_registry(registry.collect())
    ours = read(sink, OPENMETRICS)
    assert {key: value for key, value in families.samples.items() if "own" not in key[0]} == ours.samples
    assert {name: head for name, head in families.families.items() if name != "own"} == ours.families


async def test_the_server_of_prometheus_client_shows_our_metrics() -> None:
    """It collects in threads of its own."""
    registry = client.CollectorRegistry()
    async with collector(sinks=[PrometheusSink(registry)]) as metrics:
        metrics.record_counter("jobs", {}, 2)
        await metrics.flush()
        server, thread = client.start_http_server(0, "127.0.0.1", registry)
        try:
            async with httpx2.AsyncClient() as http:
                answer = await http.get(f"http://127.0.0.1:{server.server_port}/metrics")
            assert parsed(answer.content, openmetrics=False).of("jobs_total") == {labelled(): 2}
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.shutdown)
            server.server_close()
            thread.join()


async def test_the_sink_of_a_later_block_replaces_the_former_sink(autojump_clock: MockClock) -> None:
    """Not before the former block ends, and the registry only ever has one collector of ours."""
    registry = client.CollectorRegistry()
    first, second = PrometheusSink(registry), PrometheusSink(registry)
    async with collector(sinks=[first]) as metrics:
        metrics.record_counter("jobs", {}, 1)
        await metrics.flush()
        with pytest.raises(ValueError, match="registry must be one that no other open collector's PrometheusSink has"):
            async with collector(sinks=[second]):
                pass
        assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
    assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
    for number in (2, 3):
        async with collector(sinks=[second]) as metrics:
            metrics.record_counter("jobs", {}, number)
        assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): number}
    assert read(first).of("jobs_total") == {labelled(): 1}
    assert len(registry._collector_to_names) == 1


async def test_an_unregistered_collector_comes_back_with_the_next_sink() -> None:
    """Some test suites empty the registry."""
    registry = client.CollectorRegistry()
    async with collector(sinks=[PrometheusSink(registry)]):
        pass
    for one in [*registry._collector_to_names]:
        registry.unregister(one)
    async with collector(sinks=[PrometheusSink(registry)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}


def test_a_sink_that_was_never_closed_does_not_block_the_registry_once_it_is_gone() -> None:
    """This happens if a collector could not open because of another sink."""
    registry = client.CollectorRegistry()
    sink = PrometheusSink(registry)
    sink.bind(SinkContext())
    sink.merge([Counter("jobs", {}, 1)])
    with pytest.raises(ValueError, match="registry must be one"):
        PrometheusSink(registry).bind(SinkContext())
    del sink
    gc.collect()
    assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
    PrometheusSink(registry).bind(SinkContext())
    assert [*registry.collect()] == []


class Unbindable(EventSink[None]):
    """Refuses every collector."""

    def bind(self, context: SinkContext) -> None:
        """Raise, as a sink does whose client belongs to a parent process."""
        raise RuntimeError("not me")

    async def send(self, payload: Payload[None]) -> None:
        """Never called."""


async def test_a_collector_that_failed_to_open_does_not_block_the_registry() -> None:
    """The failed collector's sink has left the registry, although the object still exists."""
    registry = client.CollectorRegistry()
    first = PrometheusSink(registry)
    with pytest.raises(RuntimeError, match="not me"):
        async with collector(sinks=[first, Unbindable()]):
            pass
    assert not first.is_open
    async with collector(sinks=[PrometheusSink(registry)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    async with collector(sinks=[first]):
        assert first.is_open
    assert not first.is_open


def test_only_one_of_several_sinks_can_join_a_registry_at_once() -> None:
    """The sinks join in threads, without a lock of ours: the others are refused, and the registry has one collector."""
    for _ in range(20):
        registry = client.CollectorRegistry()
        sinks = [PrometheusSink(registry) for _ in range(8)]
        ready = threading.Barrier(len(sinks))
        joined: list[PrometheusSink] = []

        def join(sink: PrometheusSink, ready: threading.Barrier = ready, joined: Any = joined) -> None:
            ready.wait()
            try:
                sink.bind(SinkContext())
            except ValueError:
                return
            sink.merge([Counter("jobs", {}, 1)])
            joined.append(sink)

        threads = [threading.Thread(target=join, args=(sink,)) for sink in sinks]
        with restless():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        [winner] = joined
        assert [sink for sink in sinks if sink.is_open] == [winner]
        assert len(registry._collector_to_names) == 1
        assert parsed_registry(registry.collect()).of("jobs_total") == {labelled(): 1}
        with pytest.raises(ValueError, match="registry must be one"):
            PrometheusSink(registry).bind(SinkContext())


def test_a_registry_is_not_kept_alive() -> None:
    """The record of the sinks that joined it holds no strong reference."""
    registry = client.CollectorRegistry()
    sink = PrometheusSink(registry)
    sink.bind(SinkContext())
    gone = weakref.ref(registry)
    del registry, sink
    gc.collect()
    assert gone() is None


def test_a_name_that_another_metric_of_the_registry_uses_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and logged once; the sink's own page has it."""
    registry = client.CollectorRegistry()
    client.Counter("jobs", "Theirs.", registry=registry).inc(7)
    client.Gauge("size_count", "Theirs.", registry=registry)
    sink = PrometheusSink(registry)
    sink.bind(SinkContext())
    sink.merge(
        [Counter("jobs", {"a": 1}, 1), Counter("jobs", {"a": 2}, 1), Histogram("size", {}, 1), Gauge("g", {}, 1)]
    )
    for _ in range(2):
        found = parsed(openmetrics_of.generate_latest(registry), openmetrics=True)
        assert found.of("jobs_total") == {labelled(): 7}
        assert found.of("g") == {labelled(): 1}
        assert not found.of("size_bucket")
    assert sink.left_out == 3
    assert caplog.messages == [
        "metrics: 'jobs_total' is not shown in the registry, which has a metric of that name; others are only counted"
    ]
    assert len(read(sink).of("jobs_total")) == 2


def test_without_prometheus_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is needed only if a registry is given."""
    registry = client.CollectorRegistry()
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    PrometheusSink().render()
    with pytest.raises(ImportError, match=r'^PrometheusSink\(registry=…\) needs .*"trio-batchmetrics\[prometheus\]"$'):
        PrometheusSink(registry)


def test_a_value_that_is_not_a_registry_is_refused() -> None:
    """The constructor refuses it."""
    with pytest.raises(ValueError, match=r"^registry must be a prometheus_client\.CollectorRegistry \(got 'all'\)$"):
        PrometheusSink("all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
