"""Times one call of a recorder: of a built-in event, with labels as a mapping, refused, and of a user's own event."""

from __future__ import annotations

import logging

import trio

from trio_batchmetrics import (
    BatchMetricsCollector,
    BatchMetricsConfig,
    Histogram,
    collector,
    label,
    measure,
    metric_event,
)

from .effort import Effort
from .figures import Outcome, ratio
from .timing import FLOOR, Contender, compete, floor

__all__ = ["CALL", "ROOM", "check_accepted", "run"]

CALL = 'metrics.record_http_request("GET", "/api/data", 200, 0.15)'
"""The call that most figures measure."""
ROOM = BatchMetricsConfig(buffer_size=100_000)
"""The default configuration with room for a whole round, because nothing leaves the buffer during a round."""


@metric_event
class LLMCall:
    """A user's own event, with as many fields as a built-in HTTP request."""

    provider: str = label("gen_ai.provider.name")
    model: str = label("gen_ai.request.model")
    region: str = label("cloud.region")
    duration: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")


def check_accepted(*collectors: BatchMetricsCollector) -> None:
    """Check that the timed calls have recorded their events.

    Raises:
        RuntimeError: events were dropped, which costs less than accepting them.
    """
    for metrics in collectors:
        if metrics.stats().dropped_events:
            raise RuntimeError(f"events were dropped while accepting them was timed: {metrics.stats()}")


async def _run(effort: Effort) -> Outcome:
    full_config = BatchMetricsConfig(buffer_size=100)
    async with collector(ROOM, sinks=[]) as metrics, collector(full_config, sinks=[]) as full:

        def fill() -> None:
            for _ in range(full_config.buffer_size):
                full.record_http_request("GET", "/api/data", 200, 0.15)

        names = {"metrics": metrics, "record_llm": metrics.make_recorder(LLMCall)}
        counter = 'metrics.record_counter("custom_counter", {"region": "us-east"}, 42.0)'
        refused = CALL.replace("metrics", "full")
        rounds = await compete(
            [
                floor(client=FLOOR),
                Contender("http", CALL, names, after=metrics.flush, client="ours"),
                Contender("counter", counter, names, after=metrics.flush, client="ours"),
                Contender("refused", refused, {"full": full}, before=fill, client="ours, the buffer full"),
                Contender(
                    "own",
                    'record_llm("openai", "gpt-4", "eu", 0.5)',
                    names,
                    after=metrics.flush,
                    client="ours",
                ),
            ],
            effort.seconds,
        )
        check_accepted(metrics)
    http = rounds["http"]
    figures = [
        ratio("`record_http_request(…)` ÷ A", http, rounds[FLOOR], 2.7),
        ratio("`record_counter(name, labels, value)` ÷ A", rounds["counter"], rounds[FLOOR], 4.0),
        ratio("an event refused, the buffer full ÷ one accepted", rounds["refused"], http, 0.8),
        ratio("a user's own event, by its recorder ÷ `record_http_request(…)`", rounds["own"], http, 1.2),
    ]
    return Outcome(figures, rounds.costs())


def run(effort: Effort) -> Outcome:
    """Run the benchmark."""
    logging.getLogger("trio_batchmetrics").setLevel(logging.ERROR)  # events are refused on purpose
    return trio.run(_run, effort)
