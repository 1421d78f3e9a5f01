"""Cumulative series over OTLP."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Unpack

from ..._http import HTTPSink, NoResponseError, SeriesSettings, excerpt
from ...abc import ConfigError, MetricEvent, Payload, Receipt, SeriesSink, SeriesStore, SinkContext
from .environment import Environment
from .identity import OTLPIdentity
from .points import Piece, SeriesSlots, pieces
from .requests import Request, requests_of
from .resource import encoded_resource, encoded_scope, resource_attributes
from .response import outcome_of, partial_success

__all__ = ["OTLPSink"]

_CONTENT_TYPE = "application/x-protobuf"

_MILLISECOND = 1_000_000
"""In nanoseconds: the resolution of Prometheus, which refuses two values at one time."""

_MAX_HALVINGS = 64
"""How many requests a push may halve to find refused data points. Finding one of 2 000 takes 11."""

_logger = logging.getLogger("trio_batchmetrics")


class OTLPSink(HTTPSink, SeriesSink[Piece]):
    """Sends cumulative series over OTLP/HTTP, in Protocol Buffers: to a Collector, and to any back-end of OTLP.

    *Delivered* means that the server responded with 2xx to a push that contains the event. Each push has every series,
    with its value since it began, so a failed push loses nothing if a later one succeeds.

    Counters are monotonic sums, gauges are gauges, histograms have explicit buckets. Labels are attributes that keep
    their type: ``str``, ``bool``, ``int`` or ``float``. The resource names the service (``service.name`` and other
    static labels that begin with ``service.``), and the run of the collector (``service.instance.id``). All points of a
    push have the same time, later than that of any earlier push by at least a millisecond, even if the wall clock
    steps back. Each point has the time at which its series began.

    Failures:

    * *Retried*: no response, 429, 502, 503 and 504; the next attempt has the series' state at that time.
    * *Halved*: a request that the server refuses with 400 or 413, to find the data points that are at fault. Exactly
      the events of the refused series are rejected, and these series are left out until they change.
    * *Partial success*: the server accepts a request, but not all of its data points. It doesn't say which. If it
      accepted none, the events of these series are rejected; otherwise ``last_error`` has the server's message.
    * *Given up*: any other status. The events of this push have failed; the next push has the series' values
      nevertheless.

    Example:
        >>> from trio_batchmetrics.sinks import OTLPSink
        >>> OTLPSink("http://localhost:4318", resource={"deployment.environment.name": "staging"})
        <OTLPSink localhost:4318>
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        temporality: Literal["cumulative"] = "cumulative",
        histograms: Literal["explicit"] = "explicit",
        resource: Mapping[str, Any] | None = None,
        **settings: Unpack[SeriesSettings],
    ) -> None:
        """Create a sink for a server. No network I/O here.

        Args:
            endpoint: the server's base URL, to which ``/v1/metrics`` is added. None: the environment's variables say
                where and how to send, as in :meth:`from_env`; an argument wins over its variable.
            temporality: whether a point has the sum since its series began. Only ``"cumulative"`` so far.
            histograms: the kind of buckets. Only ``"explicit"`` so far.
            resource: further attributes of the resource: str, bool, int or float by name.
            settings: connection and delivery settings.

        Raises:
            ConfigError: a setting is invalid; the message names it, and shows no credential.
            ImportError: httpx2 is not installed.
        """
        environment = Environment.read() if endpoint is None else Environment(endpoint=_checked(endpoint))
        given: Any = {**environment.settings, **settings}  # an argument wins over its variable
        if given.get("client") is not None and "verify" not in settings:
            given.pop("verify", None)  # the application's client has its own certificates
        super().__init__(environment.base, given)
        if temporality != "cumulative":
            raise ConfigError(f"temporality must be 'cumulative' (got {temporality!r})")
        if histograms != "explicit":
            raise ConfigError(f"histograms must be 'explicit' (got {histograms!r})")
        self._path = environment.path
        self._compress = environment.compress
        self._given = {**environment.resource, **_checked_resource({} if resource is None else resource)}
        self._scope = encoded_scope()
        self._now = 0
        self._warned = False
        self._start_store()

    @classmethod
    def from_env(cls, **arguments: Any) -> OTLPSink:
        """Create a sink from the variables that OpenTelemetry specifies; see the how-to for their list.

        Args:
            arguments: the keyword arguments of the class; they win over the variables.

        Raises:
            ConfigError: an argument, an endpoint or a file of certificates is invalid.
            ImportError: httpx2 is not installed.
        """
        return cls(None, **arguments)

    def bind(self, context: SinkContext) -> None:
        """Bind the sink to a collector's context, and start without series."""
        super().bind(context)
        if self._compress is not None:
            self.server.begin(compress=self._compress)
        self._start_store()

    def _start_store(self) -> None:
        self._resource = encoded_resource(resource_attributes(self.context, self._given))
        self._store = SeriesStore(
            self.context,
            identity=OTLPIdentity(self.context.static_labels, self._limits),
            observer=SeriesSlots(),
            typed_labels=True,
        )
        self.snapshot_store: SeriesStore | None = self._store

    @property
    def overflowed(self) -> Mapping[str, int]:
        """By instrument, the number of events that lost their labels to ``max_series``."""
        return self._store.overflowed

    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add events to the series; return the reasons for those that are refused, by position."""
        return self._store.merge(events)

    def snapshot(self) -> Iterator[Piece]:
        """Yield the data points of every series, some at a time."""
        # Later than any start time: the store's own clock never steps back either.
        self._now = max(time.time_ns(), self._now + _MILLISECOND, self._store.generation + 1)
        yield from pieces(self._store.live_series(), self._now)

    async def send(self, payload: Payload[Piece]) -> Receipt | None:
        """Make one attempt: one request or more, in order."""
        waiting = deque(requests_of(payload.parts, self.points_per_part))
        halvings_left = _MAX_HALVINGS
        rejected: dict[int, str] = {}
        error: str | None = None
        while waiting:
            request = waiting.popleft()
            receipt = await self._post(request)
            match receipt.rest:
                case "delivered":
                    rejected |= receipt.rejected
                case "split" if request.count == 1:
                    rejected[request.positions[0]] = receipt.error or "refused"
                case "split" if halvings_left:
                    halvings_left -= 1
                    waiting.extendleft(reversed(request.halves()))
                    continue
                case "split":  # too many are at fault to find them all in one push
                    return Receipt.retried(error=receipt.error, rejected=rejected)
                case "failed":
                    return Receipt(rejected=rejected, rest="failed", error=receipt.error)
                case "retry":
                    return Receipt.retried(receipt.retry_after, error=receipt.error, rejected=rejected)
            error = receipt.error or error
        return Receipt(rejected=rejected, error=error)

    async def _post(self, request: Request) -> Receipt:
        """Make one request. Returns the receipt for its data points; ``rejected`` names positions in the snapshot."""
        body = request.body(self._resource, self._scope)
        try:
            response = await self.server.request("POST", self._path, body, content_type=_CONTENT_TYPE)
        except NoResponseError as exc:
            return exc.receipt
        receipt = outcome_of(response, self.server)
        if receipt.rest != "delivered":
            return receipt
        partial = partial_success(response)
        if not partial.rejected and not partial.message:
            return receipt
        words = excerpt(partial.message, self.server)
        if partial.rejected >= request.count:
            return Receipt(rejected=dict.fromkeys(request.positions, words or "refused by the server"))
        refused = f"{partial.rejected} of {request.count} data points refused" if partial.rejected else "warning"
        error = f"{refused}: {words}"
        if not self._warned:
            self._warned = True
            _logger.warning("metrics: %s: %s", self.server.host, error)
        return Receipt(error=error if partial.rejected else None)


def _checked(endpoint: Any) -> str:
    if not isinstance(endpoint, str):
        raise ConfigError(f"endpoint must be an http or https URL, or None (got {type(endpoint).__name__})")
    return endpoint


def _checked_resource(resource: Any) -> dict[str, Any]:
    """Return a copy of the resource's attributes.

    Raises:
        ConfigError: it isn't a mapping of names to str, bool, int or float.
    """
    if not isinstance(resource, Mapping):
        raise ConfigError(f"resource must be a mapping of names to values (got {type(resource).__name__})")
    attributes: dict[Any, Any] = {**resource}
    for name, value in attributes.items():
        if not isinstance(name, str) or not name:
            raise ConfigError(f"resource must have names that are str and not empty (got {name!r})")
        if not isinstance(value, str | bool | int | float):
            raise ConfigError(f"resource must have values of type str, bool, int or float (got {value!r} for {name!r})")
    return attributes
