"""The parts that all HTTP sinks share: one server, the credentials for it, and the meaning of its responses.

::

    sink         HTTPSink: a sink whose back-end is one HTTP server
    settings     the keyword arguments that every HTTP sink takes
    endpoint     Endpoint: one server, and one client that keeps its connections
    url          checking and splitting the base URL
    responses    Response, NoResponseError (its absence), and their meaning for the payload
    bodies       reading a response's body: decoded, bounded, and never more important than the status
    redirects    where a redirect points, and whether it is followed
    uploads      sending large request bodies in pieces
    compression  compressing request bodies, in a worker thread if they are large
    credentials  the headers and the authentication of every request
    tls          which certificates are trusted
    scrubbing    removing secrets, paths and queries from any text
    unescaping   finding a secret that a text shows escaped
    quiet        keeping our requests out of the HTTP client's own log

Imports ``abc``, ``_events`` and ``_exceptions``. ``sinks._elasticsearch``, ``sinks._influxdb``,
``sinks._otlp`` and ``sinks._pushgateway`` build on it; nothing else imports it.
"""

from __future__ import annotations

from .endpoint import Endpoint
from .responses import NoResponseError, Response, excerpt, push_receipt_from, receipt_from, retry_after
from .settings import EventSettings, HTTPSettings, SeriesSettings
from .sink import HTTPSink

__all__ = [
    "Endpoint",
    "EventSettings",
    "HTTPSettings",
    "HTTPSink",
    "NoResponseError",
    "Response",
    "SeriesSettings",
    "excerpt",
    "push_receipt_from",
    "receipt_from",
    "retry_after",
]
