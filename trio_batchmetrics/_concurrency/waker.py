"""Wakes Trio tasks from code that may run anywhere.

A recorder may run anywhere: in a task, in a signal handler between any two bytecodes (Trio's own included), in
``__del__`` or a logging handler, in any thread. Waking a task touches Trio's queues, which is safe from an ordinary
task only: Trio copies its run queue to a list and clears it, and a task that is scheduled in between never runs.

From anywhere else, the waker writes a byte to a socket that a task of the collector reads. Trio's ``run_sync_soon``
also serves this purpose, but takes a lock. A thread may wait for that lock while it holds another one, as a logging
handler does. If a signal handler that logs then interrupts the holder of Trio's lock, the two deadlock. Writing a byte
waits for nothing.

The waker also writes a byte when the stack is nearly full. An application may record at the bottom of a recursion, or
in the handler of the resulting ``RecursionError``. If that error is raised again in the middle of a change to the
buffer, the next maintenance repairs it, as it does after a signal handler that raises. In the middle of Trio's queues,
the error would end the run.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident

import trio

__all__ = ["NEEDED_FRAMES", "Waker", "stack_has_room"]

NEEDED_FRAMES = 20
"""The nested calls that waking a task takes (8), with some to spare for the hook of a Trio instrument."""


def _nested_tuple() -> tuple[object, ...]:
    nested: tuple[object, ...] = (int,)
    for _ in range(NEEDED_FRAMES):
        nested = (nested,)
    return nested


_NESTED = _nested_tuple()


def _room_for_any_call() -> bool:
    # isinstance() recurses through nested tuples in C, 30 times as fast as the same number of calls in Python.
    try:
        isinstance(None, _NESTED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except RecursionError:
        return False
    return True


def _room_for_frames() -> bool:
    try:
        sys._getframe(max(sys.getrecursionlimit() - NEEDED_FRAMES, 0))  # pyright: ignore[reportPrivateUsage]
    except ValueError:  # the stack is not that deep
        return True
    return False


_counts_calls_in_c = sys.version_info[:2] < (3, 12)  # a variable, so that type checkers check both branches
stack_has_room = _room_for_any_call if _counts_calls_in_c else _room_for_frames
"""Return whether the stack has room for :data:`NEEDED_FRAMES` nested calls; costs 0.2 µs.

Up to 3.11, CPython's recursion limit also counts calls of C functions; from 3.12 on, it counts Python frames only.
"""


class _WakeupSocketpair:
    """A pair of connected sockets that stays open for as long as it is referenced.

    Only dropping the last reference closes it. A thread that is about to write may still hold a reference; if the
    sockets were closed earlier, their file descriptor could belong to another file by then.
    """

    def __init__(self) -> None:
        """Connect two non-blocking sockets."""
        self._ends: tuple[socket.socket, ...] = ()  # so that __del__ works even if no file descriptors are left
        self.receiver, self._sender = self._ends = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)

    def __del__(self) -> None:
        for end in self._ends:
            end.close()

    def write(self) -> None:
        """Make the other end readable. Never blocks; raises only if the stack has no room."""
        try:
            self._sender.send(b"\0")
        except OSError:  # the buffer is full, so the other end is readable
            pass

    def read(self) -> None:
        """Read and discard everything that was written."""
        with suppress(OSError):  # nothing left to read
            while self.receiver.recv(4096):
                pass


class Waker:
    """Makes calls that touch Trio: at once from an ordinary task, else as soon as the task in :meth:`run` can.

    The calls are made in the order of the requests, each exactly once, never two at the same time. A request waits for
    no lock, and raises only if the stack has no room.
    """

    def __init__(self) -> None:
        """Create a waker for the calling task's Trio run."""
        self._socketpair: _WakeupSocketpair | None = _WakeupSocketpair()
        self._signalled = False
        """Whether the receiving socket is readable, or about to be."""
        self._thread = get_ident()
        self._requested_calls: deque[Callable[[], object]] = deque()
        self._calling = False
        self.woken: set[trio.lowlevel.Task] = set()
        """The tasks that these calls wake. A handler that interrupts one looks like an ordinary task, but isn't."""

    def __call__(self, call: Callable[[], object]) -> None:
        """Request a call.

        Args:
            call: a function that takes no arguments, raises nothing, isn't a checkpoint and is idempotent.
        """
        socketpair = self._socketpair
        if socketpair is None:
            return
        self._requested_calls.append(call)
        in_task = get_ident() == self._thread and trio.lowlevel.in_trio_task()
        if in_task and trio.lowlevel.current_task() not in self.woken and stack_has_room():
            self._make_calls()
        elif not self._signalled:
            self._write(socketpair)

    def later(self, call: Callable[[], object]) -> None:
        """Request a call by the task in :meth:`run`, even from an ordinary task."""
        socketpair = self._socketpair
        if socketpair is None:
            return
        self._requested_calls.append(call)
        if not self._signalled:
            self._write(socketpair)

    def _write(self, socketpair: _WakeupSocketpair) -> None:
        self._signalled = True
        try:
            socketpair.write()
        except BaseException:
            self._signalled = False
            raise

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Make the calls that were requested outside ordinary tasks, until cancelled."""
        self.woken.add(trio.lowlevel.current_task())
        socketpair: _WakeupSocketpair | None = None
        try:
            while (socketpair := self._socketpair) is not None:
                await trio.lowlevel.wait_readable(socketpair.receiver)
                if self._socketpair is not socketpair:
                    return  # this is a forked child, and the bytes to read are the parent's
                socketpair.read()
                self._signalled = False  # before looking for calls: any request from here on writes again
                self._make_calls()
        finally:
            socketpair = None  # the traceback of a cancellation may keep this frame for long

    def finish(self) -> None:
        """Make the calls requested so far, then close. Call it from a task."""
        self._make_calls()
        self.close()

    def close(self) -> None:
        """Drop all requests, and ignore further ones. A forked child does this too: the sockets are the parent's."""
        self._socketpair = None
        self._requested_calls.clear()

    def _make_calls(self) -> None:
        # No ``while`` inside ``try``: CPython 3.12 and 3.13 don't catch an exception that a signal handler raises at
        # the loop's backward jump.
        while self._requested_calls and not self._calling:  # re-entered: the outer call checks again once it is done
            self._calling = True
            try:
                # CPython 3.11 runs signal handlers at the loop's backward jump, which comes after its condition.
                if self._requested_calls:
                    self._requested_calls[0]()  # if the stack is too deep for it, the call stays queued for later
                if self._requested_calls:  # not if the call has closed this waker
                    self._requested_calls.popleft()
            finally:
                self._calling = False
