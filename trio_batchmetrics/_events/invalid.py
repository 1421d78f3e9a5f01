"""Why an event is invalid, and the line in the log that says so.

A fault is noted wherever it is found (in a recorder too: no lock, no logging) and logged by one of the library's tasks.
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

_QUIET = 60.0
"""Seconds between two lines about the same class, field and rule."""

_MOST_LINES = 1000
"""Most lines that wait to be logged; the flush task logs them at least once for every 500 events."""

_MOST_KINDS = 1000
"""Most classes, fields and rules that are remembered; where there are more, further ones are logged as often as they
come to be the first again."""

_START = 40
"""How many characters of a value are shown."""

_logger = logging.getLogger("trio_batchmetrics")

_shown = reprlib.Repr()
_shown.maxlevel = 2
_shown.maxstring = _shown.maxother = _shown.maxlong = 100_000  # below that it would show the end too


class InvalidError(Exception):
    """A value that makes an event invalid.

    Prints as ``HttpRequest.duration must be a number (got NoneType)``. It refers to the value: not to be kept.
    """

    def __init__(self, kind: str, field: str, rule: str, value: object, instrument: str = "") -> None:
        """Say what is wrong.

        Args:
            kind: the name of the event's class.
            field: the field; empty if it is the event as a whole.
            rule: what the value must be, as ``must be …``.
            value: the value that is not.
            instrument: the name of the instrument, where the event carries it.
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
        which = f" of {_one_line(repr(self.instrument[:_START]))}" if self.instrument else ""
        return f"{where}{which} {self.rule} (got {_described(self.value)})"


def not_an_event(value: object) -> InvalidError:
    """Return the fault of something recorded that isn't an event."""
    return InvalidError("record()", "", "takes a MetricEvent", value)


def _described(value: Any) -> str:
    """Return a value's type and its start, whatever code of its own the value runs."""
    if type(value) is Unreadable:
        return f"{value.type_name}, which raised {value.error}"
    name = type_name(value)
    if value is None:
        return name
    try:
        start = _one_line(_shown.repr(value[:_START] if type(value) in (str, bytes, bytearray) else value))[:_START]
    except Exception:  # noqa: BLE001 - a repr may run any code; its type has to do. The event is counted as invalid
        return name
    return f"{name}: {start}"


def _one_line(shown: str) -> str:
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode()


class InvalidEvents:
    """Logs why events are invalid: a WARNING once a minute for each class, field and rule; at DEBUG, all of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Have nothing to log.

        Args:
            clock: tells seconds; callable in any thread.
        """
        self._clock = clock
        self._lines: deque[tuple[int, str]] = deque(maxlen=_MOST_LINES)
        self._logged: dict[tuple[str, str, str], float] = {}
        self._every = _logger.isEnabledFor(logging.DEBUG)

    def note(self, fault: InvalidError) -> None:
        """Note a fault, to be logged if it is due. In any thread; may be re-entered; waits for nothing, never raises.

        It makes the text now, since the value may change: so it may run the value's ``__repr__``.
        """
        now, key = self._clock(), (fault.kind, fault.field, fault.rule)
        last = self._logged.get(key)
        if last is None or now - last >= _QUIET:
            if len(self._logged) >= _MOST_KINDS:
                self._logged = {}
            self._logged[key] = now
            self._lines.append((logging.WARNING, str(fault)))
        elif self._every:
            self._lines.append((logging.DEBUG, str(fault)))

    def log(self) -> None:
        """Log what was noted. In a task of the library, since a logging handler may run any code."""
        for _ in range(len(self._lines)):  # a handler may record something invalid: that is for the next time
            _log(*self._lines.popleft())
        self._every = _logger.isEnabledFor(logging.DEBUG)


def _log(level: int, line: str) -> None:
    try:
        _logger.log(level, "metrics: invalid: %s", line)
    except Exception:  # noqa: BLE001, S110 - logging that is broken must not break the application; the loss is counted
        pass
