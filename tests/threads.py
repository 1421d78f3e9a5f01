"""Threads beside Trio's: run to their end while that stands still, and taking turns as often as they can."""

import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

__all__ = ["in_a_thread", "in_threads", "restless"]


def in_threads(functions: Sequence[Callable[[], object]]) -> None:
    """Run each in a thread of its own, all at once, to their end; raise what the first of them raises."""
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


def in_a_thread(function: Callable[[], object]) -> None:
    """Run a function in a thread, to its end, while Trio's thread stands still; raise what it raises."""
    in_threads([function])


@contextmanager
def restless() -> Generator[None, None, None]:
    """Have threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
