"""InfluxDB's line protocol, and the sinks that speak it, to VictoriaMetrics too.

::

    sink           InfluxDBSink: events
    series_sink    InfluxDBSeriesSink: cumulative series
    server         who the server is, and what it makes of lines
    target         where lines go: a database or a bucket, by which API
    answers        what the answers to a write mean for each event
    writer         events to lines, fast
    series_lines   series to lines
    heads          what lines begin with, once for each series
    fields         values in a line, and whole lines
    line_protocol  escaping, and what cannot be carried
    timestamps     that never collide within a series
"""

from __future__ import annotations

from .series_sink import InfluxDBSeriesSink
from .sink import InfluxDBSink

__all__ = ["InfluxDBSeriesSink", "InfluxDBSink"]
