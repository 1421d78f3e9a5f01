"""Elasticsearch and OpenSearch: one document per event."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack
from urllib.parse import quote

from ..._http import EventSettings, HTTPSink, NoResponseError, Response, receipt_from
from ...abc import Batch, ConfigError, EventSink, MetricEvent, Payload, Receipt, SinkContext
from .bulk import BulkBody
from .index import LABEL_TYPES, IndexName, template_body
from .response import FILTER_PATH, receipt_of_items

__all__ = ["ElasticsearchSink"]

_logger = logging.getLogger("trio_batchmetrics")

_NDJSON = "application/x-ndjson"


_MAX_UNREADABLE = 5
"""Number of unreadable responses after which a payload is given up: further ones would be unreadable too."""


class ElasticsearchSink(HTTPSink, EventSink[bytes]):
    """Writes events to Elasticsearch or OpenSearch, each as a document in its JSON form, by ``POST /_bulk``.

    *Delivered* means that the server answered the event's own item with a 2xx, or with 409: it was there already. The
    document is then in the translog of the primary shard and of every replica in sync, on disk unless
    ``index.translog.durability`` is ``async`` (Elasticsearch, "Translog"). Searches see it after the next refresh.

    **Exactly once.** A document's id consists of the collector's run and the event's serial number, so an event that is
    sent again, because it was in doubt, is not stored twice. This holds within an index: if an alias or a data stream
    rolls over between two attempts, the second may create a document that the first created in the previous index.

    **Failures**, item by item:

    * *Retried alone*: 429 (a full write queue, a disk nearly full) and 5xx (a shard that is not there).
    * *Rejected alone*: any other error, such as 400 for a field that does not fit the mapping, 403, 404.

    If a whole request is refused with 413, the payload is halved; with 400, too, since a proxy or a pipeline may object
    to a single event. On 401, 403 and 404 the payload is given up.

    A 2xx whose body cannot be read leaves every event in doubt: the sink sends the payload again, up to five times, and
    then the events have failed. If the body is too long (4 MB), the payload is halved.

    Example:
        >>> from trio_batchmetrics.sinks import ElasticsearchSink
        >>> ElasticsearchSink("http://ann:secret@127.0.0.1:9200", index="metrics-%Y.%m.%d", template=True)
        <ElasticsearchSink 127.0.0.1:9200>
    """

    max_events: int | None = 5000
    max_payload_bytes: int | None = 5_000_000
    """Elastic recommends 5 to 15 MB; Amazon's small machines accept 10. An event has 300 bytes, so ``max_events`` is
    reached first; 5000 events are encoded in 5 ms and indexed in less than a second."""

    def __init__(
        self,
        url: str,
        *,
        index: str,
        template: bool | Literal["keyword"] = False,
        data_stream: bool = False,
        action: Literal["create", "index"] = "create",
        **settings: Unpack[EventSettings],
    ) -> None:
        """Create a sink for a server. No network I/O here.

        Args:
            url: the server's base URL.
            index: the name of an index, an alias or a data stream; or one with the date of the event's timestamp, in
                UTC: ``metrics-%Y.%m.%d``, with any of ``%Y %m %d %H %j %G %V``.
            template: put an index template for this name before the first request, so that fields aggregate:
                ``fields`` as ``double``, ``@timestamp`` as ``date_nanos``, ``kind`` and ``name`` as ``keyword``, and
                ``labels`` as one field for all of them (``flattened``, ``flat_object``) if the server has that, so that
                no label name is refused. ``"keyword"``: one ``keyword`` field per label. It replaces the template that
                an earlier run put. If the server refuses it permanently, the sink writes events without it, and logs a
                warning.
            data_stream: the name is a data stream's, and the template makes it one.
            action: ``create`` leaves an existing document unchanged; data streams accept nothing else. ``index``
                writes it again, which increments its version; for servers and pipelines that cannot ``create``.
            settings: connection and delivery settings.

        Raises:
            ValueError: a setting is invalid; the message names it.
            ImportError: httpx2 is not installed.
        """
        super().__init__(url, settings)
        if action not in ("create", "index"):
            raise ConfigError(f"action must be 'create' or 'index' (got {action!r})")
        if data_stream and action != "create":
            raise ConfigError("action must be 'create' with data_stream=True (got 'index')")
        if not isinstance(template, bool) and template != "keyword":
            raise ConfigError(f"template must be True, False or 'keyword' (got {template!r})")
        if not isinstance(data_stream, bool):
            raise ConfigError(f"data_stream must be True or False (got {data_stream!r})")
        self._index = IndexName(index)
        self._action = action
        self._template = template
        self._data_stream = data_stream
        self._template_due = bool(template)
        self._unreadable = ("", 0)
        """The key of the payload whose latest responses were unreadable, and their number."""
        self._body = self._new_body()
        # Shorter than the attempt's timeout, so that one missing shard doesn't hide the outcome of the others.
        self._params = {"filter_path": FILTER_PATH, "timeout": f"{max(1, round(self.timeout * 500))}ms"}

    def _new_body(self) -> BulkBody:
        return BulkBody(self._action, self._index.at, self.context, self._limits)

    def bind(self, context: SinkContext) -> None:
        """Bind the sink to a collector's context."""
        super().bind(context)
        self._body = self._new_body()
        self._template_due = bool(self._template)

    def encode(self, events: Sequence[MetricEvent]) -> bytes:
        """Return the events as lines of a request's body."""
        return self._body.lines(Batch.of(events))

    async def send(self, payload: Payload[bytes]) -> Receipt:
        """Write the payload, after putting the template if that is due."""
        try:
            if self._template_due:
                receipt = await self._put_template()
                if receipt.rest == "retry":
                    return receipt
                self._template_due = False
            body = b"".join(payload.parts)
            response = await self.server.request("POST", "/_bulk", body, params=self._params, content_type=_NDJSON)
        except NoResponseError as exc:
            return exc.receipt
        if 200 <= response.status < 300 and response.incomplete_reason is not None:
            return self._in_doubt(response, payload)
        if 200 <= response.status < 300:
            return receipt_of_items(response.body, len(payload.events), self._action, self.server.scrubbed)
        receipt = receipt_from(response, self.server)
        # The servers check documents item by item. But a proxy in front of them may refuse a whole request because of
        # one event, and that must not cost the others.
        return Receipt.split(error=receipt.error) if response.status == 400 else receipt

    def _in_doubt(self, response: Response, payload: Payload[bytes]) -> Receipt:
        """Return the receipt for a 2xx that leaves every event in doubt. Ids make it safe to send the payload again."""
        error = f"HTTP {response.status} with {response.incomplete_reason}"
        if response.too_long and len(payload.events) > 1:
            return Receipt.split(error=error, in_doubt=True)
        key, count = self._unreadable
        count = count + 1 if key == payload.key else 1
        self._unreadable = (payload.key, count)
        return Receipt.failed(error) if count >= _MAX_UNREADABLE else Receipt.retried(error=error, in_doubt=True)

    async def _put_template(self) -> Receipt:
        """Put the template. A permanent refusal is logged, but events are written nevertheless."""
        response = await self._put(None if self._template == "keyword" else LABEL_TYPES[0])
        for labels in (*LABEL_TYPES[1:], None):
            if response.status == 400 and b"No handler for type" in response.body:
                response = await self._put(labels)
        receipt = receipt_from(response, self.server)
        if receipt.rest in ("split", "failed"):
            message = "metrics: %s refuses the index template; events are written without it: %s"
            _logger.warning(message, self.server.host, receipt.error)
        return receipt

    async def _put(self, labels: Mapping[str, Any] | None) -> Response:
        template = template_body(self._index, labels, data_stream=self._data_stream)
        body = json.dumps(template, ensure_ascii=False, separators=(",", ":")).encode()
        path = f"/_index_template/{quote(self._index.template, safe='')}"
        return await self.server.request("PUT", path, body, content_type="application/json")
