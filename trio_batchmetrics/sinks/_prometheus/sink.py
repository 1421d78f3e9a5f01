"""Series for Prometheus to scrape, in its text format and in OpenMetrics.

How this works
==============

The flush task merges events in Trio's thread (``page.py`` decides how series are named and which are refused). A page
is written on request, in any thread or in steps on the run loop, from the current series (``lines.py``); no thread
waits for another. ``registry.py`` joins a prometheus_client registry, ``asgi.py`` serves the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import trio

from ...abc import (
    ConfigError,
    Limits,
    MetricEvent,
    Payload,
    SeriesSink,
    SeriesStore,
    SinkContext,
    checked_seconds,
    in_steps,
    joined,
)
from .asgi import MetricsApp, wants_openmetrics
from .freshness import SharedHandOver
from .page import Page
from .registry import Registry, RegistryCollector, client_for

__all__ = ["PrometheusSink"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_NS = 1_000_000_000
_MAX_SECONDS = 1e10
"""Seconds: 317 years."""


class PrometheusSink(SeriesSink[None]):
    """Keeps cumulative series for Prometheus to scrape.

    *Delivered* means merged into the series, so that the next page has it. A failed scrape loses nothing; values that
    were not scraped before the process ends are lost.

    Names are translated as Prometheus itself translates OpenTelemetry's: ``http.server.request.duration`` in seconds is
    ``http_server_request_duration_seconds``, the counter ``cache.operations`` is ``cache_operations_total``.
    Series whose translated names and labels are equal are one series, added up; a gauge keeps the latest value. An
    instrument whose translated name already belongs to another, with a different type or unit, is refused: its events
    count as rejected. In OpenMetrics, a histogram whose sum is or may become negative has neither sum nor count.

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
        limits: Limits | None = None,
        **settings: Any,
    ) -> None:
        """Create a sink without series.

        Args:
            registry: a ``prometheus_client.CollectorRegistry`` (or its ``REGISTRY``) that shows the series next to its
                own metrics from the block's start on, even after its end, until another sink joins it.
            expire_after: seconds (or a ``timedelta``) without an update after which a series is removed from all pages
                and forgotten: if it returns, it begins at 0. None: never. By Trio's clock. Series of bound instruments
                stay.
            limits: the largest labels, as they appear on the page, that the scraper accepts; events that exceed one
                are rejected (``limits``).
            settings: ``name``, and the delivery settings of :class:`~trio_batchmetrics.abc.SeriesSink`; these have no
                effect, since a page is fetched.

        Raises:
            ImportError: there is a registry, but prometheus_client is not installed (the extra ``prometheus``).
            ConfigError: a setting is invalid. When its collector opens: another open collector's sink has joined the
                registry.
        """
        super().__init__(**settings)
        self._limits = Limits.checked(limits)
        self._registry = registry
        self._client = None if registry is None else client_for(registry)
        self._expire_after = None if expire_after is None else _nanoseconds("expire_after", expire_after)
        self._membership: RegistryCollector | None = None
        self._open = False
        self._is_context_open: Callable[[], bool] = self.context.is_open
        self._page = Page(None, time.monotonic_ns, None)
        self._freshness: SharedHandOver | None = None
        self._run: object = None

    def bind(self, context: SinkContext) -> None:
        """Start without series, and join the registry, if there is one."""
        page = Page(context, _clock(), self._expire_after, limits=self._limits)
        was_open, self._open = self._open, True
        self._is_context_open = context.is_open
        if self._registry is not None:
            membership = RegistryCollector.of(self._registry, self._client)
            try:
                membership.join(self, page)
            except ConfigError:
                self._open = was_open
                raise
            self._membership = membership
        super().bind(context)
        self._page = page
        self._freshness = None if context.hand_over is None else SharedHandOver(context.hand_over)
        self._run = _current_run()

    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add events to the series; return the reasons for those that are refused, by position."""
        return self._page.merge(events)

    async def send(self, payload: Payload[None]) -> None:
        """Do nothing: Prometheus scrapes the series."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Leave the registry to the next sink that joins. The series stay."""
        self._open = False
        await trio.lowlevel.checkpoint()

    @property
    def store(self) -> SeriesStore:
        """The series of this block, or of the last one. Read it in any thread; don't merge into it."""
        return self._page.store

    @property
    def is_open(self) -> bool:
        """Whether its collector is open. It isn't if another sink kept it from opening."""
        return self._open and self._is_context_open()

    @property
    def left_out(self) -> int:
        """How many series are not shown in the registry, because it has other metrics of these names."""
        return 0 if self._membership is None else self._page.left_out(self._membership.taken)

    @property
    def overflowed(self) -> Mapping[str, int]:
        """By instrument, the number of events that lost their labels to ``max_series``."""
        return self._page.overflowed

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """Return the current page, with everything that is merged.

        Works before, in and after the block, in any thread. Each series is consistent in itself: a histogram's count is
        that of its buckets and belongs to its sum.

        Args:
            accept: an HTTP request's ``Accept`` header. The page is in OpenMetrics 1.0 if the header asks for that by
                name and doesn't prefer plain text, else in text 0.0.4.

        Returns:
            The page in UTF-8, and its content type.
        """
        openmetrics = wants_openmetrics(accept)
        return self._page.write(openmetrics=openmetrics), _OPENMETRICS if openmetrics else _TEXT

    async def page(self, accept: str | None = None, *, within: float | timedelta = 0.25) -> tuple[bytes, str]:
        """Return a page with everything that was recorded before the call, gauges that are in flight included.

        In the collector's Trio run, it collects the bound instruments and hands over all waiting events; if that takes
        too long, it returns the current page. Requests that come while one is being answered, or up to 50 ms later,
        share that work; none fails because another is cancelled. Elsewhere (in another thread or event loop, after the
        block) it returns what :meth:`render` returns. A checkpoint in any Trio run. The page is written in steps of
        about a millisecond, and events may be merged in between; each series is consistent in itself.

        Args:
            accept: an HTTP request's ``Accept`` header, as for :meth:`render`.
            within: maximum number of seconds, or a ``timedelta``, to spend on this.

        Returns:
            The page in UTF-8, and its content type.

        Raises:
            ValueError: ``within`` isn't a duration >= 0.
        """
        seconds = within.total_seconds() if isinstance(within, timedelta) else within
        if not seconds >= 0:
            raise ConfigError(f"within must be seconds >= 0 or a timedelta (got {within!r})")
        run = _current_run()
        if run is None:
            return self.render(accept)
        if self._open and self._freshness is not None and run is self._run:
            await self._freshness.wait(seconds)
        else:
            await trio.lowlevel.checkpoint()
        openmetrics = wants_openmetrics(accept)
        pieces = await in_steps(self._page.pieces(openmetrics=openmetrics))
        return await joined(pieces), _OPENMETRICS if openmetrics else _TEXT

    def asgi_app(self) -> MetricsApp:
        """Return an ASGI 3 application that answers GET and HEAD, on whatever path it is mounted, with :meth:`page`.

        It compresses with gzip if the client allows it; in a worker thread if the page is large and this is Trio. In a
        Trio run, it never blocks the loop for much longer than a millisecond.
        """
        return MetricsApp(self.page)


def _current_run() -> object:
    """Return an object that identifies the calling task's Trio run; None if there is none."""
    return trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_task() else None


def _clock() -> Callable[[], int]:
    """Return a clock in nanoseconds for any thread, even after the block: the Trio run's clock, if there is a run."""
    if not trio.lowlevel.in_trio_run():
        return time.monotonic_ns
    clock = trio.lowlevel.current_clock()
    return lambda: int(clock.current_time() * _NS)


def _nanoseconds(name: str, duration: float | timedelta) -> int:
    seconds = checked_seconds(name, duration, "seconds > 0, a timedelta > 0 or None")
    return int(min(seconds, _MAX_SECONDS) * _NS)
