"""Prometheus' formats and names, and the sink that it scrapes.

::

    sink       PrometheusSink
    page       which series stand on a page, and under which name
    names      OpenTelemetry's names as Prometheus writes them
    families   what the families of a page are called
    lines      cells to lines
    text       numbers, bounds, labels and help as text
    asgi       serving a page
    registry   joining a registry of prometheus_client's
"""

from __future__ import annotations

from .sink import PrometheusSink

__all__ = ["PrometheusSink"]
