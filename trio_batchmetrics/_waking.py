"""How plain data that anything may touch wakes a Trio task.

A recorder may run anywhere in Trio's thread: in a task, in a signal handler between any two bytecodes (Trio's own
included), in ``__del__`` or a logging handler. Waking a task touches Trio's queues, which is safe from an ordinary task
only: Trio takes its run queue as a list and clears it, and what is scheduled in between is never run. From anywhere
else, and from other threads, ``run_sync_soon`` is the one call that is safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident

import trio

__all__ = ["Waker"]


class Waker:
    """Makes calls that touch Trio: at once from an ordinary task, else as soon as Trio's loop can.

    Calls are made in the order they were asked for, each once, never two at a time. Asking never raises and never
    waits.
    """

    def __init__(self) -> None:
        """Bind to the Trio run of the caller; call it from a task."""
        self._token: trio.lowlevel.TrioToken | None = trio.lowlevel.current_trio_token()
        self._thread = get_ident()
        self._asked: deque[Callable[[], object]] = deque()
        self._calling = False
        self.fragile: set[trio.lowlevel.Task] = set()
        """The tasks that such calls wake: a handler that interrupts one looks like an ordinary task, and is none."""

    def __call__(self, call: Callable[[], object]) -> None:
        """Ask for a call.

        Args:
            call: takes nothing, raises nothing, is no checkpoint; twice is as good as once.
        """
        if self._token is None:
            return
        self._asked.append(call)
        in_task = get_ident() == self._thread and trio.lowlevel.in_trio_task()
        if in_task and trio.lowlevel.current_task() not in self.fragile:
            self._make_calls()
            return
        with suppress(trio.RunFinishedError):  # nobody is left to wake
            self._token.run_sync_soon(self._make_calls, idempotent=True)

    def close_in_child(self) -> None:
        """Make no more calls, in a forked child: the run's wake-up socket is the parent's too."""
        self._token = None
        self._asked.clear()

    def _make_calls(self) -> None:
        while self._asked:
            if self._calling:
                return  # re-entered: the outer call looks again after it has let go
            self._calling = True
            try:
                while self._asked:
                    self._asked[0]()  # should the stack be too deep for it, it is still there to be made later
                    self._asked.popleft()
            finally:
                self._calling = False
