"""The recorders: one method an event, whoever puts the rows where."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import trio

from ._events import BackendRequest, CacheMetric, Counter, Gauge, HealthCheck, Histogram, HttpRequest, captured
from ._schema import MetricEvent, is_event
from ._validation import Row

__all__ = ["Recorder", "ThreadRecorder"]


class Recorder:
    """Records events: plain calls that never block, never wait, and never raise for what happens at run time.

    A full buffer, a closed collector or a bad value is counted by reason and logged once in a while. Recorders are no
    checkpoints, and re-entrant: a signal handler, ``__del__``, a logging handler or a labels mapping may record in the
    middle of a record. The time is taken at the call.

    Raises:
        WrongThreadError: (each of them) called from another thread than Trio's; see ``from_thread()``.
    """

    def __init__(self, put: Callable[[Row], None], refuse: Callable[[str], None]) -> None:
        """Made by the collector.

        Args:
            put: takes a row, or refuses and counts it.
            refuse: counts an event that is none, by reason.
        """
        self._put = put
        self._refuse = refuse

    @trio.lowlevel.enable_ki_protection
    def record(self, event: MetricEvent | object) -> None:
        """Record an event, built-in or a user's own.

        Args:
            event: any :class:`MetricEvent`; anything else counts as ``invalid``.
        """
        if is_event(event):
            self._put(event)
        else:
            self._refuse("invalid")

    @trio.lowlevel.enable_ki_protection
    def record_http_request(self, method: str, path: str, status_code: int, duration: float | timedelta) -> None:
        """Record a request that this service answered.

        Args:
            method: the request's method.
            path: the route's template, such as ``/users/{id}``, never the raw path.
            status_code: the answer's status.
            duration: how long it took, in seconds or as a ``timedelta``, >= 0.
        """
        self._put((HttpRequest, time.time_ns(), method, path, status_code, duration))

    @trio.lowlevel.enable_ki_protection
    def record_backend_request(
        self, provider: str, model: str, success: bool, latency: float | timedelta, error_type: str | None = None
    ) -> None:
        """Record a request that this service made to a provider behind it.

        Args:
            provider: who was asked.
            model: what was asked for.
            success: whether it worked.
            latency: how long it took, in seconds or as a ``timedelta``, >= 0.
            error_type: what went wrong, in a word; None where nothing did.
        """
        self._put((BackendRequest, time.time_ns(), provider, model, success, latency, error_type))

    @trio.lowlevel.enable_ki_protection
    def record_health_check(self, backend: str, healthy: bool, duration: float | timedelta) -> None:
        """Record a look at whether a backend is well.

        Args:
            backend: which backend.
            healthy: whether it is well.
            duration: how long the check took, in seconds or as a ``timedelta``, >= 0.
        """
        self._put((HealthCheck, time.time_ns(), backend, healthy, duration))

    @trio.lowlevel.enable_ki_protection
    def record_cache_metric(self, cache_type: str, operation: str) -> None:
        """Record something a cache did.

        Args:
            cache_type: which cache.
            operation: ``hit``, ``miss`` or ``eviction``.
        """
        self._put((CacheMetric, time.time_ns(), cache_type, operation))

    @trio.lowlevel.enable_ki_protection
    def record_counter(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record that something happened ``value`` times.

        Args:
            name: the counter's name, not empty.
            labels: label values by name, copied at the call.
            value: how much to add, an int or float >= 0.
        """
        copied = captured(labels)
        self._put((Counter, time.time_ns(), name, copied, value))

    @trio.lowlevel.enable_ki_protection
    def record_histogram(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record a value observed.

        Args:
            name: the histogram's name, not empty.
            labels: label values by name, copied at the call.
            value: the value, an int or float.
        """
        copied = captured(labels)
        self._put((Histogram, time.time_ns(), name, copied, value))

    @trio.lowlevel.enable_ki_protection
    def record_gauge(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record a value as it is now.

        Args:
            name: the gauge's name, not empty.
            labels: label values by name, copied at the call.
            value: the value, an int or float.
        """
        copied = captured(labels)
        self._put((Gauge, time.time_ns(), name, copied, value))


class ThreadRecorder(Recorder):
    """A recorder for any thread; made by ``collector.from_thread()``.

    Its events count towards ``buffer_size`` at once. It never raises; after the block its events count as ``closed``.
    It is also what a signal handler needs where Trio does not run in the main thread.
    """
