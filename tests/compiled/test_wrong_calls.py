"""A made recorder raises for the calls that its class would refuse, and shows its class's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
from trio.testing import MockClock

from tests.compiled.classes import Call, Checked, Empty, Fresh, Odd, OwnInit, Plain, PostInit, named, told
from tests.helpers import balanced
from tests.tally import Job
from trio_batchmetrics import BackendRequest, CacheMetric, Counter, HealthCheck, HttpRequest, MetricEvent, collector

WRONG_CALLS: list[Call] = [
    (HttpRequest, ("GET", "/", 200), {}),
    (HttpRequest, ("GET", "/", 200, 0.1, "more"), {}),
    (HttpRequest, ("GET", "/", 200, 0.1), {"method": "GET"}),
    (HttpRequest, ("GET", "/", 200, 0.1), {"colour": "red"}),
    (CacheMetric, ("redis",), {}),
    (CacheMetric, ("redis", "hit", 1), {}),
    (Counter, ("c", {}), {}),
    (Plain, (1,), {"_private": 1}),
    (Empty, (1,), {}),
    (Odd, (), {}),
    (Fresh, (), {}),
    (Checked, (), {"size": 1}),
    (OwnInit, (), {}),
    (PostInit, ("good",), {}),
]


@pytest.mark.parametrize(("kind", "positional", "keyword"), WRONG_CALLS, ids=named)
async def test_wrong_arguments_raise_at_the_call_and_record_nothing(
    kind: Any, positional: tuple[Any, ...], keyword: dict[str, Any], autojump_clock: MockClock
) -> None:
    """The class itself would raise too, because the program is wrong."""
    async with collector(sinks=[]) as metrics:
        with pytest.raises(TypeError, match="argument"):
            kind(*positional, **keyword)
        for recorder in (metrics, metrics.from_thread()):
            with pytest.raises(TypeError, match="argument"):
                recorder.make_recorder(kind)(*positional, **keyword)
    assert balanced(metrics.stats()).total_events == 0


@pytest.mark.parametrize("thing", ["HttpRequest", None, 3, str, collector, HttpRequest("GET", "/", 200, 1), Mapping])
async def test_only_an_event_class_makes_a_recorder(thing: Any, autojump_clock: MockClock) -> None:
    """An instance doesn't make one either."""
    async with collector(sinks=[]) as metrics:
        for recorder in (metrics, metrics.from_thread()):
            with pytest.raises(TypeError, match="event class"):
                recorder.make_recorder(thing)


async def test_the_base_of_all_events_makes_a_recorder_of_invalid_ones(autojump_clock: MockClock) -> None:
    """Events of the base class are invalid, because it measures nothing."""
    async with collector(sinks=[]) as metrics:
        metrics.make_recorder(MetricEvent)()
    assert told(metrics.stats()) == (1, 0, 0, {"invalid": 1})


@pytest.mark.parametrize("kind", [HttpRequest, BackendRequest, HealthCheck, CacheMetric, Counter, Plain, Job, Empty])
async def test_a_made_recorder_shows_the_classs_own_parameters(kind: Any, autojump_clock: MockClock) -> None:
    """Names, order and kinds match, and a traceback shows whose recorder it is."""
    async with collector(sinks=[]) as metrics:
        recorder = metrics.make_recorder(kind)
    parameters = inspect.signature(recorder).parameters.values()
    expected = inspect.signature(kind).parameters.values()
    assert [(one.name, one.kind) for one in parameters] == [(one.name, one.kind) for one in expected]
    with pytest.raises(TypeError, match=kind.__name__):
        recorder(*range(20))
