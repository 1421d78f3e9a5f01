"""The variables that OpenTelemetry specifies for OTLP's exporter and for the resource.

An empty variable is as good as none. A value that makes no sense is logged and ignored, never an error: it must not
keep an application from starting. An endpoint or a file of certificates that cannot be used is an error nevertheless,
because nothing would be sent, or to the wrong server.

Source: opentelemetry.io/docs/specs/otel: protocol/exporter, configuration/sdk-environment-variables, and
configuration/common for the format of values. Durations are integers in milliseconds.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import attrs

from ...abc import ConfigError

__all__ = ["Environment"]

_ENDPOINT = "http://localhost:4318"
_PATH = "/v1/metrics"

_EVER = 365 * 24 * 3600.0
"""Seconds: instead of no limit at all."""

_logger = logging.getLogger("trio_batchmetrics")


@attrs.frozen
class Environment:
    """What the variables say; or only an endpoint, if they are not read."""

    endpoint: str = _ENDPOINT
    """A base URL."""
    exact: bool = False
    """Whether :attr:`endpoint` is the whole URL instead."""
    settings: dict[str, Any] = attrs.field(factory=dict[str, Any], repr=False)
    """Keyword arguments of the sink."""
    compress: bool | None = None
    """Whether to compress; None: as the collector is configured."""
    resource: dict[str, str] = attrs.field(factory=dict[str, str])
    """Attributes of the resource."""

    @property
    def base(self) -> str:
        """The base URL."""
        if not self.exact:
            return self.endpoint
        parts = urlsplit(self.endpoint)
        return urlunsplit((parts.scheme, parts.netloc, "", "", ""))

    @property
    def path(self) -> str:
        """The path below the base URL."""
        if not self.exact:
            return _PATH
        parts = urlsplit(self.endpoint)
        return urlunsplit(("", "", parts.path or "/", parts.query, ""))

    @staticmethod
    def read(variables: Mapping[str, str] = os.environ) -> Environment:
        """Read the variables, each with its ``_METRICS_`` twin, which wins.

        Raises:
            ConfigError: a file of certificates cannot be read.
        """
        given = _Variables(variables)
        exact = given.text("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
        settings: dict[str, Any] = {}
        if (headers := given.pairs(given.metrics("HEADERS"))) is not None:
            settings["headers"] = headers
        timeouts = [given.seconds(given.metrics("TIMEOUT")), given.seconds("OTEL_METRIC_EXPORT_TIMEOUT")]
        known = [_EVER if seconds == 0 else seconds for seconds in timeouts if seconds is not None]
        if known:
            settings["timeout"] = min(known)
        if interval := given.seconds("OTEL_METRIC_EXPORT_INTERVAL"):
            settings["refresh"] = interval
        if (verify := given.certificates()) is not None:
            settings["verify"] = verify
        given.choice(given.metrics("PROTOCOL"), "http/protobuf")
        given.choice("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative")
        given.choice("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram")
        compression = given.choice(given.metrics("COMPRESSION"), "none", "gzip")
        resource = given.pairs("OTEL_RESOURCE_ATTRIBUTES") or {}
        if (name := given.text("OTEL_SERVICE_NAME")) is not None:
            resource["service.name"] = name
        return Environment(
            exact or given.text("OTEL_EXPORTER_OTLP_ENDPOINT") or _ENDPOINT,
            exact is not None,
            settings,
            None if compression is None else compression == "gzip",
            resource,
        )


class _Variables:
    """Reads variables of several types."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str | None:
        """Return a variable's value; None if it is empty or not set."""
        return self._variables.get(name, "").strip() or None

    def metrics(self, name: str) -> str:
        """Return which of a variable and its twin counts."""
        twin = f"OTEL_EXPORTER_OTLP_METRICS_{name}"
        return twin if self.text(twin) is not None else f"OTEL_EXPORTER_OTLP_{name}"

    def seconds(self, name: str) -> float | None:
        """Return a duration, which is given in milliseconds."""
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal()):
            self._ignore(name, "an integer number of milliseconds")
            return None
        return min(int(value) / 1000, _EVER)

    def choice(self, name: str, *choices: str) -> str | None:
        """Return which of some choices, in any case, a variable has."""
        value = self.text(name)
        if value is None or value.lower() in choices:
            return None if value is None else value.lower()
        self._ignore(name, " or ".join(choices))
        return None

    def pairs(self, name: str) -> dict[str, str] | None:
        """Return ``name=value,name=value``, with names and values that may be percent-encoded."""
        value = self.text(name)
        if value is None:
            return None
        pairs: dict[str, str] = {}
        for pair in value.split(","):
            key, mark, content = pair.partition("=")
            if key.strip() and mark:
                pairs[unquote(key.strip())] = unquote(content.strip())
            elif pair.strip():
                self._ignore(name, "a list of name=value", "a part of it")
        return pairs

    def certificates(self) -> str | ssl.SSLContext | None:
        """Return a file of certificates to trust, or a TLS context that also has a certificate of the client's.

        Raises:
            ConfigError: a file cannot be read.
        """
        trusted = self.text(self.metrics("CERTIFICATE"))
        names = self.metrics("CLIENT_CERTIFICATE"), self.metrics("CLIENT_KEY")
        certificate, key = self.text(names[0]), self.text(names[1])
        if certificate is None:
            return trusted
        try:
            context = ssl.create_default_context(cafile=trusted)
            context.load_cert_chain(certificate, key)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or type(exc).__name__
            raise ConfigError(f"{names[0]} must be a file with a certificate of the client's: {reason}") from None
        return context

    def _ignore(self, name: str, rule: str, what: str = "it") -> None:
        """Log that a variable is ignored, without its value, which may be a credential."""
        _logger.warning("metrics: %s must be %s; ignored %s", name, rule, what)
