"""The pauses between attempts double with full jitter, and a success makes them short again."""

from __future__ import annotations

import math

import pytest
from trio.testing import MockClock

from tests.delivery.sinks import ScriptedSink, record
from tests.helpers import MANY, assert_full_jitter
from trio_batchmetrics import BatchMetricsConfig, collector
from trio_batchmetrics.abc import Receipt


async def test_pauses_double_up_to_the_longest_with_full_jitter(autojump_clock: MockClock) -> None:
    """The bounds are 0.5, 1, 2, 4, 8, 16, 30, 30 … seconds, and each pause lies anywhere between 0 and its bound."""
    sinks = [ScriptedSink(*[OSError()] * 9, retry_budget=1e6) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    for n, longest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, 30]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)


async def test_a_sink_sets_its_own_pauses(autojump_clock: MockClock) -> None:
    """The settings are ``backoff`` and ``max_backoff``."""
    sinks = [ScriptedSink(*[OSError()] * 4, backoff=2, max_backoff=5) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    for n, longest in enumerate([2, 4, 5, 5]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)


async def test_the_pause_is_carried_over_to_the_next_payload(autojump_clock: MockClock) -> None:
    """A back-end that is down gets few requests, whichever payloads they carry."""
    sinks = [ScriptedSink(*[OSError()] * 5, Receipt.failed("401"), OSError()) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    assert all(sink.payloads == [[1, 2]] * 6 + [[3, 4]] * 2 for sink in sinks)
    assert_full_jitter([sink.times[7] - sink.times[6] for sink in sinks], 16)


@pytest.mark.parametrize("success", [None, Receipt(rejected={0: "bad"}), Receipt.retried(retry=[0])])
async def test_a_success_makes_pauses_short_again(success: Receipt | None, autojump_clock: MockClock) -> None:
    """After five failures and one delivery, the pause after the next failure is at most half a second."""
    sinks = [ScriptedSink(*[OSError()] * 5, success, OSError()) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
        record(metrics, 3, 4)
        await metrics.flush()
    retried = success is not None and success.retry
    pauses = [sink.times[7] - sink.times[6] for sink in sinks]
    assert_full_jitter(pauses, 1 if retried else 0.5)  # the rest of a payload has had its first pause already


@pytest.mark.parametrize(("asked", "waits"), [(0.001, 0.001), (17, 17), (300, 300), (301, 300), (math.inf, 300)])
async def test_a_pause_that_the_backend_asks_for_is_kept_exactly(
    asked: float, waits: float, autojump_clock: MockClock
) -> None:
    """Pauses up to 300 s are kept, however short the sink's own pause would be."""
    sink = ScriptedSink(Receipt.retried(asked), retry_budget=1e6)
    async with collector(BatchMetricsConfig(batch_size=2), sinks=[sink]) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    assert sink.times == [0, waits]


@pytest.mark.parametrize("asked", [None, 0, -1, -0.0, -math.inf, math.nan])
async def test_a_pause_of_zero_or_less_is_the_ordinary_one(asked: float | None, autojump_clock: MockClock) -> None:
    """A back-end that responds "at once" doesn't get a flood of requests: the pause doubles as usual."""
    sinks = [ScriptedSink(*[Receipt.retried(asked)] * 3) for _ in range(MANY)]
    async with collector(BatchMetricsConfig(batch_size=2), sinks=sinks) as metrics:
        record(metrics, 1, 2)
        await metrics.flush()
    for n, longest in enumerate([0.5, 1, 2]):
        assert_full_jitter([sink.times[n + 1] - sink.times[n] for sink in sinks], longest)
