"""ElasticsearchSink on OpenSearch and Elasticsearch: unchanged documents, results per item, templates, limits.

The tests read what arrived with their own requests, and compare it with what was recorded.
"""

from collections.abc import Generator
from typing import Any

import pytest
import trio

from tests.helpers import balanced
from tests.servers.base import NewServer
from tests.servers.proxy import Proxy
from tests.servers.search import SEARCH_SERVERS, Elasticsearch, OpenSearch, SearchServer
from tests.sinks.contract import AWKWARD, SAMPLES, until
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, Counter, Gauge, HttpRequest, MetricEvent, collector
from trio_batchmetrics._events.as_json import json_form
from trio_batchmetrics.sinks._elasticsearch.sink import ElasticsearchSink

DAY = 86_400 * 10**9
NOON = 1_795_521_600 * 10**9
"""2026-11-24T12:00:00Z."""

QUICK: dict[str, Any] = {"backoff": 0.05, "max_backoff": 0.1}
ONE_BATCH = BatchMetricsConfig(batch_size=50_000, buffer_size=50_000)


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.server(name)) for name in SEARCH_SERVERS],
)
def server(request: pytest.FixtureRequest) -> SearchServer:
    """Each of the two servers, shared."""
    found: SearchServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=pytest.mark.server(kind.kind)) for kind in SEARCH_SERVERS.values()]
)
def cramped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[SearchServer, None, None]:
    """Each of the two servers with hardly any room: bodies of 1 MB, one writer, one place in its queue."""
    kind: type[SearchServer] = request.param
    settings = {"http.max_content_length": "1mb", "thread_pool.write.size": 1, "thread_pool.write.queue_size": 1}
    with kind(tmp_path_factory.mktemp("cramped"), settings=settings) as server:
        yield server


async def write(
    events: list[MetricEvent], url: str, config: BatchMetricsConfig = ONE_BATCH, **settings: Any
) -> BatchMetricsStats:
    """Record events and wait until they are settled; return the account."""
    async with collector(config, sinks=[ElasticsearchSink(url, **{**QUICK, **settings})]) as metrics:
        for event in events:
            metrics.record(event)
        await metrics.flush()
    return balanced(metrics.stats())


def counters(number: int, **labels: str) -> list[MetricEvent]:
    """Return counters with the values 0, 1, …."""
    return [Counter("c", labels, value, timestamp=NOON + value) for value in range(number)]


def values(server: SearchServer, index: str) -> list[float]:
    """Return the values of all documents, sorted."""
    return sorted(document["fields"]["value"] for document in server.documents(index))


# ---------------------------------------------------------------------------------------------------------- responses


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_response_is_read_item_by_item(server: SearchServer, namespace: str, encoding: str) -> None:
    """Both servers compress if the request allows it; the sink still finds the refused item, in one request."""
    bad = Counter("c", {}, 1, timestamp=-(2**63))  # a date that neither server accepts
    async with Proxy(server.host, server.port) as proxy:
        headers = {"Accept-Encoding": encoding}
        stats = await write([*counters(200), bad], proxy.url, index=namespace, template=True, headers=headers)
        bulks = [seen for seen in proxy.requests if seen.target.startswith("/_bulk")]
    account = stats.sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.retries) == (200, 1, 0)
    assert len(bulks) == 1
    assert values(server, namespace) == [float(number) for number in range(200)]


# ---------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize("template", [True, False, "keyword"])
async def test_documents_are_read_back_unchanged(server: SearchServer, namespace: str, template: Any) -> None:
    """Every kind of event arrives unchanged, and so do awkward texts that do not become field names."""
    events: list[MetricEvent] = [event for event, _ in SAMPLES]
    events += [Gauge(value or "-", {"text": value}, 1, timestamp=NOON) for value in AWKWARD.values()]
    stats = await write(events, server.url, index=namespace, template=template)
    assert stats.processed_events == len(events), stats
    found = sorted(server.documents(namespace), key=lambda document: str(document["_id"]))
    for document in found:
        del document["_id"], document["_index"]
    assert found == [json_form(event) for event in events]


