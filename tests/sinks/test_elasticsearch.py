"""ElasticsearchSink on a small server in memory, which reads NDJSON by itself and keeps documents by index and id."""

import json
import logging
import re
import time
from calendar import timegm
from collections import Counter as Count
from collections.abc import Callable, Generator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import balanced
from tests.sinks.contract import Arrived, EventSinkCase, EventSinkContract, record, until
from trio_batchmetrics import BatchMetricsConfig, BatchMetricsStats, CacheMetric, Counter, Gauge, collector
from trio_batchmetrics.abc import EventSink
from trio_batchmetrics.sinks._elasticsearch.sink import ElasticsearchSink

Item = dict[str, Any]
Reject = Callable[[dict[str, Any]], tuple[int, str] | None]
ONE_BATCH = BatchMetricsConfig(batch_size=1000)
KNOWN_TYPES = ("date_nanos", "keyword", "double", "flattened", "flat_object")


class FakeCluster:
    """Keeps documents and templates as the servers do; answers by a script first.

    Args:
        script: answers to the next ``_bulk`` requests: one to give, or None to be itself.
        lose: how many ``_bulk`` requests it carries out without an answer.
        item: what an item ends with, by its document; None: it is taken.
        label_type: the type that it has for all labels, if any.
        put: answers to the next requests for a template.
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
        """Make a sink that writes here."""
        settings = {"index": "metrics", "client": self.client, **settings}
        return ElasticsearchSink("http://search.example", **settings)

    def values(self) -> list[float]:
        """Return the values of the documents that are there, in order."""
        return sorted(document["fields"]["value"] for document in self.documents.values())


def parsed(body: bytes) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Read a body, strictly."""
    assert body.endswith(b"\n")
    lines = [json.loads(line) for line in body.decode().split("\n")[:-1]]
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    assert all(len(action) == 1 for action, _ in pairs)
    return pairs


