"""Threads other than Trio's: they run to their end while Trio's stands still, or take turns as often as they can."""

import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from tests.helpers import interrupted_at
from trio_batchmetrics import BatchMetricsCollector

__all__ = ["StoppedThread", "in_a_thread", "in_threads", "record_numbered", "restless"]


def in_threads(functions: Sequence[Callable[[], object]]) -> None:
    """Run each function in its own thread, all at once, to their end; raise the first exception of any of them."""
    start = threading.Barrier(len(functions))
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            start.wait(30)
            function()
        except BaseException as exc:  # noqa: BLE001, ASYNC103 - raised again below
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def record_numbered(metrics: BatchMetricsCollector, count: int, *, thread: bool) -> None:
    """Record counters with ids from 0 on, in this thread or in another."""

    def record() -> None:
        for number in range(count):
            metrics.record_counter("c", {"id": number}, 1)

    if thread:
        in_a_thread(record)
    else:
        record()


def in_a_thread(function: Callable[[], object]) -> None:
    """Run a function in a thread, to its end, while Trio's thread stands still; raise its exception."""
    in_threads([function])


@contextmanager
def restless() -> Generator[None, None, None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class StoppedThread:
    """A thread that stops in the middle of the library's code, at the n-th place where it may be interrupted."""

    def __init__(self, function: Callable[[], object], point: int, patience: float | None = None) -> None:
        """Run a function in a thread, and return once the thread has stopped or ended.

        Args:
            function: what to run.
            point: the place, counted as :func:`~tests.helpers.interrupted_at` does.
            patience: seconds after which it goes on by itself; None: never.
        """
        self.passed: int = 0
        """How many places were passed, once the thread has been joined."""
        self._function = function
        self._point = point
        self._patience = patience
        self._stopped, self._goes_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._stopped.wait(10)

    def _run(self) -> None:
        with interrupted_at(self._point, self._stop) as passed:
            self._function()
        self.passed = passed[0]
        self._stopped.set()

    def _stop(self) -> None:
        self._stopped.set()
        self._goes_on.wait(self._patience)

    def join(self) -> None:
        """Let it go on, to its end."""
        self._goes_on.set()
        self._thread.join()
