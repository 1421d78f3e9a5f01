"""Where and how the sink sends: arguments, OpenTelemetry's variables, the resource."""

from __future__ import annotations

import gzip
import logging
import os
import ssl
import uuid
from pathlib import Path
from typing import Any

import pytest
import trustme
from trio.testing import MockClock

from tests.sinks.otlp.server import FakeOTLP, attributes_of
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import ConfigError
from trio_batchmetrics.sinks import OTLPSink
from trio_batchmetrics.sinks._otlp.environment import Environment

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the developer's own variables."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "base", "path"),
    [
        ({}, "http://localhost:4318", "/v1/metrics"),
        ({"ENDPOINT": ""}, "http://localhost:4318", "/v1/metrics"),
        ({"ENDPOINT": "https://a.example/otlp/"}, "https://a.example/otlp/", "/v1/metrics"),
        ({"ENDPOINT": "http://a.example", "METRICS_ENDPOINT": "http://b.example"}, "http://b.example", "/"),
        ({"METRICS_ENDPOINT": "http://b.example:1/x/y/"}, "http://b.example:1", "/x/y/"),
        ({"METRICS_ENDPOINT": "http://b.example/x?a=b"}, "http://b.example", "/x?a=b"),
    ],
)
def test_endpoints(variables: dict[str, str], base: str, path: str) -> None:
    """A base URL gets a path; that of metrics is used as it is."""
    found = Environment.read({PREFIX + name: value for name, value in variables.items()})
    assert (found.base, found.path) == (base, path)


def test_the_twin_for_metrics_wins() -> None:
    """For each variable."""
    names = {"HEADERS": "a=1", "TIMEOUT": "1000", "COMPRESSION": "gzip", "CERTIFICATE": "/a"}
    twins = {"HEADERS": "b=2", "TIMEOUT": "2500", "COMPRESSION": "none", "CERTIFICATE": "/b"}
    variables = {PREFIX + name: value for name, value in names.items()}
    assert Environment.read(variables).settings == {"headers": {"a": "1"}, "timeout": 1.0, "verify": "/a"}
    assert Environment.read(variables).compress is True
    variables |= {f"{PREFIX}METRICS_{name}": value for name, value in twins.items()}
    found = Environment.read(variables)
    assert found.settings == {"headers": {"b": "2"}, "timeout": 2.5, "verify": "/b"}
    assert found.compress is False


def test_headers_and_attributes_are_percent_decoded() -> None:
    """Both are lists of pairs; an equals sign may be part of a value."""
    found = Environment.read(
        {
            f"{PREFIX}HEADERS": "api-key=a%20b%2Cc, x-scope = t=1 ,",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,deployment.environment.name=pr%C3%BCf",
        }
    )
    assert found.settings["headers"] == {"api-key": "a b,c", "x-scope": "t=1"}
    assert found.resource == {"service.name": "shop", "deployment.environment.name": "prüf"}


def test_the_name_of_the_service_wins_over_the_attributes() -> None:
    """As OpenTelemetry specifies."""
    variables = {"OTEL_SERVICE_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": "service.name=b,x=y"}
    assert Environment.read(variables).resource == {"service.name": "a", "x": "y"}


