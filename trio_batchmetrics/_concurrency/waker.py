"""How plain data that anything may touch wakes a Trio task.

A recorder may run anywhere: in a task, in a signal handler between any two bytecodes (Trio's own included), in
``__del__`` or a logging handler, in any thread. Waking a task touches Trio's queues, which is safe from an ordinary
task only: Trio takes its run queue as a list and clears it, and a task that is scheduled in between never runs.

From anywhere else, a byte is written to a socket that a task of the collector's reads. Trio's ``run_sync_soon`` is made
for this, too, but takes a lock. A thread may wait for that lock while it holds another one, as a logging handler does.
If the holder of Trio's lock is interrupted by a signal handler that logs, each waits for the other for ever. Writing a
byte waits for nothing.

A byte is written, too, where the stack is nearly used up. An application may record at the bottom of a recursion, or in
the handler of the very ``RecursionError``. Raised again in the middle of a change of the buffer, the next
maintenance makes good for it, as after a signal handler that raises; in the middle of Trio's queues it would end the
run.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident

import trio

__all__ = ["NEEDED", "Waker", "has_room"]

NEEDED = 20
"""Calls within calls that waking a task takes (8), with some for the hook of an instrument of Trio's."""


def _nested() -> tuple[object, ...]:
    nested: tuple[object, ...] = (int,)
    for _ in range(NEEDED):
        nested = (nested,)
    return nested


_NESTED = _nested()


def _room_for_any_call() -> bool:
    # isinstance() looks through nested tuples by recursion in C, 30 times as quick as so many calls in Python.
    try:
        isinstance(None, _NESTED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except RecursionError:
        return False
    return True


def _room_for_frames() -> bool:
    try:
        sys._getframe(max(sys.getrecursionlimit() - NEEDED, 0))  # pyright: ignore[reportPrivateUsage]
    except ValueError:  # the stack is not that deep
        return True
    return False


_counts_calls_in_c = sys.version_info[:2] < (3, 12)  # so that the checkers look at both
has_room = _room_for_any_call if _counts_calls_in_c else _room_for_frames
"""Tell whether as many calls within calls as are needed fit on the stack; costs 0.2 µs.

CPython counts calls of functions in C as well up to 3.11, and frames of Python alone from 3.12 on.
"""


class _Wire:
    """A pair of connected sockets, open for as long as anybody uses it.

    It is closed by the end of its last reference and by nothing else: a thread that is about to write may hold one, and
    a file descriptor that is closed under it could be another file's by then.
    """

    def __init__(self) -> None:
        """Connect two sockets, neither of which blocks."""
        self._ends: tuple[socket.socket, ...] = ()  # should there be no file descriptors left, it is to be deleted, too
        self._receiver, self._sender = self._ends = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def __del__(self) -> None:
        for end in self._ends:
            end.close()

    def write(self) -> None:
        """Make it readable. Never blocks; raises nothing but what the stack has no room for."""
        try:
            self._sender.send(b"\0")
        except OSError:  # it is full, so it is readable
            pass

    async def wait_readable(self) -> None:
        """Wait until it is readable, and read what is there."""
        await trio.lowlevel.wait_readable(self._receiver)

    def read(self) -> None:
        """Read all that is there."""
        with suppress(OSError):  # nothing is
            while self._receiver.recv(4096):
                pass


class Waker:
    """Makes calls that touch Trio: at once from an ordinary task, else as soon as the task that runs :meth:`run` can.

    Calls are made in the order they were asked for, each once, never two at a time. Asking never raises, and waits for
    no lock.
    """

    def __init__(self) -> None:
        """Bind to the Trio run of the caller; call it from a task."""
        self._wire: _Wire | None = _Wire()
        self._written = False
        """Whether the wire is readable, or about to be."""
        self._thread = get_ident()
        self._asked: deque[Callable[[], object]] = deque()
        self._calling = False
        self.woken: set[trio.lowlevel.Task] = set()
        """The tasks that such calls wake: a handler that interrupts one looks like an ordinary task, but isn't."""

    def __call__(self, call: Callable[[], object]) -> None:
        """Ask for a call.

        Args:
            call: takes nothing, raises nothing, is not a checkpoint; twice is as good as once.
        """
        wire = self._wire
        if wire is None:
            return
        self._asked.append(call)
        in_task = get_ident() == self._thread and trio.lowlevel.in_trio_task()
        if in_task and trio.lowlevel.current_task() not in self.woken and has_room():
            self._make_calls()
        elif not self._written:
            self._write(wire)

    def later(self, call: Callable[[], object]) -> None:
        """Ask for a call by the task that runs :meth:`run`, wherever this is."""
        wire = self._wire
        if wire is None:
            return
        self._asked.append(call)
        if not self._written:
            self._write(wire)

    def _write(self, wire: _Wire) -> None:
        self._written = True
        try:
            wire.write()
        except BaseException:
            self._written = False
            raise

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Make the calls that were asked for elsewhere than in a task, until cancelled."""
        self.woken.add(trio.lowlevel.current_task())
        while (wire := self._wire) is not None:
            await wire.wait_readable()
            if self._wire is not wire:
                return  # a forked child's: what there is to read is the parent's
            wire.read()
            self._written = False  # before the calls are looked for: whoever asks from here on writes again
            self._make_calls()

    def finish(self) -> None:
        """Make the calls that were asked for, and no more from then on. Call it from a task."""
        self._make_calls()
        self.close()

    def close(self) -> None:
        """Make no more calls; in a forked child, too, since the wire is the parent's."""
        self._wire = None
        self._asked.clear()

    def _make_calls(self) -> None:
        # No ``while`` inside ``try``: CPython 3.12 and 3.13 do not catch what a signal handler raises as it goes round.
        while self._asked and not self._calling:  # re-entered: the outer call looks again after it has let go
            self._calling = True
            try:
                self._asked[0]()  # should the stack be too deep for it, it is still there to be made later
                self._asked.popleft()
            finally:
                self._calling = False
