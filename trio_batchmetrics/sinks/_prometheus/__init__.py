"""Prometheus' formats and names, and the sink that it scrapes.

::

    sink       PrometheusSink
    page       the series on a page
    freshness  merges everything before a page is written
    identity   which names and labels Prometheus can distinguish
    names      OpenTelemetry's names in Prometheus' notation
    families   the families of a page
    lines      series to lines
    text       numbers, bounds, labels and help as text
    asgi       serves a page
    registry   joins a prometheus_client registry
"""

from __future__ import annotations

from .sink import PrometheusSink

__all__ = ["PrometheusSink"]
