"""PushgatewaySink: where it pushes to, and that pushing never resets a counter."""

import os
import socket
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.contract import SeriesSinkCase, SeriesSinkContract
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.sinks._pushgateway import PushgatewaySink

Group = dict[str, str]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class FakeGateway:
    """Keeps groups as a Pushgateway does, read by Prometheus' own parser; follows a script first."""

    def __init__(self, *script: int, hang: bool = False) -> None:
        self.script = list(script)
        self.hang = hang
        self.groups: dict[frozenset[tuple[str, str]], Samples] = {}
        self.pushes: list[Samples] = []
        self.requests: list[httpx2.Request] = []
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.hang:
            await trio.sleep_forever()
        if self.script:
            return httpx2.Response(self.script.pop(0), text="not now")
        key = frozenset(group_of(request.url.raw_path.decode()).items())
        if request.method == "DELETE":
            self.groups.pop(key, None)
            return httpx2.Response(202)
        assert request.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = samples_of(request.content.decode())
        if request.method == "PUT" or key not in self.groups:
            self.groups[key] = samples
        else:
            names = {name for name, _ in samples}
            kept = {key: value for key, value in self.groups[key].items() if key[0] not in names}
            self.groups[key] = {**kept, **samples}
        self.pushes.append(samples)
        return httpx2.Response(200)

    def __call__(self, **settings: Any) -> PushgatewaySink:
        """Create a sink that pushes to this gateway."""
        settings = {"job": "nightly", "client": self.client, **settings}
        return PushgatewaySink("http://gateway.example", **settings)


def group_of(path: str) -> Group:
    """Parse the grouping key in a path."""
    prefix, *parts = path.removeprefix("/").split("/")
    assert prefix == "metrics"
    assert len(parts) % 2 == 0
    group: Group = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        label, at, rest = name.partition("@")
        assert rest == ("base64" if at else "")
        bare = value.rstrip("=")
        assert label not in group
        group[label] = urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode() if at else unquote(value)
    return group


