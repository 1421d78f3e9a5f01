"""Describes the machine and the measured packages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

__all__ = ["PEERS", "description"]

PEERS = ("prometheus_client", "opentelemetry-sdk", "statsd", "datadog", "influxdb-client", "elasticsearch")
"""The clients that the library is compared with."""


def _cpu() -> str:
    """Return the processor's name, if the system provides it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def description() -> dict[str, str]:
    """Return the processor, its load, the interpreter, and the versions of all measured packages."""
    packages = ("trio-batchmetrics", "trio", "attrs", *PEERS)
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": platform.system(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{package: version(package) for package in packages},
    }
