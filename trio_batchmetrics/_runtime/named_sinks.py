"""Checks the items of ``sinks=`` and turns them into named sinks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from .._sink_settings import check_settings
from ..abc import EventSink, SeriesSink, Sink
from ..sinks._function import FunctionSink, SinkFunction

__all__ = ["AnySink", "named_sinks"]

AnySink = Sink | SinkFunction
"""An event sink, a series sink, or an ``async def my_sink(batch)``."""


def named_sinks(sinks: Iterable[AnySink]) -> dict[str, EventSink[Any] | SeriesSink[Any]]:
    """Return the sinks by name: their own, or their class's without "Sink". Repeated names get a number from 2 on.

    Raises:
        TypeError: an item isn't a sink; the message names it.
        RuntimeError: a sink is in the list twice; the message names it.
        ValueError: a sink has an invalid delivery setting.
    """
    named: dict[str, EventSink[Any] | SeriesSink[Any]] = {}
    for position, given in enumerate(sinks):
        sink = _sink(position, given)
        for other, taken in enumerate(named.values()):
            if taken is sink:
                what = f"sinks[{position}] ({type(sink).__name__}) is sinks[{other}] again"
                raise RuntimeError(f"{what}: a sink can be in a collector's list only once")
        base = sink.name or type(sink).__name__.lower().removesuffix("sink") or "sink"
        name, number = base, 1
        while name in named:
            number += 1
            name = f"{base}{number}"
        named[name] = sink
    return named


def _sink(position: int, given: Any) -> EventSink[Any] | SeriesSink[Any]:
    if isinstance(given, EventSink | SeriesSink):
        check_settings(given)
        return given  # pyright: ignore[reportUnknownVariableType]
    if isinstance(given, type) or not callable(given):
        raise TypeError(f"sinks[{position}] must be a sink or an async function (got {given!r})")
    return FunctionSink(cast("SinkFunction", given))
