"""100 000 events from three collectors reach OpenSearch and Elasticsearch, each of them exactly once.

One request is refused, the response to another is lost so that it is sent twice, and the server is killed and restarted
in the middle. The expected numbers are the traffic's own (:mod:`tests.servers.expected`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.helpers import balanced
from tests.servers.base import NewServer
from tests.servers.expected import Document, Instrument, Labels, Sum
from tests.servers.hostile import CASES, NOT_FIELDS, VISITS, record_cases
from tests.servers.player import assert_all_delivered, record_all
from tests.servers.proxy import Proxy
from tests.servers.search import Elasticsearch, OpenSearch, SearchServer
from tests.servers.traffic import Traffic, all_documents, all_series, streams
from tests.servers.trouble import trouble
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import ElasticsearchSink

SERVERS = [
    pytest.param(OpenSearch, marks=pytest.mark.server("opensearch")),
    pytest.param(Elasticsearch, marks=pytest.mark.server("elasticsearch")),
]


@pytest.fixture(scope="module")
def traffics() -> list[Traffic]:
    """The traffic of three collectors."""
    return streams()


def every_document(server: SearchServer, index: str) -> Iterator[Mapping[str, Any]]:
    """Yield all documents of an index."""
    server.refresh(index)
    page = server.ask("POST", f"/{index}/_search?scroll=1m", json={"size": 10_000, "sort": ["_doc"]}).json()
    while page["hits"]["hits"]:
        for hit in page["hits"]["hits"]:
            yield hit["_source"]
        page = server.ask("POST", "/_search/scroll", json={"scroll": "1m", "scroll_id": page["_scroll_id"]}).json()


def labels_of(document: Mapping[str, Any]) -> Labels:
    """Return a document's labels."""
    return tuple(sorted(document["labels"].items()))


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_search_server_has_each_event_of_three_collectors_once(
    kind: type[SearchServer], new_server: NewServer, traffics: Sequence[Traffic]
) -> None:
    """Documents and the sums of their fields are exact by kind and labels, and so are the buckets of histograms."""
    server = new_server(kind)
    async with Proxy(server.host, server.port) as proxy:

        def make_sink(_traffic: Traffic) -> ElasticsearchSink:
            return ElasticsearchSink(
                proxy.url, index="metrics", template=True, max_events=1000, timeout=60.0, backoff=0.05, max_backoff=0.1
            )

        harm = trouble(server, proxy)
        accounts = await record_all(traffics, make_sink, harm, enable_compression=kind is Elasticsearch)
    assert_all_delivered(traffics, accounts)
    assert sum(sink.retries for account in accounts.values() for sink in account.sinks.values()) >= 3
    assert proxy.forwarded >= 20

    found: dict[Document, Sum] = {}
    buckets: dict[Labels, list[float]] = {}
    for document in every_document(server, "metrics"):
        key = Document(document["kind"], document.get("name"), labels_of(document))
        fields: dict[str, Any] = document["fields"]
        if "counts" in fields:
            counts = fields.pop("counts")
            assert len(counts) == len(fields.pop("bounds")) + 1
            before = buckets.get(key.labels, [0.0] * len(counts))
            buckets[key.labels] = [a + b for a, b in zip(before, counts, strict=True)]
        count, sums = found.get(key, (0, dict.fromkeys(fields, 0.0)))
        found[key] = Sum(count + 1, {name: sums[name] + value for name, value in fields.items()})
    assert found == all_documents(traffics)
    waits = Instrument("worker.wait", "histogram", "s")
    series = all_series(traffics)
    assert buckets == {labels: one.counts for (instrument, labels), one in series.items() if instrument == waits}

    total = {"size": 0, "aggs": {"sum": {"sum": {"field": "fields.duration"}}}}
    durations = sum(one.fields.get("duration", 0.0) for one in all_documents(traffics).values())
    assert server.search("metrics", total)["aggregations"]["sum"]["value"] == durations


@pytest.mark.parametrize("template", [True, False])
@pytest.mark.parametrize("kind", ["opensearch", "elasticsearch"])
async def test_a_search_server_keeps_hostile_texts_unchanged(
    request: pytest.FixtureRequest, kind: str, template: bool, namespace: str
) -> None:
    """Names and values are unchanged. Without the template, only labels that cannot be fields are refused."""
    server: SearchServer = request.getfixturevalue(kind)
    async with collector(sinks=[ElasticsearchSink(server.url, index=namespace, template=template)]) as metrics:
        record_cases(metrics)
        await metrics.flush()
        account = balanced(metrics.stats())
    refused: set[str] = set() if template else NOT_FIELDS
    assert account.failed_events == account.sinks["elasticsearch"].rejected == len(refused), account
    assert account.processed_events == len(CASES) - len(refused)
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for one in every_document(server, namespace):
        assert one["labels"]["case"] not in found
        found[one["labels"]["case"]] = one.get("name", VISITS), one["labels"]
    assert found == {case.key: case.in_document() for case in CASES if case.key not in refused}
