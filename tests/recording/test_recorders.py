"""A recorder has the documented parameters, never checkpoints, and may run in the middle of another."""

import inspect
import traceback
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.fakes import numbered, numbers
from tests.helpers import RECORDERS, balanced, interrupted_at
from tests.recording.examples import EXAMPLES, PARAMETERS, POLICIES, arguments, call, timeless
from trio_batchmetrics import (
    BackendRequest,
    BatchMetricsCollector,
    BatchMetricsConfig,
    Counter,
    Gauge,
    HealthCheck,
    HttpRequest,
    MetricEvent,
    Recorder,
    ThreadRecorder,
    collector,
)
from trio_batchmetrics.testing import RecordingSink

NAMES = [name for name, _ in EXAMPLES]


@pytest.mark.parametrize("kind", [BatchMetricsCollector, ThreadRecorder])
def test_every_recorder_has_the_documented_parameters(kind: type[Recorder]) -> None:
    """Parameters are in the documented order, positional or keyword; no recorder is missing from this list."""
    assert {name for name in dir(kind) if name.startswith("record")} == set(PARAMETERS)
    for name, parameters in PARAMETERS.items():
        signature = inspect.signature(getattr(kind, name))
        assert list(signature.parameters) == ["self", *parameters]
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        defaults = {parameter.name: parameter.default for parameter in signature.parameters.values()}
        assert {key for key, value in defaults.items() if value is not inspect.Parameter.empty} == (
            {"error_type"} if name == "record_backend_request" else set()
        )
        assert defaults.get("error_type") is None


@pytest.mark.parametrize(("name", "event"), EXAMPLES, ids=NAMES)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["recorder", "from_thread"])
async def test_each_recorder_takes_positions_and_keywords(
    name: str, event: MetricEvent, elsewhere: bool, autojump_clock: MockClock
) -> None:
    """It hands on the same event as its class would create."""
    sink = RecordingSink()
    values = arguments(event)
    async with collector(sinks=[sink]) as metrics:
        recorder: Recorder = metrics.from_thread() if elsewhere else metrics
        call(recorder, name, *values.values())
        call(recorder, name, **values)
        call(recorder, name, **dict(reversed(values.items())))
        recorder.record(event)
        recorder.record(event=event)
    assert timeless(sink.events) == timeless([event] * 5)
    assert sink.events[3] is event
    assert balanced(metrics.stats()).processed_events == 5


async def test_an_error_type_need_not_be_given(autojump_clock: MockClock) -> None:
    """Without one, nothing went wrong."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_backend_request("openai", "gpt-4", True, 0.85)
        metrics.record_backend_request("openai", "gpt-4", False, 0.85, error_type="timeout")
    assert [event.error_type for event in sink.events if isinstance(event, BackendRequest)] == [None, "timeout"]


async def test_a_call_that_no_recorder_accepts_raises_a_type_error(autojump_clock: MockClock) -> None:
    """The call is the programmer's mistake, and records nothing."""
    async with collector(sinks=[]) as metrics:
        with pytest.raises(TypeError, match="duration"):
            call(metrics, "record_http_request", "GET", "/", 200)
        with pytest.raises(TypeError, match="unexpected keyword"):
            call(metrics, "record_cache_metric", "redis", "hit", size=3)
        assert metrics.stats().total_events == 0


