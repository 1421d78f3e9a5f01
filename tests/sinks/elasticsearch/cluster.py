"""A small server in memory that parses NDJSON itself and keeps documents by index and id."""

import json
import re
from collections import Counter as Count
from collections.abc import Callable
from typing import Any

import httpx2
import trio

from tests.helpers import balanced
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, collector
from trio_batchmetrics.sinks._elasticsearch.sink import ElasticsearchSink

__all__ = ["KNOWN_TYPES", "ONE_BATCH", "FakeCluster", "Item", "Reject", "count_up", "parsed", "response"]

Item = dict[str, Any]
Reject = Callable[[dict[str, Any]], tuple[int, str] | None]
ONE_BATCH = BatchMetricsConfig(batch_size=1000)
KNOWN_TYPES = ("date_nanos", "keyword", "double", "flattened", "flat_object")


class FakeCluster:
    """Keeps documents and templates as the servers do; follows a script first.

    Args:
        script: responses to the next ``_bulk`` requests; None to respond normally.
        lose: the number of ``_bulk`` requests that it carries out without a response.
        item: returns the refusal of a document; None accepts it.
        label_type: its type for all labels, if any.
        put: responses to the next requests that put a template.
    """

    def __init__(
        self,
        *script: httpx2.Response | Exception | None,
        lose: int = 0,
        item: Reject = lambda _: None,
        label_type: str = "flattened",
        put: list[httpx2.Response | Exception] | None = None,
    ) -> None:
        self.script = list(script)
        self.lose = lose
        self.item = item
        self.put = list(put or [])
        self.types = {*KNOWN_TYPES} - {"flattened", "flat_object"} | {label_type}
        self.documents: dict[tuple[str, str], dict[str, Any]] = {}
        self.versions = Count[tuple[str, str]]()
        self.templates: dict[str, Any] = {}
        self.requests: list[httpx2.Request] = []
        self.bulks: list[list[tuple[dict[str, Any], dict[str, Any]]]] = []
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        if request.method == "PUT":
            return self._put_template(request)
        assert (request.method, request.url.path.removeprefix("/private")) == ("POST", "/_bulk")
        assert request.headers["content-type"] == "application/x-ndjson"
        self.bulks.append(parsed(request.content))
        scripted = self.script.pop(0) if self.script else None
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is not None:
            return scripted
        items = [self._carry_out(action, document) for action, document in self.bulks[-1]]
        if self.lose:
            self.lose -= 1
            raise httpx2.ReadError("reset")
        errors = any("error" in result for item in items for result in item.values())
        return httpx2.Response(200, json={"errors": errors, "items": items})

    def _carry_out(self, action: dict[str, Any], document: dict[str, Any]) -> Item:
        [(kind, where)] = action.items()
        at = (where["_index"], where["_id"])
        refused = self.item(document)
        if refused is not None:
            status, reason = refused
        elif kind == "create" and at in self.documents:
            status, reason = 409, "version_conflict_engine_exception"
        else:
            self.documents[at] = document
            self.versions[at] += 1
            return {kind: {"status": 201 if self.versions[at] == 1 else 200}}
        return {kind: {"status": status, "error": {"type": reason, "reason": "because"}}}

    def _put_template(self, request: httpx2.Request) -> httpx2.Response:
        assert request.headers["content-type"] == "application/json"
        if self.put:
            answer = self.put.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        name = re.fullmatch("/_index_template/([^/]+)", request.url.path)
        assert name is not None
        template = json.loads(request.content)
        for unknown in sorted({*re.findall('"type":"([^"]+)"', request.content.decode())} - self.types):
            reason = "x" * 400 + f"No handler for type [{unknown}] declared on field [labels]"
            return httpx2.Response(400, json={"error": {"reason": reason}})
        self.templates[name[1]] = template
        return httpx2.Response(200, json={"acknowledged": True})

    def __call__(self, **settings: Any) -> ElasticsearchSink:
        """Create a sink that writes to this cluster."""
        settings = {"index": "metrics", "client": self.client, **settings}
        return ElasticsearchSink("http://search.example", **settings)

    def values(self) -> list[float]:
        """Return the values of the stored documents, sorted."""
        return sorted(document["fields"]["value"] for document in self.documents.values())


def parsed(body: bytes) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Parse a body strictly."""
    assert body.endswith(b"\n")
    lines = [json.loads(line) for line in body.decode().split("\n")[:-1]]
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    assert all(len(action) == 1 for action, _ in pairs)
    return pairs


async def count_up(
    cluster: FakeCluster, number: int, config: BatchMetricsConfig = ONE_BATCH, **settings: Any
) -> BatchMetricsStats:
    """Record counters with the values 0, 1, …; return the account."""
    async with collector(config, sinks=[cluster(**settings)]) as metrics:
        for value in range(number):
            metrics.record_counter("c", {}, value)
        await metrics.flush()
    return balanced(metrics.stats())


def response(status: int, **arguments: Any) -> httpx2.Response:
    """Create a response about the whole request."""
    return httpx2.Response(status, json={"error": {"type": "t", "reason": "r"}, "status": status}, **arguments)
