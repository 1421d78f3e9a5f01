"""The information that a collector gives its sinks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from .._events import JSONWriter, Limits, Measure, Origin, json_writer
from .._reprs import tolerant_repr

__all__ = ["SinkContext"]


def _always() -> bool:
    return True


@tolerant_repr
@attrs.frozen(kw_only=True)
class SinkContext:
    """The information that a collector gives its sinks when it opens."""

    static_labels: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Labels to add to every event, as text; an event's own label wins."""
    enable_compression: bool = False
    """Whether to compress payloads."""
    max_series: int = 2000
    """Maximum number of distinct label sets per instrument."""
    max_instruments: int = 1000
    """Maximum number of instruments in a series sink; events of others are rejected (``too_many_instruments``)."""
    bounds: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict[str, tuple[float, ...]])
    """Histogram bucket bounds by instrument name; they override the declared ones."""
    run_id: str = ""
    """A unique identifier of the collector's run; with a serial number, it identifies an event (``Batch.ids``)."""
    instance: str = ""
    """Identifies the process in which the block was entered: ``host:pid``, or ``host:pid:2`` for the second collector
    that is open in it. In a container, ``host`` has a part that no other container with the same host name has."""
    declared: Mapping[str, Measure] = attrs.field(factory=dict[str, Measure])
    """Declared instruments by name: their kind, unit, description and bounds. See ``Measure.of_kind``."""
    bound: Sequence[tuple[Measure, Mapping[str, Any]]] = ()
    """The bound instruments created so far, with their labels; it only grows."""
    _origin: Origin = attrs.field(
        default=attrs.Factory(lambda self: Origin(self.run_id, self.static_labels), takes_self=True),
        repr=False,
        alias="origin",
    )
    is_open: Callable[[], bool] = _always
    """Returns whether the sink still belongs to the collector. It doesn't once the block was left, or if the collector
    failed to open or was garbage-collected. Callable in any thread."""
    hand_over: Callable[[], Awaitable[None]] | None = None
    """Collects the bound instruments, and returns once everything recorded before the call is merged. Call it in Trio's
    thread while the block is open. None: there is no collector."""

    def json_writer(self, limits: Limits | None = None) -> JSONWriter:
        """Return the writer of the JSON form that all sinks of the collector share.

        Args:
            limits: the largest labels that are accepted; events that exceed one make it raise. None: any.
        """
        return json_writer(self._origin, limits)
