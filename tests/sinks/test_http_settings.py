"""Settings of sinks over HTTP: the constructor refuses invalid ones by name, and never shows a secret."""

import math
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import balanced, stable_id
from tests.sinks.test_http import LinesSink, Server, record
from tests.sinks.test_http_connections import AUTHORITY, deliver, serving
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import EventSink, Payload, Sink
from trio_batchmetrics.sinks import ElasticsearchSink, InfluxDBSeriesSink, InfluxDBSink, OTLPSink, PushgatewaySink

URL = "https://metrics.example"


def _with(made: Any, **usual: Any) -> Callable[..., Sink]:
    """Return a function that creates a sink with these settings and others."""

    def make(**settings: Any) -> Sink:
        sink: Sink = made(**{"url": URL, **usual, **settings})
        return sink

    return make


def _otlp(*, url: Any = URL, **settings: Any) -> Sink:
    endpoint: Any = b"" if url is None else url  # None would mean something else
    return OTLPSink(endpoint, **settings)


SINKS: dict[str, Callable[..., Sink]] = {
    "otlp": _otlp,
    "pushgateway": _with(PushgatewaySink, job="j"),
    "elasticsearch": _with(ElasticsearchSink, index="i"),
    "influxdb": _with(InfluxDBSink, database="d"),
    "influxdb series": _with(InfluxDBSeriesSink, database="d"),
}

ODD: tuple[Any, ...] = (True, 0, -1, 1.5, math.nan, b"s3cret", "s3cret\n", ["s3cret"], {"s3cret": "s3cret"}, object())
"""Invalid values of many types."""


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize(
    "url",
    [
        "",
        "metrics.example",
        "ftp://ann:s3cret@metrics.example",
        "http://",
        "http://ann:s3cret@",
        "http://metrics.example/?token=s3cret",
        "http://metrics.example/#s3cret",
        "http://metrics.example:port",
        "http://metrics.example:99999",
        "http://[::1",
        "http://s3cret\x00.example",
        "http://metrics.example/s3cret path",
        " http://metrics.example",
        "http://metrics.example\n",
        "http://ann:s3 cret@metrics.example",
        "http://metrics\u00a0.example",
        "http://metrics.example/s3cret\udcff",
        None,
        7,
        b"http://s3cret.example",
    ],
)
def test_an_invalid_url_is_refused_and_not_shown(sink: str, url: Any) -> None:
    """The constructor refuses it."""
    with pytest.raises(ValueError, match=r"^(url|endpoint) must be") as caught:
        SINKS[sink](url=url)
    assert "s3" not in str(caught.value)


def test_credentials_given_twice_are_refused(tmp_path: Path) -> None:
    """They may be in the URL and in `auth=`, or in a file and anywhere else."""
    with pytest.raises(ValueError, match="both have credentials"):
        LinesSink("http://ann:word@metrics.example", auth="token")
    file = tmp_path / "token"
    file.write_text("s3cret")
    others: list[Any] = [{"auth": "token"}, {"headers": {"Authorization": "Token x"}}]
    for settings in others:
        with pytest.raises(ValueError, match="token_file and other credentials are both given"):
            LinesSink("http://metrics.example", token_file=file, **settings)
    with pytest.raises(ValueError, match="token_file and other credentials are both given"):
        LinesSink("http://ann:word@metrics.example", token_file=file)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("auth", [*(odd for odd in ODD), "", "tökens3cret", "s3\x00cret", ("ann",), ("ann", None),
                                  ("ann", "b", "c"), ("a:b", "s3cret"), ("ann", "s3cret\n"), ("ann", "s3cret\udcff")],
                         ids=stable_id)  # fmt: skip
