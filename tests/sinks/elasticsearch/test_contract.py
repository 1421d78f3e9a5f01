"""ElasticsearchSink passes the contract of every event sink."""

import time
from calendar import timegm
from pathlib import Path
from typing import Any

import pytest

from tests.sinks.contract import Arrived, EventSinkCase, EventSinkContract
from tests.sinks.elasticsearch.cluster import FakeCluster
from trio_batchmetrics.sinks._elasticsearch.sink import ElasticsearchSink


def arrived(document: dict[str, Any]) -> Arrived:
    """Parse a document."""
    moment, _, nanoseconds = document["@timestamp"].removesuffix("Z").partition(".")
    assert len(nanoseconds) == 9
    timestamp = timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(nanoseconds)
    assert document.keys() - {"name"} == {"@timestamp", "kind", "labels", "fields"}
    return Arrived(document["kind"], document.get("name"), document["labels"], document["fields"], timestamp)


class ElasticsearchCase(EventSinkCase):
    """A server that works correctly."""

    name = "elasticsearch"
    exact = False  # a document whose response was cut off is stored, but has failed
    settings: dict[str, Any] = {}  # noqa: RUF012 - the same for all cases of the class

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cluster = FakeCluster()

    def make(self, **settings: Any) -> ElasticsearchSink:
        """Create the sink."""
        return self.cluster(**self.settings, **settings)

    def arrived(self) -> list[Arrived]:
        """Read the documents."""
        assert set(self.cluster.versions.values()) <= {1}
        return [arrived(document) for document in self.cluster.documents.values()]


class SmallPayloadsCase(ElasticsearchCase):
    """Many small requests, with a template before them and one index per day."""

    settings = {"max_payload_bytes": 20_000, "template": True, "index": "metrics-%Y.%m.%d"}  # noqa: RUF012


@pytest.fixture(params=[ElasticsearchCase, SmallPayloadsCase])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> EventSinkCase:
    """Each case in turn."""
    made: EventSinkCase = request.param(tmp_path)
    return made


class TestElasticsearch(EventSinkContract):
    """The contract for ElasticsearchSink."""