def samples_of(text: str) -> Samples:
    """Parse samples; none may occur twice or have a timestamp."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            assert sample.timestamp is None
            found[key] = sample.value
    return found


# ------------------------------------------------------------------------------------------------------------ contract


class PushgatewayCase(SeriesSinkCase):
    """A gateway that is fast, fails, or hangs."""

    name = "pushgateway"
    gateway: FakeGateway | None = None

    def make(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> PushgatewaySink:
        """Create the sink."""
        self.gateway = FakeGateway(*[503] * fail, hang=hang)
        return self.gateway(**settings)

    def sums(self) -> dict[str, float]:
        """Return the sums in the group."""
        assert self.gateway is not None
        found = [group for key, group in self.gateway.groups.items() if ("job", "nightly") in key]
        sums = dict[str, float]()
        for (name, _), value in (found[0] if found else {}).items():
            if name.endswith("_total"):
                sums[name.removesuffix("_total")] = sums.get(name.removesuffix("_total"), 0.0) + value
        return sums


@pytest.fixture
def series(tmp_path: Path) -> SeriesSinkCase:
    """The case of the sink."""
    return PushgatewayCase(tmp_path)


class TestPushgateway(SeriesSinkContract):
    """The contract of series sinks."""


# --------------------------------------------------------------------------------------------------------- grouping key


async def pushed_to(**settings: Any) -> Group:
    """Push once; return the grouping key."""
    gateway = FakeGateway()
    async with collector(sinks=[gateway(**settings)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    [key] = gateway.groups
    return dict(key)


async def test_by_default_the_group_is_this_process(autojump_clock: MockClock) -> None:
    """So two workers do not overwrite each other."""
    assert await pushed_to() == {"job": "nightly", "instance": f"{socket.gethostname()}:{os.getpid()}"}


@pytest.mark.parametrize(
    "value", ["", "a/b", "a b", ".", "..", "äöü", "😀", "a=b&c?d#e", "%41", "a\nb", "=", "plain-1.0_~", "-", "@base64"]
)
async def test_any_text_may_be_in_the_grouping_key(value: str, autojump_clock: MockClock) -> None:
    """It may be the job, if it is not empty, or any other label."""
    assert await pushed_to(job=value or "j", grouping_key={"shard": value}) == {"job": value or "j", "shard": value}
    assert await pushed_to(job="j", grouping_key={}) == {"job": "j"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"job": ""}, r"^job must be a str that is not empty \(got ''\)$"),
        ({"job": 7}, r"^job must be a str"),
        ({"method": "PATCH"}, r"^method must be 'PUT' or 'POST' \(got 'PATCH'\)$"),
        ({"grouping_key": {"job": "x"}}, r"^grouping_key must have names of labels.*got 'job'"),
        ({"grouping_key": {"a.b": "x"}}, r"got 'a.b'"),
        ({"grouping_key": {"__x": "x"}}, r"got '__x'"),
        ({"grouping_key": {"le": "x"}}, r"other than job, le, quantile and __.*got 'le'"),
        ({"grouping_key": {"quantile": "x"}}, r"got 'quantile'"),
        ({"grouping_key": {"a": 7}}, r"values of type str \(got 7 for 'a'\)"),
        ({"timeout": 0}, r"^timeout must be"),
    ],
)
def test_an_invalid_setting_is_named(settings: Any, message: str) -> None:
    """The constructor refuses it."""
    with pytest.raises(ValueError, match=message):
        FakeGateway()(**settings)


# -------------------------------------------------------------------------------------------------------------- pushes


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_pushing_never_resets_a_counter(method: str, autojump_clock: MockClock) -> None:
    """Each push has every series since the beginning, including those without new events."""
    gateway = FakeGateway(503)
    async with collector(BatchMetricsConfig(batch_size=10), sinks=[gateway(method=method)]) as metrics:
        for number in range(30):
            metrics.record_counter("jobs", {"kind": str(number % 3)}, number)
            metrics.record_http_request("GET", "/", 200, 0.25)
            await trio.sleep(1)
        await metrics.flush()
        metrics.record_cache_metric("redis", "hit")
    balanced(metrics.stats())
    assert len(gateway.pushes) >= 5
    for before, after in zip(gateway.pushes, gateway.pushes[1:], strict=False):
        assert all(after[key] >= value for key, value in before.items())
    last = gateway.pushes[-1]
    assert {key: value for key, value in last.items() if key[0] == "jobs_total"} == {
        ("jobs_total", (("kind", str(rest)),)): float(sum(range(rest, 30, 3))) for rest in range(3)
    }
    labels = (("http_request_method", "GET"), ("http_response_status_code", "200"), ("http_route", "/"))
    assert last["http_server_request_duration_seconds_count", labels] == 30
    assert last["http_server_request_duration_seconds_bucket", (*labels, ("le", "0.25"))] == 30
    assert last["http_server_request_duration_seconds_bucket", (*labels, ("le", "0.1"))] == 0
    assert {request.method for request in gateway.requests} == {method}


async def test_post_leaves_metrics_of_other_names_alone(autojump_clock: MockClock) -> None:
    """PUT replaces them."""
    gateway = FakeGateway()
    for name, method in (("first", "PUT"), ("second", "POST"), ("third", "PUT")):
        async with collector(sinks=[gateway(method=method, grouping_key={})]) as metrics:
            metrics.record_counter(name, {}, 1)
        [group] = gateway.groups.values()
        expected = {"first": {"first_total"}, "second": {"first_total", "second_total"}, "third": {"third_total"}}
        assert {each for each, _ in group} == expected[name]


async def test_a_label_named_like_one_of_the_grouping_key_is_renamed(autojump_clock: MockClock) -> None:
    """The gateway would overwrite the label, and turn two series into one."""
    gateway = FakeGateway()
    config = BatchMetricsConfig(static_labels={"instance": "mine"})
    async with collector(config, sinks=[gateway(grouping_key={"instance": "i", "shard": "s"})]) as metrics:
        for job in ("a", "b"):
            metrics.record_counter("jobs", {"job": job, "shard": "1", "x.shard": "2"}, 1)
    [group] = gateway.groups.values()
    assert group == {
        (
            "jobs_total",
            (("exported_instance", "mine"), ("exported_job", job), ("exported_shard", "1"), ("x_shard", "2")),
        ): 1.0
        for job in ("a", "b")
    }


async def test_instruments_of_one_name_are_added_up_and_other_types_are_refused(
    autojump_clock: MockClock,
) -> None:
    """Otherwise the gateway would refuse the whole push."""
    gateway = FakeGateway()
    async with collector(sinks=[gateway()]) as metrics:
        metrics.record_counter("a.b", {"x": None}, 1)
        metrics.record_counter("a_b", {"x": ""}, 2)
        metrics.record_gauge("a.b.total", {}, 7)
    [group] = gateway.groups.values()
    assert group == {("a_b_total", ()): 3.0}
    account = balanced(metrics.stats()).sinks["pushgateway"]
    assert (account.delivered, account.rejected) == (2, 1)
    assert account.last_error == "1 of 3 events refused: 'a.b' of another kind or unit has the name"


async def test_a_refusal_is_reported_and_retried(autojump_clock: MockClock) -> None:
    """A refused push loses nothing: the next one has everything."""
    gateway = FakeGateway(400, 401)
    async with collector(sinks=[gateway()]) as metrics:
        metrics.record_counter("jobs", {}, 1)
        await metrics.flush()
        account = balanced(metrics.stats()).sinks["pushgateway"]
        assert (account.delivered, account.retries) == (1, 2)
        assert account.last_error == "HTTP 401: not now"


# ----------------------------------------------------------------------------------------------------------- at the end


async def test_the_group_is_deleted_on_exit_on_request(autojump_clock: MockClock) -> None:
    """It is deleted after the last push; otherwise it stays."""
    for delete_on_exit in (True, False):
        gateway = FakeGateway()
        async with collector(sinks=[gateway(delete_on_exit=delete_on_exit)]) as metrics:
            metrics.record_counter("jobs", {}, 1)
        assert balanced(metrics.stats()).processed_events == 1
        assert [request.method for request in gateway.requests] == ["PUT", "DELETE"][: 1 + delete_on_exit]
        assert len(gateway.groups) == 1 - delete_on_exit


async def test_a_group_that_could_not_be_deleted_is_reported_and_does_no_harm(autojump_clock: MockClock) -> None:
    """Delivered events stay delivered."""

    async def first_then_fails(request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        return httpx2.Response(500 if request.method == "DELETE" else 200, text="disk full")

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(first_then_fails))
    async with collector(sinks=[FakeGateway()(client=client, delete_on_exit=True)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    account = balanced(metrics.stats()).sinks["pushgateway"]
    assert account.delivered == 1
    assert "not deleted: HTTP 500: disk full" in str(account.last_error)


async def test_a_gateway_that_hangs_at_the_end_does_not_delay_the_application(autojump_clock: MockClock) -> None:
    """The shutdown deadline covers the deletion too."""

    async def hangs(request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            await trio.sleep_forever()
        return httpx2.Response(200)

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(hangs))
    config = BatchMetricsConfig(shutdown_timeout=3)
    async with collector(config, sinks=[FakeGateway()(client=client, delete_on_exit=True)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
        await metrics.flush()
        start = trio.current_time()
    assert trio.current_time() - start == 3
    account = balanced(metrics.stats()).sinks["pushgateway"]
    assert account.delivered == 1
    assert "the group may still be there" in str(account.last_error)