def test_invalid_authentication_is_refused_and_not_shown(sink: str, auth: Any) -> None:
    """It may be a list, bytes, a dict, or a token that no header can carry: one early error beats one per attempt."""
    with pytest.raises(ValueError, match=r"^auth must ") as caught:
        SINKS[sink](auth=auth)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize(
    "headers",
    [
        *(odd for odd in ODD if not isinstance(odd, dict)),
        {"x-key": "s3cret\r\nx: y"},
        {"x-key": "s3crët"},
        {"x-key": " s3cret"},
        {"x-key": b"s3cret"},
        {"x-key": 7},
        {"": "s3cret"},
        {"x key": "s3cret"},
        {"schlüssel": "s3cret"},
        {7: "s3cret"},
        {"Content-Length": "7"},
    ],
    ids=stable_id,
)
def test_headers_that_no_request_can_carry_are_refused_and_not_shown(sink: str, headers: Any) -> None:
    """The message names the header, and shows nothing of its value."""
    with pytest.raises(ValueError, match=r"^headers") as caught:
        SINKS[sink](headers=headers)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("setting", ["timeout", "backoff", "max_backoff", "retry_budget"])
@pytest.mark.parametrize(
    "value",
    [0, -1, -0.5, math.nan, math.inf, -math.inf, 10**400, True, "30", None, [], timedelta(0), timedelta(seconds=-1)],
    ids=stable_id,
)
def test_an_invalid_duration_is_refused(sink: str, setting: str, value: Any) -> None:
    """Every sink's error gives its name and value."""
    with pytest.raises(ValueError, match=rf"^{setting} must be a finite number of seconds > 0, or a timedelta \(got "):
        SINKS[sink](**{setting: value})


@pytest.mark.parametrize("sink", SINKS)
def test_every_duration_may_be_a_timedelta_or_an_int(sink: str) -> None:
    """It is stored as float seconds."""
    names = ["timeout", "backoff", "max_backoff", "retry_budget"]
    for value in (timedelta(minutes=1, milliseconds=500), 7, 2.5):
        made = SINKS[sink](**dict.fromkeys(names, value))
        expected = 60.5 if isinstance(value, timedelta) else float(value)
        for name in names:
            assert getattr(made, name) == expected
            assert type(getattr(made, name)) is float


async def test_durations_of_a_custom_sink_may_be_timedeltas_too(autojump_clock: MockClock) -> None:
    """They may be class attributes, or set on the object."""

    class Slow(EventSink[None]):
        timeout = timedelta(seconds=3)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

        async def send(self, payload: Payload[None]) -> None:
            """Never respond."""
            await trio.sleep_forever()

    sink = Slow.__new__(Slow)
    sink.retry_budget = timedelta(milliseconds=1)  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
        await metrics.flush()
    assert balanced(metrics.stats()).sinks["slow"].last_error == "no answer within 3 s"
    sink.backoff = timedelta(seconds=-1)  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="backoff must be a finite number of seconds > 0"):
        collector(sinks=[sink])


OTHERS: list[tuple[str, list[Any], str]] = [
    ("verify", [7, None, b"x", ["x"], 1.5], r"verify must be a bool, a path or an ssl\.SSLContext"),
    ("trust_env", ["yes", 1, None], r"trust_env must be True or False \(got "),
    ("client", ["x", 7, httpx2.Client], r"client must be an httpx2\.AsyncClient \(got "),
    ("codec", ["br", 7, None, [], b"gzip"], r"codec must be 'gzip' or 'zstd' \(got "),
    ("name", ["", 7, b"x", []], r"name must be a str that is not empty, or None \(got "),
    ("token_file", [7, b"x", []], r"token_file must be a path \(got "),
]


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize(("setting", "values", "words"), OTHERS)
def test_every_other_invalid_setting_is_refused_by_name(sink: str, setting: str, values: list[Any], words: str) -> None:
    """The constructor refuses it."""
    for value in values:
        with pytest.raises(ValueError, match=words):
            SINKS[sink](**{setting: value})


