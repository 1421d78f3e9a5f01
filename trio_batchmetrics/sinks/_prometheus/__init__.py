"""Prometheus' formats and names, and the sink that it scrapes.

::

    sink       PrometheusSink
    page       the series that stand on a page
    freshness  having everything merged before a page is written
    identity   what Prometheus can tell apart
    names      OpenTelemetry's names as Prometheus writes them
    families   the families of a page
    lines      cells to lines
    text       numbers, bounds, labels and help as text
    asgi       serving a page
    registry   joining a registry of prometheus_client's
"""

from __future__ import annotations

from .sink import PrometheusSink

__all__ = ["PrometheusSink"]
