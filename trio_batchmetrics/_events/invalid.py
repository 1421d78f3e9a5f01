"""Why an event is invalid, and the log line about it.

A fault is recorded wherever it is found (even in a recorder: no lock, no logging) and logged by one of the library's
tasks.
"""

from __future__ import annotations

import logging
import reprlib
from collections import deque
from collections.abc import Callable
from typing import Any

from .._reprs import type_name
from .values import Unreadable

__all__ = ["InvalidError", "InvalidEvents", "not_an_event"]

_LOG_INTERVAL = 60.0
"""Seconds between two log lines about the same class, field and rule."""

_MAX_LINES = 1000
"""Maximum number of lines waiting to be logged; the flush task logs them at least once for every 500 events."""

_MAX_REMEMBERED = 1000
"""Maximum number of combinations of class, field and rule that are remembered. Beyond that, all are forgotten and may
be logged again."""

_EXCERPT = 40
"""Maximum number of a value's characters that are shown."""

_logger = logging.getLogger("trio_batchmetrics")

_shown = reprlib.Repr()
_shown.maxlevel = 2
_shown.maxstring = _shown.maxother = _shown.maxlong = 100_000  # with a smaller limit it would show the end, too


class InvalidError(Exception):
    """A value that makes an event invalid.

    Prints as ``HttpRequest.duration must be a number (got NoneType)``. It refers to the value, so don't keep it.
    """

    def __init__(self, kind: str, field: str, rule: str, value: object, instrument: str = "") -> None:
        """Create the error.

        Args:
            kind: the name of the event's class.
            field: the field; empty if the event as a whole is invalid.
            rule: the rule that the value breaks, as ``must be …``.
            value: the value that breaks it.
            instrument: the name of the instrument, if the event carries it.
        """
        super().__init__(kind, field, rule)
        self.kind: str = kind
        self.field: str = field
        self.rule: str = rule
        self.value: object = value
        self.instrument: str = instrument

    def __str__(self) -> str:
        """Name the class, the field, the instrument, the rule, the value's type and its start. Never raises."""
        where = _one_line(f"{self.kind}.{self.field}" if self.field else self.kind)
        which = f" of {_one_line(repr(self.instrument[:_EXCERPT]))}" if self.instrument else ""
        return f"{where}{which} {self.rule} (got {_described(self.value)})"


def not_an_event(value: object) -> InvalidError:
    """Return the fault of a recorded object that isn't an event."""
    return InvalidError("record()", "", "takes a MetricEvent", value)


def _described(value: Any) -> str:
    """Return a value's type and the start of its repr; errors in the value's own code are caught."""
    if type(value) is Unreadable:
        return f"{value.type_name}, which raised {value.error}"
    name = type_name(value)
    if value is None:
        return name
    try:
        start = _one_line(_shown.repr(value[:_EXCERPT] if type(value) in (str, bytes, bytearray) else value))[:_EXCERPT]
    except Exception:  # noqa: BLE001 - a repr may run any code; the type has to suffice. The event counts as invalid
        return name
    return f"{name}: {start}"


def _one_line(shown: str) -> str:
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode()


class InvalidEvents:
    """Logs why events are invalid: a WARNING once a minute per class, field and rule; at DEBUG, all of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Create a log without lines.

        Args:
            clock: returns the time in seconds; callable in any thread.
        """
        self._clock = clock
        self._lines: deque[tuple[int, str]] = deque(maxlen=_MAX_LINES)
        self._logged: dict[tuple[str, str, str], float] = {}
        self._logs_all = _logger.isEnabledFor(logging.DEBUG)

    def __len__(self) -> int:
        """Return how many classes, fields and rules are remembered."""
        return len(self._logged)

    def note(self, fault: InvalidError) -> None:
        """Record a fault, to be logged if it is due. Safe in any thread; re-entrant; waits for nothing, never raises.

        It builds the text now, since the value may change later: so it may run the value's ``__repr__``.
        """
        now, key = self._clock(), (fault.kind, fault.field, fault.rule)
        last = self._logged.get(key)
        if last is None or now - last >= _LOG_INTERVAL:
            if len(self._logged) >= _MAX_REMEMBERED:
                self._logged = {}
            self._logged[key] = now
            self._lines.append((logging.WARNING, str(fault)))
        elif self._logs_all:
            self._lines.append((logging.DEBUG, str(fault)))

    def log(self) -> None:
        """Log the recorded faults. Called in a task of the library, since a logging handler may run any code."""
        for _ in range(len(self._lines)):  # if a handler records something invalid, the next call logs it
            _log(*self._lines.popleft())
        self._logs_all = _logger.isEnabledFor(logging.DEBUG)


def _log(level: int, line: str) -> None:
    try:
        _logger.log(level, "metrics: invalid: %s", line)
    except Exception:  # noqa: BLE001, S110 - broken logging must not break the application; the loss is counted
        pass