async def test_a_label_name_may_be_a_prefix_of_another(server: SearchServer, namespace: str) -> None:
    """`a` and `a.b` may both occur if the template maps all labels to one field; otherwise one is refused."""
    events: list[MetricEvent] = [
        Counter("c", labels, 1) for labels in ({"a": "x"}, {"a.b": "y"}, {"a": "x", "a.b": "y"})
    ]
    stats = await write(events, server.url, index=namespace, template=True)
    assert stats.processed_events == 3, stats
    assert [document["labels"] for document in server.documents(namespace)] == [
        {"a": "x"},
        {"a.b": "y"},
        {"a": "x", "a.b": "y"},
    ]
    stats = await write(events, server.url, index=f"{namespace}-dynamic")
    account = stats.sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.retries) == (1, 2, 0)
    assert account.last_error is not None
    assert "2 of 3 events refused: HTTP 400: " in account.last_error


async def test_long_labels_are_not_refused(server: SearchServer, namespace: str) -> None:
    """Long labels are stored but not indexed; OpenSearch's type for all labels has no such setting, and refuses one."""
    lengths = [8_192, 10_000, 32_700, 40_000]
    events: list[MetricEvent] = [Counter("c", {"long": "x" * length}, 1, timestamp=NOON) for length in lengths]
    events += [Counter("c", {"long": "é" * 10_000}, 1), Counter("c", {"long": "🙂" * 2_500}, 1)]
    stats = await write(events, server.url, index=namespace, template=True)
    refused = 1 if server.kind == "opensearch" else 0
    assert stats.sinks["elasticsearch"].rejected == refused, stats
    assert len(server.documents(namespace)) == stats.processed_events == len(events) - refused


@pytest.mark.parametrize("template", [True, False])
async def test_sums_are_right_whichever_type_came_first(server: SearchServer, namespace: str, template: bool) -> None:
    """All numbers have a decimal point, so any mapping makes them floating point even if a whole number comes first."""
    events: list[MetricEvent] = [Counter("c", {"a": "1"}, 1, timestamp=NOON)]
    assert (await write(events, server.url, index=namespace, template=template)).processed_events == 1
    events = [Counter("c", {"a": "1"}, 0.25, timestamp=NOON + at) for at in range(10)]
    events += [Gauge("g", {}, 2**53 + 0.0), HttpRequest("GET", "/", 200, 0.5)]
    assert (await write(events, server.url, index=namespace, template=template)).processed_events == 12
    suffix = "" if template else ".keyword"
    terms = {"terms": {"field": f"name{suffix}"}, "aggs": {"sum": {"sum": {"field": "fields.value"}}}}
    query = {"size": 0, "aggs": {"kinds": {"terms": {"field": f"kind{suffix}"}}, "names": terms}}
    found = server.search(namespace, query)["aggregations"]
    kinds = {bucket["key"]: bucket["doc_count"] for bucket in found["kinds"]["buckets"]}
    assert kinds == {"Counter": 11, "Gauge": 1, "HttpRequest": 1}
    assert {bucket["key"]: bucket["sum"]["value"] for bucket in found["names"]["buckets"]} == {"c": 3.5, "g": 2.0**53}


async def test_time_is_kept_to_the_nanosecond(server: SearchServer, namespace: str) -> None:
    """With the template, documents sort by their nanoseconds."""
    stats = await write(counters(20), server.url, index=namespace, template=True)
    assert stats.processed_events == 20
    query = {"size": 20, "sort": [{"@timestamp": "desc"}]}
    hits = server.search(namespace, query)["hits"]["hits"]
    assert [hit["_source"]["fields"]["value"] for hit in hits] == [*range(19, -1, -1)]


