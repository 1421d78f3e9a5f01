"""The server that InfluxDB's lines go to: who it is, and what it makes of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import trio

from ..._exceptions import ConfigError
from ..._schema import MetricEvent
from ...abc import Receipt
from .._http import HTTPSettings, HTTPSink, NoAnswer, receipt_of
from .answers import receipt_for, without
from .heads import Losses
from .limits import TagLimits
from .line_protocol import DIALECTS, Dialect
from .target import Target

__all__ = ["DoubtfulLines", "InfluxDBServer"]

_logger = logging.getLogger("trio_batchmetrics")


class DoubtfulLines(bytes):
    """Lines to be written anew should the server prove to read another dialect."""


class InfluxDBServer(HTTPSink):
    """A sink that writes lines: to be inherited beside ``EventSink`` or ``SeriesSink``."""

    def __init__(self, url: str, target: Target, dialect: Dialect | None, settings: HTTPSettings) -> None:
        """Set up the server and the delivery.

        Args:
            url: the server's base URL.
            target: where to write.
            dialect: the server's; None to find out.
            settings: as the user gave them.

        Raises:
            ConfigError: the dialect is none, or there are credentials beside the token.
        """
        if dialect is not None and dialect not in DIALECTS:
            raise ConfigError(f"dialect must be one of {', '.join(DIALECTS)}, or None (got {dialect!r})")
        given: Any = settings
        super().__init__(url, given, token=target.token, token_scheme=target.scheme)
        if target.token is not None and (settings.get("auth") is not None or urlsplit(url).username is not None):
            raise ConfigError("token and user and password are both given")
        self._target = target
        self._losses = Losses()
        self._warned = False
        self._partly = b""
        """The lines of the last write of which the server took some and it could not be told which: one that is too
        large now may be stored."""
        self._dialect: Dialect | None = "influxdb3" if dialect is None and target.api == 3 else dialect

    @property
    def dialect(self) -> Dialect | None:
        """Whose reading of backslashes the lines are written for; None: nobody had to know yet."""
        return self._dialect

    @property
    def replacements(self) -> int:
        """How many characters were replaced, since line protocol cannot carry them; once in each series."""
        return self._losses.count

    @property
    def _tag_limits(self) -> TagLimits:
        """The largest names and labels that the server takes, as far as it is known."""
        return TagLimits(self._dialect, self._limits, self._target.database)

    async def _write_lines(self, body: bytes, events: Sequence[MetricEvent]) -> Receipt:
        """Write lines; where some are refused and the others may not have been stored, these again, at once.

        Args:
            body: the lines.
            events: whose they are.
        """
        if self.replacements and not self._warned:
            self._warned = True
            words = "names or labels have characters that line protocol cannot carry; U+FFFD stands for them"
            _logger.warning("metrics: %s: %s", self.server.host, words)
        rejected: dict[int, str] = {}
        left = [*range(len(events))]
        enough = trio.current_time() + self.timeout / 2  # what is known by the end of the attempt is lost with it
        while True:
            receipt = await self._post(body, [events[item] for item in left] if rejected else events)
            rejected |= {left[at]: reason for at, reason in receipt.rejected.items()}
            if not (receipt.rejected and receipt.retry):
                break
            body = without(body, [events[item] for item in left], receipt.rejected)
            left = [item for item in left if item not in rejected]
            if not left:
                return Receipt(rejected=rejected, error=receipt.error)
            if trio.current_time() >= enough:
                return Receipt(rejected=rejected, retry=True, error=receipt.error, uncertain=True)
        if len(left) == len(events):
            return receipt
        again = receipt.error is not None and not receipt.rejected
        # Those that are sent again may be stored already, beside the ones that were refused.
        pause = receipt.retry_after
        return Receipt(rejected=rejected, retry=again, retry_after=pause, error=receipt.error, uncertain=again)

    async def _post(self, body: bytes, events: Sequence[MetricEvent]) -> Receipt:
        if not body:  # they measure nothing
            return Receipt()
        target = self._target
        content_type = "text/plain; charset=utf-8"
        try:
            answer = await self.server.request(
                "POST", target.path, body, params=target.params, content_type=content_type
            )
        except NoAnswer as exc:
            return exc.receipt
        receipt = receipt_for(answer, self.server, body, events)
        if not receipt.too_large:
            return receipt
        if receipt.uncertain:
            # The one that is refused in the end, when it is alone, was never stored: rejected. But see below.
            if body not in self._partly:
                self._partly = body
            return Receipt(too_large=True, error=receipt.error)
        if len(events) == 1 and body in self._partly:
            return Receipt(error=receipt.error)
        return receipt

    async def _find_dialect(self) -> Receipt | None:
        """Find out which dialect the server reads, if that is not known: ``GET /ping``.

        InfluxDB says its version in ``X-Influxdb-Version``, VictoriaMetrics its name in ``X-Server-Hostname``. What
        says neither may be a proxy whose server is not there yet: lines are then written as for InfluxDB 1 and 2, and
        the next time it is asked again.

        Returns:
            None; or why it cannot be told now.
        """
        if self._dialect is not None:
            return None
        try:
            answer = await self.server.request("GET", "/ping")
        except NoAnswer as exc:
            return exc.receipt
        receipt = receipt_of(answer, self.server)
        if receipt.retry:
            return receipt
        version = answer.headers.get("x-influxdb-version")
        if version is not None:
            self._dialect = "influxdb3" if version.lstrip("v").startswith("3") else "influxdb"
        elif answer.headers.get("x-server-hostname") is not None:
            self._dialect = "victoriametrics"
        return None
