"""The server that lines are written to: its dialect, and the writes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import trio

from ..._http import HTTPSettings, HTTPSink, NoResponseError, receipt_from
from ...abc import ConfigError, Receipt
from .heads import Losses
from .limits import TagLimits
from .line_protocol import DIALECTS, Dialect
from .responses import lines_of, receipt_for
from .target import Target

__all__ = ["DoubtfulLines", "InfluxDBServer"]

_logger = logging.getLogger("trio_batchmetrics")


class DoubtfulLines(bytes):
    """Lines to write again if the server turns out to have another dialect."""


class InfluxDBServer(HTTPSink):
    """A sink that writes lines. Inherit from it alongside ``EventSink`` or ``SeriesSink``."""

    def __init__(self, url: str, target: Target, dialect: Dialect | None, settings: HTTPSettings) -> None:
        """Configure the server and the delivery.

        Args:
            url: the server's base URL.
            target: where to write.
            dialect: the server's; None to find out.
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
        self._losses = Losses()
        self._warned = False
        self._dialect: Dialect | None = "influxdb3" if dialect is None and target.api == 3 else dialect

    @property
    def dialect(self) -> Dialect | None:
        """The dialect that lines are written in; None: it hasn't mattered yet."""
        return self._dialect

    @property
    def replacements(self) -> int:
        """The number of characters replaced because line protocol cannot carry them; counted once per series."""
        return self._losses.count

    @property
    def _tag_limits(self) -> TagLimits:
        """The largest names and labels that the server accepts, as far as the server is known."""
        return TagLimits(self._dialect, self._limits, self._target.database)

    async def _write_lines(self, body: bytes, events: Sequence[object]) -> Receipt:
        """Write lines. If a response names some of them and leaves the others open, write both again, separately.

        The engine's halves cannot replace this loop, because they don't separate kinds of lines that alternate. If two
        measurements conflict with the server's types, the server names one and counts the dropped lines of both: 5 000
        lines then take a few requests here, but thousands of halves.

        Args:
            body: the lines.
            events: the events that they belong to, or the lines' numbers if each line is a series.

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
        enough = trio.current_time() + self.timeout / 2  # the end of the attempt would lose everything learned so far
        while True:
            items = groups.pop()
            receipt, named = await self._post(body, events, items)
            rejected |= {items[at]: reason for at, reason in receipt.rejected.items()}
            error = receipt.error or error
            if named:
                apart = sorted({items[at] for at in named} - rejected.keys())
                groups += filter(None, ([item for at, item in enumerate(items) if at not in named], apart))
            elif receipt.rest != "delivered":
                left += items
            if not groups or receipt.rest in ("retry", "failed") or trio.current_time() >= enough:
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
        """Write the lines of some events once. Returns as ``receipt_for``; positions are those in ``items``."""
        if len(items) < len(events):
            body, events = lines_of(items, body, events), [events[item] for item in items]
        if not body:  # the events measure nothing
            return Receipt(), frozenset()
        target = self._target
        content_type = "text/plain; charset=utf-8"
        try:
            answer = await self.server.request(
                "POST", target.path, body, params=target.params, content_type=content_type
            )
        except NoResponseError as exc:
            return exc.receipt, frozenset()
        return receipt_for(answer, self.server, body, events)

    async def _find_dialect(self) -> Receipt | None:
        """Find out the server's dialect by ``GET /ping``, unless it is known.

        InfluxDB sends its version in ``X-Influxdb-Version``, VictoriaMetrics its name in ``X-Server-Hostname``. A
        response with neither may be from a proxy whose server is not up yet: then lines are written as for InfluxDB 1
        and 2, and the sink asks again the next time.

        Returns:
            None; or the receipt for the payload, if the dialect cannot be found out now.
        """
        if self._dialect is not None:
            return None
        try:
            answer = await self.server.request("GET", "/ping")
        except NoResponseError as exc:
            return exc.receipt
        receipt = receipt_from(answer, self.server)
        if receipt.rest == "retry":
            return receipt
        version = answer.headers.get("x-influxdb-version")
        if version is not None:
            self._dialect = "influxdb3" if version.lstrip("v").startswith("3") else "influxdb"
        elif answer.headers.get("x-server-hostname") is not None:
            self._dialect = "victoriametrics"
        return None
