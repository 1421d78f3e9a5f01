"""The errors of trio_batchmetrics.

::

    BatchMetricsError
     ├── ConfigError        (ValueError)             an invalid configuration value
     ├── DeclarationError   (TypeError, ValueError)  an invalid ``@metric_event`` class
     └── WrongThreadError   (RuntimeError)           flush() or arecord() called outside Trio's thread

Recorders don't raise these errors for conditions at run time: events that meet a full buffer or a closed collector, or
that have a bad value, are counted instead.
"""

from __future__ import annotations

from ._reprs import shown

__all__ = ["BatchMetricsError", "ConfigError", "DeclarationError", "WrongThreadError", "bad_setting"]


class BatchMetricsError(Exception):
    """The base class of every error that this library raises on purpose."""


class ConfigError(BatchMetricsError, ValueError):
    """A setting has a bad value; the message names the field, the rule and the value."""


class DeclarationError(BatchMetricsError, TypeError, ValueError):
    """An event class has an invalid declaration; the message names the class and the field.

    Raised when the class is created, never later. It is both a ``TypeError`` (the class is wrong) and a ``ValueError``
    (a value in the declaration is wrong), so that catching either works.
    """


class WrongThreadError(BatchMetricsError, RuntimeError):
    """``flush()`` or ``arecord()`` was called outside the thread of the collector's Trio run.

    Nothing was recorded and nothing was corrupted. Every synchronous call works in any thread.
    """


def bad_setting(setting: str, rule: str, value: object) -> ConfigError:
    """Return the error for a setting whose value breaks a rule."""
    return ConfigError(f"{setting} must be {rule} (got {shown(value)})")
