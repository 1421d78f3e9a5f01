"""The sink's pages as tests read them, content types, and the official client library."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.sinks.prometheus_parsing import Parsed, parsed
from trio_batchmetrics import MetricEvent
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import PrometheusSink

__all__ = ["PROMETHEUS_3", "STRICT", "TEXT", "client", "filled", "read"]

client: Any = import_module("prometheus_client")

TEXT = "text/plain; version=0.0.4; charset=utf-8"
STRICT = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def read(sink: PrometheusSink, accept: str | None = None) -> Parsed:
    """Return the parsed page."""
    body, content_type = sink.render(accept)
    return parsed(body, openmetrics=content_type == STRICT)


def filled(*events: MetricEvent) -> PrometheusSink:
    """Return a sink into which these events are merged."""
    sink = PrometheusSink()
    sink.bind(SinkContext(max_series=100_000))
    sink.merge(events)
    return sink


PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