@pytest.mark.parametrize(
    ("sink", "settings", "words"),
    [
        ("pushgateway", {"job": b"j"}, "job must be"),
        ("pushgateway", {"job": "\udcff"}, "job must be"),
        ("pushgateway", {"method": "post"}, "method must be 'PUT' or 'POST'"),
        ("pushgateway", {"method": ["PUT"]}, "method must be 'PUT' or 'POST'"),
        ("pushgateway", {"delete_on_exit": "no"}, "delete_on_exit must be True or False"),
        ("pushgateway", {"grouping_key": "instance"}, "grouping_key must be a mapping"),
        ("pushgateway", {"grouping_key": {7: "x"}}, "grouping_key must have names"),
        ("pushgateway", {"grouping_key": {"a": 7}}, "grouping_key must have values"),
        ("pushgateway", {"grouping_key": {"a": "\udcff"}}, "grouping_key must have values"),
        ("influxdb", {"token": "s3crët"}, "token must be ASCII"),
        ("influxdb series", {"token": "s3cret\n"}, "token must be ASCII"),
        ("influxdb", {"database": "d\udcff"}, "database must be text"),
        ("influxdb", {"retention_policy": "\ud800"}, "retention_policy must be text"),
        ("influxdb series", {"database": "\ud800"}, "database must be text"),
        ("elasticsearch", {"index": b"i"}, "index must be a str"),
        ("elasticsearch", {"index": "\udcff"}, "index must be"),
        ("elasticsearch", {"template": 1}, "template must be True, False or 'keyword'"),
        ("elasticsearch", {"template": "yes"}, "template must be True, False or 'keyword'"),
        ("elasticsearch", {"data_stream": "no"}, "data_stream must be True or False"),
        ("elasticsearch", {"action": ["create"]}, "action must be 'create' or 'index'"),
        ("elasticsearch", {"max_events": True}, "max_events must be an int >= 1 or None"),
        ("elasticsearch", {"max_payload_bytes": 0.5}, "max_payload_bytes must be an int >= 1 or None"),
    ],
)
def test_invalid_settings_of_one_sink_are_refused_by_name(sink: str, settings: dict[str, Any], words: str) -> None:
    """The constructor refuses them."""
    with pytest.raises(ValueError, match=f"^{words}") as caught:
        SINKS[sink](**settings)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"verify": False}, {"trust_env": True}])
async def test_settings_that_a_given_client_would_ignore_are_refused(settings: dict[str, Any]) -> None:
    """The client has its own settings."""
    async with httpx2.AsyncClient() as client:
        with pytest.raises(ValueError, match="verify and trust_env have no effect on client="):
            LinesSink(URL, client=client, **settings)


# -------------------------------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize("sink", SINKS)
def test_unreadable_certificates_are_refused_when_the_sink_is_constructed(sink: str, tmp_path: Path) -> None:
    """The error has the setting, the path and the reason: retrying for five minutes would not help."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    with pytest.raises(ValueError, match=r"^verify must be a file or folder of certificates"):
        SINKS[sink](verify="")
    for path, reason in ((tmp_path / "nothing.pem", "No such file or directory"), (garbage, r"\[X509")):
        for verify in (path, str(path)):
            with pytest.raises(
                ValueError, match=rf"^verify must be a file or folder of certificates .*{path.name}.*{reason}"
            ):
                SINKS[sink](verify=verify)


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="only openssl knows a subject's hash")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", pytest.param("SSL_CERT_DIR", marks=needs_openssl)])
async def test_the_environments_certificates_are_honoured(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's default context does the same; trust_env concerns only proxies."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    if variable == "SSL_CERT_FILE":
        monkeypatch.setenv(variable, str(tmp_path / "authority.pem"))
    else:
        command = ["openssl", "x509", "-noout", "-hash", "-in", str(tmp_path / "authority.pem")]
        hashed = (await trio.run_process(command, capture_stdout=True)).stdout.decode().strip()
        (tmp_path / f"{hashed}.0").symlink_to(tmp_path / "authority.pem")
        monkeypatch.setenv(variable, str(tmp_path))
    async with serving(tls=True) as (seen, address):
        stats = await deliver(f"https://{address}")
    assert stats.sinks["lines"].delivered == 1
    assert seen.targets == [b"/in"]


async def test_only_the_certificates_in_a_given_folder_are_trusted(tmp_path: Path) -> None:
    """A folder without certificates trusts no server."""
    async with serving(tls=True) as (seen, address):
        stats = await deliver(f"https://{address}", verify=tmp_path, retry_budget=0.05)
    assert stats.sinks["lines"].failed == 1
    assert seen.targets == []


async def test_certificates_removed_before_the_block_opens_are_reported(tmp_path: Path) -> None:
    """Nothing is sent, and the sink retries."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    sink = LinesSink("https://127.0.0.1:1", verify=tmp_path / "authority.pem", retry_budget=0.01, backoff=0.01)
    (tmp_path / "authority.pem").unlink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
        await metrics.flush()
    account = balanced(metrics.stats()).sinks["lines"]
    assert account.last_error == "verify: the certificates cannot be read: No such file or directory"


