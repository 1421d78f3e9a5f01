"""A name, unit and label set give one object, and a mistake in a declaration raises at once."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from tests.bad_values import RaisingMapping
from tests.instruments.points import plain
from trio_batchmetrics import BatchMetricsCollector, BatchMetricsConfig, Counter, collector
from trio_batchmetrics.testing import RecordingSink


async def test_the_same_name_labels_and_unit_give_the_same_object(autojump_clock: MockClock) -> None:
    """The order of the labels doesn't matter, and no labels are the same as empty ones."""
    async with collector(sinks=[]) as metrics:
        one = metrics.counter("c", labels={"a": "1", "b": "2"}, unit="By")
        assert metrics.counter("c", labels={"b": "2", "a": "1"}, unit="By") is one
        assert metrics.counter("c", labels={"a": "1", "b": "2"}, unit="By", description="Later.") is one
        assert metrics.gauge("g") is metrics.gauge("g", labels={})
        histogram = metrics.histogram("h", bounds=[1, 2])
        assert metrics.histogram("h", bounds=(1.0, 2.0)) is histogram
        assert metrics.histogram("h") is histogram


async def test_other_labels_give_another_object_of_the_same_instrument(autojump_clock: MockClock) -> None:
    """Each object has its own sum."""
    sink = RecordingSink()
    async with collector(sinks=[sink]) as metrics:
        one, other = metrics.counter("c", labels={"a": "1"}), metrics.counter("c", labels={"a": "2"})
        assert one is not other
        assert metrics.counter("c") is not one
        one.add(1)
        other.add(2)
    assert sorted(map(plain, sink.events), key=str) == [
        ("counter", "c", {"a": "1"}, 1),
        ("counter", "c", {"a": "2"}, 2),
    ]


async def test_label_values_are_the_same_if_they_are_equal_and_have_the_same_type(autojump_clock: MockClock) -> None:
    """1, 1.0, True and "1" are four values, though Python finds most of them equal; each has its own sum."""
    sink = RecordingSink()
    values: list[Any] = [1, 1.0, True, "1"]
    async with collector(sinks=[sink]) as metrics:
        made = [metrics.counter("c", labels={"a": value}) for value in values]
        assert len({id(one) for one in made}) == 4
        for number, value in enumerate(values, start=1):
            assert metrics.counter("c", labels={"a": value}) is made[number - 1]
            metrics.counter("c", labels={"a": value}).add(number)
        assert metrics.counter("c", labels={"a": -0.0}) is metrics.counter("c", labels={"a": 0.0})
        assert metrics.counter("c", labels={"a": math.nan}) is metrics.counter("c", labels={"a": float("nan")})
    added = [(event.labels["a"], event.value) for event in sink.events if isinstance(event, Counter)]
    assert [(type(value), value, total) for value, total in added] == [
        (int, 1, 1),
        (float, 1.0, 2),
        (bool, True, 3),
        (str, "1", 4),
    ]


# Deviation reported: `None is left out` (spec §3), so these are one series, but two objects.
async def test_a_label_whose_value_is_none_is_left_out(autojump_clock: MockClock) -> None:
    """None is left out wherever labels become text, so two objects would be one series."""
    async with collector(sinks=[]) as metrics:
        assert metrics.gauge("g", labels={"a": None}) is metrics.gauge("g")


async def test_an_instruments_labels_are_captured_by_value(autojump_clock: MockClock) -> None:
    """Later changes to the caller's dict have no effect."""
    sink = RecordingSink()
    labels = {"region": "eu"}
    async with collector(sinks=[sink]) as metrics:
        counter = metrics.counter("c", labels=labels)
        labels["region"] = "us"
        counter.add()
        assert counter.labels == {"region": "eu"}
        assert metrics.counter("c", labels={"region": "eu"}) is counter
    assert [plain(event) for event in sink.events] == [("counter", "c", {"region": "eu"}, 1)]


Maker = Callable[[BatchMetricsCollector, str, str], object]

MAKERS: dict[str, Maker] = {
    "counter": lambda metrics, name, unit: metrics.counter(name, unit=unit),
    "gauge": lambda metrics, name, unit: metrics.gauge(name, unit=unit),
    "histogram": lambda metrics, name, unit: metrics.histogram(name, unit=unit),
    "observable": lambda metrics, name, unit: metrics.observable_gauge(name, lambda: 1, labels={"o": 1}, unit=unit),
}


