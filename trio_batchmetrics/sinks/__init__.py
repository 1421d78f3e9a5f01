"""The sinks that come with the library: one module or folder per back-end. Importable without their extras.

A sink over HTTP inherits ``_http.HTTPSink``, and ``EventSink`` or ``SeriesSink``. Its ``send`` makes a request with
``self.server``, maps the response with ``receipt_from``, and catches ``NoResponseError``.
"""

from __future__ import annotations

from ._elasticsearch import ElasticsearchSink
from ._influxdb import InfluxDBSeriesSink, InfluxDBSink
from ._jsonlines.sink import JSONLinesSink
from ._logging import LoggingSink
from ._otlp import OTLPSink
from ._prometheus import PrometheusSink
from ._pushgateway import PushgatewaySink
from ._sqlite.sink import SQLiteSink

__all__ = [
    "ElasticsearchSink",
    "InfluxDBSeriesSink",
    "InfluxDBSink",
    "JSONLinesSink",
    "LoggingSink",
    "OTLPSink",
    "PrometheusSink",
    "PushgatewaySink",
    "SQLiteSink",
]
