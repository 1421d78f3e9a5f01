"""The answer cache: least recently used goes first, and nothing stays longer than its time to live."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import trio

from trio_batchmetrics import BatchMetricsCollector

T = TypeVar("T")


class TTLCache(Generic[T]):
    """A bounded mapping that records each hit, miss and eviction.

    Synchronous throughout, so no other task can come between a look and a change.
    """

    def __init__(self, name: str, metrics: BatchMetricsCollector, *, max_entries: int, seconds_to_live: float) -> None:
        """Make an empty cache whose size is collected along with the metrics.

        Args:
            name: The cache's name in the metrics.
            metrics: Where to record.
            max_entries: The most entries kept, at least 1.
            seconds_to_live: How long an entry is good for.
        """
        self._name = name
        self._metrics = metrics
        self._max_entries = max_entries
        self._seconds_to_live = seconds_to_live
        self._entries: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        metrics.observable_gauge("cache.entries", lambda: len(self._entries), labels={"cache.type": name})

    def get(self, key: Hashable) -> T | None:
        """Return the value under a key, or None if there is none or it is too old.

        Args:
            key: What it was put under.
        """
        if key in self._entries:
            expires, value = self._entries[key]
            if trio.current_time() < expires:
                self._entries.move_to_end(key)
                self._metrics.record_cache_metric(self._name, "hit")
                return value
            del self._entries[key]
            self._metrics.record_cache_metric(self._name, "eviction")
        self._metrics.record_cache_metric(self._name, "miss")
        return None

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value, at the cost of the least recently used one if there is no room.

        Args:
            key: What to find it under.
            value: What to keep.
        """
        self._entries[key] = (trio.current_time() + self._seconds_to_live, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self._metrics.record_cache_metric(self._name, "eviction")
