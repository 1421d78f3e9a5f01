"""How the library shares a thread with Trio and with the application's own threads.

::

    waking        a call that touches Trio, made from anywhere as soon as that is safe
    turns         how long a task works before it lets others run
    stack         whether the stack has room for waking a task
    thread_cells  counts that any thread may change without a lock

Imports nothing of this package. Every room above may use it; none of it is public.
"""

from __future__ import annotations

from .stack import has_room
from .thread_cells import Cells, SharedCount, gil_enabled, shared_count
from .turns import Turn
from .waking import Waker

__all__ = ["Cells", "SharedCount", "Turn", "Waker", "gil_enabled", "has_room", "shared_count"]
