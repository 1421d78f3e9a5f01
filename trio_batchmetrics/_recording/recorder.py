"""The recorders: one method an event, whoever puts the rows where."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import update_wrapper
from types import MethodType
from typing import Any, ParamSpec

import trio

from .._buffer import Intake
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
    by_value,
    captured,
    compiled_recorder,
    event_by_value,
    is_event,
    not_an_event,
)

__all__ = ["IntakeRecorder", "Recorder", "ThreadRecorder"]

_P = ParamSpec("_P")


class Recorder:
    """Records events: plain calls that never block, never wait, and never raise for what happens at run time.

    A full buffer, a closed collector or a bad value is counted by reason and logged once in a while. Recorders are no
    checkpoints, and re-entrant: a signal handler, ``__del__``, a logging handler or a labels mapping may record in the
    middle of a record. They work in any thread, and wait for no lock. The time is taken at the call.
    """

    def __init__(self, put: Callable[[Row], None], refuse: Callable[[str, InvalidError], None]) -> None:
        """Made by the collector.

        Args:
            put: takes a row, or refuses and counts it.
            refuse: counts an event that is none, by reason, and has it logged.
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
            self._put(event_by_value(event))
        else:
            self._refuse("invalid", not_an_event(event))

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
        return self._recorder(event_class)

    def _recorder(self, event_class: type[MetricEvent]) -> Callable[..., None]:
        signature = inspect.signature(event_class)

        @trio.lowlevel.enable_ki_protection
        def record(*args: Any, **fields: Any) -> None:
            signature.bind(*args, **fields)
            try:
                event = event_class(*args, **fields)
            except Exception as exc:  # noqa: BLE001 - a validator of the class: the event is as bad as one with a bad value
                self._refuse("invalid", InvalidError(event_class.__name__, "", "must accept its fields", exc))
            else:
                self._put(event_by_value(event))

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
        self._put((HttpRequest, time.time_ns(), by_value(method), by_value(path), by_value(status_code), duration))

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
        labels = by_value(provider), by_value(model), by_value(success)
        self._put((BackendRequest, time.time_ns(), *labels, latency, by_value(error_type)))

    @trio.lowlevel.enable_ki_protection
    def record_health_check(self, backend: str, healthy: bool, duration: float | timedelta) -> None:
        """Record a look at whether a backend is well.

        Args:
            backend: which backend.
            healthy: whether it is well.
            duration: how long the check took, in seconds or as a ``timedelta``, >= 0.
        """
        self._put((HealthCheck, time.time_ns(), by_value(backend), healthy, duration))

    @trio.lowlevel.enable_ki_protection
    def record_cache_metric(self, cache_type: str, operation: str) -> None:
        """Record something a cache did.

        Args:
            cache_type: which cache.
            operation: ``hit``, ``miss`` or ``eviction``.
        """
        self._put((CacheMetric, time.time_ns(), by_value(cache_type), by_value(operation)))

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


class IntakeRecorder(Recorder):
    """A recorder whose methods are compiled, so that recording in Trio's thread costs no second call."""

    def __init__(self, intake: Intake, refuse: Callable[[str, InvalidError], None]) -> None:
        """Made by the collector.

        Args:
            intake: takes the rows.
            refuse: counts an event that is none, by reason, and has it logged.
        """
        super().__init__(intake.put, refuse)
        self._intake = intake

    def _recorder(self, event_class: type[MetricEvent]) -> Callable[..., None]:
        compiled = compiled_recorder(event_class, timestamp=True)
        return super()._recorder(event_class) if compiled is None else MethodType(compiled, self)


def _compile(recorders: dict[str, type[MetricEvent]]) -> None:
    for name, event_class in recorders.items():
        compiled = compiled_recorder(event_class, name, timestamp=False)
        assert compiled is not None  # noqa: S101 - the built-in events keep what they are given
        setattr(IntakeRecorder, name, update_wrapper(compiled, getattr(Recorder, name)))


_compile(
    {
        "record_http_request": HttpRequest,
        "record_backend_request": BackendRequest,
        "record_health_check": HealthCheck,
        "record_cache_metric": CacheMetric,
        "record_counter": Counter,
        "record_histogram": Histogram,
        "record_gauge": Gauge,
    }
)


class ThreadRecorder(Recorder):
    """A recorder and nothing else, for code that is not to flush or to make instruments; from ``from_thread()``.

    Its events count towards ``buffer_size`` at once. It never raises; after the block its events count as ``closed``.
    """
