"""What the tasks of all sinks share: how they start, wait for work, and end."""

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
    """The task of one sink.

    It delivers as long as there is work, until nothing more will come. Cancelled, it leaves events as they are:
    pending, for ``Ledger.fail_rest``. Whatever ends it, the sink is closed last.
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
        """Deliver to a sink.

        Args:
            sink: the sink.
            counters: its counters.
            ledger: where events are settled.
            run_id: the start of payload keys.
            report: called when an attempt has failed or events were given up.
        """
        self.counters: SinkCounters = counters
        self._ledger = ledger
        self._run_id = run_id
        self._report = report
        self._attempts = Attempts(sink, counters, report)
        self._work = trio.Event()
        self._finished = False
        """Whether nothing more will come."""

    def begin_shutdown(self) -> None:
        """Stop waiting out backoffs: the block is being left."""
        self._attempts.begin_shutdown()

    def finish(self) -> None:
        """End the task once everything is delivered: nothing more will come."""
        self._finished = True
        self._work.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Deliver until there is nothing left and nothing more will come."""
        try:
            while await self._wait_for_work():
                await self._deliver()
        finally:
            await self._close()  # noqa: ASYNC102 - like Trio's own aclose: cancelled, it does not wait

    @abstractmethod
    async def _wait_for_work(self) -> bool:
        """Wait until there is something to deliver. Returns False once nothing is left and nothing more will come."""

    @abstractmethod
    async def _deliver(self) -> None:
        """Deliver it."""

    async def _close(self) -> None:
        """Let the sink release what it holds; an error is noted. In a forked child that is the parent's to do."""
        if self._attempts.in_child:
            return
        try:
            await self._attempts.sink.aclose()
        except Exception as exc:  # noqa: BLE001 - the sink's last act; the application must not fail because of it
            self._attempts.note(f"aclose: {describe(exc)}")
        except BaseExceptionGroup as group:
            raise self._attempts.only_cancelled(group) from None
