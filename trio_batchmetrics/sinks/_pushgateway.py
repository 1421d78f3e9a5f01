"""Prometheus' Pushgateway: each push sends all series, under the grouping key of this process."""

from __future__ import annotations

import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Unpack

import trio

from .._http import HTTPSink, NoResponseError, SeriesSettings, push_receipt_from, receipt_from
from ..abc import ConfigError, MetricEvent, Payload, Receipt, SeriesSink, SinkContext, joined
from ._prometheus.page import Page

__all__ = ["PushgatewaySink"]

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_METRICS = frozenset({"push_time_seconds", "push_failure_time_seconds"})
"""Metrics that the Pushgateway adds to each group, replacing pushed ones (README, "About timestamps")."""

_RESERVED_LABELS = frozenset({"job", "le", "quantile"})
"""Labels that no grouping key can have: ``job`` is always there, and a histogram's buckets would have two ``le``."""

_PLAIN_VALUE = re.compile(r"[a-zA-Z0-9_~-][a-zA-Z0-9_.~-]*")


class PushgatewaySink(HTTPSink, SeriesSink[bytes]):
    """Pushes cumulative series to a Pushgateway, for jobs that end before anything could scrape them.

    *Delivered* means that the Pushgateway has answered 2xx to a push that contains the event. A push has every series
    since the block was opened, so no push resets a counter, and a failed one loses nothing if a later one succeeds. The
    Pushgateway's state survives its restart only if it was started with ``--persistence.file``; the next push has
    everything again. The sink pushes every ``refresh`` seconds and at the end of the block, so that a Pushgateway that
    has lost its state is complete again by then.

    A push replaces everything under its grouping key: by default ``job`` and ``instance="host:pid"``, taken when the
    block is entered (``SinkContext.instance``), so that workers do not overwrite each other. The Pushgateway never
    forgets a group, so groups of processes that have ended stay until they are deleted; ``delete_on_exit`` does that,
    for processes that end normally.

    A push whose response did not come in time may still be in flight when the next one arrives, and then overtake it.
    The protocol does not prevent that; the push after it corrects the state. Choose a generous ``timeout``, so that
    this is rare.

    An instrument whose name would be ``push_time_seconds`` or ``push_failure_time_seconds`` is refused: the Pushgateway
    has its own metrics of these names in each group, and would replace it. Its events count as rejected.

    A label with the name of a grouping key's label becomes ``exported_…``, as in a Prometheus scrape.

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
        """Create a sink for a Pushgateway. No network I/O here.

        Args:
            url: the Pushgateway's base URL.
            job: the grouping key's first label.
            grouping_key: its other labels; None: ``{"instance": "host:pid"}``; ``{}``: none.
            method: ``PUT`` replaces the whole group; ``POST`` replaces only metrics of the same name, so that several
                sinks may push to one group, each its own metrics.
            delete_on_exit: delete the group when the block ends, after the last push.
            settings: connection and delivery settings.

        Raises:
            ValueError: a setting is invalid; the message names it.
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
        self._user_key = None if grouping_key is None else _checked_key(grouping_key)
        self._path = self._grouped_path()
        self._grouping = frozenset({"job", *({"instance"} if grouping_key is None else grouping_key)})
        self._method = method
        self._delete_on_exit = delete_on_exit
        self._page = self._new_page()

    def _grouped_path(self) -> str:
        """Return the path of this process's group."""
        key = {"instance": self.context.instance} if self._user_key is None else self._user_key
        return "/metrics" + "".join(_segments(name, value) for name, value in {"job": self._job, **key}.items())

    def _new_page(self) -> Page:
        return Page(self.context, time.time_ns, None, reserved=self._grouping, limits=self._limits, taken=_OWN_METRICS)

    def bind(self, context: SinkContext) -> None:
        """Bind the sink to a collector's context."""
        super().bind(context)
        self._path = self._grouped_path()
        self._page = self._new_page()

    @property
    def overflowed(self) -> Mapping[str, int]:
        """By instrument, the number of events that lost their labels to ``max_series``."""
        return self._page.overflowed

    def merge(self, events: Sequence[MetricEvent]) -> Mapping[int, str] | None:
        """Add events to the series; return the reasons for those that are refused, by position."""
        return self._page.merge(events)

    def snapshot(self) -> Iterator[bytes]:
        """Yield every series, some at a time, in text format 0.0.4; the Pushgateway accepts no timestamps."""
        return self._page.pieces(openmetrics=False)

    async def send(self, payload: Payload[bytes]) -> Receipt:
        """Push once."""
        body = await joined(payload.parts)
        try:
            response = await self.server.request(self._method, self._path, body, content_type=_CONTENT_TYPE)
        except NoResponseError as exc:
            return exc.receipt
        return push_receipt_from(response, self.server)

    async def aclose(self) -> None:
        """Delete the group if that was requested, and close the connections.

        Raises:
            RuntimeError: the group is still there, or may be; the sink's ``last_error`` has it.
        """
        try:
            if self._delete_on_exit:
                receipt = receipt_from(await self.server.request("DELETE", self._path), self.server)
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
        ConfigError: it isn't a mapping, or a name or value cannot be part of one.
    """
    if not isinstance(grouping_key, Mapping):
        raise ConfigError(f"grouping_key must be a mapping of label names to values (got {grouping_key!r})")
    key: dict[Any, Any] = {**grouping_key}
    for name, value in key.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name in _RESERVED_LABELS or name.startswith("__"):
            rule = "names of labels, other than job, le, quantile and __…"
            raise ConfigError(f"grouping_key must have {rule} (got {name!r})")
        if not _is_text(value):
            raise ConfigError(f"grouping_key must have values of type str (got {value!r} for {name!r})")
    return key


def _is_text(value: object) -> bool:
    """Return whether a value is a str that UTF-8 can encode."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def _segments(name: str, value: str) -> str:
    """Return a label of the grouping key as path segments.

    A value that isn't plain is written in base64: a slash cannot be quoted there, ``.`` and ``..`` would be resolved,
    and an empty value becomes ``=`` (https://github.com/prometheus/pushgateway#url).
    """
    if _PLAIN_VALUE.fullmatch(value):
        return f"/{name}/{value}"
    return f"/{name}@base64/{urlsafe_b64encode(value.encode()).decode().rstrip('=') or '='}"
