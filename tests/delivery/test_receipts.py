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


@pytest.mark.parametrize("answer", [None, Receipt(), Receipt.retried(retry=[])])
async def test_none_and_an_empty_receipt_mean_delivered(answer: Receipt | None, autojump_clock: MockClock) -> None:
    """The sink makes one attempt, without an error."""
    sink = ScriptedSink(answer)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        assert (await metrics.flush()).processed == 3
    stats = account(metrics)
    assert (stats.delivered, stats.retries, stats.last_error) == (3, 0, None)
    assert len(sink.attempts) == 1


async def test_an_error_with_a_delivery_is_reported_and_changes_nothing_else(autojump_clock: MockClock) -> None:
    """The events count as delivered, without a retry; of several events, some may be rejected as well."""
    sink = ScriptedSink(Receipt(error="2 of 7 points were dropped"), Receipt(rejected={0: "bad"}, error="partly"))
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        assert (await metrics.flush()).processed == 3
        stats = account(metrics)
        assert (stats.delivered, stats.failed, stats.rejected, stats.retries) == (3, 0, 0, 0)
        assert stats.last_error == "2 of 7 points were dropped"
        assert stats.last_success is not None
        record(metrics, 4, 5)
        await metrics.flush()
    stats = account(metrics)
    assert (stats.delivered, stats.rejected, stats.last_error) == (4, 1, "1 of 2 events refused: bad")
    assert sink.payloads == [[1, 2, 3], [4, 5]]


async def test_some_events_rejected_and_the_others_failed(autojump_clock: MockClock) -> None:
    """Each part has its own count; the error of the others is the one reported."""
    sink = ScriptedSink(Receipt(rejected={1: "bad"}, rest="failed", error="401"))
    async with collector(sinks=[sink]) as metrics:
        record(metrics, 1, 3)
        await metrics.flush()
    stats = account(metrics)
    assert (stats.rejected, stats.failures, stats.last_error) == (1, {"refused": 2}, "401")
    assert sink.payloads == [[1, 2, 3]]


class _Text(str):
    """A text that claims to equal everything."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


class _Raising(dict[int, str]):
    """A mapping that raises once it is read."""

    def __bool__(self) -> bool:
        return False

    def items(self) -> Any:
        raise RuntimeError("not today")


class _Lying(Receipt):
    """A receipt whose fields raise."""

    @property
    def rest(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Raise."""
        raise RuntimeError("no outcome")


def bypassed(**fields: Any) -> Receipt:
    """Return a receipt with these fields, past its own checks."""
    receipt = Receipt()
    for name, value in fields.items():
        object.__setattr__(receipt, name, value)
    return receipt


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
    "a position that is text": Receipt.retried(retry=["0"]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    "a retry beyond the end": Receipt.retried(retry=[0, 3]),
    "a retry named twice": Receipt.retried(retry=[1, 1]),
    "a retry that is text": Receipt.retried(retry="yes"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "an outcome that does not exist": bypassed(rest="often"),
    "an outcome that is not text": bypassed(rest=None),
    "an outcome that equals everything": bypassed(rest=_Text("often")),
    "an outcome that raises": _Lying.__new__(_Lying),
    "a retry of delivered events": bypassed(retry=(1,)),
    "a delivery in doubt": bypassed(in_doubt=True),
    "a failure with a pause": bypassed(rest="failed", retry_after=5),
    "rejections that raise": bypassed(rejected=_Raising()),
    "an error that raises": bypassed(error=_Unprintable()),
    "a retry that is used up": Receipt.retried(retry=(at for at in [0, 7]), rejected={1: "?"}),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "an error that cannot be printed": _Unprintable(),
}
"""Responses that say nothing definite about a payload of three."""

MISTYPED: dict[str, dict[str, Any]] = {
    "both rejected and to be retried": {"rest": "retry", "rejected": {1: "?"}, "retry": [0, 1]},
    "rejected is None": {"rejected": None},
    "rejected is a list": {"rejected": [0, 1]},
    "rejected is a number": {"rejected": 1},
    "retry is a number": {"rest": "retry", "retry": 1},
    "retry_after is text": {"rest": "retry", "retry_after": "5"},
    "retry_after is a timedelta": {"rest": "retry", "retry_after": timedelta(seconds=5)},
    "error is an exception": {"rest": "retry", "error": OSError("no route")},
    "a refusal with an exception": {"rest": "failed", "error": OSError("no route")},
    "a retry of things that do not hash": {"rest": "retry", "retry": [[0]]},
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