@pytest.mark.parametrize(
    ("duration", "seconds"), [(timedelta(milliseconds=1500), 1.5), (2, 2.0), (0.25, 0.25), (0, 0.0), (timedelta(), 0.0)]
)
async def test_durations_may_be_numbers_or_timedeltas(duration: Any, seconds: float, autojump_clock: MockClock) -> None:
    """Sinks get float seconds."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        metrics.record_http_request("GET", "/", 200, duration)
        metrics.record_backend_request("openai", "gpt-4", True, duration)
        metrics.record_health_check("backend-1", True, duration)
    one, two, three = sink.events
    assert isinstance(one, HttpRequest)
    assert isinstance(two, BackendRequest)
    assert isinstance(three, HealthCheck)
    kept = [one.duration, two.latency, three.duration]
    assert kept == [seconds] * 3
    assert [type(value) for value in kept] == [float] * 3


async def test_recorders_never_checkpoint(autojump_clock: MockClock) -> None:
    """A full buffer, a bad value and a left block are tried."""
    async with collector(BatchMetricsConfig(buffer_size=3), sinks=[]) as metrics:
        with trio.testing.assert_no_checkpoints():
            for name, event in EXAMPLES:
                call(metrics, name, **arguments(event))
                metrics.record(event)
                call(metrics.from_thread(), name, **arguments(event))
    with trio.testing.assert_no_checkpoints():
        metrics.record_cache_metric("redis", "hit")
    assert balanced(metrics.stats()).dropped == {"buffer_full": 18, "closed": 1}


@pytest.mark.parametrize("name", RECORDERS)
async def test_a_ctrl_c_in_the_middle_of_a_record_waits_for_its_end(name: str, autojump_clock: MockClock) -> None:
    """A Ctrl-C at any place in it never leaves half an event."""
    protected: list[bool] = []
    function = "record" if name == "make_recorder" else name

    def look() -> None:
        if function in (frame.name for frame in traceback.extract_stack()):
            protected.append(trio.lowlevel.currently_ki_protected())

    async with collector(BatchMetricsConfig(batch_size=1), sinks=[]) as metrics:
        metrics.counter("bound")
        metrics.gauge("bound gauge")
        metrics.histogram("bound histogram")
        point, places = 0, 1
        while point < places:
            with interrupted_at(point, look) as passed:
                RECORDERS[name](metrics)
            places = passed[0]
            point += 1
    assert protected
    assert all(protected)


class Recording(Mapping[str, str]):
    """Labels that record when they are read, as a mapping on top of a cache might."""

    def __init__(self, metrics: Recorder, number: int) -> None:
        """Create labels that record the given number of events at each access."""
        self._metrics = metrics
        self._number = number

    def __getitem__(self, key: str) -> str:
        """Record, and return a value."""
        for number in range(self._number):
            self._metrics.record(numbered(number))
        return "value"

    def __iter__(self) -> Iterator[str]:
        """Record, and yield the name of a label."""
        self._metrics.record(numbered(99))
        return iter(["label"])

    def __len__(self) -> int:
        """Return the number of labels."""
        return 1


async def test_a_labels_mapping_may_record_in_the_middle_of_a_record(autojump_clock: MockClock) -> None:
    """Nothing is lost, nothing raises, and the outer event comes after the events that it caused."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(batch_size=4), sinks=[sink]) as metrics:
        metrics.record_counter("outer", Recording(metrics, 3), 1)
        metrics.record_gauge("outer", Recording(metrics, 3), 1)
    assert numbers(sink.events) == [99, 0, 1, 2, 99, 0, 1, 2]
    assert [type(event) for event in sink.events[4::5]] == [Counter, Gauge]
    assert balanced(metrics.stats()).processed_events == 10


async def test_reentry_does_not_overfill_the_buffer(autojump_clock: MockClock) -> None:
    """Whichever event is one too many is counted."""
    for policy in POLICIES:
        sink = RecordingSink()
        config = BatchMetricsConfig(batch_size=3, buffer_size=5, on_full=policy)
        async with collector(config, sinks=[sink]) as metrics:
            metrics.record_counter("outer", Recording(metrics, 7), 1)
            assert balanced(metrics.stats()).pending_events == 5
            assert metrics.stats().dropped == {"buffer_full": 4}
        assert len(sink.events) == 5
        assert numbers(sink.events) == ([99, 0, 1, 2, 3] if policy == "drop_newest" else [3, 4, 5, 6])
