"""The name of this process, for back-ends to which several processes report: ``host:pid``.

The name is determined when a block is entered, never earlier: a sink is often created before workers are forked.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

__all__ = ["process_name"]

_NAMESPACE = Path("/proc/self/ns/pid")

_INITIAL_NAMESPACE = 0xEFFFFFFC
"""The initial namespace's inode number, the same on every Linux (``PROC_PID_INIT_INO``, include/linux/proc_ns.h)."""


def process_name() -> str:
    """Return ``host:pid``; in a container ``host-namespace:pid``.

    The containers of a pod share its host name, and the first process of each has PID 1. Two processes with the same
    PID are in different PID namespaces, whose inode numbers are unique on the machine (namespaces(7)).
    """
    host, pid = socket.gethostname(), os.getpid()
    namespace = _pid_namespace()
    return f"{host}:{pid}" if namespace in (None, _INITIAL_NAMESPACE) else f"{host}-{namespace}:{pid}"


def _pid_namespace() -> int | None:
    """Return the inode number of this process's PID namespace, or None if the system has no PID namespaces."""
    try:
        return _NAMESPACE.stat().st_ino
    except OSError:
        return None