@pytest.mark.parametrize("first", MAKERS)
@pytest.mark.parametrize("second", MAKERS)
async def test_a_name_belongs_to_one_kind_and_unit(first: str, second: str, autojump_clock: MockClock) -> None:
    """Anything else raises an error that names both, and leaves the first as it was."""
    async with collector(sinks=[]) as metrics:
        MAKERS[first](metrics, "size", "By")
        same_kind = {first, second} <= {"gauge", "observable"} or first == second
        if not same_kind:
            with pytest.raises(ValueError, match=r"'size' is a .* in 'By' already"):
                MAKERS[second](metrics, "size", "By")
        with pytest.raises(ValueError, match=r"'size' is a .* in 'By' already .* in 'ms'\)"):
            MAKERS[second](metrics, "size", "ms")
        MAKERS[second](metrics, "other", "ms")
        if first != "observable":
            MAKERS[first](metrics, "size", "By")


async def test_two_collectors_share_no_instruments(autojump_clock: MockClock) -> None:
    """The library has no global state."""
    async with collector(sinks=[]) as one, collector(sinks=[]) as other:
        assert one.counter("c") is not other.counter("c")
        other.gauge("only here")
        one.histogram("only here")


async def test_an_illegal_name_unit_or_label_set_raises_at_once(autojump_clock: MockClock) -> None:
    """Declaring isn't recording: mistakes must be visible, and none of them leaves anything behind."""
    async with collector(sinks=[]) as metrics:
        nothing: Any = None
        names: list[Any] = ["", None, 3]
        for name in names:
            with pytest.raises(ValueError, match=r"name must be a non-empty str \(got "):
                metrics.counter(name)
        with pytest.raises(ValueError, match="unit and description must be str"):
            metrics.gauge("g", unit=nothing)
        with pytest.raises(ValueError, match="unit and description must be str"):
            metrics.gauge("g", description=nothing)
        label_sets: list[Any] = ["a=b", [("a", "b")], RaisingMapping()]
        for labels in label_sets:
            with pytest.raises(ValueError, match="labels must be a mapping"):
                metrics.gauge("g", labels=labels)
        with pytest.raises(ValueError, match="bounds must be finite numbers, strictly increasing"):
            metrics.histogram("g", bounds=[2, 1])
        with pytest.raises(ValueError, match="callback must be callable"):
            metrics.observable_gauge("g", nothing)
        metrics.counter("g", unit="By")


async def test_bounds_come_from_the_configuration_else_from_the_call_else_from_the_unit(
    autojump_clock: MockClock,
) -> None:
    """The three sources are tried in this order."""
    config = BatchMetricsConfig(bounds={"configured": [7]})
    async with collector(config, sinks=[]) as metrics:
        assert metrics.histogram("configured", bounds=[1, 2]).bounds == (7.0,)
        assert metrics.histogram("own", bounds=[1, 2]).bounds == (1.0, 2.0)
        assert metrics.histogram("seconds", unit="s").bounds == (
            *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
        )
        assert metrics.histogram("other", unit="ms").bounds == (
            *(0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000),
        )


async def test_a_name_has_one_set_of_bounds(autojump_clock: MockClock) -> None:
    """The buckets of one instrument must add up across label sets."""
    async with collector(sinks=[]) as metrics:
        one = metrics.histogram("h", labels={"a": "1"}, bounds=[1, 2])
        with pytest.raises(ValueError, match="'h' has other bounds already"):
            metrics.histogram("h", labels={"a": "2"}, bounds=[1, 3])
        assert metrics.histogram("h", labels={"a": "3"}).bounds == one.bounds


async def test_an_instrument_prints_its_kind_name_and_labels(autojump_clock: MockClock) -> None:
    """The text identifies an instrument while debugging."""
    async with collector(sinks=[]) as metrics:
        assert repr(metrics.counter("c", labels={"a": 1})) == "<BoundCounter 'c' {'a': 1}>"
        assert repr(metrics.gauge("g")) == "<BoundGauge 'g' {}>"
        assert repr(metrics.histogram("h")) == "<BoundHistogram 'h' {}>"
