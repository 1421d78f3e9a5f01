"""The configuration of a collector: a frozen object that is checked when it is created."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, Self, cast

import attrs

from ._environment import PARSERS, unknown_variables
from ._events import ReadOnlyDict, Unreadable, as_float, by_value, checked_bounds, text
from ._exceptions import ConfigError, bad_setting
from ._reprs import tolerant_repr, type_name

__all__ = ["BatchMetricsConfig"]


def _min_int_validator(minimum: int) -> Callable[[object, attrs.Attribute[int], object], None]:
    def check(_: object, field: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise bad_setting(field.name, f"an int >= {minimum}", value)

    return check


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _duration_validator(*, zero: bool) -> Callable[[object, attrs.Attribute[float], object], None]:
    rule = f"a finite number of seconds {'>=' if zero else '>'} 0, or a timedelta"

    def check(_: object, field: attrs.Attribute[float], value: object) -> None:
        number = as_float(value)
        if number is None or number < 0 or (number == 0 and not zero):
            raise bad_setting(field.name, rule, value)

    return check


def _validate_flag(_: object, field: attrs.Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise bad_setting(field.name, "True or False", value)


def _validate_policy(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value not in ("drop_newest", "drop_oldest"):
        raise bad_setting(field.name, "'drop_newest' or 'drop_oldest'", value)


_NAMED_LABELS = "a mapping of non-empty str names to label values"
_NAMED_BOUNDS = "a mapping of instrument names to bucket bounds"


def _copied_mapping(field: str, rule: str, value: Any) -> dict[str, Any]:
    """Return a copy of a mapping, after checking that its keys are non-empty names.

    Raises:
        ConfigError: the value isn't a mapping, it cannot be read, or a key is empty or isn't a str.
    """
    try:
        if not issubclass(value.__class__, Mapping):
            raise bad_setting(field, rule, value)
        items: list[tuple[object, Any]] = [*value.items()]
    except ConfigError:
        raise
    except Exception as exc:
        raise ConfigError(f"{field} must be {rule} ({type_name(value)} raised {exc!r})") from exc
    for name, _ in items:
        if not isinstance(name, str) or not name:
            raise bad_setting(field, rule, name)
    return {text(name) or "": given for name, given in items}


def _static_labels(value: object) -> Mapping[str, object]:
    labels = {name: by_value(given) for name, given in _copied_mapping("static_labels", _NAMED_LABELS, value).items()}
    for name, given in labels.items():
        try:
            text(given)
        except Exception as exc:
            raised = repr(given) if type(given) is Unreadable else f"str() raised {type_name(exc)}"
            raise ConfigError(f"static_labels[{name!r}] must have text ({raised})") from exc
    return ReadOnlyDict(labels)


def _named_bounds(value: object) -> Mapping[str, tuple[float, ...]]:
    named = _copied_mapping("bounds", _NAMED_BOUNDS, value)
    return ReadOnlyDict({name: checked_bounds(f"bounds[{name!r}]", bounds) for name, bounds in named.items()})


@tolerant_repr
@attrs.frozen(kw_only=True)
class BatchMetricsConfig:
    """The settings of one collector.

    The object is immutable, takes keyword arguments only, and is checked when it is created. Durations are seconds or a
    ``timedelta``; an int may be given for a float; a bool isn't accepted as a number.

    Raises:
        ConfigError: (a ``ValueError``) a value is out of range; the message names the field, the rule and the value.

    Example:
        >>> from trio_batchmetrics import BatchMetricsConfig
        >>> BatchMetricsConfig(batch_size=200, flush_interval=10, buffer_size=5000).batch_size
        200
        >>> BatchMetricsConfig(batch_size=0)
        Traceback (most recent call last):
        ...
        trio_batchmetrics._exceptions.ConfigError: batch_size must be an int >= 1 (got 0)
    """

    batch_size: int = attrs.field(default=100, validator=_min_int_validator(1))
    """The number of events in a full batch; a batch is full at ``min(batch_size, buffer_size)`` events."""

    flush_interval: float = attrs.field(default=5.0, converter=_seconds, validator=_duration_validator(zero=False))
    """The maximum time from a batch's first event to its hand-over, in seconds. Instruments are collected as often."""

    buffer_size: int = attrs.field(default=10_000, validator=_min_int_validator(1))
    """The maximum number of events that wait for the flush task, including the open batch; also the size of each event
    sink's queue."""

    enable_compression: bool = attrs.field(default=False, validator=_validate_flag)
    """Whether to compress payloads, with each sink's codec, above the size from which compression pays off."""

    shutdown_timeout: float = attrs.field(default=10.0, converter=_seconds, validator=_duration_validator(zero=True))
    """The maximum time for leaving the block, in seconds; events still pending then count as failed. 0 is allowed."""

    on_full: Literal["drop_newest", "drop_oldest"] = attrs.field(default="drop_newest", validator=_validate_policy)
    """The policy of a full buffer: refuse the new event, or evict the oldest waiting one."""

    max_series: int = attrs.field(default=2000, validator=_min_int_validator(1))
    """The maximum number of label sets per instrument; the rest share one labelled ``otel.metric.overflow="true"``.

    2000 is the limit of OpenTelemetry's metrics SDK specification ("Cardinality limits")."""

    max_instruments: int = attrs.field(default=1000, validator=_min_int_validator(1))
    """The maximum number of instruments in each series sink, and of names of bound instruments. Of further ones, a
    series sink rejects the events, and updates of bound instruments are dropped (``too_many_instruments``).

    Names are meant to be few and fixed: 1000 leaves room for every instrument of a large application, and takes a few
    megabytes."""

    static_labels: Mapping[str, object] = attrs.field(factory=dict[str, object], converter=_static_labels)
    """Labels on everything, such as ``service.name``; an event's own label takes precedence. Copied by value,
    read-only; sinks convert the values to text."""

    bounds: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict[str, tuple[float, ...]], converter=_named_bounds)
    """Histogram bucket bounds by instrument name; they take precedence over declared bounds. Read-only."""

    enabled: bool = attrs.field(default=True, validator=_validate_flag)
    """False: every call is accepted and does nothing, nothing is counted, and no task runs."""

    @classmethod
    def from_env(cls, prefix: str = "TRIO_BATCHMETRICS_", **defaults: Any) -> Self:
        """Read the settings from environment variables, each named ``prefix`` plus a field's name in capitals.

        ``static_labels`` is written ``k=v,k=v``, ``bounds`` is ``name=1:2:5,other=10:20``, flags are ``true``/``false``
        (``1``/``0``, ``yes``/``no``, ``on``/``off``), durations are seconds. A field without a variable keeps its
        default. The variable ``SINKS`` under the prefix is accepted, but not read here.

        Args:
            prefix: the prefix of the variables' names; not empty.
            defaults: the application's own field values; variables override them.

        Raises:
            ConfigError: a value is invalid (the message names the variable, the rule and the value), or a variable
                under the prefix is unknown (the message lists the known ones).
            TypeError: a default names something that isn't a field.

        Example:
            >>> import os
            >>> os.environ["DOC_BATCH_SIZE"] = "250"
            >>> config = BatchMetricsConfig.from_env("DOC_", batch_size=200, flush_interval=1)
            >>> config.batch_size, config.flush_interval
            (250, 1)
            >>> del os.environ["DOC_BATCH_SIZE"]
        """
        if not isinstance(prefix, str) or not prefix:
            raise bad_setting("prefix", "a non-empty str", prefix)
        known = {f"{prefix}{field.name.upper()}": field.name for field in attrs.fields(cls)}
        found = {name: string for name, string in os.environ.items() if name.startswith(prefix)}
        found.pop(f"{prefix}SINKS", None)
        if unknown := sorted(found.keys() - known.keys()):
            raise ConfigError(unknown_variables(prefix, unknown, [*known, f"{prefix}SINKS"]))
        values: dict[str, Any] = {
            known[name]: cls._parsed_value(name, known[name], string) for name, string in found.items()
        }
        return cls(**{**defaults, **values})

    @classmethod
    def _parsed_value(cls, variable: str, field: str, string: str) -> Any:
        """Parse a variable's text into the value of a field, and check that value by itself.

        Raises:
            ConfigError: the value is invalid; the message names the variable.
        """
        value = PARSERS[field](variable, string.strip())
        try:
            cls(**cast("dict[str, Any]", {field: value}))
        except ConfigError as exc:
            raise ConfigError(f"{variable}{str(exc).removeprefix(field)}") from None
        return value
