"""The server that lines are written to: its dialect, and the writes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import trio

from ..._http import HTTPSettings, HTTPSink, NoResponseError, receipt_from
from ...abc import ConfigError, Receipt
from .limits import TagLimits
from .line_protocol import DIALECTS, Dialect
from .prefixes import ReplacementCounter
from .responses import lines_of, receipt_for
from .target import Target

__all__ = ["DialectDependentLines", "InfluxDBServer"]

_logger = logging.getLogger("trio_batchmetrics")


class DialectDependentLines(bytes):
    """Lines that must be written again if the server has another dialect."""


class InfluxDBServer(HTTPSink):
    """A sink that writes lines. Inherit from it alongside ``EventSink`` or ``SeriesSink``."""

    def __init__(self, url: str, target: Target, dialect: Dialect | None, settings: HTTPSettings) -> None:
        """Configure the server and the delivery.

        Args:
            url: the server's base URL.
            target: where to write.
            dialect: the server's; None to detect it.
            settings: the user's settings.

        Raises:
            ConfigError: the dialect is invalid, or there are other credentials alongside the token.
        """
        if dialect is not None and dialect not in DIALECTS:
            raise ConfigError(f"dialect must be one of {', '.join(DIALECTS)}, or None (got {dialect!r})")
        given: Any = settings
        super().__init__(url, given, token=target.token, token_scheme=target.scheme)
        if target.token is not None and (settings.get("auth") is not None or urlsplit(url).username is not None):
            raise ConfigError("token and user and password are both given")
        self._target = target
        self._replacement_counter = ReplacementCounter()
        self._warned = False
        self._dialect: Dialect | None = "influxdb3" if dialect is None and target.api == 3 else dialect

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the lines; None: no line has depended on it yet."""
        return self._dialect

    @property
    def replacements(self) -> int:
        """The number of unsupported characters that were replaced; counted once per series."""
        return self._replacement_counter.count

    @property
    def _tag_limits(self) -> TagLimits:
        """The largest names and labels that the server accepts, as far as the server is known."""
        return TagLimits(self._dialect, self._limits, self._target.database)

    async def _write_lines(self, body: bytes, events: Sequence[object]) -> Receipt:
        """Write lines. If a response names some of them and leaves the others open, write each group again, separately.

        The engine's halving cannot replace this loop, because it doesn't separate kinds of lines that alternate. If two
        measurements conflict with the server's types, the server names one and counts the dropped lines of both. 5 000
        lines then take a few requests here, but thousands by halving.

        Args:
            body: the lines.
            events: the lines' events, or the lines' numbers if each line is a series.

        Returns:
            The receipt. If it has positions to retry, some of these events may be stored.
        """
        if self.replacements and not self._warned:
            self._warned = True
            words = "names or labels have characters that line protocol cannot carry; U+FFFD stands for them"
            _logger.warning("metrics: %s: %s", self.server.host, words)
        rejected: dict[int, str] = {}
        groups, left = [[*range(len(events))]], list[int]()
        error: str | None = None
        stop_at = trio.current_time() + self.timeout / 2  # a timeout would lose all outcomes so far
        while True:
            items = groups.pop()
            receipt, named = await self._post(body, events, items)
            rejected |= {items[at]: reason for at, reason in receipt.rejected.items()}
            error = receipt.error or error
            if named:
                named_items = sorted({items[at] for at in named} - rejected.keys())
                groups += filter(None, ([item for at, item in enumerate(items) if at not in named], named_items))
            elif receipt.rest != "delivered":
                left += items
            if not groups or receipt.rest in ("retry", "failed") or trio.current_time() >= stop_at:
                break
        left = sorted([*left, *(item for items in groups for item in items)])
        if len(left) == len(events):
            return receipt
        if not left:
            return Receipt(rejected=rejected, error=error)
        in_doubt = receipt.rest == "retry" and receipt.in_doubt
        return Receipt.retried(receipt.retry_after, error=error, retry=left, rejected=rejected, in_doubt=in_doubt)

    async def _post(
        self, body: bytes, events: Sequence[object], items: Sequence[int]
    ) -> tuple[Receipt, frozenset[int]]:
        """Write the lines of some events once. Like ``receipt_for``, but positions refer to ``items``."""
        if len(items) < len(events):
            body, events = lines_of(items, body, events), [events[item] for item in items]
        if not body:  # the events measure nothing
            return Receipt(), frozenset()
        target = self._target
        content_type = "text/plain; charset=utf-8"
        try:
            response = await self.server.request(
                "POST", target.path, body, params=target.params, content_type=content_type
            )
        except NoResponseError as exc:
            return exc.receipt, frozenset()
        return receipt_for(response, self.server, body, events)

    async def _detect_dialect(self) -> Receipt | None:
        """Detect the server's dialect by ``GET /ping``, unless it is known.

        InfluxDB sends its version in ``X-Influxdb-Version``, VictoriaMetrics its name in ``X-Server-Hostname``. A
        response with neither may be from a proxy whose server isn't up yet. Lines are then written as for InfluxDB 1
        and 2, and the sink asks again next time.

        Returns:
            None; or the receipt for the payload, if the dialect cannot be detected now.
        """
        if self._dialect is not None:
            return None
        try:
            response = await self.server.request("GET", "/ping")
        except NoResponseError as exc:
            return exc.receipt
        receipt = receipt_from(response, self.server)
        if receipt.rest == "retry":
            return receipt
        version = response.headers.get("x-influxdb-version")
        if version is not None:
            self._dialect = "influxdb3" if version.lstrip("v").startswith("3") else "influxdb"
        elif response.headers.get("x-server-hostname") is not None:
            self._dialect = "victoriametrics"
        return None
