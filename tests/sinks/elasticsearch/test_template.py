"""The sink puts a template before the first payload on request, and no template costs an event."""

import logging
from typing import Any

import httpx2
import pytest
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.elasticsearch.cluster import FakeCluster, count_up, response
from trio_batchmetrics import BatchMetricsConfig, collector


async def test_no_template_is_put_by_default(autojump_clock: MockClock) -> None:
    """One payload takes one request."""
    cluster = FakeCluster()
    await count_up(cluster, 1)
    assert [request.method for request in cluster.requests] == ["POST"]


@pytest.mark.parametrize("label_type", ["flattened", "flat_object", ""])
async def test_the_template_maps_fields_so_that_they_aggregate(label_type: str, autojump_clock: MockClock) -> None:
    """Labels get the type that the server supports; the template is put once per run, before the first payload."""
    cluster = FakeCluster(label_type=label_type)
    sink = cluster(index="metrics-%Y", template=True)
    for _ in range(2):
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
            for value in range(3):
                metrics.record_counter("c", {}, value)
                await metrics.flush()
        assert balanced(metrics.stats()).processed_events == 3
    methods = [request.method for request in cluster.requests]
    puts = 1 + ["flattened", "flat_object", ""].index(label_type)
    assert methods == [*["PUT"] * puts, *["POST"] * 3] * 2
    template = cluster.templates["trio-batchmetrics-metrics-"]
    keyword = {"type": "keyword", "ignore_above": 8191}
    labels: Any = {"flattened": {"ignore_above": 8191}, "flat_object": {}, "": None}[label_type]
    assert template["template"]["mappings"]["properties"] == {
        "@timestamp": {"type": "date_nanos"},
        "kind": {"type": "keyword"},
        "name": keyword,
        **({} if labels is None else {"labels": {"type": label_type, **labels}}),
    }
    assert template["template"]["mappings"]["dynamic_templates"] == [
        {"fields.*": {"path_match": "fields.*", "match_mapping_type": "double", "mapping": {"type": "double"}}},
        *(
            [{"labels.*": {"path_match": "labels.*", "match_mapping_type": "string", "mapping": keyword}}]
            if labels is None
            else []
        ),
    ]
    assert template["priority"] == 500 + len("metrics-2*")
    assert "data_stream" not in template


async def test_labels_may_be_fields_of_their_own(autojump_clock: MockClock) -> None:
    """`template="keyword"` takes one request, whatever types the server has."""
    cluster = FakeCluster()
    await count_up(cluster, 1, template="keyword")
    assert [request.method for request in cluster.requests] == ["PUT", "POST"]
    [template] = cluster.templates.values()
    assert "labels" not in template["template"]["mappings"]["properties"]


async def test_a_data_stream_is_declared_as_one(autojump_clock: MockClock) -> None:
    """The sink writes to it with `create`."""
    cluster = FakeCluster()
    await count_up(cluster, 1, template=True, data_stream=True)
    [template] = cluster.templates.values()
    assert template["data_stream"] == {}
    assert list(cluster.bulks[0][0][0]) == ["create"]


@pytest.mark.parametrize("failure", [response(503), response(429), httpx2.ConnectError("refused")], ids=str)
async def test_a_template_that_failed_for_now_is_put_before_any_event(
    failure: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The payload waits for it, within its own retry budget."""
    cluster = FakeCluster(put=[failure, failure])
    stats = await count_up(cluster, 3, template=True)
    assert [request.method for request in cluster.requests] == ["PUT", "PUT", "PUT", "POST"]
    assert stats.processed_events == 3
    assert stats.sinks["elasticsearch"].retries == 2
    assert "template" not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413])
async def test_a_permanently_refused_template_costs_no_events(
    status: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """They are written without it, and one warning says so."""
    cluster = FakeCluster(put=[response(status)])
    with caplog.at_level(logging.WARNING, "trio_batchmetrics"):
        async with collector(BatchMetricsConfig(batch_size=1), sinks=[cluster(template=True)]) as metrics:
            for value in range(3):
                metrics.record_counter("c", {}, value)
                await metrics.flush()
    assert balanced(metrics.stats()).processed_events == 3
    assert [request.method for request in cluster.requests] == ["PUT", "POST", "POST", "POST"]
    [message] = caplog.messages
    assert message.startswith("metrics: search.example refuses the index template; events are written without it: HTTP")
    assert f"HTTP {status}" in message
