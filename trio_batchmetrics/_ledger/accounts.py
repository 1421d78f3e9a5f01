"""What the ledger counts with: a sink's account, and events recorded together.

Only :class:`~.ledger.Ledger` changes these.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Sized
from datetime import datetime

from .._concurrency import SharedCount, shared_count
from .flushes import Stretch
from .stats import SinkStats

__all__ = [
    "FAILED",
    "MAX_EVENT_SINKS",
    "PROCESSED",
    "SETTLING",
    "SPOOLED",
    "Account",
    "Cohort",
    "Tally",
    "Verdict",
]

MAX_EVENT_SINKS = 80
"""A cohort's byte holds 3 × sinks + 2."""

PROCESSED, SPOOLED, FAILED = range(3)


class Verdict(enum.Enum):
    """How a sink settles an event."""

    DELIVERED = PROCESSED
    SPOOLED = SPOOLED
    FAILED = FAILED
    REJECTED = -1

    def __init__(self, value: int) -> None:
        """Know what it means for an event."""
        self.outcome: int = FAILED if value < 0 else value
        """The event's own outcome, if this sink's is the worst."""


# CPython 3.11 takes 0.2 µs to look up a member of an enum.
_DELIVERED, _REJECTED, _SPOOLED = Verdict.DELIVERED, Verdict.REJECTED, Verdict.SPOOLED


def _settling(outcome: int) -> bytes:
    """Return the table that settles an event's byte for one sink."""
    return bytes(3 * (value // 3 - 1) + max(value % 3, outcome) if value >= 3 else value for value in range(256))


_NONE: dict[int, frozenset[Account]] = {}
"""Shared by the cohorts of which nothing was refused, and never changed."""

SETTLING = tuple(_settling(outcome) for outcome in (PROCESSED, SPOOLED, FAILED))


class Tally:
    """A count that only grows."""

    __slots__ = ("_anywhere", "count")

    def __init__(self) -> None:
        """Start at 0."""
        self.count: int = 0
        """Counted by Trio's thread."""
        self._anywhere: SharedCount = shared_count()

    def add(self, count: int) -> None:
        """Count so many, in any thread."""
        cell = self._anywhere.mine()
        cell.count += count

    @property
    def total(self) -> int:
        """The whole count."""
        return self.count + self._anywhere.count


class Account:
    """One sink's counters; only the ledger changes them, but for ``retries``, ``last_error`` and ``last_success``."""

    total: int = 0
    delivered: int = 0
    rejected: int = 0
    failed: int = 0
    spooled: int = 0
    unpushed: int = 0
    """Events merged since the last snapshot."""
    covered: int = 0
    """Events in the last snapshot, until a push of it or of a later one succeeds."""
    epoch: int = 0
    """Number of snapshots taken; an event merged at epoch e is in every snapshot after the e-th."""
    retries: int = 0
    last_error: str | None = None
    last_success: datetime | None = None

    def __init__(self, name: str, *, series: bool) -> None:
        """Open an account.

        Args:
            name: the sink's key in ``stats().sinks``.
            series: a series sink's.
        """
        self.name: str = name
        self.series: bool = series
        self.failures: defaultdict[str, int] = defaultdict(int)

    @property
    def pending(self) -> int:
        """What reached the sink and is not settled."""
        return self.total - self.delivered - self.rejected - self.failed - self.spooled

    def add(self, verdict: Verdict, count: int, reason: str) -> None:
        """Settle n events of this account."""
        if verdict is _DELIVERED:
            self.delivered += count
        elif verdict is _REJECTED:
            self.rejected += count
        elif verdict is _SPOOLED:
            self.spooled += count
        else:
            self.failed += count
            self.failures[reason] += count

    def snapshot(self) -> SinkStats:
        """Return the account as it stands."""
        delivered, rejected, failed, spooled = self.delivered, self.rejected, self.failed, self.spooled
        total = self.total
        return SinkStats(
            total=total,
            delivered=delivered,
            rejected=rejected,
            failed=failed,
            spooled=spooled,
            pending=total - delivered - rejected - failed - spooled,
            retries=self.retries,
            failures=dict(self.failures),
            last_error=self.last_error,
            last_success=self.last_success,
        )


class Cohort:
    """Events that were recorded together, until each is settled."""

    __slots__ = (
        "_rows",
        "_size",
        "_stretch",
        "fates",
        "gone",
        "points",
        "refused",
        "series",
        "settled",
        "taken",
        "worst",
    )

    def __init__(self, rows: Sized, stretch: Stretch, *, points: bool) -> None:
        """Account for the rows of a list that may still grow.

        Args:
            rows: the list.
            stretch: the one that it belongs to.
            points: what bound instruments collected: takes no room in the buffer.
        """
        self._rows: Sized | None = rows
        self._size = 0
        self._stretch = stretch
        self.points: bool = points
        self.taken: bool = False
        """Whether the flush task has taken it."""
        self.gone: int = 0
        """Rows evicted while they waited."""
        self.settled: int = 0
        """Events that have their outcome, or are kept in a tail."""
        self.worst: int = PROCESSED
        """An outcome that every event of the cohort has at least."""
        self.fates: bytearray | None = None
        self.series: dict[Account, int] = {}
        """Series sinks that hold the events merged, and the epoch they were merged at."""
        self.refused: dict[int, frozenset[Account]] = _NONE
        """Events that series sinks have refused, by position among those handed over."""

    @property
    def stretch(self) -> Stretch:
        """The stretch that it belongs to."""
        self._stretch = self._stretch.current()
        return self._stretch

    @property
    def size(self) -> int:
        """How many events were recorded in it."""
        return self._size if self._rows is None else len(self._rows)

    @property
    def waiting(self) -> int:
        """How many of them wait for the flush task."""
        return 0 if self.taken else self.size - self.gone

    @property
    def unsettled(self) -> int:
        """How many have no outcome yet and are in no tail."""
        return self.size - self.settled

    @property
    def sealed(self) -> bool:
        """Whether its size is fixed."""
        return self._rows is None

    def seal(self) -> None:
        """Fix its size: no more rows come into its list, because recorders use another that is watched."""
        if self._rows is not None:
            size = self._size = len(self._rows)
            self._rows = None
            self._stretch.remaining += size  # the one that grows: a flush seals what is open before it begins another
