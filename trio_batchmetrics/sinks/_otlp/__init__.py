"""OTLP over HTTP: OpenTelemetry's own protocol, to a Collector and to any back-end that accepts it.

::

    sink         OTLPSink
    points       series to encoded data points
    requests     encoded data points to the bodies of requests, within the limits
    identity     which series are the same
    resource     the process and the library, as resource and scope
    response     the meaning of a response
    environment  the variables that OpenTelemetry specifies
"""

from __future__ import annotations

from .sink import OTLPSink

__all__ = ["OTLPSink"]
