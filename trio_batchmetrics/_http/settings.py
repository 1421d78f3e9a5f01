"""The keyword arguments that every sink over HTTP takes."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict

from ..abc import Limits

__all__ = ["EventSettings", "HTTPSettings", "SeriesSettings"]


class HTTPSettings(TypedDict, total=False):
    """What every sink over HTTP takes, as keyword arguments. Durations are seconds or a ``timedelta``."""

    headers: Mapping[str, str]
    """Headers of every request, over the sink's own."""
    auth: Any
    """``(user, password)`` for basic authentication, a str for a bearer token, or an ``httpx2.Auth``."""
    token_file: str | os.PathLike[str]
    """A file with a bearer token, or with a scheme and a token (``ApiKey …``). It is read before the first request, and
    again after a 401; where it has another token by then, the request is made again at once."""
    verify: bool | str | os.PathLike[str] | ssl.SSLContext
    """Whether to check the server's certificate; a file or folder of certificates to trust; or a TLS context. By
    default the system's certificates, or those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name."""
    client: Any
    """An ``httpx2.AsyncClient`` of the application's, used for every request and left open; it has its own TLS, proxy
    and time-out settings, and logs as its owner configured it."""
    trust_env: bool
    """Whether to go through the proxies that the environment names (``HTTP_PROXY`` and the like). By default not."""
    codec: str
    """What ``enable_compression`` compresses with, where the server takes several: ``gzip`` or ``zstd``."""
    name: str | None
    """Key in ``stats().sinks``."""
    timeout: float | timedelta
    """The longest that an attempt may take."""
    retry_budget: float | timedelta
    """Time after a payload's first attempt from which on no retry begins. A series sink ignores it: it has no payload
    to give up, since each push has the latest state."""
    backoff: float | timedelta
    """The longest pause before the first retry."""
    max_backoff: float | timedelta
    """The longest pause before any retry."""
    limits: Limits | None
    """The largest labels that the server takes; events that exceed one are rejected before they are sent."""


class SeriesSettings(HTTPSettings, total=False):
    """What a series sink over HTTP takes, as keyword arguments."""

    refresh: float | timedelta | None
    """Time after a push until everything is pushed again, whether there is anything new or not; None: never."""


class EventSettings(HTTPSettings, total=False):
    """What an event sink over HTTP takes, as keyword arguments."""

    max_events: int
    """Most events in a payload."""
    max_payload_bytes: int
    """Most bytes in a payload, before compression."""
