"""InfluxDB's line protocol, and the sinks that use it, for VictoriaMetrics, too.

::

    sink           InfluxDBSink: events
    series_sink    InfluxDBSeriesSink: cumulative series
    server         the server: its dialect, and the writes to it
    target         where lines go: a database or a bucket, and by which API
    responses      the outcome of each event in a response to a write
    writer         events to lines, fast
    series_lines   series to lines
    prefixes       the start of a line, built once per series
    fields         values in a line, and whole lines
    line_protocol  escaping, and the replacement of unsupported characters
    timestamps     timestamps that never collide within a series
    limits         the largest names and labels that the servers accept
    identity       which instruments and series the servers can distinguish
"""

from __future__ import annotations

from .series_sink import InfluxDBSeriesSink
from .sink import InfluxDBSink

__all__ = ["InfluxDBSeriesSink", "InfluxDBSink"]
