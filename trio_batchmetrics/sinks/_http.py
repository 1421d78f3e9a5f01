"""What every sink over HTTP shares: one server, who we are to it, and what its answers mean.

How this works
==============

An :class:`Endpoint` makes one request and returns an :class:`Answer`, or raises :class:`NoAnswer`; :func:`receipt_of`
says what an answer means for the payload. A sink is an :class:`HTTPSink` and says what its requests are.

===============================================  =========================================
2xx                                              delivered
no answer, 408, 425, 429, 5xx                    tried again, after ``Retry-After`` if given
413                                              halved; an event that is too large alone is rejected
any other                                        given up, with the server's words
===============================================  =========================================

Redirects are not followed: a POST that is redirected arrives as a GET, or takes its credentials elsewhere.
"""

from __future__ import annotations

import logging
import math
import os
import ssl
import time
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypedDict

import attrs
import trio

from .._compression import WORTHWHILE, compressed, compressor
from .._exceptions import ConfigError
from .._limits import checked_limits
from ..abc import Limits, Receipt, Sink, SinkContext
from ._credentials import Credentials, parsed_url

__all__ = [
    "Answer",
    "Endpoint",
    "EventSettings",
    "HTTPSettings",
    "HTTPSink",
    "NoAnswer",
    "SeriesSettings",
    "receipt_of",
]

_logger = logging.getLogger("trio_batchmetrics")

_WORDS = 300
"""Most characters of a server's answer in an error."""

_LOOKED_AT = 20_000
"""Bytes of an answer in which its words are looked for."""

_LONGEST = 4_000_000
"""Most bytes of an answer: one to 5000 events, each of them refused in 500 bytes, has 3 MB; to read it takes 0.1 s."""

_CHUNKS = 64
"""Pieces of an answer that are read between two checkpoints; httpx2 makes none where they have arrived already."""

_IDLE_SECONDS = 60.0
"""How long a connection is kept for the next payload: longer than most flush intervals."""

_RETRYABLE = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4)."""

_NOT_TAKEN = frozenset({425, 429, 503})
"""Those that say that the request was not carried out; after 408, 500, 502 or 504 it may have been."""


class HTTPSettings(TypedDict, total=False):
    """What every sink over HTTP takes, as keyword arguments."""

    headers: Mapping[str, str]
    """Headers of every request, over the sink's own."""
    auth: Any
    """``(user, password)`` for basic authentication, a str for a bearer token, or an ``httpx2.Auth``."""
    verify: bool | str | os.PathLike[str] | ssl.SSLContext
    """Whether to check the server's certificate; a file or folder of certificates to trust; or a TLS context."""
    client: Any
    """An ``httpx2.AsyncClient`` of the application's, used for every request and left open; it has its own TLS, proxy
    and time-out settings."""
    trust_env: bool
    """Whether to go through the proxies that the environment names (``HTTP_PROXY`` and the like). By default not."""
    codec: str
    """What ``enable_compression`` compresses with, where the server takes several: ``gzip`` or ``zstd``."""
    name: str | None
    """Key in ``stats().sinks``."""
    timeout: float
    """Seconds an attempt may take."""
    backoff: float
    """Seconds, at most, before the first retry."""
    max_backoff: float
    """Seconds, at most, before any."""
    limits: Limits | None
    """The largest labels that the server takes; events that exceed one are rejected before they are sent."""


class SeriesSettings(HTTPSettings, total=False):
    """What a series sink over HTTP takes, as keyword arguments."""

    refresh: float | timedelta | None
    """Seconds after a push until everything is pushed again, be there news or not; None: never."""


class EventSettings(HTTPSettings, total=False):
    """What an event sink over HTTP takes, as keyword arguments."""

    retry_budget: float
    """Seconds after a payload's first attempt from which on no retry begins."""
    max_events: int
    """Most events in a payload."""
    max_payload_bytes: int
    """Most bytes in a payload, before compression."""


@attrs.frozen
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """By name; any case will do."""
    body: bytes

    @property
    def words(self) -> str:
        """The body as one line, as far as it is worth looking at: to be scrubbed, and then cut."""
        return " ".join(self.body[:_LOOKED_AT].decode(errors="replace").split())