def ids(bulk: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Return the ids in a request."""
    return [where["_id"] for action, _ in bulk for where in action.values()]


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
    """Answer as a whole."""
    return httpx2.Response(status, json={"error": {"type": "t", "reason": "r"}, "status": status}, **arguments)


# ------------------------------------------------------------------------------------------------------------ contract


def arrived(document: dict[str, Any]) -> Arrived:
    """Read a document."""
    moment, _, nanoseconds = document["@timestamp"].removesuffix("Z").partition(".")
    assert len(nanoseconds) == 9
    timestamp = timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(nanoseconds)
    assert document.keys() - {"name"} == {"@timestamp", "kind", "labels", "fields"}
    return Arrived(document["kind"], document.get("name"), document["labels"], document["fields"], timestamp)


class ElasticsearchCase(EventSinkCase):
    """A server that does what it should."""

    name = "elasticsearch"
    exact = False  # what was carried out, and whose answer was cut off, is there and has failed
    settings: dict[str, Any] = {}  # noqa: RUF012 - the same for all cases of the class

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cluster = FakeCluster()

    def make(self, **settings: Any) -> ElasticsearchSink:
        """Make it."""
        return self.cluster(**self.settings, **settings)

    def arrived(self) -> list[Arrived]:
        """Read the documents."""
        assert set(self.cluster.versions.values()) <= {1}
        return [arrived(document) for document in self.cluster.documents.values()]


class SmallPayloadsCase(ElasticsearchCase):
    """Many small requests, a template before them, an index a day."""

    settings = {"max_payload_bytes": 20_000, "template": True, "index": "metrics-%Y.%m.%d"}  # noqa: RUF012


@pytest.fixture(params=[ElasticsearchCase, SmallPayloadsCase])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> EventSinkCase:
    """Give each case."""
    made: EventSinkCase = request.param(tmp_path)
    return made


class TestElasticsearch(EventSinkContract):
    """The contract."""


# ------------------------------------------------------------------------------------------------- items, one by one


async def test_each_item_of_a_mixture_ends_where_it_should(autojump_clock: MockClock) -> None:
    """Taken, there already, refused, and to be sent again until it is taken: alone, with its own id."""
    busy = {3: 2, 4: 1, 8: 1}
    ends = {1: (400, "document_parsing_exception"), 5: (404, "index_not_found_exception"), 6: (403, "cluster_block")}

    def item(document: dict[str, Any]) -> tuple[int, str] | None:
        value = document["fields"]["value"]
        if busy.get(value, 0):
            busy[value] -= 1
            return (503, "unavailable_shards_exception") if value == 8 else (429, "es_rejected_execution_exception")
        return (409, "version_conflict_engine_exception") if value == 7 else ends.get(value)

    cluster = FakeCluster(item=item)
    stats = await count_up(cluster, 10)
    assert cluster.values() == [0, 2, 3, 4, 8, 9]
    assert set(cluster.versions.values()) == {1}
    assert [[document["fields"]["value"] for _, document in bulk] for bulk in cluster.bulks] == [
        [*range(10)],
        [3, 4, 8],
        [3],
    ]
    first, second, third = map(ids, cluster.bulks)
    assert second == [first[at] for at in (3, 4, 8)]
    assert third == [first[3]]
    account = stats.sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.failed, account.retries) == (7, 3, 0, 2)
    assert (stats.processed_events, stats.failed_events) == (7, 3)


@pytest.mark.parametrize("action", ["create", "index"])
async def test_what_was_done_without_an_answer_is_not_done_twice(action: str, autojump_clock: MockClock) -> None:
    """Also where some items of the second attempt are refused for now, and go into a request of their own."""
    tries = Count[float]()

    def item(document: dict[str, Any]) -> tuple[int, str] | None:
        value = document["fields"]["value"]
        tries[value] += 1
        return (429, "busy") if value % 3 == 0 and tries[value] == 2 else None

    cluster = FakeCluster(lose=1, item=item)
    stats = await count_up(cluster, 10, action=action)
    assert stats.processed_events == 10
    assert cluster.values() == [*range(10)]
    assert len(cluster.documents) == 10
    assert [len(bulk) for bulk in cluster.bulks] == [10, 10, 4]
    assert set(cluster.versions.values()) == ({1} if action == "create" else {2})


async def test_ids_are_of_the_run_and_never_of_another(autojump_clock: MockClock) -> None:
    """Two runs, over batches of both, on one sink."""
    cluster = FakeCluster()
    sink = cluster()
    for _ in range(2):
        async with collector(BatchMetricsConfig(batch_size=7), sinks=[sink]) as metrics:
            for value in range(20):
                metrics.record_counter("c", {}, value)
        assert balanced(metrics.stats()).processed_events == 20
    found = [one for bulk in cluster.bulks for one in ids(bulk)]
    runs = list(dict.fromkeys(one.partition("-")[0] for one in found))
    assert len(runs) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", run) for run in runs)
    assert found == [f"{run}-{number:010d}" for run in runs for number in range(20)]


async def test_rejections_are_told_in_the_servers_words(autojump_clock: MockClock) -> None:
    """How many, and why the first of them was refused."""
    cluster = FakeCluster(item=lambda document: (400, "bad") if document["fields"]["value"] < 2 else None)
    account = (await count_up(cluster, 5)).sinks["elasticsearch"]
    assert account.last_error == "2 of 5 events refused: HTTP 400: bad: because"
    assert (account.delivered, account.rejected) == (3, 2)


async def test_items_that_are_never_taken_have_failed_at_the_end_of_the_budget(autojump_clock: MockClock) -> None:
    """The others are delivered at once."""
    cluster = FakeCluster(item=lambda document: (429, "busy") if document["fields"]["value"] < 2 else None)
    account = (await count_up(cluster, 5, retry_budget=60)).sinks["elasticsearch"]
    assert (account.delivered, account.failures) == (3, {"retry_budget": 2})
    assert account.last_error == "2 of 2 events to be sent again: HTTP 429: busy: because"
    assert 60 <= trio.current_time() < 61


# --------------------------------------------------------------------------------------------------- whole requests


@pytest.mark.parametrize(
    "answer",
    [
        response(429),
        response(503, headers={"retry-after": "2"}),
        response(500),
        httpx2.Response(502, text="<html>Bad Gateway</html>"),
        httpx2.Response(200, text="<html>It works!</html>"),
        httpx2.Response(200, json={"errors": False}),
        httpx2.Response(200, json={"errors": False, "items": [{"create": {"status": 201}}]}),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
    ],
    ids=str,
)
async def test_what_may_pass_is_tried_again(answer: Any, autojump_clock: MockClock) -> None:
    """With the same ids, the same body."""
    cluster = FakeCluster(answer)
    stats = await count_up(cluster, 3)
    assert stats.processed_events == 3
    assert [request.content for request in cluster.requests] == [cluster.requests[0].content] * 2
    assert stats.sinks["elasticsearch"].retries == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 301])
async def test_what_will_not_change_is_given_up(status: int, autojump_clock: MockClock) -> None:
    """With the server's words."""
    cluster = FakeCluster(response(status))
    account = (await count_up(cluster, 3)).sinks["elasticsearch"]
    assert account.failures == {"refused": 3}
    assert account.last_error is not None
    assert account.last_error.startswith(f"HTTP {status}: ")
    assert len(cluster.requests) == 1


async def test_a_request_that_is_too_large_is_halved(autojump_clock: MockClock) -> None:
    """Down to what is taken; the bodies of the servers' 413 are empty."""
    cluster = FakeCluster(httpx2.Response(413), httpx2.Response(413))
    stats = await count_up(cluster, 8)
    assert stats.processed_events == 8
    assert [len(bulk) for bulk in cluster.bulks] == [8, 4, 2, 2, 4]
    assert cluster.values() == [*range(8)]


class PickyCluster(FakeCluster):
    """Has something before it that refuses a whole request for what one event says."""

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = await super()._answer(request)
        refused = b'"evil"' in request.content
        if refused:
            for action, _ in self.bulks[-1]:
                [where] = action.values()
                del self.documents[where["_index"], where["_id"]]
        return httpx2.Response(400, text="attack detected") if refused else answer


@pytest.mark.parametrize("guilty", [{0}, {4999}, {1234}, {1234, 1235, 3000}, {*range(100, 160)}])
async def test_one_event_that_makes_the_request_a_bad_one_is_rejected_alone(
    guilty: set[int], autojump_clock: MockClock
) -> None:
    """In the middle of the largest payload, after few requests."""
    cluster = PickyCluster()
    async with collector(BatchMetricsConfig(batch_size=5000, buffer_size=5000), sinks=[cluster()]) as metrics:
        for value in range(5000):
            metrics.record_counter("c", {"x": "evil" if value in guilty else "good"}, value)
    account = balanced(metrics.stats()).sinks["elasticsearch"]
    assert (account.delivered, account.rejected, account.failed) == (5000 - len(guilty), len(guilty), 0)
    assert cluster.values() == [value for value in range(5000) if value not in guilty]
    assert account.last_error == "HTTP 400: attack detected"
    assert len(cluster.requests) <= 26 * len(guilty) + 1


async def test_a_server_that_refuses_everything_is_not_asked_for_every_event(autojump_clock: MockClock) -> None:
    """Such as one that wants TLS: 64 requests at a time. Once somebody has put that right, the rest arrives."""
    cluster = FakeCluster(*[httpx2.Response(400, text="plain HTTP on an HTTPS port")] * 1000)
    config = BatchMetricsConfig(batch_size=5000, buffer_size=5000)
    async with collector(config, sinks=[cluster()]) as metrics:
        record(metrics, range(5000))
        await wait_all_tasks_blocked()
        assert len(cluster.requests) == 64
        await trio.sleep(60)
        assert len(cluster.requests) <= 64 * 40
        cluster.script.clear()
        await metrics.flush()
    account = balanced(metrics.stats()).sinks["elasticsearch"]
    assert account.last_error == "HTTP 400: plain HTTP on an HTTPS port"
    assert account.failed == 0
    assert account.delivered == 5000 - account.rejected == len(cluster.values())
    assert account.rejected < 1000


async def test_requests_ask_for_little_and_for_an_answer_in_time(autojump_clock: MockClock) -> None:
    """A filter for the answer, and a time-out of the server's own below that of the attempt."""
    cluster = FakeCluster()
    await count_up(cluster, 1, timeout=8)
    assert dict(cluster.requests[0].url.params) == {
        "filter_path": "errors,items.*.status,items.*.error.type,items.*.error.reason",
        "timeout": "4000ms",
    }


async def test_payloads_have_at_most_5000_events(autojump_clock: MockClock) -> None:
    """And five megabytes."""
    cluster = FakeCluster()
    config = BatchMetricsConfig(batch_size=6000, buffer_size=20_000)
    async with collector(config, sinks=[cluster()]) as metrics:
        record(metrics, range(12_000))
        await metrics.flush()
        for _ in range(200):
            metrics.record_counter("c", {"long": "x" * 100_000}, 1)
    assert balanced(metrics.stats()).processed_events == 12_200
    assert max(len(bulk) for bulk in cluster.bulks) == 5000
    assert all(len(request.content) <= 5_000_000 for request in cluster.requests)


# ------------------------------------------------------------------------------------------------------------- names


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Generator[None, None, None]:
    """Be nine hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


async def test_events_go_to_the_index_of_their_own_day_in_utc(in_tokyo: None, autojump_clock: MockClock) -> None:
    """Around midnight, in any order."""
    assert time.localtime(0).tm_hour == 9
    midnight = 1_795_478_400 * 10**9  # 2026-11-24T00:00:00Z
    cluster = FakeCluster()
    async with collector(ONE_BATCH, sinks=[cluster(index="metrics-%Y.%m.%d")]) as metrics:
        for at, offset in enumerate([0, -1, 10**9, -(10**9), 86_400 * 10**9 - 1, 86_400 * 10**9, 0]):
            metrics.record(Counter("c", {}, at, timestamp=midnight + offset))
    assert balanced(metrics.stats()).processed_events == 7
    days = {document["fields"]["value"]: index for (index, _), document in cluster.documents.items()}
    assert days == {
        **dict.fromkeys([0, 2, 4, 6], "metrics-2026.11.24"),
        **dict.fromkeys([1, 3], "metrics-2026.11.23"),
        5: "metrics-2026.11.25",
    }


@pytest.mark.parametrize(
    ("index", "name", "patterns", "template"),
    [
        ("metrics", "metrics", "metrics", "metrics"),
        ("m-%Y.%m.%d", "m-2026.11.24", "m-1* m-2*", "m-"),
        ("m-%Y.%m.%d-x", "m-2026.11.24-x", "m-1*-x m-2*-x", "m--x"),
        ("%Y", "2026", "1* 2*", ""),
        ("a-%G-%V.%H.%j", "a-2026-48.03.328", "a-1* a-2*", "a-"),
        ("%V-%G", "48-2026", "0* 1* 2* 3* 4* 5*", ""),
        ("h%H", "h03", "h0* h1* h2*", "h"),
        ("m%m", "m11", "m0* m1*", "m"),
        ("j%j", "j328", "j0* j1* j2* j3*", "j"),
        ("größe-%d", "größe-24", "größe-0* größe-1* größe-2* größe-3*", "größe-"),
        (".hidden", ".hidden", ".hidden", ".hidden"),
    ],
)
async def test_a_name_has_patterns_and_a_template(
    index: str, name: str, patterns: str, template: str, autojump_clock: MockClock
) -> None:
    """From the first directive to the last is a star, but for the digit that it begins with."""
    cluster = FakeCluster()
    async with collector(sinks=[cluster(index=index, template=True)]) as metrics:
        metrics.record(Counter("c", {}, 1, timestamp=1_795_489_500 * 10**9))
    assert {found for found, _ in cluster.documents} == {name}
    [(found, body)] = cluster.templates.items()
    assert found == f"trio-batchmetrics-{template}"
    assert body["index_patterns"] == patterns.split()
    assert any(fnmatch(name, pattern) for pattern in body["index_patterns"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"index": "Metrics"}, r"^index must be in lower case.*got 'Metrics'"),
        *(({"index": f"a{bad}b"}, r"^index must be in lower case") for bad in '\\/*?"<>|, #:\n\x00\ud800'),
        *(({"index": f"{bad}a"}, r"^index must be a name that does not begin") for bad in "-_+"),
        *(({"index": bad}, r"^index must be a name") for bad in ("", ".", "..")),
        *(({"index": f"a-{bad}"}, r"^index may have %Y, %m.*no other %") for bad in ("%b", "%", "%%", "%-d", "%\n")),
        ({"index": 3}, r"^index must be a str \(got 3\)"),
        ({"index": "é" * 128}, r"^index must have at most 255 bytes \(got 256\)"),
        ({"action": "update"}, r"^action must be 'create' or 'index' \(got 'update'\)"),
        ({"action": "index", "data_stream": True}, r"^action must be 'create' with data_stream=True"),
        ({"template": "flat"}, r"^template must be True, False or 'keyword' \(got 'flat'\)"),
        ({"max_events": 0}, r"^max_events must be"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    """With its name, the rule and the value."""
    with pytest.raises(ValueError, match=message):
        FakeCluster()(**settings)


def test_an_index_is_to_be_named() -> None:
    """There is none by default."""
    with pytest.raises(TypeError, match="index"):
        ElasticsearchSink("http://search.example")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# ---------------------------------------------------------------------------------------------------------- template


async def test_without_being_asked_it_puts_no_template(autojump_clock: MockClock) -> None:
    """One request for one payload."""
    cluster = FakeCluster()
    await count_up(cluster, 1)
    assert [request.method for request in cluster.requests] == ["POST"]


@pytest.mark.parametrize("label_type", ["flattened", "flat_object", ""])
async def test_the_template_maps_fields_so_that_they_aggregate(label_type: str, autojump_clock: MockClock) -> None:
    """Labels as the server has a type for, before the first payload, once in a run."""
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
    """`template="keyword"`: one request, whatever types the server has."""
    cluster = FakeCluster()
    await count_up(cluster, 1, template="keyword")
    assert [request.method for request in cluster.requests] == ["PUT", "POST"]
    [template] = cluster.templates.values()
    assert "labels" not in template["template"]["mappings"]["properties"]


async def test_a_data_stream_is_declared_as_one(autojump_clock: MockClock) -> None:
    """And written to with `create`."""
    cluster = FakeCluster()
    await count_up(cluster, 1, template=True, data_stream=True)
    [template] = cluster.templates.values()
    assert template["data_stream"] == {}
    assert list(cluster.bulks[0][0][0]) == ["create"]


@pytest.mark.parametrize("failure", [response(503), response(429), httpx2.ConnectError("refused")], ids=str)
async def test_a_template_that_may_be_put_later_is_put_before_any_event(
    failure: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The payload waits for it, within its own budget."""
    cluster = FakeCluster(put=[failure, failure])
    stats = await count_up(cluster, 3, template=True)
    assert [request.method for request in cluster.requests] == ["PUT", "PUT", "PUT", "POST"]
    assert stats.processed_events == 3
    assert stats.sinks["elasticsearch"].retries == 2
    assert "template" not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413])
