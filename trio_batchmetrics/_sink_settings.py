"""Checks and normalizes a sink's delivery settings, such as its timeout and backoff."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from ._events import as_float
from ._exceptions import ConfigError

__all__ = ["check_settings", "checked_seconds"]


def check_settings(sink: Any) -> None:
    """Check a sink's delivery settings, however they were set. A ``timedelta`` becomes float seconds.

    Raises:
        ConfigError: (a ``ValueError``) a duration isn't finite and above 0, ``max_events`` or ``max_payload_bytes``
            isn't an int >= 1, or the name isn't a str or is empty.
    """
    if sink.name is not None and (not isinstance(sink.name, str) or not sink.name):
        raise ConfigError(f"name must be a str that is not empty, or None (got {sink.name!r})")
    for setting in ("timeout", "backoff", "max_backoff", "retry_budget", "refresh"):
        given: object = getattr(sink, setting, None)
        if given is None and setting == "refresh":  # only series sinks have it
            continue
        number = checked_seconds(setting, given)
        if isinstance(given, timedelta):
            setattr(sink, setting, number)
    for setting in ("max_events", "max_payload_bytes"):
        limit: object = getattr(sink, setting, None)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise ConfigError(f"{setting} must be an int >= 1 or None (got {limit!r})")


def checked_seconds(setting: str, value: object, rule: str = "a finite number of seconds > 0, or a timedelta") -> float:
    """Return a duration that a sink was given, in seconds. Only ``refresh`` may be infinite.

    Args:
        setting: the name of the sink's parameter, for the message.
        value: the argument: seconds, or a ``timedelta``.
        rule: what it must be, for the message.

    Raises:
        ConfigError: (a ``ValueError``) it isn't a finite duration above 0.
    """
    number = as_float(value.total_seconds() if isinstance(value, timedelta) else value)
    if setting == "refresh":
        number, rule = (math.inf if value == math.inf else number), "seconds > 0, a timedelta > 0 or None"
    if number is None or number <= 0:
        raise ConfigError(f"{setting} must be {rule} (got {value!r})")
    return number
