"""Joining a registry of prometheus_client's, so that one scrape shows its metrics and ours.

A registry has one collector of ours from the first sink that joins it on, for ever: a scrape after the block still
shows the last state, and the sink of a later block takes the former's place. The registry calls it in other threads.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from itertools import accumulate
from typing import Any, Protocol

from ..._events import Kind
from ..._exceptions import ConfigError
from .families import ExposedFamily, Series
from .lines import has_sum
from .page import Page

__all__ = ["Membership", "Owner", "Registry", "client_for"]


class Registry(Protocol):
    """What is needed of a ``prometheus_client.CollectorRegistry``."""

    def register(self, collector: Any) -> None:
        """Take a collector."""

    def unregister(self, collector: Any) -> None:
        """Forget a collector."""


def client_for(registry: object) -> Any:
    """Return ``prometheus_client.core``.

    Args:
        registry: what must be one of its registries.

    Raises:
        ImportError: it is not installed.
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
        """Whether its collector's block has not ended."""
        ...


class Membership:
    """What a registry collects of ours: the series of the sink that joined it last.

    No lock is held while a registry's own code runs. Whoever comes first in a list, of those that are open, has won.
    """

    def __init__(self, registry: Registry, client: Any) -> None:
        """Show nothing yet.

        Args:
            registry: not kept alive by this.
            client: ``prometheus_client.core``.
        """
        self._registry = weakref.ref(registry)
        self._client = client
        self._owners: list[weakref.ref[Owner]] = []
        """The sinks that want to join, and the one that has, in order; none is kept alive."""
        self.page: Page | None = None

    @classmethod
    def of(cls, registry: Registry, client: Any) -> Membership:
        """Return the one of a registry, which is made with the first sink. It has no public way to be found."""
        known = _members(registry)
        if not known:
            made = cls(registry, client)
            registry.register(made)
            known = _members(registry) or [made]
            for other in known[1:]:  # another thread was as quick: all agree on the first
                with suppress(KeyError):  # it has been done already
                    registry.unregister(other)
        return known[0]

    def join(self, owner: Owner, page: Page) -> None:
        """Show a sink's page from now on.

        Args:
            owner: the sink; open already.
            page: its page.

        Raises:
            ConfigError: another sink has joined, and its collector is open.
        """
        mine = weakref.ref(owner)
        if mine in self._owners:
            self._owners.remove(mine)
        self._owners.append(mine)
        for one in [*self._owners]:
            if one is mine:
                break
            other = one()
            if other is not None and other.is_open:
                self._owners.remove(mine)
                raise ConfigError("registry must be one that no other open collector's PrometheusSink has joined")
        while self._owners[0] is not mine:
            del self._owners[0]
        self.page = page

    @property
    def taken(self) -> Mapping[str, Any]:
        """The names that the registry has from others; it has no public way to ask."""
        names: Mapping[str, Any] = getattr(self._registry(), "_names_to_collectors", {})
        return names

    def describe(self) -> list[Any]:
        """Name nothing beforehand: what is to come is not known, and to register must cost nothing."""
        return []

    def collect(self) -> list[Any]:
        """Return the series as they stand, as metric families of prometheus_client's. Called in any thread."""
        families = [] if self.page is None else self.page.families(self.taken)
        return [self._family(family, series) for family, series in families if series]

    def _family(self, family: ExposedFamily, series: list[Series]) -> Any:
        made = self._client.Metric(family.base, family.help, family.type, family.shown_unit)
        made.samples.extend(
            self._client.Sample(name, labels, value) for one in series for name, labels, value in _samples(family, one)
        )
        return made


def _members(registry: Any) -> list[Membership]:
    """Return what a registry has of ours, in the order in which it came."""
    return [one for one in [*getattr(registry, "_collector_to_names", ())] if isinstance(one, Membership)]


def _samples(family: ExposedFamily, one: Series) -> Iterator[tuple[str, dict[str, str], float]]:
    name, cell = family.name, one.cell
    counts, value = cell.counts[:], cell.value  # as Cell.point() reads them
    labels = dict(cell.labels)
    if family.kind is not Kind.HISTOGRAM:
        yield name, labels, float(value)
        return
    totals = [*accumulate(counts)]
    for bound, total in zip(one.bounds, totals, strict=True):
        yield f"{name}_bucket", {**labels, "le": bound}, float(total)
    if has_sum(one.bounds, value):
        yield f"{name}_count", labels, float(totals[-1])
        yield f"{name}_sum", labels, float(value)
