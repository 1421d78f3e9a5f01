"""Serial numbers: each event has its own, the same whenever it is encoded; and rows as sinks read them."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.helpers import balanced, ids
from tests.test_batch import BATCHES, as_row
from trio_batchmetrics import Batch, BatchMetricsConfig, CacheMetric, Counter, HttpRequest, MetricEvent, collector
from trio_batchmetrics._events.batch import event_of
from trio_batchmetrics._events.validation import plain_rows, valid
from trio_batchmetrics.abc import EventSink, Payload, Receipt, labels_of


class SerialSink(EventSink[int]):
    """A sink that keeps each event's serial number at each encoding, and refuses, halves and retries by a script."""

    def __init__(self, *script: Receipt, **settings: Any) -> None:
        super().__init__(**settings)
        self.script = list(script)
        self.seen: dict[int, set[int]] = {}
        self.encodings = 0
        self.runs = set[str]()

    def encode(self, events: Sequence[MetricEvent]) -> int:
        """Keep the serial numbers."""
        assert isinstance(events, Batch)
        self.encodings += 1
        self.runs.add(self.context.run_id)
        for event_id, serial in zip(ids(list(events)), events.serials, strict=True):
            self.seen.setdefault(event_id, set()).add(serial)
        return 0

    async def send(self, payload: Payload[int]) -> Receipt:
        """Respond as the script says."""
        assert [*payload.events.serials] == [next(iter(self.seen[event_id])) for event_id in ids(list(payload.events))]
        return self.script.pop(0) if self.script else Receipt()


async def test_an_event_has_one_serial_number_whatever_becomes_of_its_payload(autojump_clock: MockClock) -> None:
    """Retries, halves, rests of a payload and payloads of several batches are tried, and two sinks agree."""
    script = [
        Receipt.retried(error="503"),
        Receipt.split(),
        Receipt.retried(retry=[0, 3], rejected={1: "no"}, error="429"),
        Receipt.retried(error="503"),
    ]
    sinks = [SerialSink(*script, max_events=40), SerialSink(*script[1:], max_events=8)]
    config = BatchMetricsConfig(batch_size=10)
    async with collector(config, sinks=sinks) as metrics:
        for number in range(95):
            metrics.record_counter("c", {"id": number}, 1)
            if number % 9 == 0:
                metrics.record_counter("c", {"id": -1}, float("nan"))
    assert {sink.rejected for sink in balanced(metrics.stats()).sinks.values()} == {1}
    for sink in sinks:
        assert sink.encodings > 5
        assert [*sink.seen] == [*range(95)]
        assert all(len(serials) == 1 for serials in sink.seen.values())
        assert {serial for serials in sink.seen.values() for serial in serials} == {*range(95)}
    assert sinks[0].seen == sinks[1].seen
    assert sinks[0].runs == sinks[1].runs


async def test_runs_have_names_of_their_own(autojump_clock: MockClock) -> None:
    """Two collectors, open at once or one after the other, have different names."""
    sinks = [SerialSink(), SerialSink(), SerialSink()]
    async with collector(sinks=sinks[:1]) as first, collector(sinks=sinks[1:2]) as second:
        first.record_counter("c", {"id": 1}, 1)
        second.record_counter("c", {"id": 1}, 1)
    async with collector(sinks=sinks[2:]) as third:
        third.record_counter("c", {"id": 1}, 1)
    runs = [run for sink in sinks for run in sink.runs]
    assert len({*runs}) == 3
    assert all(len(run) == 32 for run in runs)


@given(events=BATCHES, data=st.data())
def test_a_part_of_a_batch_keeps_its_serial_numbers(events: list[MetricEvent], data: st.DataObject) -> None:
    """Slices of slices are tried, of a batch of one run or several; by default serials count from 0."""
    assert [*Batch(events).serials] == [*range(len(events))]
    first, gap = data.draw(st.integers(0, 10**6)), data.draw(st.integers(0, 9))
    cut = data.draw(st.integers(0, len(events)))
    runs = [range(first, first + cut), range(first + cut + gap, first + gap + len(events))]
    batch = Batch(events, None, runs)
    serials = [*runs[0], *runs[1]]
    assert [*batch.serials] == serials
    part = data.draw(st.slices(len(events)))
    assert [*batch[part].serials] == serials[part]
    again = data.draw(st.slices(len(serials[part])))
    assert [*batch[part][again].serials] == serials[part][again]


def _twice(value: object) -> Any:
    return HttpRequest("GET", "/", value, 0.5, timestamp=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@given(events=BATCHES, data=st.data())
def test_plain_rows_stand_for_the_events_in_order(events: list[MetricEvent], data: st.DataObject) -> None:
    """Rows and events are mixed; numbers and the texts of labels stay as they are."""
    rows = [as_row(event) if data.draw(st.booleans()) else event for event in events]
    good = valid(rows)
    plain = plain_rows(good)
    assert len(plain) == len(good)
    for row, event in zip(plain, good, strict=True):
        assert type(row) is tuple
        assert row[0] is type(event)
        assert row[1] == event.timestamp
        assert labels_of(event_of(row)) == labels_of(event)


def test_labels_of_plain_rows_are_equal_only_where_their_texts_are() -> None:
    """``True``, 1 and 1.0 are equal, and have different texts."""
    rows = plain_rows([_twice(value) for value in (1, True, 1.0, "1")] + [CacheMetric("a", "b")])
    texts = [labels_of(event_of(row)) for row in rows[:4]]
    assert [each["http.response.status_code"] for each in texts] == ["1", "true", "1.0", "1"]
    for one, row in enumerate(rows[:4]):
        for other, second in enumerate(rows[:4]):
            assert (row[2:5] == second[2:5]) <= (texts[one] == texts[other])


def test_plain_rows_keep_the_order_of_classes_that_take_turns() -> None:
    """The check sorts them by class, and restores the order."""
    turn = count(1)
    events = [make(next(turn)) for _ in range(5) for make in (_counter, _cache, _cache)]
    assert [row[1] for row in plain_rows(Batch([as_row(event) for event in events]))] == [*range(1, 16)]


def _counter(at: int) -> MetricEvent:
    return Counter("c", {"id": at}, at, timestamp=at)


def _cache(at: int) -> MetricEvent:
    return CacheMetric("redis", "hit", timestamp=at)