class NoAnswer(Exception):  # noqa: N818 - it is none: whether the request arrived is unknown
    """The server did not answer; what was sent may have arrived."""

    @property
    def receipt(self) -> Receipt:
        """What that means for the payload."""
        return Receipt(retry=True, uncertain=True, error=str(self))


class Endpoint:
    """One server, and one client that keeps its connections to it."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
        verify: bool | str | os.PathLike[str] | ssl.SSLContext = True,
        client: Any = None,
        trust_env: bool = False,
        codec: str = "gzip",
    ) -> None:
        """Know a server; no I/O.

        Args:
            url: its base URL; ``user:password@`` in it is basic authentication.
            headers: of every request.
            auth: basic, bearer, or an ``httpx2.Auth``.
            verify: of the server's certificate.
            client: to be used instead of one of our own.
            trust_env: whether to use the environment's proxies.
            codec: to compress with.

        Raises:
            ConfigError: the URL cannot be one; the message does not show it. Or there is no such codec.
            ImportError: httpx2 is not installed.
        """
        try:
            import httpx2
        except ImportError as exc:
            raise ImportError("sinks over HTTP need httpx2: pip install 'trio-batchmetrics[http]'") from exc
        self._httpx = httpx2
        self._base, self._host, auth = parsed_url(url, auth)
        try:
            httpx2.URL(self._base)
        except httpx2.InvalidURL:
            raise ConfigError("url must be an http or https URL (got one with characters that none has)") from None
        if not isinstance(verify, bool | str | os.PathLike | ssl.SSLContext):
            raise ConfigError(f"verify must be a bool, a path or an ssl.SSLContext (got {type(verify).__name__})")
        # identity: a body that cannot be decoded would leave httpx2's generators unfinished; answers are small anyway.
        usual = {"user-agent": "trio-batchmetrics", "accept-encoding": "identity"}
        self._credentials = Credentials(auth, {**usual, **(headers or {})})
        self._verify = verify
        self._trust_env = trust_env
        self._given = client
        self._client: Any = client
        compressor(codec)
        self._codec = codec
        self._compression_taken = False
        self._limiter = trio.CapacityLimiter(1)
        self.compress: bool = False
        """Whether to compress bodies; no more once the server has refused one."""

    def __repr__(self) -> str:
        """Show which server it is, without credentials or path."""
        return f"<Endpoint {self._host}>"

    @property
    def host(self) -> str:
        """Host and port."""
        return self._host

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Answer:
        """Make one request; compressed if that is asked for, and again uncompressed if the server does not take that.

        Args:
            method: such as ``POST``.
            path: below the base URL, already quoted; begins with a slash.
            body: what to send.
            params: the query.
            content_type: of the body.

        Raises:
            NoAnswer: there was none.
        """
        headers = dict(self._credentials.headers)
        if content_type is not None:
            headers["content-type"] = content_type
        if body is None or not self.compress or len(body) < WORTHWHILE:
            return await self._ask(method, path, params, headers, body)
        small = await compressed(self._codec, body, self._limiter)
        answer = await self._ask(method, path, params, {**headers, "content-encoding": self._codec}, small)
        if answer.status == 415 or (answer.status == 400 and not self._compression_taken):
            answer = await self._ask(method, path, params, headers, body)
            if answer.status < 400:
                self.compress = False
                _logger.warning("metrics: %s does not take %s; sent uncompressed from now on", self._host, self._codec)
        elif answer.status < 300:
            self._compression_taken = True
        return answer

    async def _ask(
        self, method: str, path: str, params: Mapping[str, str] | None, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        if self._client is None:
            self._client = await self._made()
        auth = {} if self._credentials.auth is None else {"auth": self._credentials.auth}
        url = self._base + path
        try:
            async with self._client.stream(
                method, url, params=params, headers=headers, content=body, follow_redirects=False, **auth
            ) as response:
                return Answer(response.status_code, response.headers, await _body_of(response))
        except NoAnswer:
            raise
        except self._httpx.HTTPStatusError as exc:  # of a hook of the application's client: it is an answer
            response = exc.response
            return Answer(response.status_code, response.headers, b"")
        except Exception as exc:  # a client of the application's may raise anything, when the request has arrived too
            raise NoAnswer(self.scrubbed(_why(exc))) from exc

    async def _made(self) -> Any:
        """Make a client of our own; reading the system's certificates takes a while, so in a thread."""
        verify: Any = False  # what is not encrypted needs no certificates
        if self._base.startswith("https:"):
            verify = self._verify
            if not isinstance(verify, ssl.SSLContext) and verify is not False:
                make = partial(_context, self._httpx, verify, self._trust_env)
                verify = await trio.to_thread.run_sync(make, abandon_on_cancel=True)
        return self._httpx.AsyncClient(
            verify=verify,
            trust_env=self._trust_env,
            timeout=None,
            limits=self._httpx.Limits(max_connections=2, keepalive_expiry=_IDLE_SECONDS),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none: they would pile up
        )

    def scrubbed(self, words: str) -> str:
        """Return words without a credential in them; to be done before they are cut."""
        return self._credentials.scrubbed(words)

    async def aclose(self) -> None:
        """Close our own client's connections; the application's is left open."""
        client, self._client = self._client, self._given
        if client is not None and client is not self._given:
            await client.aclose()


