"""Prometheus' Pushgateway: all series at each push, under the grouping key of this process."""

from __future__ import annotations

import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

import trio

from .._events import MetricEvent
from .._exceptions import ConfigError
from .._http import HTTPSink, NoAnswer, SeriesSettings, receipt_of
from ..abc import Payload, Receipt, SeriesSink, SinkContext
from ._prometheus.page import Page

__all__ = ["PushgatewaySink"]

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN = frozenset({"push_time_seconds", "push_failure_time_seconds"})
"""What the Pushgateway adds to each group; one that is pushed, it replaces (README, "About timestamps")."""

_NO_KEYS = frozenset({"job", "le", "quantile"})
"""Labels that no grouping key can have: ``job`` is there already, and a histogram's buckets would have two ``le``."""

_PLAIN = re.compile(r"[a-zA-Z0-9_~-][a-zA-Z0-9_.~-]*")


class PushgatewaySink(HTTPSink, SeriesSink[bytes]):
    """Pushes cumulative series to a Pushgateway, for jobs that end before anything could scrape them.

    *Delivered* means: the Pushgateway has answered 2xx to a push that contains the event. A push has every series since
    the block was opened, so none resets a counter, and a failed one loses nothing while a later one succeeds. What the
    Pushgateway keeps survives its restart only if it was started with ``--persistence.file``; the next push has
    everything again. There is one every ``refresh`` seconds and one at the end of the block, so that a Pushgateway that
    has lost its memory is full again by then.

    A push replaces what is under its grouping key: by default ``job`` and ``instance="host:pid"``, taken when the block
    is entered (``SinkContext.instance``), so that workers do not overwrite each other. The Pushgateway forgets nothing
    by itself, so groups of processes that have ended stay, until somebody deletes them; ``delete_on_exit`` does that,
    for those that end well.

    A push whose answer did not come in time may still be under way when the next one arrives, and then overtake it; the
    protocol has nothing against that, and the push after it puts it right. Give ``timeout`` room, so that it is rare.

    An instrument whose name would be ``push_time_seconds`` or ``push_failure_time_seconds`` is refused: the Pushgateway
    has its own of these in each group, and would put them in its place. Its events count as rejected.

    A label that is called like one of the grouping key becomes ``exported_…``, as Prometheus does it when scraping.

    Example:
        >>> from trio_batchmetrics.sinks import PushgatewaySink
        >>> PushgatewaySink("http://ann:secret@127.0.0.1:9091", job="nightly", grouping_key={"instance": "db1"})
        <PushgatewaySink 127.0.0.1:9091>
    """

    def __init__(
        self,
        url: str,
        *,
        job: str,
        grouping_key: Mapping[str, str] | None = None,
        method: Literal["PUT", "POST"] = "PUT",
        delete_on_exit: bool = False,
        **settings: Unpack[SeriesSettings],
    ) -> None:
        """Push to a Pushgateway. No network I/O here.

        Args:
            url: its base URL.
            job: the grouping key's first label.
            grouping_key: its other labels; None: ``{"instance": "host:pid"}``; ``{}``: none.
            method: ``PUT`` replaces the whole group; ``POST`` only metrics of the same name, so that several may
                push to one group, each its own metrics.
            delete_on_exit: delete the group as the block ends, after the last push.
            settings: of the server and the delivery.

        Raises:
            ValueError: a bad setting; the message names it.
            ImportError: httpx2 is not installed.
        """
        super().__init__(url, settings)
        if not _is_text(job) or not job:
            raise ConfigError(f"job must be a str that is not empty (got {job!r})")
        if method not in ("PUT", "POST"):
            raise ConfigError(f"method must be 'PUT' or 'POST' (got {method!r})")
        if not isinstance(delete_on_exit, bool):
            raise ConfigError(f"delete_on_exit must be True or False (got {delete_on_exit!r})")
        self._job = job
        self._given_key = None if grouping_key is None else _checked_key(grouping_key)
        self._path = self._grouped_path()
        self._grouping = frozenset({"job", *({"instance"} if grouping_key is None else grouping_key)})
        self._method = method
        self._delete_on_exit = delete_on_exit
        self._page = self._empty()

    def _grouped_path(self) -> str:
        """Return the path of this process's group."""
        key = {"instance": self.context.instance} if self._given_key is None else self._given_key
        return "/metrics" + "".join(_segments(name, value) for name, value in {"job": self._job, **key}.items())

    def _empty(self) -> Page:
        return Page(self.context, time.time_ns, None, reserved=self._grouping, limits=self._limits, taken=_OWN)

    def bind(self, context: SinkContext) -> None:
        """Take what the collector tells."""
        super().bind(context)
        self._path = self._grouped_path()
        self._page = self._empty()

    @property
    def overflowed(self) -> Mapping[str, int]:
        """How many events of an instrument lost their labels to ``max_series``, by its name."""
        return self._page.overflowed

    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add events to the series; those that are refused are returned, by position."""
        return self._page.merge(events)

    def snapshot(self) -> bytes:
        """Return every series as it stands, in text format 0.0.4, without timestamps: the Pushgateway takes none."""
        return self._page.write(openmetrics=False)

    async def send(self, payload: Payload[bytes]) -> Receipt:
        """Push once."""
        try:
            answer = await self.server.request(self._method, self._path, payload.parts[0], content_type=_CONTENT_TYPE)
        except NoAnswer as exc:
            return exc.receipt
        return receipt_of(answer, self.server)

    async def aclose(self) -> None:
        """Delete the group if that is asked for, and close the connections.

        Raises:
            RuntimeError: the group is still there, or may be; the sink's ``last_error`` has it.
        """
        try:
            if self._delete_on_exit:
                receipt = receipt_of(await self.server.request("DELETE", self._path), self.server)
                if receipt.error is not None:
                    raise RuntimeError(f"the group was not deleted: {receipt.error}")
        except trio.Cancelled as cancelled:
            late = RuntimeError("the group may still be there: its deletion was cut off at the end of the block")
            raise BaseExceptionGroup("cut off", [cancelled, late]) from None  # noqa: ASYNC104 - Cancelled goes on in it
        finally:
            await super().aclose()


def _checked_key(grouping_key: Any) -> Mapping[str, str]:
    """Return a copy of the grouping key.

    Raises:
        ConfigError: it isn't a mapping, or a name or value can be in none.
    """
    if not isinstance(grouping_key, Mapping):
        raise ConfigError(f"grouping_key must be a mapping of label names to values (got {grouping_key!r})")
    key: dict[Any, Any] = {**grouping_key}
    for name, value in key.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name in _NO_KEYS or name.startswith("__"):
            rule = "names of labels, other than job, le, quantile and __…"
            raise ConfigError(f"grouping_key must have {rule} (got {name!r})")
        if not _is_text(value):
            raise ConfigError(f"grouping_key must have values of type str (got {value!r} for {name!r})")
    return key


def _is_text(value: object) -> bool:
    """Tell whether a value is a str that UTF-8 has a form for."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def _segments(name: str, value: str) -> str:
    """Return a label of the grouping key as part of a path.

    What is not plain goes in base64: a slash cannot be quoted there, ``.`` and ``..`` would be resolved, and of nothing
    only ``=`` is left (https://github.com/prometheus/pushgateway#url).
    """
    if _PLAIN.fullmatch(value):
        return f"/{name}/{value}"
    return f"/{name}@base64/{urlsafe_b64encode(value.encode()).decode().rstrip('=') or '='}"