def test_durations_are_milliseconds() -> None:
    """No limit is a year."""
    assert Environment.read({f"{PREFIX}TIMEOUT": "0"}).settings == {"timeout": 365 * 24 * 3600.0}
    assert Environment.read({"OTEL_METRIC_EXPORT_INTERVAL": "15000"}).settings == {"refresh": 15.0}
    both = {f"{PREFIX}TIMEOUT": "10000", "OTEL_METRIC_EXPORT_TIMEOUT": "3000"}
    assert Environment.read(both).settings == {"timeout": 3.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{PREFIX}TIMEOUT", "10s"),
        (f"{PREFIX}TIMEOUT", "-1"),
        (f"{PREFIX}TIMEOUT", "1.5"),
        (f"{PREFIX}TIMEOUT", "٣"),
        (f"{PREFIX}COMPRESSION", "deflate"),
        (f"{PREFIX}PROTOCOL", "grpc"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
        (f"{PREFIX}METRICS_TEMPORALITY_PREFERENCE", "sometimes"),
        (f"{PREFIX}HEADERS", "s3cret"),
    ],
)
def test_a_value_that_makes_no_sense_is_ignored(name: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """The application starts; the log names the variable, and never its value."""
    found = Environment.read({name: value})
    assert "timeout" not in found.settings
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert name in record.getMessage()
    assert value not in record.getMessage()


def test_names_of_choices_are_case_insensitive(caplog: pytest.LogCaptureFixture) -> None:
    """``Cumulative`` is accepted."""
    found = Environment.read({f"{PREFIX}METRICS_TEMPORALITY_PREFERENCE": "Cumulative", f"{PREFIX}COMPRESSION": "GZIP"})
    assert found.compress is True
    assert not caplog.records


def test_a_client_certificate(tmp_path: Path) -> None:
    """It becomes part of a TLS context; a file that is missing is an error that names the variable."""
    authority = trustme.CA()
    authority.issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    variables = {f"{PREFIX}CERTIFICATE": str(tmp_path / "ca.pem")}
    assert Environment.read(variables).settings == {"verify": str(tmp_path / "ca.pem")}
    variables[f"{PREFIX}CLIENT_CERTIFICATE"] = str(tmp_path / "client.pem")
    assert isinstance(Environment.read(variables).settings["verify"], ssl.SSLContext)
    with pytest.raises(ConfigError, match=f"{PREFIX}METRICS_CLIENT_CERTIFICATE must be a file"):
        Environment.read({f"{PREFIX}METRICS_CLIENT_CERTIFICATE": str(tmp_path / "missing.pem")})


async def test_from_env_uses_the_variables(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Path, headers, compression and resource; arguments win."""
    for name, value in {
        f"{PREFIX}METRICS_ENDPOINT": "http://collector.example:4318/in",
        f"{PREFIX}HEADERS": "x-tenant=7",
        f"{PREFIX}COMPRESSION": "gzip",
        "OTEL_RESOURCE_ATTRIBUTES": "a=1,b=2",
        "OTEL_SERVICE_NAME": "shop",
    }.items():
        monkeypatch.setenv(name, value)
    server = FakeOTLP()
    sink = OTLPSink.from_env(client=server.client, resource={"b": 3})
    async with collector(sinks=[sink]) as metrics:
        for number in range(100):
            metrics.record_counter("jobs", {"number": number}, 1)
    request = server.requests[0]
    assert str(request.url) == "http://collector.example:4318/in"
    assert (request.headers["x-tenant"], request.headers["content-encoding"]) == ("7", "gzip")
    assert request.headers["content-type"] == "application/x-protobuf"
    attributes = attributes_of(server.accepted[0].resource_metrics[0].resource.attributes)
    assert {("a", "string_value", "1"), ("b", "int_value", 3), ("service.name", "string_value", "shop")} <= attributes


def test_certificates_in_variables_are_not_for_the_applications_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its own."""
    monkeypatch.setenv(f"{PREFIX}CERTIFICATE", "/nowhere.pem")
    assert repr(OTLPSink(client=FakeOTLP().client)) == "<OTLPSink localhost:4318>"
    with pytest.raises(ConfigError, match="verify"):
        OTLPSink()


def test_an_endpoint_in_code_reads_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sinks of one process may send to two places."""
    monkeypatch.setenv(f"{PREFIX}ENDPOINT", "http://elsewhere.example")
    assert repr(OTLPSink("http://here.example:1")) == "<OTLPSink here.example:1>"
    assert repr(OTLPSink()) == "<OTLPSink elsewhere.example>"


async def test_the_resource_names_process_and_library(autojump_clock: MockClock) -> None:
    """``service.*`` among the static labels are attributes of the resource; the others are labels of each series."""
    server = FakeOTLP()
    config = BatchMetricsConfig(static_labels={"service.name": "shop", "service.version": "1.2", "zone": "a"})
    own = {"host.cpu.count": 8, "up": True, "load": 0.5, "service.name": "store"}
    async with collector(config, sinks=[server(resource=own)]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    [resource_metrics] = server.accepted[0].resource_metrics
    attributes = {name: value for name, _, value in attributes_of(resource_metrics.resource.attributes)}
    assert uuid.UUID(attributes.pop("service.instance.id")).version == 4
    assert attributes.pop("telemetry.sdk.version")
    assert attributes == {
        "service.name": "store",
        "service.version": "1.2",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "trio_batchmetrics",
        "host.cpu.count": 8,
        "up": True,
        "load": 0.5,
    }
    [scope_metrics] = resource_metrics.scope_metrics
    assert scope_metrics.scope.name == "trio_batchmetrics"
    assert [key[3] for key in server.points] == [frozenset({("zone", "string_value", "a")})]


async def test_without_a_name_the_service_is_unknown(autojump_clock: MockClock) -> None:
    """As OpenTelemetry specifies."""
    server = FakeOTLP()
    async with collector(sinks=[server()]) as metrics:
        metrics.record_counter("jobs", {}, 1)
    attributes = attributes_of(server.accepted[0].resource_metrics[0].resource.attributes)
    assert ("service.name", "string_value", "unknown_service:python") in attributes


async def test_large_requests_are_compressed_if_the_collector_says_so(autojump_clock: MockClock) -> None:
    """With gzip; and the body is the same message."""
    server = FakeOTLP()
    async with collector(BatchMetricsConfig(enable_compression=True), sinks=[server()]) as metrics:
        for number in range(100):
            metrics.record_counter("jobs", {"number": number}, 1)
    request = server.requests[0]
    assert request.headers["content-encoding"] == "gzip"
    assert gzip.decompress(request.content)[:1] == b"\x0a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"endpoint": 5}, "endpoint must be an http or https URL"),
        ({"endpoint": "ftp://a.example"}, "url must be an http or https URL"),
        ({"temporality": "delta"}, "temporality must be 'cumulative'"),
        ({"histograms": "exponential"}, "histograms must be 'explicit'"),
        ({"resource": [1]}, "resource must be a mapping"),
        ({"resource": {"": 1}}, "resource must have names"),
        ({"resource": {"a": None}}, "resource must have values of type str, bool, int or float"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    """The error names the argument."""
    arguments = {"endpoint": "http://a.example", **arguments}
    with pytest.raises(ConfigError, match=message):
        OTLPSink(**arguments)
