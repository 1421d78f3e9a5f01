"""Traffic of every kind, in large amounts, and its expected results: calculated here, only from what was recorded.

How this works
==============

A :class:`Traffic` is a list of recorder calls, the same for the same seed, cut into slices that a player plays
(:mod:`tests.servers.player`). :meth:`Traffic.series` and :meth:`Traffic.documents` add up the effects of the calls, as
the documentation defines them and without the library: which instruments they feed, under which labels as text, into
which buckets.

All values are multiples of one step. With ``DYADIC`` every sum is exact in floating point, in any order of addition, so
the results are compared with ``==``. With ``TENTHS`` sums are compared after rounding to one decimal, for a server that
keeps about 13 decimal digits.

Some events bring their own timestamps, with only a few timestamps for many events of one series: no event may hide
another.

A bound instrument produces one point for each collection since which it was updated. The collector's interval is so
long that it collects only at flushes, and the player decides when these happen: after every slice in ``FLUSHED``. So
the number of points is known too.
"""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

from tests.servers.expected import CHAT, DEFAULT, Call, Document, Instrument, Labels, Series, Sum, Sums
from trio_batchmetrics import Counter, Gauge, Histogram, MetricEvent, label, measure, metric_event

__all__ = [
    "COLLECTORS",
    "DYADIC",
    "FLUSHED",
    "SLICES",
    "TENTHS",
    "THREADED",
    "ChatCall",
    "Traffic",
    "all_documents",
    "all_series",
    "streams",
]

COLLECTORS = ("north", "south", 'the "east", n=1')
"""The static label ``collector`` of each of the three collectors."""

SLICES = 24
"""The number of slices of the calls for one collector."""

FLUSHED = range(3, SLICES, 4)
"""The slices after which the player flushes, including the last one; counted from 0."""

THREADED = (5, 16)
"""The slices that another thread records, without the updates of bound instruments; counted from 0."""

LONG_AGO = 1_750_000_000_000_000_000
"""The first timestamp that events bring themselves; 2025-06-15."""

DYADIC = Fraction(1, 64)
"""A step with which every sum of floats is exact."""

TENTHS = Fraction(1, 10)
"""A step with which every sum of floats is exact after rounding to one decimal."""


@metric_event(counts="chat.calls")
class ChatCall(MetricEvent):
    """A user's event class, with an instrument of each kind."""

    model: str = label("gen_ai.request.model")
    streamed: bool = label("chat.streamed")
    region: str | None = label("region", default=None)
    tokens: int = measure(Counter, "chat.tokens", unit="{token}", default=0)
    load: float = measure(Gauge, "chat.load", default=0.0)
    seconds: float = measure(Histogram, "chat.duration", unit="s", bounds=CHAT, default=0.0)


