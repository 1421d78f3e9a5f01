"""The tasks that wait for room in the buffer, first come first served."""

from __future__ import annotations

import trio

from ._batch import Row

__all__ = ["Waiters"]


class Waiters:
    """Tasks in ``arecord``, each with the event that it has not recorded yet. Only in Trio's thread."""

    def __init__(self) -> None:
        """Start with none."""
        self._rows: dict[trio.lowlevel.Task, Row] = {}

    def __bool__(self) -> bool:
        """Tell whether any task waits."""
        return bool(self._rows)

    async def wait(self, row: Row) -> None:
        """Wait until somebody lets this task go, who records the event or counts it. Cancelled, it takes it back."""
        task = trio.lowlevel.current_task()
        self._rows[task] = row

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._rows[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def first(self) -> tuple[trio.lowlevel.Task, Row]:
        """Take the one that has waited longest, which is then to be rescheduled."""
        task = next(iter(self._rows))
        return task, self._rows.pop(task)