@pytest.mark.parametrize("template", [True, "keyword"])
async def test_labels_can_be_queried(server: SearchServer, namespace: str, template: Any) -> None:
    """Either type allows queries by label and buckets; OpenSearch's type for all labels adds odd buckets."""
    events: list[MetricEvent] = [HttpRequest("GET", f"/{at % 3}", 200, 0.5, timestamp=NOON) for at in range(9)]
    assert (await write(events, server.url, index=namespace, template=template)).processed_events == 9
    total = {"sum": {"sum": {"field": "fields.duration"}}}
    routes = {"terms": {"field": "labels.http.route"}, "aggs": total}
    query = {"size": 0, "query": {"term": {"labels.http.route": "/1"}}, "aggs": total}
    assert server.search(namespace, query)["aggregations"]["sum"]["value"] == 1.5
    found = server.search(namespace, {"size": 0, "aggs": {"routes": routes}})["aggregations"]["routes"]["buckets"]
    sums = {bucket["key"]: bucket["sum"]["value"] for bucket in found}
    odd = {key for key in sums if key.startswith("java.lang.Object@")}
    assert {key: value for key, value in sums.items() if key not in odd} == {"/0": 1.5, "/1": 1.5, "/2": 1.5}
    assert bool(odd) == (server.kind == "opensearch" and template is True)


# -------------------------------------------------------------------------------------------------------------- items


async def test_events_that_do_not_fit_the_mapping_are_rejected_alone(server: SearchServer, namespace: str) -> None:
    """The error quotes the server's reason."""
    server.ask("PUT", f"/{namespace}", json={"mappings": {"properties": {"labels.at": {"type": "date"}}}})
    events = [*counters(5, at="2026-11-24"), *counters(3, at="never"), *counters(5, at="2026-11-25")]
    account = (await write(events, server.url, index=namespace)).sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.retries) == (10, 3, 0)
    assert account.last_error is not None
    assert "3 of 13 events refused: HTTP 400: mapper_parsing_exception: failed to parse field" in account.last_error
    assert values(server, namespace) == sorted([*range(5)] * 2)


async def test_a_blocked_and_a_missing_index_cost_only_their_own_events(server: SearchServer, namespace: str) -> None:
    """Items with 403 and 404 do not affect an index that accepts its events."""
    index = f"{namespace}-%d"
    server.ask("PUT", f"/{namespace}-25", json={"settings": {"index.blocks.write": True}})
    automatic = {"transient": {"action.auto_create_index": f"-{namespace}-26,+*"}}
    server.ask("PUT", "/_cluster/settings", json=automatic)
    events: list[MetricEvent] = [Counter("c", {}, at, timestamp=NOON + at % 3 * DAY) for at in range(9)]
    account = (await write(events, server.url, index=index)).sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.failed) == (3, 6, 0)
    assert values(server, f"{namespace}-24") == [0, 3, 6]
    assert account.last_error is not None
    assert "6 of 9 events refused: HTTP 403: cluster_block_exception: " in account.last_error


async def test_an_unavailable_shard_delays_only_its_own_events(server: SearchServer, namespace: str) -> None:
    """Items with 503, within the attempt's timeout, arrive once the shard is available."""
    nowhere = {"settings": {"index.routing.allocation.require._name": "nobody"}}
    server.ask("PUT", f"/{namespace}-25?wait_for_active_shards=0", json=nowhere)
    events: list[MetricEvent] = [Counter("c", {}, at, timestamp=NOON + at % 2 * DAY) for at in range(8)]
    sink = ElasticsearchSink(server.url, index=f"{namespace}-%d", timeout=1, **QUICK)
    async with collector(BatchMetricsConfig(batch_size=8), sinks=[sink]) as metrics:
        for event in events:
            metrics.record(event)
        await until(lambda: balanced(metrics.stats()).processed_events == 4)
        error = metrics.stats().sinks["elasticsearch"].last_error
        assert error is not None
        assert error.startswith("4 of 8 events to be sent again: HTTP 503: unavailable_shards_exception: ")
        allowed = {"index.routing.allocation.require._name": None}
        server.ask("PUT", f"/{namespace}-25/_settings", json=allowed)
        await metrics.flush()
    assert balanced(metrics.stats()).processed_events == 8
    assert values(server, f"{namespace}-24") == [0, 2, 4, 6]
    assert values(server, f"{namespace}-25") == [1, 3, 5, 7]


