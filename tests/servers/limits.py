"""What VictoriaMetrics 1.151 does not store although it answers 204, and how to check that a sink knows these limits.

Found by experiment, with line protocol; ``vm_rows_ignored_total`` on its page ``/metrics`` counts what is dropped.
Sizes are in bytes of UTF-8:

==============================================  =========  =============================================================
the value of a label                            4 096      ``database`` becomes the label ``db``, so it has this limit
the name of the series, ``measurement_field``   4 096      it is the value of the label ``__name__``
the name of a label                             256
labels                                          40         ``db`` counts, ``__name__`` does not: 39 of an event's own
all of a series together                        65 501     its name, and for each label name and value and 2
==============================================  =========  =============================================================

It drops only that series, not its neighbours in the request.
"""

from collections.abc import Callable
from typing import Any

from tests.helpers import balanced
from tests.servers.victoriametrics import VictoriaMetrics
from trio_batchmetrics import collector
from trio_batchmetrics.abc import Sink

__all__ = ["BEYOND", "WITHIN", "assert_delivered_is_stored"]

Labels = dict[str, str]


def _filled(total: int, name: str) -> Labels:
    """Return labels that take this many bytes together with a series' name and the label ``db=d``."""
    labels = {f"l{number:02}": "y" * 4000 for number in range(16)}
    left = total - len(name) - len("dbd") - 2 - sum(len(key) + len(value) + 2 for key, value in labels.items())
    return {**labels, "m": "y" * (left - len("m") - 2)}


WITHIN: dict[str, Callable[[str], Labels]] = {
    "a value of 4096 bytes": lambda _: {"a": "x" * 4096},
    "a value of 2048 letters of two bytes": lambda _: {"a": "é" * 2048},
    "a name of 256 bytes": lambda _: {"n" * 256: "x"},
    "a name of 128 letters of two bytes": lambda _: {"é" * 128: "x"},
    "39 labels": lambda _: {f"l{number}": "x" for number in range(39)},
    "40 labels, one of them db": lambda _: {"db": "own", **{f"l{number}": "x" for number in range(39)}},
    "65501 bytes": lambda name: _filled(65_501, f"{name}_value"),
}
"""For a measurement, the labels of a series that is stored; ``database="d"``."""

BEYOND: dict[str, Callable[[str], Labels]] = {
    "a value of 4097 bytes": lambda _: {"a": "x" * 4097},
    "a value of 2049 letters of two bytes": lambda _: {"a": "é" * 2049},
    "a name of 257 bytes": lambda _: {"n" * 257: "x"},
    "a name of 129 letters of two bytes": lambda _: {"é" * 129: "x"},
    "40 labels": lambda _: {f"l{number}": "x" for number in range(40)},
    "65502 bytes": lambda name: _filled(65_502, f"{name}_value"),
}
"""The labels of a series that is not stored, although the response is 204."""


async def assert_delivered_is_stored(server: VictoriaMetrics, sink: Sink, namespace: str) -> None:
    """Record series within and beyond the limits; assert that exactly the former are stored and delivered.

    Args:
        server: the sink's server.
        sink: an event or series sink with ``database="d"``.
        namespace: the prefix of the measurements' names.
    """
    made = [*WITHIN.values(), *BEYOND.values()]
    sinks: list[Any] = [sink]
    async with collector(sinks=sinks) as metrics:
        for number, labels in enumerate(made):
            metrics.record_gauge(f"{namespace}_{number}", labels(f"{namespace}_{number}"), 1)
    [account] = balanced(metrics.stats()).sinks.values()
    stored = [bool(server.export(f"{namespace}_{number}_value")) for number in range(len(made))]
    assert stored == [True] * len(WITHIN) + [False] * len(BEYOND)
    assert (account.delivered, account.rejected, account.failed) == (len(WITHIN), len(BEYOND), 0), account
