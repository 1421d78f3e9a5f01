"""What every sink over HTTP shares: one server, who we are to it, and what its answers mean.

::

    sink         HTTPSink: a sink whose back-end is one HTTP server
    settings     the keyword arguments that all of them take
    endpoint     Endpoint: one server and one client that keeps its connections
    answers      Answer, NoAnswer, and what an answer means for the payload
    bodies       reading a body: decoded, bounded, and never more important than the status
    redirects    where a redirect points
    credentials  the headers and the authentication of every request
    scrubbing    taking secrets, paths and queries out of any text
    tls          certificates
    quiet        what the HTTP client's own loggers must not show
    url          the base URL
"""

from __future__ import annotations

from .answers import Answer, NoAnswer, receipt_of, retry_after
from .endpoint import Endpoint
from .settings import EventSettings, HTTPSettings, SeriesSettings
from .sink import HTTPSink

__all__ = [
    "Answer",
    "Endpoint",
    "EventSettings",
    "HTTPSettings",
    "HTTPSink",
    "NoAnswer",
    "SeriesSettings",
    "receipt_of",
    "retry_after",
]
