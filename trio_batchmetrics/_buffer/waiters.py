"""The tasks that wait for room in the buffer, first come first served."""

from __future__ import annotations

import trio

from .._events import Row

__all__ = ["Waiters"]


class Waiters:
    """Tasks in ``arecord``, each with the event that it has not recorded yet. Only in Trio's thread."""

    def __init__(self) -> None:
        """Start with none."""
        self.rows: dict[trio.lowlevel.Task, Row] = {}
        """What each task waits to record, in the order in which they came."""

    async def wait(self, row: Row) -> None:
        """Wait until somebody lets this task go, who records the event or counts it. Cancelled, it takes it back."""
        task = trio.lowlevel.current_task()
        self.rows[task] = row

        def abort(_: object) -> trio.lowlevel.Abort:
            del self.rows[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def first(self) -> tuple[trio.lowlevel.Task, Row]:
        """Take the one that has waited longest, which is then to be rescheduled."""
        task = next(iter(self.rows))
        return task, self.rows.pop(task)
