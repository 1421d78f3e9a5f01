"""The recorders: one method per event class. Those of built-in events inline ``Buffer.put`` for speed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from gc import is_tracked
from time import time_ns
from types import MethodType
from typing import Any, ParamSpec

import trio

from .._buffer import Buffer
from .._events import (
    BUILTIN,
    InvalidError,
    MetricEvent,
    RecordedRow,
    UnusualRow,
    by_value,
    captured,
    compiled_recorder,
    is_event,
    not_an_event,
    row_of_event,
)
from .host import Host

__all__ = ["Recorder", "ThreadRecorder"]

_P = ParamSpec("_P")

_HTTP_REQUEST, _BACKEND_REQUEST, _HEALTH_CHECK, _CACHE_METRIC, _COUNTER, _HISTOGRAM, _GAUGE, _ = range(len(BUILTIN))
"""The numbers of the classes in rows; see ``_events.rows``."""


class Recorder:
    """Records events with plain calls that never block, never wait, and never raise for run-time conditions.

    A full buffer, a closed collector and an invalid value are counted by reason and logged once in a while. Recorders
    aren't checkpoints. They are re-entrant: a signal handler, ``__del__``, a logging handler or a labels mapping may
    record while another record is in progress. They work in any thread, and wait for no lock. The timestamp is taken at
    the call.
    """

    def __init__(self, buffer: Buffer, host: Host) -> None:
        """Create a recorder that puts events into the buffer; the host counts and logs values that aren't events."""
        self._buffer = buffer
        self._host = host

    @trio.lowlevel.enable_ki_protection
    def record(self, event: MetricEvent | object) -> None:
        """Record an event, built-in or user-defined.

        Args:
            event: any :class:`MetricEvent`; anything else counts as ``invalid``.
        """
        if is_event(event):
            self._buffer.put(row_of_event(event))
        else:
            self._host.refuse("invalid", not_an_event(event))

    def make_recorder(self, event_class: Callable[_P, object]) -> Callable[_P, None]:
        """Return a recorder for one event class: the fastest way to record user-defined events.

        It takes the same arguments as the class and does what ``record(event_class(...))`` does, but builds no event:
        the event is built when a sink accesses it. Call this once, and keep the recorder.

        Args:
            event_class: a class made by :func:`metric_event`, or a built-in one.

        Raises:
            TypeError: it isn't an event class.

        Example:
            >>> import trio
            >>> from trio_batchmetrics import Histogram, collector, label, measure, metric_event
            >>> @metric_event
            ... class LLMCall:
            ...     model: str = label("gen_ai.request.model")
            ...     seconds: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")
            >>> async def main():
            ...     async with collector(sinks=[]) as metrics:
            ...         record_llm_call = metrics.make_recorder(LLMCall)
            ...         record_llm_call("gpt-4", seconds=0.25)
            ...     return metrics.stats().processed_events
            >>> trio.run(main)
            1
        """
        if not isinstance(event_class, type) or not issubclass(event_class, MetricEvent):
            raise TypeError(f"make_recorder() takes an event class, made by @metric_event (got {event_class!r})")
        compiled = compiled_recorder(event_class, self._host.classes.number_of(event_class))
        return self._uncompiled_recorder(event_class) if compiled is None else MethodType(compiled, self)

    def _uncompiled_recorder(self, event_class: type[MetricEvent]) -> Callable[..., None]:
        """Return a recorder for a class whose constructor does more than store its arguments."""
        signature = inspect.signature(event_class)

        @trio.lowlevel.enable_ki_protection
        def record(*args: Any, **fields: Any) -> None:
            signature.bind(*args, **fields)
            try:
                event = event_class(*args, **fields)
            except Exception as exc:  # noqa: BLE001 - from the class's validator: the event counts as invalid
                self._host.refuse("invalid", InvalidError(event_class.__name__, "", "must accept its fields", exc))
            else:
                self._buffer.put(row_of_event(event))

        return record

    @trio.lowlevel.enable_ki_protection
    def record_http_request(self, method: str, path: str, status_code: int, duration: float | timedelta) -> None:
        """Record a request that this service answered.

        Args:
            method: the request's method.
            path: the route's template, such as ``/users/{id}``, never the raw path.
            status_code: the response's status.
            duration: how long it took, in seconds or as a ``timedelta``, >= 0.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        if type(method) is str and type(path) is str and type(status_code) is int:
            row: RecordedRow = (_HTTP_REQUEST, time_ns(), method, path, status_code, duration)
        else:
            labels = by_value(method), by_value(path), by_value(status_code)
            row = UnusualRow((_HTTP_REQUEST, time_ns(), *labels, duration))
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_backend_request(
        self, provider: str, model: str, success: bool, latency: float | timedelta, error_type: str | None = None
    ) -> None:
        """Record a request from this service to a provider behind it.

        Args:
            provider: the provider that the request went to.
            model: the model that it asked for.
            success: whether it succeeded.
            latency: how long it took, in seconds or as a ``timedelta``, >= 0.
            error_type: the kind of error, in a word; None if there was none.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        if (
            type(provider) is str
            and type(model) is str
            and type(success) is bool
            and (error_type is None or type(error_type) is str)
        ):
            row: RecordedRow = (_BACKEND_REQUEST, time_ns(), provider, model, success, latency, error_type)
        else:
            labels = by_value(provider), by_value(model), by_value(success)
            row = UnusualRow((_BACKEND_REQUEST, time_ns(), *labels, latency, by_value(error_type)))
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_health_check(self, backend: str, healthy: bool, duration: float | timedelta) -> None:
        """Record a check of a backend's health.

        Args:
            backend: the backend's name.
            healthy: whether it is healthy.
            duration: how long the check took, in seconds or as a ``timedelta``, >= 0.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        if type(backend) is str:
            row: RecordedRow = (_HEALTH_CHECK, time_ns(), backend, healthy, duration)
        else:
            row = UnusualRow((_HEALTH_CHECK, time_ns(), by_value(backend), healthy, duration))
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_cache_metric(self, cache_type: str, operation: str) -> None:
        """Record a cache operation.

        Args:
            cache_type: the cache's name or type.
            operation: ``hit``, ``miss`` or ``eviction``.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        if type(cache_type) is str and type(operation) is str:
            row: RecordedRow = (_CACHE_METRIC, time_ns(), cache_type, operation)
        else:
            row = UnusualRow((_CACHE_METRIC, time_ns(), by_value(cache_type), by_value(operation)))
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_counter(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record that something happened ``value`` times.

        Args:
            name: the counter's name, not empty.
            labels: label values by name, copied at the call.
            value: the amount to add, an int or float >= 0.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        copied: Any = (  # pyright: ignore[reportUnknownVariableType]
            labels.copy() if type(labels) is dict and not is_tracked(labels) else captured(labels)
        )
        row: RecordedRow = (_COUNTER, time_ns(), name, copied, value)
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_histogram(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record an observed value.

        Args:
            name: the histogram's name, not empty.
            labels: label values by name, copied at the call.
            value: the value, an int or float.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        copied: Any = (  # pyright: ignore[reportUnknownVariableType]
            labels.copy() if type(labels) is dict and not is_tracked(labels) else captured(labels)
        )
        row: RecordedRow = (_HISTOGRAM, time_ns(), name, copied, value)
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_gauge(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record a current value.

        Args:
            name: the gauge's name, not empty.
            labels: label values by name, copied at the call.
            value: the value, an int or float.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        copied: Any = (  # pyright: ignore[reportUnknownVariableType]
            labels.copy() if type(labels) is dict and not is_tracked(labels) else captured(labels)
        )
        row: RecordedRow = (_GAUGE, time_ns(), name, copied, value)
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)


class ThreadRecorder(Recorder):
    """A recorder for code that must not flush or create instruments; from ``from_thread()``.

    Its events count towards ``buffer_size`` at once. It never raises; after the block its events count as ``closed``.
    """
