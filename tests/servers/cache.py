"""Where the installed servers lie, and which of them are there.

A server has one folder in the cache, named for it and its version. The folder comes into being by one rename, when
all that belongs in it is there: so a folder that exists is a server that is installed.
"""

import os
import platform
import sys
from pathlib import Path

__all__ = ["SERVERS", "SLOW", "cache_folder", "is_installed", "must_be_installed", "server_folder", "wanted_servers"]


def _system_release() -> str:
    """Name the system whose packages are used: after an upgrade they are fetched anew."""
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
    "opensearch": "2.19.1",  # later ones of 2.19 lack the HTTP module among their jars
    "elasticsearch": "7.17.29",  # the last that has its HTTP module among its jars
}
"""Each server's name, as the mark `server` takes it, and its version; of packages, the system's release instead."""


SLOW = frozenset({"influxdb113", "influxdb27"})
"""Servers that take ten minutes to build: `make test-servers` installs and uses them, nothing else does."""


def wanted_servers() -> list[str]:
    """Return the servers that are installed and used: all if ``TEST_SLOW_SERVERS`` is 1, otherwise the quick ones."""
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
    """Return the folder of a server, whether it is there or not."""
    return cache_folder() / f"{server}-{SERVERS[server]}"


def is_installed(server: str) -> bool:
    """Say whether a server can be started."""
    return server_folder(server).is_dir()


def must_be_installed() -> bool:
    """Say whether a missing server is an error: in CI, on the system whose packages they come from."""
    return os.environ.get("CI") == "true" and sys.platform == "linux"
