"""The errors of trio_batchmetrics.

::

    BatchMetricsError
     ├── ConfigError        (ValueError)             a configuration value that cannot work
     ├── DeclarationError   (TypeError, ValueError)  a ``@metric_event`` class that cannot work
     └── WrongThreadError   (RuntimeError)           flush() or arecord() called in a thread that is not Trio's

Recorders raise none of them for what happens at run time: a full buffer, a closed collector or a bad value is counted.
"""

from __future__ import annotations

from ._reprs import shown

__all__ = ["BatchMetricsError", "ConfigError", "DeclarationError", "WrongThreadError", "bad_setting"]


class BatchMetricsError(Exception):
    """The root of every error that this library raises on purpose."""


class ConfigError(BatchMetricsError, ValueError):
    """A setting has a bad value; the message names the field, the rule and the value."""


class DeclarationError(BatchMetricsError, TypeError, ValueError):
    """An event class declares something that cannot work; the message names the class and the field.

    Raised when the class is made, never later. It is a ``TypeError`` (the class is wrong) and a ``ValueError`` (a value
    in the declaration is), so that either catches it.
    """


class WrongThreadError(BatchMetricsError, RuntimeError):
    """``flush()`` or ``arecord()`` was called outside the thread of the collector's Trio run.

    Nothing was recorded and nothing was corrupted. Every synchronous call works in any thread.
    """


def bad_setting(setting: str, rule: str, value: object) -> ConfigError:
    """Return the error for a setting whose value breaks a rule."""
    return ConfigError(f"{setting} must be {rule} (got {shown(value)})")