# ----------------------------------------------------------------------------------------------------- tokens in files


class Guarded(Server):
    """Accepts the tokens that are currently valid."""

    def __init__(self, *good: str) -> None:
        super().__init__(*[self.look] * 100)
        self.good = set(good)

    def look(self, request: httpx2.Request) -> httpx2.Response:
        """Accept or refuse the request, and repeat the token."""
        given = request.headers.get("authorization", "nothing")
        return httpx2.Response(204 if given in self.good else 401, text=f"bad: {given}")

    @property
    def given(self) -> list[str]:
        """The token of each request."""
        return [request.headers.get("authorization", "") for request in self.requests]


async def test_a_token_is_read_from_its_file_and_again_after_a_401(tmp_path: Path) -> None:
    """The request is repeated at once with the new token, which doesn't count as a retry."""
    file = tmp_path / "token"
    file.write_text("first-token\n")
    server = Guarded("Bearer first-token")
    sink = LinesSink("http://metrics.example", token_file=file, client=server.client)
    async with collector(sinks=[sink]) as metrics:
        for _ in range(2):
            metrics.record_counter("c", {}, 1)
            await metrics.flush()
        server.good = {"Bearer second-token"}
        file.write_text("second-token\n")
        for _ in range(2):
            metrics.record_counter("c", {}, 1)
            await metrics.flush()
    account = balanced(metrics.stats()).sinks["lines"]
    assert (account.delivered, account.retries, account.last_error) == (4, 0, None)
    assert server.given == ["Bearer first-token"] * 3 + ["Bearer second-token"] * 2


async def test_a_refused_token_is_not_shown_and_not_sent_twice(tmp_path: Path) -> None:
    """A 401 for the token that is in the file is final, as usual."""
    file = tmp_path / "token"
    file.write_text("s3cret-token")
    server = Guarded()
    account = (await record(server, token_file=str(file))).sinks["lines"]
    assert (account.failed, account.retries, len(server.requests)) == (1, 0, 1)
    assert account.last_error == "HTTP 401: bad: …"


@pytest.mark.parametrize("gone", [True, False])
async def test_the_sink_waits_for_a_token_that_is_being_written(gone: bool, tmp_path: Path) -> None:
    """The file may be empty or missing during a renewal; a 401 says nothing about the coming token."""
    file = tmp_path / "token"
    file.write_text("first-token")
    server = Guarded("Bearer second-token")
    sink = LinesSink("http://metrics.example", token_file=file, client=server.client, backoff=0.01)
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
        while not server.requests:  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.001)
        await metrics.flush()
        assert metrics.stats().sinks["lines"].failed == 1  # the file still has the refused token
        file.unlink() if gone else file.write_text("")
        metrics.record_counter("c", {}, 1)
        with trio.fail_after(20):
            while "token_file" not in str(metrics.stats().sinks["lines"].last_error):  # noqa: ASYNC110 - likewise
                await trio.sleep(0.001)
        file.write_text("second-token")
        assert (await metrics.flush()).ok
    account = balanced(metrics.stats()).sinks["lines"]
    assert (account.delivered, account.failed) == (1, 1)


