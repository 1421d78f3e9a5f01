"""Parse pages with the parsers of prometheus_client, which are independent of the library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["OPENMETRICS", "Labels", "Parsed", "labelled", "parsed", "parsed_registry"]

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
"""An `Accept` header."""

Labels = frozenset[tuple[str, str]]

_text: Any = import_module("prometheus_client.parser")
_openmetrics: Any = import_module("prometheus_client.openmetrics.parser")


class Parsed(NamedTuple):
    """A parsed page."""

    samples: dict[tuple[str, Labels], float]
    """The value by name and labels."""
    families: dict[str, tuple[str, str, str]]
    """Type, unit and help by name; a counter's name is without `_total`."""

    def of(self, name: str) -> dict[Labels, float]:
        """Return the samples of a name, by labels."""
        return {labels: value for (sample, labels), value in self.samples.items() if sample == name}


def labelled(labels: Mapping[str, str] | None = None, **more: str) -> Labels:
    """Return labels in the form of samples."""
    return frozenset({**(labels or {}), **more}.items())


def parsed(page: bytes, *, openmetrics: bool) -> Parsed:
    """Parse a page; assert that no sample occurs twice and no line is skipped."""
    text = page.decode()
    parser = _openmetrics if openmetrics else _text
    found = _of(parser.text_string_to_metric_families(text))
    assert len(found.samples) == sum(not line.startswith("#") for line in text.split("\n")[:-1])
    assert not text or text.endswith("\n")
    return found


def parsed_registry(families: Iterable[Any]) -> Parsed:
    """Parse the families that a registry collects."""
    return _of(families)


def _of(families: Iterable[Any]) -> Parsed:
    samples: dict[tuple[str, Labels], float] = {}
    heads: dict[str, tuple[str, str, str]] = {}
    for family in families:
        assert family.name not in heads
        heads[family.name] = (family.type, family.unit, family.documentation)
        for name, labels, value, *_ in family.samples:
            key = (name, frozenset(labels.items()))
            assert key not in samples
            samples[key] = value
    return Parsed(samples, heads)
