"""The life cycle that the delivery tasks of all sinks share: start, wait for work, end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import trio

from .._ledger import Ledger, SinkCounters
from ..abc import EventSink, SeriesSink
from .attempts import Attempts
from .receipts import describe

__all__ = ["Delivery"]


class Delivery(ABC):
    """The delivery task of one sink.

    It delivers until nothing is left and no more work will come. If cancelled, it leaves its events pending, for
    ``Ledger.fail_pending``. However it ends, its last step is to close the sink.
    """

    def __init__(
        self,
        sink: EventSink[Any] | SeriesSink[Any],
        counters: SinkCounters,
        ledger: Ledger,
        *,
        run_id: str,
        report: Callable[[], object],
    ) -> None:
        """Create the delivery of one sink; :meth:`run` is its task.

        Args:
            sink: the sink.
            counters: its counters.
            ledger: settles the events.
            run_id: the prefix of payload keys.
            report: called when an attempt has failed or events were given up.
        """
        self.counters: SinkCounters = counters
        self._ledger = ledger
        self._run_id = run_id
        self._report = report
        self._attempts = Attempts(sink, counters, report)
        self._work_arrived = trio.Event()
        self._no_more_work = False
        """Whether no more work will come."""

    def begin_shutdown(self) -> None:
        """Cut backoffs short, because the block is being left."""
        self._attempts.begin_shutdown()

    def finish(self) -> None:
        """Let the task end once everything is delivered: no more work will come."""
        self._no_more_work = True
        self._work_arrived.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Deliver until nothing is left and no more work will come, then close the sink."""
        try:
            while await self._wait_for_work():
                await self._deliver()
        finally:
            await self._close()  # noqa: ASYNC102 - like Trio's own aclose, it does not wait if cancelled

    @abstractmethod
    async def _wait_for_work(self) -> bool:
        """Wait until there is work. Returns False once nothing is left and no more work will come."""

    @abstractmethod
    async def _deliver(self) -> None:
        """Deliver the work that :meth:`_wait_for_work` found."""

    async def _close(self) -> None:
        """Close the sink and note an error. A forked child leaves the sink to its parent."""
        if self._attempts.in_child:
            return
        try:
            await self._attempts.sink.aclose()
        except Exception as exc:  # noqa: BLE001 - the sink's last step; it must not make the application fail
            self._attempts.note_error(f"aclose: {describe(exc)}")
        except BaseExceptionGroup as group:
            raise self._attempts.only_cancelled(group) from None
