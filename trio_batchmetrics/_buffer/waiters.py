"""The tasks that wait for room in the buffer, served in FIFO order."""

from __future__ import annotations

import trio

from .._events import Row

__all__ = ["Waiters"]


class Waiters:
    """The tasks blocked in ``arecord``, each with its event that isn't recorded yet. For use in Trio's thread only."""

    def __init__(self) -> None:
        """Create an empty queue of tasks."""
        self.rows: dict[trio.lowlevel.Task, Row] = {}
        """The row that each task waits to record, in order of arrival."""

    async def wait(self, row: Row) -> None:
        """Wait until this task is rescheduled. The rescheduler records or counts the row; cancellation withdraws it."""
        task = trio.lowlevel.current_task()
        self.rows[task] = row

        def abort(_: object) -> trio.lowlevel.Abort:
            del self.rows[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def pop_first(self) -> tuple[trio.lowlevel.Task, Row]:
        """Remove and return the longest-waiting task and its row. The caller must reschedule the task."""
        task = next(iter(self.rows))
        return task, self.rows.pop(task)
