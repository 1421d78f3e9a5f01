"""The recorders: one method per event class. Those of built-in events have ``Buffer.put`` written out, for speed."""

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
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HttpRequest,
    InvalidError,
    MetricEvent,
    Row,
    UnusualRow,
    by_value,
    captured,
    compiled_recorder,
    event_by_value,
    is_event,
    not_an_event,
)
from .host import Host

__all__ = ["Recorder", "ThreadRecorder"]

_P = ParamSpec("_P")


class Recorder:
    """Records events: plain calls that never block, never wait, and never raise for what happens at run time.

    A full buffer, a closed collector or a bad value is counted by reason and logged once in a while. Recorders are no
    checkpoints, and re-entrant: a signal handler, ``__del__``, a logging handler or a labels mapping may record in the
    middle of a record. They work in any thread, and wait for no lock. The time is taken at the call.
    """

    def __init__(self, buffer: Buffer, host: Host) -> None:
        """Record into a buffer; the host counts and logs values that are no event."""
        self._buffer = buffer
        self._host = host

    @trio.lowlevel.enable_ki_protection
    def record(self, event: MetricEvent | object) -> None:
        """Record an event, built-in or a user's own.

        Args:
            event: any :class:`MetricEvent`; anything else counts as ``invalid``.
        """
        if is_event(event):
            self._buffer.put(event_by_value(event))
        else:
            self._host.refuse("invalid", not_an_event(event))

    def make_recorder(self, event_class: Callable[_P, object]) -> Callable[_P, None]:
        """Return a recorder of one class of events: the quickest way to record a user's own.

        It takes what the class takes, and does what ``record(event_class(...))`` does, but makes no event: that is done
        where a sink wants to see one. Call this once, and keep the recorder.

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
        compiled = compiled_recorder(event_class)
        return self._uncompiled_recorder(event_class) if compiled is None else MethodType(compiled, self)

    def _uncompiled_recorder(self, event_class: type[MetricEvent]) -> Callable[..., None]:
        """Return a recorder of a class whose constructor does more than to keep the values that it is given."""
        signature = inspect.signature(event_class)

        @trio.lowlevel.enable_ki_protection
        def record(*args: Any, **fields: Any) -> None:
            signature.bind(*args, **fields)
            try:
                event = event_class(*args, **fields)
            except Exception as exc:  # noqa: BLE001 - a validator of the class: the event is as bad as one with a bad value
                self._host.refuse("invalid", InvalidError(event_class.__name__, "", "must accept its fields", exc))
            else:
                self._buffer.put(event_by_value(event))

        return record

    @trio.lowlevel.enable_ki_protection
    def record_http_request(self, method: str, path: str, status_code: int, duration: float | timedelta) -> None:
        """Record a request that this service answered.

        Args:
            method: the request's method.
            path: the route's template, such as ``/users/{id}``, never the raw path.
            status_code: the answer's status.
            duration: how long it took, in seconds or as a ``timedelta``, >= 0.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        if type(method) is str and type(path) is str and type(status_code) is int:
            row: Row = (HttpRequest, time_ns(), method, path, status_code, duration)
        else:
            labels = by_value(method), by_value(path), by_value(status_code)
            row = UnusualRow((HttpRequest, time_ns(), *labels, duration))
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
        """Record a request that this service made to a provider behind it.

        Args:
            provider: who was asked.
            model: what was asked for.
            success: whether it worked.
            latency: how long it took, in seconds or as a ``timedelta``, >= 0.
            error_type: what went wrong, in a word; None where nothing did.
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
            row: Row = (BackendRequest, time_ns(), provider, model, success, latency, error_type)
        else:
            labels = by_value(provider), by_value(model), by_value(success)
            row = UnusualRow((BackendRequest, time_ns(), *labels, latency, by_value(error_type)))
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_health_check(self, backend: str, healthy: bool, duration: float | timedelta) -> None:
        """Record a look at whether a backend is well.

        Args:
            backend: which backend.
            healthy: whether it is well.
            duration: how long the check took, in seconds or as a ``timedelta``, >= 0.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        if type(backend) is str:
            row: Row = (HealthCheck, time_ns(), backend, healthy, duration)
        else:
            row = UnusualRow((HealthCheck, time_ns(), by_value(backend), healthy, duration))
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_cache_metric(self, cache_type: str, operation: str) -> None:
        """Record something a cache did.

        Args:
            cache_type: which cache.
            operation: ``hit``, ``miss`` or ``eviction``.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        if type(cache_type) is str and type(operation) is str:
            row: Row = (CacheMetric, time_ns(), cache_type, operation)
        else:
            row = UnusualRow((CacheMetric, time_ns(), by_value(cache_type), by_value(operation)))
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
            value: how much to add, an int or float >= 0.
        """
        buffer = self._buffer
        if not (buffer.gate or buffer.admits()):
            return
        copied: Any = (  # pyright: ignore[reportUnknownVariableType]
            labels.copy() if type(labels) is dict and not is_tracked(labels) else captured(labels)
        )
        row: Row = (Counter, time_ns(), name, copied, value)
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_histogram(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record a value observed.

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
        row: Row = (Histogram, time_ns(), name, copied, value)
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)

    @trio.lowlevel.enable_ki_protection
    def record_gauge(self, name: str, labels: Mapping[str, Any], value: float) -> None:
        """Record a value as it is now.

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
        row: Row = (Gauge, time_ns(), name, copied, value)
        if buffer.gate:
            rows = buffer.rows
            rows.append(row)
            if len(rows) >= buffer.limit:
                buffer.maintain()
        else:
            buffer.put_slowly(row)


class ThreadRecorder(Recorder):
    """A recorder and nothing else, for code that is not to flush or to make instruments; from ``from_thread()``.

    Its events count towards ``buffer_size`` at once. It never raises; after the block its events count as ``closed``.
    """