def receipt_of(answer: Answer, endpoint: Endpoint) -> Receipt:
    """Say what an answer means for the whole payload."""
    status = answer.status
    if 200 <= status < 300:
        return Receipt()
    words = endpoint.scrubbed(answer.words)[:_WORDS]
    error = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if status == 413:
        return Receipt(too_large=True, error=error)
    if status in _RETRYABLE or status >= 500:
        pause = retry_after(answer.headers.get("retry-after"))
        return Receipt(retry=True, retry_after=pause, error=error, uncertain=status not in _NOT_TAKEN)
    return Receipt(error=error)


def retry_after(header: str | None) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, given as a number or a date (RFC 9110 §10.2.3).

    None where there is no such header, or it makes no sense. A date in the past is 0 or less. The delivery engine caps
    what is too long.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) else None


def _why(error: Exception) -> str:
    """Return what kind of error it was, and in words what went wrong, which may stand in what caused it."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__ if cause is None else f"{type(error).__name__}: {cause}"


async def _body_of(response: Any) -> bytes:
    """Read an answer's body.

    Raises:
        NoAnswer: it is encoded, which was not asked for, or beyond all measure.
    """
    if response.is_stream_consumed:  # a transport that has read it already
        content: bytes = response.content
        return content
    if response.headers.get("content-encoding", "identity") not in ("", "identity"):
        raise NoAnswer("an answer in an encoding that was not asked for")
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size <= _LONGEST:
            chunks.append(chunk)  # the rest is read, so that nothing is left half done, and forgotten
        if len(chunks) % _CHUNKS == 0 or size > _LONGEST:
            await trio.lowlevel.checkpoint()
    if size > _LONGEST:
        raise NoAnswer(f"an answer of more than {_LONGEST} bytes")
    return b"".join(chunks)


class HTTPSink(Sink):
    """A sink whose back-end is one HTTP server: to be inherited beside ``EventSink`` or ``SeriesSink``."""

    def __init__(self, url: str, settings: HTTPSettings, **own: Any) -> None:
        """Set up the server and the delivery.

        Args:
            url: the server's base URL.
            settings: as the user gave them.
            own: of these, what the sink itself decides (``headers=``, for a token).
        """
        given: dict[str, Any] = {**settings, **own}
        theirs = {key: given.pop(key) for key in _ENDPOINT & given.keys()}
        self._limits: Limits | None = checked_limits(given.pop("limits", None))
        super().__init__(**given)
        self.server: Endpoint = Endpoint(url, **theirs)

    def __repr__(self) -> str:
        """Show what it speaks to, without credentials or path."""
        return f"<{type(self).__name__} {self.server.host}>"

    def bind(self, context: SinkContext) -> None:
        """Take what the collector tells."""
        super().bind(context)
        self.server.compress = context.enable_compression

    async def aclose(self) -> None:
        """Close the connections."""
        await self.server.aclose()


_ENDPOINT = {"headers", "auth", "verify", "client", "trust_env", "codec"}


def _context(httpx: Any, verify: bool | str | os.PathLike[str], trust_env: bool) -> ssl.SSLContext:
    if isinstance(verify, bool):
        made: ssl.SSLContext = httpx.create_ssl_context(verify=verify, trust_env=trust_env)
        return made
    try:
        return ssl.create_default_context(cafile=verify)
    except IsADirectoryError:
        return ssl.create_default_context(capath=verify)
