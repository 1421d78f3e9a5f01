"""Where the servers are installed, and which of them are available.

Each server has one folder in the cache, named after the server and its version. A single rename creates the folder when
its content is complete. A folder that exists is therefore an installed server.
"""

import os
import platform
import sys
from pathlib import Path

__all__ = ["SERVERS", "SLOW", "cache_folder", "is_installed", "must_be_installed", "server_folder", "wanted_servers"]


def _system_release() -> str:
    """Name the system whose packages are used, so that they are fetched again after an upgrade."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system().lower()
    return f"{release['ID']}{release.get('VERSION_ID', '')}"


_RELEASE = _system_release()

SERVERS = {
    "prometheus": _RELEASE,
    "pushgateway": _RELEASE,
    "influxdb": _RELEASE,
    "victoriametrics": _RELEASE,
    "victoriametrics151": "1.151.0",  # the newest that Go 1.26 builds
    "influxdb18": "1.8.3",  # the last 1.x that is a plain Go program; the first with the 2.x write path is 1.8
    "influxdb113": "1.13.2",  # the newest 1.x
    "influxdb27": "2.7.12",
    "otelcol": "0.162.0",  # the last whose file exporter can be had; `otelcol/go.mod` has it too
    "prometheus3": "3.16.0",  # the newest 3.x
    "opensearch": "2.19.1",  # later ones of 2.19 lack the HTTP module among their jars
    "elasticsearch": "7.17.29",  # the last that has its HTTP module among its jars
}
"""Each server's name, as used in the mark `server`, and its version; for packages, the system's release instead."""


SLOW = frozenset({"influxdb113", "influxdb27"})
"""Servers that take ten minutes to build: only `make test-servers` installs and uses them."""


def wanted_servers() -> list[str]:
    """Return the servers to install and use: all if ``TEST_SLOW_SERVERS`` is 1, otherwise only the quick ones."""
    slow_too = os.environ.get("TEST_SLOW_SERVERS") == "1"
    return [server for server in SERVERS if slow_too or server not in SLOW]


def cache_folder() -> Path:
    """Return where servers are installed: outside the checkout, so that `make clean` and a new clone keep them."""
    chosen = os.environ.get("TEST_SERVERS_CACHE")
    if chosen:
        return Path(chosen).absolute()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "trio-batchmetrics" / "servers"


def server_folder(server: str) -> Path:
    """Return the folder of a server, whether it exists or not."""
    return cache_folder() / f"{server}-{SERVERS[server]}"


def is_installed(server: str) -> bool:
    """Return whether a server can be started."""
    return server_folder(server).is_dir()


def must_be_installed() -> bool:
    """Return whether a missing server is an error: in CI, on the system whose packages are used."""
    return os.environ.get("CI") == "true" and sys.platform == "linux"
