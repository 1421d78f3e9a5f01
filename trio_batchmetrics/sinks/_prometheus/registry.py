"""Joins a prometheus_client registry, so that one scrape shows its metrics and ours.

Once a sink has joined a registry, the registry keeps one collector of ours until the process ends. A scrape after the
block still shows the last state, and a later block's sink replaces the earlier one. The registry calls the collector in
other threads.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from itertools import accumulate
from typing import Any, Protocol

from ...abc import ConfigError, Kind, Measure, Series
from .families import ExposedFamily, help_of
from .lines import has_sum
from .page import Page

__all__ = ["Owner", "Registry", "RegistryCollector", "client_for"]


class Registry(Protocol):
    """The part of ``prometheus_client.CollectorRegistry`` that we use."""

    def register(self, collector: Any) -> None:
        """Register a collector."""

    def unregister(self, collector: Any) -> None:
        """Unregister a collector."""


def client_for(registry: object) -> Any:
    """Return ``prometheus_client.core``.

    Args:
        registry: the object to check; it must be a registry of prometheus_client.

    Raises:
        ImportError: prometheus_client isn't installed.
        ConfigError: the registry is something else.
    """
    try:
        client: Any = import_module("prometheus_client.core")
    except ImportError as exc:
        wanted = 'pip install "trio-batchmetrics[prometheus]"'
        raise ImportError(f"PrometheusSink(registry=…) needs prometheus_client: {wanted}") from exc
    if not isinstance(registry, client.CollectorRegistry):
        raise ConfigError(f"registry must be a prometheus_client.CollectorRegistry (got {registry!r})")
    return client


class Owner(Protocol):
    """The sink whose series a registry shows."""

    @property
    def is_open(self) -> bool:
        """Whether its collector's block is still open."""
        ...


class RegistryCollector:
    """Our collector in a registry: it shows the series of the sink that joined last.

    No lock is held while the registry's own code runs. Order resolves conflicts: the first open owner in the list wins.
    """

    def __init__(self, registry: Registry, client: Any) -> None:
        """Create a collector that shows nothing yet.

        Args:
            registry: only a weak reference to it is kept.
            client: ``prometheus_client.core``.
        """
        self._registry = weakref.ref(registry)
        self._client = client
        self._owners: list[weakref.ref[Owner]] = []
        """Weak references to the sink that has joined and those that are about to, in order."""
        self.page: Page | None = None

    @classmethod
    def of(cls, registry: Registry, client: Any) -> RegistryCollector:
        """Return our collector in a registry. The first sink creates it; the registry has no public way to find it."""
        known = _members(registry)
        if not known:
            created = cls(registry, client)
            registry.register(created)
            known = _members(registry) or [created]
            for other in known[1:]:  # another thread did the same: all threads keep the first
                with suppress(KeyError):  # another thread has already unregistered it
                    registry.unregister(other)
        return known[0]

    def join(self, owner: Owner, page: Page) -> None:
        """Show a sink's page from now on.

        Args:
            owner: the sink; already open.
            page: its page.

        Raises:
            ConfigError: another sink has joined, and its collector is open.
        """
        reference = weakref.ref(owner)
        if reference in self._owners:
            self._owners.remove(reference)
        self._owners.append(reference)
        for one in [*self._owners]:
            if one is reference:
                break
            other = one()
            if other is not None and other.is_open:
                self._owners.remove(reference)
                raise ConfigError("registry must be one that no other open collector's PrometheusSink has joined")
        while self._owners[0] is not reference:
            del self._owners[0]
        self.page = page

    @property
    def taken(self) -> Mapping[str, Any]:
        """The names of the registry's other metrics, which it has no public way to list."""
        names: Mapping[str, Any] = getattr(self._registry(), "_names_to_collectors", {})
        return names

    def describe(self) -> list[Any]:
        """Return nothing: the future series are unknown, and registering must cost nothing."""
        return []

    def collect(self) -> list[Any]:
        """Return the current series as prometheus_client's metric families. Called in any thread."""
        families = [] if self.page is None else self.page.families(self.taken)
        return [self._family(family, instrument, series) for family, instrument, series in families if series]

    def _family(self, family: ExposedFamily, instrument: Measure, series: list[Series]) -> Any:
        family_metric = self._client.Metric(family.base, help_of(instrument), family.type, family.shown_unit)
        samples = [sample for each in series for sample in _samples(family, each)]
        family_metric.samples.extend(self._client.Sample(name, labels, value) for name, labels, value in samples)
        return family_metric


def _members(registry: Any) -> list[RegistryCollector]:
    """Return our collectors in a registry, in the order in which they were registered."""
    return [one for one in [*getattr(registry, "_collector_to_names", ())] if isinstance(one, RegistryCollector)]


def _samples(family: ExposedFamily, series: Series) -> Iterator[tuple[str, dict[str, str], float]]:
    point = series.point()
    name, labels = family.name, dict(point.labels)
    if family.kind is not Kind.HISTOGRAM:
        yield name, labels, float(point.value)
        return
    totals = [*accumulate(point.counts)]
    for bound, total in zip(family.bounds, totals, strict=True):
        yield f"{name}_bucket", {**labels, "le": bound}, float(total)
    if has_sum(family.bounds, point.value):
        yield f"{name}_count", labels, float(totals[-1])
        yield f"{name}_sum", labels, float(point.value)
