"""Observable gauges: the application's callbacks, which each collection calls."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from .._events import OVERFLOW, Gauge, InvalidError, Row, captured, fault_of, number
from .._ledger import warn
from .._reprs import tolerant_repr
from .families import Family, Identity, identity_of
from .host import Host
from .spans import is_async

__all__ = ["ObservableGauge", "Observation", "checked_callback"]

Observation = float | Iterable[tuple[Mapping[str, Any], float]]
"""A callback's return value: a number, or pairs of labels and a number."""

_LOG_INTERVAL = 60.0
"""Seconds between two log messages about one callback."""


def checked_callback(callback: object) -> Callable[[], Observation]:
    """Return the callback, once it is certain that a collection can call it.

    Raises:
        ValueError: it isn't callable, or it is asynchronous.
    """
    if not callable(callback):
        raise ValueError(f"callback must be callable (got {callback!r})")  # noqa: TRY004 - one error for bad set-up, as the spec has it
    inner: object = callback
    while isinstance(inner, partial):
        inner = cast("partial[object]", inner).func
    if is_async(inner):
        raise ValueError(
            f"callback must be a plain function, not an async one (got {callback!r}): a collection cannot wait; "
            f"measure in a task of your own, and set() a gauge or keep the value for a plain callback"
        )
    return cast("Callable[[], Observation]", callback)


@tolerant_repr
class ObservableGauge:
    """A gauge whose value is read from a callback at each collection, until it is closed or the block ends."""

    __slots__ = (
        "_callback",
        "_family",
        "_forget",
        "_host",
        "_labels",
        "_measure",
        "_open",
        "_quiet_until",
        "labels",
        "name",
    )

    def __init__(
        self,
        family: Family,
        labels: dict[str, Any],
        callback: Callable[[], Observation],
        host: Host,
        forget: Callable[[], object],
    ) -> None:
        """Created by ``collector.observable_gauge()``.

        Args:
            family: the family of its name.
            labels: the labels, in a dictionary that belongs to the instrument.
            callback: a callback that :func:`checked_callback` returned.
            host: the interface to the collector.
            forget: called once, when the gauge is closed.
        """
        measure = family.measure
        self.name: str = measure.name
        self.labels: Mapping[str, Any] = MappingProxyType(labels)
        self._labels = labels
        self._measure = measure
        self._host = host
        self._family = family
        self._callback = callback
        self._forget = forget
        self._open = [True]
        self._quiet_until = float("-inf")

    def __repr__(self) -> str:
        return f"<ObservableGauge {self.name!r} {self._labels!r}>"

    @property
    def closed(self) -> bool:
        """Whether the gauge is closed: no collection calls its callback any more."""
        return not self._open

    def close(self) -> None:
        """Stop calling the callback. Safe in any thread; closing again isn't an error.

        Afterwards another callback may observe the same name and labels.
        """
        try:
            self._open.pop()  # one step: if two threads close it, only one gets past here
        except IndexError:
            return
        self._forget()

    def collect(self, rows: list[Row]) -> None:
        """Call the callback and append its values; an ``Exception`` that it raises is logged, once a minute."""
        try:
            values = self._values(self._callback())
        except Exception as exc:  # noqa: BLE001 - the application's callback: logged and skipped
            self._report(exc)
            return
        for identity, (labels, value) in values.items():
            if self._family.admits_observed(identity):
                rows.append((Gauge, time.time_ns(), self.name, labels, value))
            else:
                rows.append((Gauge, time.time_ns(), self.name, {**OVERFLOW}, value))

    def _values(self, observed: object) -> dict[Identity, tuple[dict[str, Any], float]]:
        """Return the observed values by label set; count those that are invalid.

        Raises:
            Exception: the return value cannot be read.
        """
        values: dict[Identity, tuple[dict[str, Any], float]] = {}
        valid = number(observed, self._measure)
        if valid is not None:
            values[identity_of(self._labels)] = (self._labels, valid)
        elif inspect.isawaitable(observed) or inspect.isasyncgen(observed):
            if inspect.iscoroutine(observed):
                observed.close()
            raise TypeError(f"it must return a number, or pairs of labels and a number (got the async {observed!r})")
        elif isinstance(observed, Iterable) and not isinstance(observed, str | bytes | Mapping):
            for pair in list(cast("Iterable[object]", observed)):
                self._add_pair(values, pair)
        else:
            self._refuse(cast("Any", observed))
        return values

    def _refuse(self, value: object) -> None:
        self._host.refuse("invalid", fault_of("Gauge", "value", value, self._measure, self.name))

    def _add_pair(self, values: dict[Identity, tuple[dict[str, Any], float]], pair: object) -> None:
        parts = cast("list[Any]", pair) if isinstance(pair, tuple | list) else []
        if len(parts) != 2:
            self._refuse(cast("Any", pair))
            return
        own, valid = captured(parts[0]), number(parts[1], self._measure)
        if valid is None:
            self._refuse(parts[1])
            return
        if not isinstance(own, dict):
            fault = InvalidError("Gauge", "labels", "must be a mapping", parts[0], self.name)
            self._host.refuse("invalid", fault)
            return
        labels: dict[str, Any] = {**self._labels, **own}
        identity = identity_of(labels)
        values.pop(identity, None)
        values[identity] = (labels, valid)

    def _report(self, error: Exception) -> None:
        now = self._host.now()
        if now >= self._quiet_until:
            self._quiet_until = now + _LOG_INTERVAL
            warn("metrics: the callback of gauge %r raised: %r", self.name, error)
