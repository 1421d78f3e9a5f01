"""The primitives by which the library coexists with Trio's run loop and the application's threads.

::

    waker         makes a call that touches Trio, from anywhere, as soon as that is safe
    turns         limits how long a task works before it yields to others
    pace          sizes the steps of that work
    steps         work in steps of about a millisecond
    thread_cells  counts that any thread may change without a lock

This room imports nothing from this package. Every room above may use it; none of it is public.
"""

from __future__ import annotations

from .pace import Pace
from .steps import in_steps, joined
from .thread_cells import Cells, Count, SharedCount, gil_enabled, shared_count
from .turns import Turn
from .waker import Waker, stack_has_room

__all__ = [
    "Cells",
    "Count",
    "Pace",
    "SharedCount",
    "Turn",
    "Waker",
    "gil_enabled",
    "in_steps",
    "joined",
    "shared_count",
    "stack_has_room",
]
