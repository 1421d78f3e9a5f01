"""A sink keeps an object next to each series, and asks for the series that have changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.aggregation.streams import STREAMS
from tests.helpers import examples
from trio_batchmetrics import (
    BatchMetricsConfig,
    CacheMetric,
    Counter,
    Gauge,
    Histogram,
    HttpRequest,
    MetricEvent,
    collector,
)
from trio_batchmetrics.abc import Kind, Measure, Payload, Point, SeriesSink, SeriesStore, SinkContext

Key = tuple[str, str, str, tuple[tuple[str, Any], ...]]


class Slot:
    """What the observer keeps: one object per life of a series."""

    def __init__(self, key: Key) -> None:
        """Remember whose it is."""
        self.key = key


class Slots:
    """An observer that knows which slots there are."""

    def __init__(self) -> None:
        """Begin without slots."""
        self.alive: list[Slot] = []
        self.gone: list[Slot] = []

    def added(self, instrument: Measure, labels: Mapping[str, str]) -> Slot:
        """Return a new slot."""
        slot = Slot(key_of(instrument, labels))
        self.alive.append(slot)
        return slot

    def removed(self, instrument: Measure, slot: Slot) -> None:
        """Note that a slot has gone; it must be there."""
        assert slot.key[0] == instrument.name
        self.alive.remove(slot)
        self.gone.append(slot)


def key_of(instrument: Measure, labels: Mapping[str, str]) -> Key:
    """Return what identifies a series."""
    return instrument.name, instrument.kind.value, instrument.unit, tuple(sorted(labels.items()))


def snapshot_of(store: SeriesStore) -> dict[Key, Point]:
    """Return the points of a snapshot."""
    return {
        (metric.name, metric.kind.value, metric.unit, tuple(sorted(point.labels.items()))): point
        for metric in store.snapshot()
        for point in metric.points
    }


STEPS = st.lists(st.one_of(STREAMS, st.sampled_from(["expire a little", "expire everything"])), max_size=6)


@given(steps=STEPS, most=st.integers(1, 4), instruments=st.integers(1, 6))
@settings(max_examples=examples(100))
def test_slots_match_the_series_over_merges_and_expiries(
    steps: list[list[MetricEvent] | str], most: int, instruments: int
) -> None:
    """Each series that there is has one slot, each that was forgotten has none, and none is ever used again."""
    slots = Slots()
    store = SeriesStore(SinkContext(max_series=most, max_instruments=instruments), observer=slots)
    for step in steps:
        if isinstance(step, list):
            store.merge(step)
        else:
            before = store.generation if step == "expire a little" else store.generation + 1
            size = len(store)
            forgotten = store.expire(before)
            assert len(store) == size - forgotten
        given_slots = [(instrument, slot, point) for instrument, slot, point in store.points()]
        assert [slot for _, slot, _ in given_slots] == [each.slot for f in store.families() for each in f.series]
        assert {id(slot) for _, slot, _ in given_slots} == {id(slot) for slot in slots.alive}
        assert len(store) == len(slots.alive)
        assert not {id(slot) for slot in slots.alive} & {id(slot) for slot in slots.gone}
        for instrument, slot, point in given_slots:
            assert slot.key == key_of(instrument, point.labels)
        assert len(store.families()) <= instruments
        assert all(family.series for family in store.families())


@given(first=STREAMS, second=STREAMS)
@settings(max_examples=examples(100))
def test_points_since_a_generation_are_the_difference_of_two_snapshots(
    first: list[MetricEvent], second: list[MetricEvent]
) -> None:
    """A series that something was added to is there, as it is in the snapshot, and no other."""
    store = SeriesStore()
    store.merge(first)
    before, generation = snapshot_of(store), store.generation
    assert [*store.points(since=generation)] == []
    store.merge(second)
    assert store.generation > generation
    after = snapshot_of(store)
    changed = {key_of(instrument, point.labels): point for instrument, _, point in store.points(since=generation)}
    assert changed == {key: point for key, point in after.items() if point != before.get(key)}
    every = [(key_of(instrument, point.labels), point) for instrument, _, point in store.points()]
    assert every == [*after.items()]  # in the same order
    order = [key for key, _ in every if key in changed]
    assert order == [*changed]


def test_points_can_be_consumed_in_steps_while_series_change_begin_and_go() -> None:
    """Each is as it stands when it is reached; what changes later comes again with the next generation."""
    store = SeriesStore()
    store.merge([Histogram("h", {"n": n}, 1) for n in range(3)])
    generation = store.generation
    points = store.points()
    assert next(points)[2].count == 1
    store.merge([Histogram("h", {"n": n}, 1) for n in (0, 1, 3)])
    assert [(point.labels["n"], point.count, point.value) for _, _, point in points] == [("1", 2, 2), ("2", 1, 1)]
    assert [point.labels["n"] for _, _, point in store.points(since=generation)] == ["0", "1", "3"]
    points = store.points()
    next(points)
    assert store.expire(store.generation) == 1
    assert [point.labels["n"] for _, _, point in points] == ["1", "3"]


def test_the_instrument_has_the_bounds_that_apply_and_its_latest_description() -> None:
    """Configured bounds win; a description may come after the first event."""
    declared: dict[str, Measure] = {}
    store = SeriesStore(SinkContext(bounds={"h": (1.0, 2.0)}, declared=declared))
    store.merge([Histogram("h", {}, 1.5), Histogram("other", {}, 1)])
    [(h, _, point), (other, _, _)] = store.points()
    assert (h.name, h.kind, h.bounds, point.counts) == ("h", Kind.HISTOGRAM, (1.0, 2.0), (0, 1, 0))
    assert other.bounds is not None
    assert len(other.bounds) == 15
    declared["h"] = Measure(None, Kind.HISTOGRAM, "h", "", "How long.", (5.0,))
    store.merge([Histogram("h", {}, 1.5)])
    h, _, point = next(store.points())
    assert (h.description, h.bounds, point.counts) == ("How long.", (1.0, 2.0), (0, 2, 0))


def test_an_instrument_is_forgotten_with_its_last_series_and_its_name_becomes_free() -> None:
    """Another kind may have the name then; before, it is refused."""
    store = SeriesStore(SinkContext(max_instruments=1))
    store.merge([Counter("c", {"n": 1}, 1), Counter("c", {"n": 2}, 1)])
    assert store.merge([Gauge("g", {}, 1), HttpRequest("GET", "/", 200, 1)]) == {
        0: "too_many_instruments",
        1: "too_many_instruments",
    }
    store.merge([Counter("c", {"n": 2}, 1)])
    assert store.expire(store.generation) == 1
    assert store.merge([Gauge("g", {}, 1)]) == {0: "too_many_instruments"}
    assert store.expire(store.generation + 1) == 1
    assert store.families() == []
    assert store.remembered == 0
    assert store.merge([Gauge("g", {}, 7)]) is None
    assert [(metric.name, metric.points[0].value) for metric in store.snapshot()] == [("g", 7)]
    assert store.merge([Counter("c", {"n": 1}, 1)]) == {0: "too_many_instruments"}


class Adopting(SeriesSink[None]):
    """A sink whose store has one place for an instrument."""

    scraped = True

    def bind(self, context: SinkContext) -> None:
        """Create the store."""
        super().bind(context)
        self.store = SeriesStore(context)

    def merge(self, events: Any) -> Mapping[int, str] | None:
        """Merge the events."""
        return self.store.merge(events)

    async def send(self, payload: Payload[None]) -> None:
        """Do nothing."""


async def test_a_bound_instruments_series_keeps_its_instrument(autojump_clock: MockClock) -> None:
    """Such series do not expire, not even those without a value yet."""
    sink = Adopting()
    async with collector(BatchMetricsConfig(), sinks=[sink]) as metrics:
        metrics.counter("c", labels={"n": 1})
        metrics.gauge("g")
        metrics.record_counter("c", {"n": 2}, 1)
        await metrics.flush()
        assert sink.store.expire(sink.store.generation + 1) == 1
        assert [family.instrument.name for family in sink.store.families()] == ["c", "g"]
        assert len(sink.store) == 2


# -- typed labels


def test_typed_labels_keep_bools_ints_and_floats_and_tell_them_apart() -> None:
    """Everything else is text; None is left out. By default, all values are text."""
    values = [True, 1, 1.0, "1", False, 0, 0.0, -0.0, float("nan"), float("nan"), 2**70, (1, 2), None]
    events = [Counter("c", {"a": value}, 1) for value in values]
    store = SeriesStore(SinkContext(static_labels={"region": "eu"}), typed_labels=True)
    store.merge(events)
    [metric] = store.snapshot()
    kept: list[Any] = [point.labels.get("a") for point in metric.points]
    assert [(type(value), str(value)) for value in kept] == [
        *((bool, "True"), (int, "1"), (float, "1.0"), (str, "1"), (bool, "False"), (int, "0"), (float, "0.0")),
        *((float, "-0.0"), (float, "nan"), (str, str(2**70)), (str, "(1, 2)"), (type(None), "None")),
    ]
    assert [point.value for point in metric.points] == [1] * 8 + [2] + [1] * 3
    assert all(point.labels["region"] == "eu" for point in metric.points)
    as_text = SeriesStore()
    as_text.merge(events)
    assert [point.labels.get("a") for point in as_text.snapshot()[0].points] == [
        *("true", "1", "1.0", "false", "0", "0.0", "-0.0", "nan", str(2**70), "(1, 2)", None)
    ]


def test_typed_labels_of_declared_classes_and_bound_instruments_are_the_same_series() -> None:
    """A label field declared as int, a label of a bound instrument, and one of a counter meet."""
    store = SeriesStore(SinkContext(bound=[(Measure(None, Kind.COUNTER, "c"), {"n": 1})]), typed_labels=True)
    store.merge([Counter("c", {"n": 1}, 1), HttpRequest("GET", "/", 200, 0.1), CacheMetric("redis", "hit")])
    found: dict[str, Any] = {instrument.name: point.labels for instrument, _, point in store.points()}
    assert found["c"] == {"n": 1}
    assert type(found["c"]["n"]) is int
    assert found["http.server.request.duration"]["http.response.status_code"] == 200
    assert len(store) == 3


@given(stream=STREAMS)
@settings(max_examples=examples(50))
def test_typed_series_with_equal_texts_add_up_to_the_series_of_text(stream: list[MetricEvent]) -> None:
    """Typed series are a refinement of those by text."""
    plain, typed_store = SeriesStore(), SeriesStore(typed_labels=True)
    plain.merge(stream)
    typed_store.merge(stream)
    counts: dict[Key, int] = {}
    for instrument, _, point in typed_store.points():
        texts = {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in point.labels.items()
        }
        key = key_of(instrument, texts)
        counts[key] = counts.get(key, 0) + point.count
    assert counts == {key: point.count for key, point in snapshot_of(plain).items()}
