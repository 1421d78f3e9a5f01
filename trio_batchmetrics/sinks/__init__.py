"""The sinks that come with the library, one back-end a module. Importable without their extras."""

from __future__ import annotations

from ._elasticsearch import ElasticsearchSink
from ._influxdb import InfluxDBSink
from ._influxdb_series import InfluxDBSeriesSink
from ._jsonlines import JSONLinesSink
from ._logging import LoggingSink
from ._prometheus import PrometheusSink
from ._pushgateway import PushgatewaySink
from ._sqlite import SQLiteSink

__all__ = [
    "ElasticsearchSink",
    "InfluxDBSeriesSink",
    "InfluxDBSink",
    "JSONLinesSink",
    "LoggingSink",
    "PrometheusSink",
    "PushgatewaySink",
    "SQLiteSink",
]
