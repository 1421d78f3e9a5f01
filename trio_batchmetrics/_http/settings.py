"""The keyword arguments of every HTTP sink."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict

from ..abc import Limits

__all__ = ["EventSettings", "HTTPSettings", "SeriesSettings"]


class HTTPSettings(TypedDict, total=False):
    """The keyword arguments of every HTTP sink. Durations are seconds or a ``timedelta``."""

    headers: Mapping[str, str]
    """Headers of every request; they override the sink's own."""
    auth: Any
    """``(user, password)`` for basic authentication, a str for a bearer token, or an ``httpx2.Auth``."""
    token_file: str | os.PathLike[str]
    """A file with a bearer token, or with a scheme and a token (``ApiKey …``). The sink reads it before the first
    request, and again after a 401; if it has another token by then, the sink repeats the request at once."""
    verify: bool | str | os.PathLike[str] | ssl.SSLContext
    """Whether to check the server's certificate; a file or folder of certificates to trust; or a TLS context. The
    default trusts the system's certificates, or those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name."""
    client: Any
    """The application's ``httpx2.AsyncClient``, used for every request and left open. It has its own TLS, proxy and
    time-out settings, and logs as its owner configured it."""
    trust_env: bool
    """Whether to use the proxies that the environment names (``HTTP_PROXY`` and the like). False by default."""
    codec: str
    """The codec that ``enable_compression`` uses, if the server supports several: ``gzip`` or ``zstd``."""
    name: str | None
    """Key in ``stats().sinks``."""
    timeout: float | timedelta
    """The maximum duration of an attempt."""
    retry_budget: float | timedelta
    """Time after a payload's first attempt from which no retry starts. A series sink ignores it: it has no payload to
    give up, since each push has the latest state."""
    backoff: float | timedelta
    """The maximum pause before the first retry."""
    max_backoff: float | timedelta
    """The maximum pause before any retry."""
    limits: Limits | None
    """The largest labels that the server accepts; the sink rejects events that exceed a limit before it sends them."""


class SeriesSettings(HTTPSettings, total=False):
    """The keyword arguments of an HTTP series sink."""

    refresh: float | timedelta | None
    """Time after a push until everything is pushed again, whether or not anything has changed; None: never."""


class EventSettings(HTTPSettings, total=False):
    """The keyword arguments of an HTTP event sink."""

    max_events: int
    """Maximum number of events in a payload."""
    max_payload_bytes: int
    """Maximum number of bytes in a payload, before compression."""
