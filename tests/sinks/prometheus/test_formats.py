"""A client that asks for OpenMetrics or gzip gets it, and every other client gets plain text."""

from __future__ import annotations

import pytest

from tests.sinks.prometheus.pages import PROMETHEUS_3
from tests.sinks.prometheus_parsing import OPENMETRICS
from trio_batchmetrics.sinks._prometheus.asgi import wants_gzip, wants_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," + PROMETHEUS_3
)
TEXT_FIRST = "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize("accept", [
    *(PROMETHEUS_2, PROMETHEUS_3, PROTOBUF_FIRST, OPENMETRICS, "application/openmetrics-text"),
    *("Application/OpenMetrics-Text ; Version=1.0.0", 'application/openmetrics-text; version="1.0.0"; charset=utf-8'),
    *("application/openmetrics-text, text/plain", "application/openmetrics-text;q=0.1"),
    f"{OPENMETRICS};q=0.5, */*;q=0.5",
    *(f"{OPENMETRICS}, text/plain;q=high", f"text/plain;q=0.4,{OPENMETRICS};q=0.9,,;,=;q"),
    "*/*;q=0.9, text/plain;q=0.2, application/openmetrics-text;version=1.0.0;q=0.3",
])  # fmt: skip
def test_clients_that_ask_for_openmetrics_get_it(accept: str) -> None:
    """Prometheus asks for it first."""
    assert wants_openmetrics(accept)


@pytest.mark.parametrize("accept", [
    *(None, "", "*/*", "text/plain", "text/*", "application/*", "*", BROWSER, TEXT_FIRST, "text/plain;version=0.0.4"),
    *("application/openmetrics-text;q=0", "application/openmetrics-text;version=0.0.1", "application/json"),
    *("application/openmetrics-text;version=2.0.0", f"{OPENMETRICS};q=0.5, text/*;q=0.6", f"{OPENMETRICS};q=0.5, */*"),
    *(f"{OPENMETRICS};q=nan", f"{OPENMETRICS};q=2", f"{OPENMETRICS};q=-1", f"{OPENMETRICS};q=", ";;;,,,===", "\xff"),
])  # fmt: skip
def test_all_other_clients_get_text(accept: str | None) -> None:
    """That includes clients that ask for an unavailable format, or send a header that can't be parsed."""
    assert not wants_openmetrics(accept)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        *[("gzip", True), ("GZIP", True), ("gzip, deflate, br, zstd", True), ("gzip;q=0.5", True), ("*", True)],
        *[("x-gzip", True), ("identity;q=0.5, gzip", True), ("br;q=1.0, gzip;q=0.8, *;q=0.1", True)],
        *[(None, False), ("", False), ("identity", False), ("gzip;q=0", False), ("gzip;q=0.000", False), ("br", False)],
        *[("*;q=0", False), ("gzip;q=0, *", False), ("identity, gzip;q=0.5", False), ("gzip;q=x", False)],
    ],
)
def test_gzip_is_used_only_for_clients_that_accept_it(accept_encoding: str | None, expected: bool) -> None:
    """They must also prefer it to no compression."""
    assert wants_gzip(accept_encoding) is expected
