"""Compares encoding events as a ``_bulk`` request's body with elasticsearch-py's helpers, on equal documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import trio

from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import EventSink, Payload, SinkContext
from trio_batchmetrics.sinks import ElasticsearchSink

from .effort import Effort
from .encoding import EVENTS, http, mixed
from .figures import Figure, Outcome, ratio
from .recording import check_accepted
from .timing import Contender, compete, floor

__all__ = ["run"]


class _Chunks(EventSink[None]):
    """Keeps the chunks that the library passes to ``encode``, of at most 500 events each."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[Sequence[MetricEvent]] = []

    def encode(self, events: Sequence[MetricEvent]) -> None:
        """Keep the events."""
        self.chunks.append(events)

    async def send(self, payload: Payload[None]) -> None:
        """Do nothing."""


async def _chunks(record: Callable[[BatchMetricsCollector], None]) -> list[Sequence[MetricEvent]]:
    sink = _Chunks()
    async with collector(BatchMetricsConfig(batch_size=EVENTS, buffer_size=EVENTS), sinks=[sink]) as metrics:
        record(metrics)
        await metrics.flush()
        check_accepted(metrics)
    return sink.chunks


def _peer_encoder() -> Callable[[list[dict[str, Any]]], bytes]:
    """Return the steps of ``helpers.bulk`` and the client up to the body, with one chunk per chunk of ours."""
    actions: Any = import_module("elasticsearch.helpers.actions")
    serializer: Any = import_module("elasticsearch.serializer")
    documents, lines = serializer.JsonSerializer(), serializer.NdjsonSerializer()

    def body(given: list[dict[str, Any]]) -> bytes:
        expanded = map(actions.expand_action, given)
        chunks = actions._chunk_actions(expanded, len(given), 100 * 1024 * 1024, None, documents)
        written: list[bytes] = [lines.dumps(chunk) for _, chunk in chunks]
        return b"".join(written)

    return body


def _actions_of(body: bytes) -> list[dict[str, Any]]:
    """Return a body's contents as the actions that a user passes to the helpers."""
    lines = [json.loads(line) for line in body.split(b"\n")[:-1]]
    return [
        {"_op_type": "create", **action["create"], "_source": document}
        for action, document in zip(lines[::2], lines[1::2], strict=True)
    ]


async def _alongside(name: str, record: Callable[[BatchMetricsCollector], None], effort: Effort) -> Outcome:
    sink = ElasticsearchSink("http://127.0.0.1:9200", index="metrics")
    sink.bind(SinkContext(run_id="0" * 32))
    chunks = await _chunks(record)
    theirs = _peer_encoder()
    peer_actions = [_actions_of(sink.encode(chunk)) for chunk in chunks]
    for chunk, actions in zip(chunks, peer_actions, strict=True):
        if _actions_of(theirs(actions)) != _actions_of(sink.encode(chunk)):
            raise RuntimeError("the two do not write the same documents")
    contenders = [
        floor(calls=EVENTS),
        Contender(
            "ours",
            "encode(chunk)",
            {"encode": sink.encode, "chunks": chunks},
            calls=EVENTS,
            loop="for chunk in chunks",
        ),
        Contender(
            "theirs",
            "body(actions)",
            {"body": theirs, "given": peer_actions},
            calls=EVENTS,
            loop="for actions in given",
        ),
    ]
    rounds = await compete(contenders, effort.seconds / 2)
    figures = [
        ratio(f"{name} as NDJSON for `_bulk` ÷ elasticsearch-py's helpers", rounds["ours"], rounds["theirs"], 1 / 15),
        Figure(f"{name} as NDJSON for `_bulk`, ns", min(rounds["ours"]), ""),
    ]
    return Outcome(figures)


async def _run(effort: Effort) -> Outcome:
    one_kind, four_kinds = (
        await _alongside("an HTTP event", http, effort),
        await _alongside("an event of four kinds", mixed, effort),
    )
    return Outcome([*one_kind.figures, *four_kinds.figures])


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    return trio.run(_run, effort)
