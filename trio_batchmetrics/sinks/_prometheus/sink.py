"""Series for Prometheus to scrape, in its text format and in OpenMetrics.

How this works
==============

The flush task merges events in Trio's thread (``page.py`` decides what a series is called, and what has no
place). A page is written when it is asked for, in whatever thread, from the series as they stand
(``lines.py``); nobody waits for anybody. ``registry.py`` joins a registry of
prometheus_client's, ``asgi.py`` serves the page.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import trio

from ..._exceptions import ConfigError
from ..._schema import MetricEvent
from ...abc import Payload, SeriesSink, SinkContext
from .asgi import MetricsApp, wants_openmetrics
from .page import Page
from .registry import Membership, Registry, client_for

__all__ = ["PrometheusSink"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_NS = 1_000_000_000


class PrometheusSink(SeriesSink[None]):
    """Keeps cumulative series for Prometheus to scrape.

    *Delivered* means: merged into the series, so that the next page has it. A scrape that fails loses nothing; what
    nobody has scraped when the process ends is lost.

    Names are translated as Prometheus itself translates OpenTelemetry's: ``http.server.request.duration`` in seconds is
    ``http_server_request_duration_seconds``, the counter ``cache.operations`` is ``cache_operations_total``.
    Instruments that come to have the same name, type and unit share a family. What would make a page that Prometheus
    refuses (the same name with another type or unit, the same labels twice) is left out, whoever came last; that is
    logged once and counted in :attr:`left_out`. In OpenMetrics, a histogram whose sum is or may become negative has
    neither sum nor count.

    Example:
        >>> import trio
        >>> from trio_batchmetrics import CacheMetric, collector
        >>> from trio_batchmetrics.sinks import PrometheusSink
        >>> prometheus = PrometheusSink()
        >>> async def main():
        ...     async with collector(sinks=[prometheus]) as metrics:
        ...         metrics.record_cache_metric("redis", "hit")
        >>> trio.run(main)
        >>> body, content_type = prometheus.render()
        >>> print(body.decode(), end="")
        # HELP cache_operations_total cache.operations
        # TYPE cache_operations_total counter
        cache_operations_total{cache_operation="hit",cache_type="redis"} 1.0
    """

    scraped = True

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        expire_after: float | timedelta | None = None,
        name: str | None = None,
    ) -> None:
        """Have no series yet.

        Args:
            registry: a ``prometheus_client.CollectorRegistry`` (or its ``REGISTRY``) that shows the series beside its
                own metrics from the block's start on, also after its end, until another sink joins it.
            expire_after: seconds (or a ``timedelta``) after which a series to which nothing was added is on no page any
                more, and forgotten: should it come back, it begins at 0. None: never. By Trio's clock.
            name: key in ``stats().sinks``.

        Raises:
            ImportError: there is a registry, but prometheus_client is not installed (the extra ``prometheus``).
            ConfigError: a bad value. When its collector opens: another open collector's sink has joined the registry.
        """
        super().__init__(name=name)
        self._registry = registry
        self._client = None if registry is None else client_for(registry)
        self._expire_after = None if expire_after is None else _nanoseconds("expire_after", expire_after)
        self._membership: Membership | None = None
        self._open = False
        self._page = Page(None, time.monotonic_ns, None)

    def bind(self, context: SinkContext) -> None:
        """Begin with no series, and join the registry, if there is one."""
        super().bind(context)
        page = Page(context, _clock(), self._expire_after)
        if self._registry is not None:
            self._membership = Membership.of(self._registry, self._client, self, page)
        self._page, self._open = page, True

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add events to the series."""
        self._page.merge(events)

    async def send(self, payload: Payload[None]) -> None:
        """Do nothing: it is scraped."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Leave the registry to the next sink that wants it. The series stay."""
        self._open = False
        await trio.lowlevel.checkpoint()

    @property
    def is_open(self) -> bool:
        """Whether its collector is open."""
        return self._open

    @property
    def left_out(self) -> int:
        """How many series are on no page now, because others have their name or their labels."""
        return self._page.left_out(() if self._membership is None else self._membership.taken)

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """Return the page as it stands.

        Before, in and after the block, in any thread. Each series is consistent in itself: a histogram's count is that
        of its buckets and belongs to its sum.

        Args:
            accept: an HTTP request's ``Accept`` header. OpenMetrics 1.0 where it asks for that by name and for plain
                text no more, else text 0.0.4.

        Returns:
            The page in UTF-8, and its content type.
        """
        openmetrics = wants_openmetrics(accept)
        return self._page.write(openmetrics=openmetrics), _OPENMETRICS if openmetrics else _TEXT

    def asgi_app(self) -> MetricsApp:
        """Return an ASGI 3 application that answers GET and HEAD, on whatever path it is mounted, with the page.

        Compressed with gzip where the client allows it; in a worker thread if the page is large and this is Trio.
        """
        return MetricsApp(self.render)


def _clock() -> Callable[[], int]:
    """Return a clock that tells nanoseconds, in any thread and for ever: that of the Trio run, if there is one."""
    if not trio.lowlevel.in_trio_run():
        return time.monotonic_ns
    clock = trio.lowlevel.current_clock()
    return lambda: int(clock.current_time() * _NS)


def _nanoseconds(name: str, duration: float | timedelta) -> int:
    seconds: object = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ConfigError(f"{name} must be seconds > 0, a timedelta > 0 or None (got {duration!r})")
    return int(seconds * _NS)