async def test_a_template_that_is_refused_for_good_costs_no_events(
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


# -------------------------------------------------------------------------------------------------------------- rest


async def test_nothing_shows_a_credential(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the sink nor an error nor a line in the log, whatever the server repeats."""
    secret = "hunter22"
    said = {"error": {"type": "t", "reason": f"{secret} is wrong"}, "status": 400}
    items = [{"create": said}, {"create": {**said, "status": 429}}]
    cluster = FakeCluster(
        httpx2.Response(200, json={"errors": True, "items": items}),
        httpx2.Response(401, json=said),
        put=[httpx2.Response(403, json=said)],
    )
    sink = ElasticsearchSink(
        f"http://ann:{secret}@search.example/private", index="metrics", client=cluster.client, template=True
    )
    assert repr(sink) == "<ElasticsearchSink search.example>"
    async with collector(ONE_BATCH, sinks=[sink]) as metrics:
        metrics.record(CacheMetric("redis", "hit"))
        metrics.record(Gauge("g", {}, 1))
        await metrics.flush()
    account = balanced(metrics.stats()).sinks["elasticsearch"]
    assert account.failed + account.rejected == 2
    assert account.last_error is not None
    for shown in (account.last_error, *caplog.messages, str(metrics.stats())):
        assert secret not in shown
        assert "private" not in shown


def test_it_is_an_event_sink_over_http() -> None:
    """Made without a server."""
    assert isinstance(FakeCluster()(), EventSink)


async def test_an_attempt_that_is_cut_off_is_made_again_with_the_same_ids() -> None:
    """The server has carried it out meanwhile."""
    cluster = FakeCluster()
    answers = 0

    async def slow(request: httpx2.Request) -> httpx2.Response:
        nonlocal answers
        answers += 1
        first = answers == 1
        response = await cluster._answer(request)
        if first:
            await trio.sleep_forever()
        return response

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(slow))
    sink = cluster(client=client, timeout=0.05, backoff=0.01)
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics:
        record(metrics, range(10))
        await until(lambda: metrics.stats().processed_events == 10)
    assert len(cluster.bulks) == 2
    assert len(cluster.documents) == 10
    assert set(cluster.versions.values()) == {1}