async def test_a_file_may_name_the_scheme_of_its_token(tmp_path: Path) -> None:
    """Elasticsearch's API keys need this; for InfluxDB's buckets the sink adds ``Token`` itself."""
    file = tmp_path / "token"
    file.write_text("ApiKey a2V5")
    server = Guarded("ApiKey a2V5")
    assert (await record(server, token_file=file)).sinks["lines"].delivered == 1
    file.write_text("a2V5")
    server = Guarded("Token a2V5")
    sink = InfluxDBSink("http://metrics.example", bucket="b", token_file=file, client=server.client)
    async with collector(sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
    assert balanced(metrics.stats()).processed_events == 1


@pytest.mark.parametrize(
    "content", ["", "\n", "two\nlines", "tök", "x" * 70_000], ids=["empty", "blank", "lines", "ö", "long"]
)
async def test_a_file_without_a_token_is_an_error_that_is_retried(content: str, tmp_path: Path) -> None:
    """The next attempt may find one; nothing is sent meanwhile."""
    file = tmp_path / "token"
    file.write_text(content)
    server = Server()
    sink = LinesSink("http://metrics.example", token_file=file, client=server.client, backoff=0.01)
    async with collector(BatchMetricsConfig(batch_size=1), sinks=[sink]) as metrics:
        metrics.record_counter("c", {}, 1)
        with trio.fail_after(20):
            while metrics.stats().sinks["lines"].last_error is None:  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.001)
        assert metrics.stats().sinks["lines"].last_error == (
            "token_file cannot be read: it must have one line of ASCII characters"
        )
        file.write_text("good-token")
        await metrics.flush()
    assert balanced(metrics.stats()).sinks["lines"].delivered == 1
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer good-token"]


needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@needs_fifo
@pytest.mark.parametrize("setting", ["token_file", "verify"])
def test_a_named_pipe_is_refused_without_opening_it(setting: str, tmp_path: Path) -> None:
    """Opening it would hang the application."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=f"^{setting} must be a file .*regular file"):
        settings: Any = {setting: tmp_path / "pipe"}
        LinesSink(URL, **settings)


@needs_fifo
def test_a_file_that_hung_in_one_run_does_not_delay_the_next(tmp_path: Path) -> None:
    """The thread that still reads it is left behind, and the next block has room for another thread."""
    file, pipe = tmp_path / "token", tmp_path / "pipe"
    file.write_text("good-token")
    server = Guarded("Bearer good-token")
    sink = LinesSink("http://metrics.example", token_file=file, client=server.client)

    async def deliver_once() -> int:
        with trio.fail_after(20):
            async with collector(BatchMetricsConfig(shutdown_timeout=0.3), sinks=[sink]) as metrics:
                metrics.record_counter("c", {}, 1)
        return balanced(metrics.stats()).processed_events

    file.unlink()
    os.mkfifo(file)
    assert trio.run(deliver_once) == 0
    file.rename(pipe)
    file.write_text("good-token")
    assert trio.run(deliver_once) == 1
    pipe.write_text("late")  # releases the thread


@pytest.mark.parametrize("sink", SINKS)
def test_a_missing_token_file_is_refused_when_the_sink_is_constructed(sink: str, tmp_path: Path) -> None:
    """A folder is refused too, and a token that was mistaken for a path is not shown."""
    cases = [(tmp_path / "nothing", "No such file"), (tmp_path, "not a regular file"), ("s3cret/tok3n", "No such file")]
    for path, reason in cases:
        with pytest.raises(ValueError, match=rf"^token_file must be a file that can be read \(.*{reason}") as caught:
            SINKS[sink](token_file=path)
        assert "s3cret" not in str(caught.value)
