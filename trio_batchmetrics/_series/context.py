"""What a collector tells its sinks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from .._events import Measure
from .._reprs import tolerant_repr

__all__ = ["SinkContext"]


@tolerant_repr
@attrs.frozen(kw_only=True)
class SinkContext:
    """What a collector tells its sinks when it opens."""

    static_labels: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Labels to add to every event, as text; an event's own label wins."""
    enable_compression: bool = False
    """Whether payloads are to be compressed."""
    max_series: int = 2000
    """Distinct label sets an instrument may have."""
    bounds: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict[str, tuple[float, ...]])
    """Histogram bucket bounds by instrument name, over the declared ones."""
    run_id: str = ""
    """Names the collector's run, like no other; together with a serial number (``Batch.serials``) an event."""
    instance: str = ""
    """Names the process in which the block was entered: ``host:pid``, or ``host:pid:2`` for the second collector that
    is open in it. In a container, ``host`` has a part that no other container of the same host name has."""
    declared: Mapping[str, Measure] = attrs.field(factory=dict[str, Measure])
    """Instruments by name, as they are declared: their kind, unit, description and bounds. See ``Measure.of_kind``."""
    bound: Sequence[tuple[Measure, Mapping[str, Any]]] = ()
    """The bound instruments created so far, with their labels; it only grows."""
    hand_over: Callable[[], Awaitable[None]] | None = None
    """Collects the bound instruments, and returns once everything recorded before the call is merged; in Trio's thread,
    while the block is open. None: there is no collector."""