@pytest.mark.parametrize("action", ["create", "index"])
async def test_documents_written_without_a_response_are_stored_once(
    server: SearchServer, namespace: str, action: str
) -> None:
    """The second attempt finds all documents in place."""
    async with Proxy(server.host, server.port) as proxy:
        proxy.reset_after(times=1)
        stats = await write(counters(500), proxy.url, index=namespace, action=action)
        assert proxy.forwarded >= 1
    assert stats.processed_events == 500
    assert stats.sinks["elasticsearch"].retries == 1
    assert server.count(namespace) == 500
    assert values(server, namespace) == [*range(500)]
    version = server.search(namespace, {"version": True})["hits"]["hits"][0]["_version"]
    assert version == (1 if action == "create" else 2)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.server(kind.kind)) for kind in SEARCH_SERVERS.values()]
)
async def test_a_server_that_is_killed_and_restarted_has_every_event_once(
    kind: type[SearchServer], new_server: NewServer
) -> None:
    """The kill may strike during a request or between two, and recording continues meanwhile."""
    server = new_server(kind)
    sink = ElasticsearchSink(server.url, index="killed", max_events=200, **QUICK)
    async with collector(BatchMetricsConfig(batch_size=200, buffer_size=50_000), sinks=[sink]) as metrics:
        for start in range(0, 8000, 1000):
            for value in range(start, start + 1000):
                metrics.record(Counter("c", {}, value, timestamp=NOON))
            await trio.sleep(0.02)
            if start == 3000:
                await server.akill()
        await server.astart()
        assert (await metrics.flush()).ok
    stats = balanced(metrics.stats())
    assert stats.processed_events == 8000
    assert stats.sinks["elasticsearch"].retries > 0
    assert values(server, "killed") == [*range(8000)]


# ------------------------------------------------------------------------------------------------- names and templates


async def test_events_go_to_the_index_of_their_day(server: SearchServer, namespace: str) -> None:
    """One request covers several days, and one template covers all of them."""
    events: list[MetricEvent] = [Counter("c", {}, at, timestamp=NOON + (at - 2) * DAY) for at in range(4)]
    stats = await write(events, server.url, index=f"{namespace}-%Y.%m.%d", template=True)
    assert stats.processed_events == 4
    for at, day in enumerate(["22", "23", "24", "25"]):
        index = f"{namespace}-2026.11.{day}"
        assert values(server, index) == [at]
        mapping = server.ask("GET", f"/{index}/_mapping").json()[index]["mappings"]["properties"]
        assert mapping["@timestamp"] == {"type": "date_nanos"}


async def test_the_longer_of_two_patterns_is_used(server: SearchServer, namespace: str) -> None:
    """Overlapping templates of equal priority would be refused."""
    for index in (f"{namespace}-%Y", f"{namespace}-%Y-shop", f"{namespace}-%Y-shop"):
        stats = await write([Counter("c", {}, 1, timestamp=NOON)], server.url, index=index, template=True)
        assert stats.processed_events == 1
    names = [one["name"] for one in server.ask("GET", "/_index_template").json()["index_templates"]]
    assert {f"trio-batchmetrics-{namespace}-", f"trio-batchmetrics-{namespace}--shop"} <= {*names}


