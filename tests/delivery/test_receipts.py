"""Each receipt has one meaning, and a receipt that makes no sense harms no other sink."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from trio.testing import MockClock

from tests.delivery.sinks import ScriptedSink, account, record, upto
from tests.helpers import ids
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Payload, Receipt
from trio_batchmetrics.testing import RecordingSink


@pytest.mark.parametrize("answer", [None, Receipt(), Receipt(retry=[])])
async def test_none_and_an_empty_receipt_mean_delivered(answer: Receipt | None, autojump_clock: MockClock) -> None:
    """The sink makes one attempt, without an error."""
    sink = ScriptedSink(answer)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        assert (await metrics.flush()).processed == 3
    stats = account(metrics)
    assert (stats.delivered, stats.retries, stats.last_error) == (3, 0, None)
    assert len(sink.attempts) == 1


class _Unprintable(Exception):
    """An object that raises when it is printed."""

    def __str__(self) -> str:
        raise ValueError("this too")


NONSENSE: dict[str, Any] = {
    "True": True,
    "False": False,
    "text": "ok",
    "a number": 200,
    "the class": Receipt,
    "a position beyond the end": Receipt(rejected={3: "?"}),
    "a position below 0": Receipt(rejected={-1: "?"}),
    "a position that is a bool": Receipt(rejected={True: "?"}),
    "a position that is text": Receipt(retry=["0"]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    "a retry beyond the end": Receipt(retry=[0, 3]),
    "a retry named twice": Receipt(retry=[1, 1]),
    "both rejected and to be retried": Receipt(rejected={1: "?"}, retry=[0, 1]),
    "a retry that is text": Receipt(retry="yes"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "an error that cannot be printed": _Unprintable(),
}
"""Responses that say nothing definite about a payload of three."""

MISTYPED: dict[str, dict[str, Any]] = {
    "rejected is None": {"rejected": None},
    "rejected is a list": {"rejected": [0, 1]},
    "rejected is a number": {"rejected": 1},
    "retry is a number": {"retry": 1},
    "retry_after is text": {"retry": True, "retry_after": "5"},
    "retry_after is a timedelta": {"retry": True, "retry_after": timedelta(seconds=5)},
    "error is an exception": {"retry": True, "error": OSError("no route")},
    "a refusal with an exception": {"error": OSError("no route")},
    "a retry of things that do not hash": {"retry": [[0]]},
}
"""Receipts from an author who doesn't use a type checker."""


@pytest.mark.parametrize("name", [*NONSENSE, *MISTYPED])
async def test_a_response_that_makes_no_sense_causes_a_retry_and_harms_no_other_sink(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing crashes, the good sink goes on, and the retry delivers: a lying sink costs only its own time."""

    class LyingSink(ScriptedSink):
        async def send(self, payload: Payload[Any]) -> Any:
            await super().send(payload)
            if len(self.attempts) > 1:
                return None
            if name in MISTYPED:
                return Receipt(**MISTYPED[name])  # inside the attempt: should it raise, the attempt has failed
            if isinstance(NONSENSE[name], Exception):
                raise NONSENSE[name]
            return NONSENSE[name]

    good, sink = RecordingSink(), LyingSink(name="scripted")
    async with collector(BatchMetricsConfig(batch_size=3), sinks=[sink, good]) as metrics:
        record(metrics, 1, 3)
        await metrics.flush()
        record(metrics, 4, 6)
        await metrics.flush()
    assert not [line for line in caplog.records if line.exc_info], "the library's own tasks crashed"
    assert ids(good.events) == upto(6)
    stats = account(metrics)
    if name == "a refusal with an exception" and len(sink.attempts) == 2:
        assert stats.failures == {"refused": 3}
        return
    assert sink.payloads == [[1, 2, 3], [1, 2, 3], [4, 5, 6]]
    assert sink.keys[0] == sink.keys[1]
    assert (stats.delivered, stats.retries) == (6, 1)
    assert stats.last_error
