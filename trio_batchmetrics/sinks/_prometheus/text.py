"""Formats numbers, bounds, labels and help for Prometheus' text formats.

Text 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats
OpenMetrics 1.0: https://prometheus.io/docs/specs/om/open_metrics_spec
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...abc import Kind, Measure

__all__ = ["bound_text", "bounds_text", "help_text", "labels_text", "number_text"]


def number_text(value: float) -> str:
    """Return a number as text that parses to exactly the same float."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def bound_text(bound: float) -> str:
    """Return a bucket's bound as Prometheus and OpenMetrics write it ("canonical numbers"): ``1.0``, ``1e+06``."""
    written = number_text(bound)
    whole, point, rest = written.lstrip("-").partition(".")
    if not point or "e" in rest or len(whole) < 7:
        return written
    digits = f"{whole}{rest}".rstrip("0")
    mantissa = f"{digits[0]}.{digits[1:]}".rstrip(".")
    return f"{'-' * (bound < 0)}{mantissa}e+{len(whole) - 1:02d}"


def bounds_text(instrument: Measure) -> tuple[str, ...]:
    """Return a histogram's bucket bounds as text, ``+Inf`` included; empty for other instruments."""
    if instrument.kind is not Kind.HISTOGRAM:
        return ()
    return tuple(map(bound_text, (*instrument.default_bounds, math.inf)))


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels as the text after a name, braces included; empty if there are none."""
    written = ",".join([f'{name}="{_escaped(value)}"' for name, value in labels.items()])
    return f"{{{written}}}" if written else ""


def help_text(value: str, *, openmetrics: bool) -> str:
    """Return a description as text. Quotes are escaped in OpenMetrics only."""
    return _escaped(value) if openmetrics else value.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