async def test_a_template_that_is_refused_is_logged_and_costs_nothing(
    server: SearchServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another template has the same pattern and priority."""
    other = {"index_patterns": [f"{namespace}*"], "priority": 500 + len(namespace)}
    server.ask("PUT", f"/_index_template/{namespace}-other", json=other)
    stats = await write(counters(3), server.url, index=namespace, template=True)
    server.ask("DELETE", f"/_index_template/{namespace}-other")
    assert stats.processed_events == 3
    [message] = caplog.messages
    assert "refuses the index template; events are written without it: HTTP 400: " in message


async def test_events_can_be_written_to_a_data_stream(opensearch: OpenSearch, namespace: str) -> None:
    """The template creates it, the sink writes with `create`, and a repeated request finds the documents in place."""
    async with Proxy(opensearch.host, opensearch.port) as proxy:
        await write(counters(1), proxy.url, index=namespace, template=True, data_stream=True)
        proxy.reset_after(times=1)
        stats = await write(counters(100), proxy.url, index=namespace, template=True, data_stream=True)
    assert stats.processed_events == 100
    [stream] = opensearch.ask("GET", f"/_data_stream/{namespace}").json()["data_streams"]
    assert len(stream["indices"]) == 1
    assert opensearch.count(namespace) == 101


async def test_a_server_without_data_streams_is_reported(
    elasticsearch: Elasticsearch, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Elasticsearch's free jars have no data streams: events go to an index, and a warning is logged."""
    stats = await write(counters(2), elasticsearch.url, index=namespace, template=True, data_stream=True)
    assert stats.processed_events == 2
    [message] = caplog.messages
    assert "refuses the index template; events are written without it: HTTP 400: " in message


# ------------------------------------------------------------------------------------------------- bodies and limits


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
async def test_bodies_may_be_compressed(
    server: SearchServer, namespace: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Elasticsearch 7 does not support zstd: it answers 400, and gets the same body uncompressed."""
    config = BatchMetricsConfig(batch_size=5000, buffer_size=5000, enable_compression=True)
    async with Proxy(server.host, server.port) as proxy:
        stats = await write(counters(1000), proxy.url, config, index=namespace, codec=codec)
        encodings = [seen.headers.get("content-encoding") for seen in proxy.requests]
    assert stats.processed_events == 1000
    assert server.count(namespace) == 1000
    taken = codec == "gzip" or server.kind == "opensearch"
    assert encodings == ([codec] if taken else [codec, None])
    assert bool(caplog.messages) == (not taken)


async def test_bodies_that_are_too_large_are_halved(cramped: SearchServer, namespace: str) -> None:
    """Bodies above 1 MB get a 413, compressed or not; a single larger event is rejected alone."""
    for compress in (False, True):
        index = f"{namespace}-{compress}".lower()
        events = [
            *counters(40, long="x" * 100_000),
            *counters(1, long="x" * 1_100_000),
            *counters(40, long="y" * 100_000),
        ]
        config = BatchMetricsConfig(batch_size=100, enable_compression=compress)
        account = (await write(events, cramped.url, config, index=index, template="keyword")).sinks["elasticsearch"]
        assert (account.delivered, account.rejected) == (80, 1)
        assert cramped.count(index) == 80


async def test_only_items_that_a_full_queue_refuses_are_retried(cramped: SearchServer, namespace: str) -> None:
    """Items get a 429 while eight clients write to five shards; in the end every event is stored exactly once."""
    five: dict[str, Any] = {"settings": {"number_of_shards": 5, "number_of_replicas": 0}}
    cramped.ask("PUT", f"/{namespace}", json=five)
    accounts: list[BatchMetricsStats] = []

    async def client(first: int) -> None:
        events: list[MetricEvent] = [Counter("c", {"id": first + at}, first + at, timestamp=NOON) for at in range(400)]
        accounts.append(await write(events, cramped.url, index=namespace, max_events=50, backoff=0.2))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(client, number * 400)
    assert [stats.processed_events for stats in accounts] == [400] * 8
    assert sum(stats.sinks["elasticsearch"].retries for stats in accounts) > 0
    errors = [stats.sinks["elasticsearch"].last_error for stats in accounts]
    assert any(error is not None and "rejected_execution_exception" in error for error in errors)
    assert cramped.count(namespace) == 3_200
    found = cramped.search(namespace, {"size": 0, "aggs": {"ids": {"cardinality": {"field": "fields.value"}}}})
    assert abs(found["aggregations"]["ids"]["value"] - 3_200) < 160  # cardinalities are estimates
    total = cramped.search(namespace, {"size": 0, "aggs": {"sum": {"sum": {"field": "fields.value"}}}})
    assert total["aggregations"]["sum"]["value"] == sum(range(3_200))