class Traffic:
    """Calls of recorders for one collector.

    Args:
        name: the static label ``collector``.
        count: the number of events to record; updates of bound instruments come in addition.
        step: the unit of which every measured value is a multiple.
        seed: the seed of the random numbers.
    """

    def __init__(self, name: str, count: int, *, step: Fraction = DYADIC, seed: int = 1) -> None:
        self.name = name
        self._step = step
        self._timed = False
        self._random = random.Random(f"{seed} {name}")
        calls: list[Call] = []
        for number in range(count):
            self._timed = count // 3 < number < count // 2
            calls.append(self._call())
            if self._random.random() < 0.15:
                calls.append(self._update())
        ends = [len(calls) * number // SLICES for number in range(SLICES + 1)]
        self.slices = [calls[begin:end] for begin, end in pairwise(ends)]

    # -- making calls

    def _value(self, most: float) -> float:
        """Return a value from 0 on; small ones, where most bounds are, are as frequent as large ones."""
        steps = int(most / self._step)
        number = self._random.randint(0, self._random.choice((1, 2, 8, 64, steps)))
        return float(number * self._step)

    def _seconds(self, most: float) -> float | timedelta | int:
        seconds = self._value(most)
        if self._random.random() < 0.1:
            return timedelta(seconds=seconds)
        return int(seconds) if seconds == int(seconds) else seconds

    def _of(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _call(self) -> Call:
        make: Callable[[], Call] = self._of(
            *[self._http] * 4,
            *[self._backend] * 3,
            self._health,
            *[self._cache] * 3,
            *[self._counter] * 2,
            *[self._histogram] * 2,
            self._gauge,
            *[self._chat] * 2,
        )
        return make()

    def _update(self) -> Call:
        make: Callable[[], Call] = self._of(self._add, self._observe, self._set)
        return make()

    def _http(self) -> Call:
        request = self._of(
            ("GET", "/", 200), ("GET", "/api/{id}", 404), ("POST", "/api/{id}", 201), ("PUT", "/ä b", 503)
        )
        return Call("record_http_request", (*request, self._seconds(12)))

    def _backend(self) -> Call:
        success = self._random.random() < 0.8
        error = () if success else (self._of("timeout", "rate limit, 429", None),)
        provider = self._of(("openai", "gpt-4"), ("anthropic", "claude"))
        return Call("record_backend_request", (*provider, success, self._seconds(100), *error))

    def _health(self) -> Call:
        return Call("record_health_check", (self._of("db=1", "db=2"), self._random.random() < 0.9, self._seconds(1)))

    def _cache(self) -> Call:
        return Call("record_cache_metric", (self._of("redis", "local"), self._of("hit", "miss", "eviction")))

    def _counter(self) -> Call:
        labels = self._of({}, {"region": "us-east"}, {"region": "eu", "zone": 3}, {"zone": "3", "region": "eu"})
        return Call("record_counter", ("jobs.done", labels, self._of(1, 0, self._value(50))))

    def _histogram(self) -> Call:
        labels = self._of({"region": "us-east"}, {"region": 'the "east"'}, {"big": True, "none": None})
        value = self._of(self._value(12_000), *DEFAULT)
        return Call("record_histogram", ("response.size", labels, -value if self._random.random() < 0.05 else value))

    def _gauge(self) -> Call:
        return Call("record_gauge", ("queue.depth", {"queue": self._of("a", "b")}, self._of(-1, 1) * self._value(90)))

    def _chat(self) -> Call:
        model, streamed, region = self._of(("gpt-4", True, None), ("claude", False, "eu"), ("claude", True, "eu"))
        tokens, load, seconds = self._random.randint(0, 900), self._value(1), self._value(8)
        if self._timed:
            timestamp = LONG_AGO + self._random.randrange(30)
            return Call("record", (ChatCall(model, streamed, region, tokens, load, seconds, timestamp=timestamp),))
        return Call("record", (ChatCall(model, streamed, region, tokens, load, seconds),))

    def _add(self) -> Call:
        return Call("add", (self._of("a", "b"), self._of(1, self._value(9))))

    def _observe(self) -> Call:
        return Call("observe", (self._of("a", "b"), self._value(12)))

    def _set(self) -> Call:
        return Call("set", (self._of("a", "b"), self._value(1000)))

    # -- their effects

    def series(self) -> dict[tuple[Instrument, Labels], Series]:
        """Return the expected series at the end, by instrument and labels."""
        return self._sums.series

    def documents(self) -> dict[Document, Sum]:
        """Return the sums of the events of each kind."""
        return self._sums.documents

    def events(self) -> int:
        """Return the number of events that the collector's account must have."""
        return self._sums.events

    @cached_property
    def _sums(self) -> Sums:
        return Sums(self.slices, FLUSHED, {"collector": self.name})


def streams(count: int = 100_000, *, step: Fraction = DYADIC) -> list[Traffic]:
    """Return the traffic of three collectors, with this many events in total."""
    each = [count // len(COLLECTORS)] * len(COLLECTORS)
    each[0] += count - sum(each)
    return [Traffic(name, many, step=step) for name, many in zip(COLLECTORS, each, strict=True)]


def all_series(traffics: Sequence[Traffic]) -> dict[tuple[Instrument, Labels], Series]:
    """Return the expected series of all traffics; no two have a series in common."""
    return {key: one for traffic in traffics for key, one in traffic.series().items()}


def all_documents(traffics: Sequence[Traffic]) -> dict[Document, Sum]:
    """Return the sums of the events of all traffics; no two have a kind of event in common."""
    return {key: found for traffic in traffics for key, found in traffic.documents().items()}
