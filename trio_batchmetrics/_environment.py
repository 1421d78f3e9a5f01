"""Parses a collector's settings from environment variables, and builds the message about unknown variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ._exceptions import bad_setting

__all__ = ["PARSERS", "unknown_variables"]

_SERVICE_LINK = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
"""The variables that Kubernetes sets for a service in each pod ("Accessing the Service", "Environment Variables")."""


def unknown_variables(prefix: str, unknown: list[str], known: list[str]) -> str:
    """Return the message about unknown variables under a prefix, with the fix if Kubernetes has set them."""
    message = f"unknown: {', '.join(unknown)}. Known: {', '.join(known)}"
    if any(_SERVICE_LINK.fullmatch(name.removeprefix(prefix)) for name in unknown):
        message += (
            ". Kubernetes sets variables like these for a service of such a name: set `enableServiceLinks: false` in"
            " the pod's spec, or choose another prefix for from_env()"
        )
    return message


def _parse_int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise bad_setting(name, "an int", text) from None


def _parse_seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise bad_setting(name, "a number of seconds", text) from None


def _parse_flag(name: str, text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise bad_setting(name, "true or false", text)


def _parse_text(_: str, text: str) -> str:
    return text


def _parse_pairs(name: str, text: str, rule: str = "name=value pairs separated by commas") -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise bad_setting(name, rule, part)
        pairs[key.strip()] = value.strip()
    return pairs


def _parse_bounds(name: str, text: str) -> dict[str, list[float]]:
    rule = "numbers by instrument, written name=1:2:5 and separated by commas"
    bounds: dict[str, list[float]] = {}
    for key, value in _parse_pairs(name, text, rule).items():
        try:
            bounds[key] = [*map(float, value.split(":"))]
        except ValueError:
            raise bad_setting(name, rule, f"{key}={value}") from None
    return bounds


PARSERS: Mapping[str, Callable[[str, str], object]] = {
    "batch_size": _parse_int,
    "flush_interval": _parse_seconds,
    "buffer_size": _parse_int,
    "enable_compression": _parse_flag,
    "shutdown_timeout": _parse_seconds,
    "on_full": _parse_text,
    "max_series": _parse_int,
    "max_instruments": _parse_int,
    "static_labels": _parse_pairs,
    "bounds": _parse_bounds,
    "enabled": _parse_flag,
}
