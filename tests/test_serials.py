"""Ids: each event has its own, the same whenever it is encoded."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.helpers import balanced, ids
from tests.test_batch import BATCHES
from trio_batchmetrics import Batch, BatchMetricsConfig, MetricEvent, collector
from trio_batchmetrics.abc import EventIds, EventSink, Payload, Receipt


class IdSink(EventSink[int]):
    """A sink that keeps each event's id at each encoding, and refuses, halves and retries by a script."""

    def __init__(self, *script: Receipt, **settings: Any) -> None:
        super().__init__(**settings)
        self.script = list(script)
        self.seen: dict[int, set[str]] = {}
        self.encodings = 0
        self.runs = set[str]()

    def encode(self, events: Sequence[MetricEvent]) -> int:
        """Keep the ids."""
        assert isinstance(events, Batch)
        self.encodings += 1
        self.runs.add(self.context.run_id)
        assert events.ids.run_id == self.context.run_id
        for label, event_id in zip(ids(list(events)), events.ids, strict=True):
            self.seen.setdefault(label, set()).add(event_id)
        return 0

    async def send(self, payload: Payload[int]) -> Receipt:
        """Respond as the script says."""
        assert [*payload.events.ids] == [next(iter(self.seen[label])) for label in ids(list(payload.events))]
        return self.script.pop(0) if self.script else Receipt()


async def test_an_event_has_one_id_whatever_becomes_of_its_payload(autojump_clock: MockClock) -> None:
    """Retries, halves, rests of a payload and payloads of several batches are tried, and two sinks agree."""
    script = [
        Receipt.retried(error="503"),
        Receipt.split(),
        Receipt.retried(retry=[0, 3], rejected={1: "no"}, error="429"),
        Receipt.retried(error="503"),
    ]
    sinks = [IdSink(*script, max_events=40), IdSink(*script[1:], max_events=8)]
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
        assert all(len(found) == 1 for found in sink.seen.values())
        (run,) = sink.runs
        assert {each for found in sink.seen.values() for each in found} == {f"{run}:{serial}" for serial in range(95)}
    assert sinks[0].seen == sinks[1].seen
    assert sinks[0].runs == sinks[1].runs


async def test_runs_have_names_of_their_own(autojump_clock: MockClock) -> None:
    """Two collectors, open at once or one after the other, have different names."""
    sinks = [IdSink(), IdSink(), IdSink()]
    async with collector(sinks=sinks[:1]) as first, collector(sinks=sinks[1:2]) as second:
        first.record_counter("c", {"id": 1}, 1)
        second.record_counter("c", {"id": 1}, 1)
    async with collector(sinks=sinks[2:]) as third:
        third.record_counter("c", {"id": 1}, 1)
    runs = [run for sink in sinks for run in sink.runs]
    assert len({*runs}) == 3
    assert all(len(run) == 32 for run in runs)


@given(events=BATCHES, data=st.data())
def test_a_part_of_a_batch_keeps_its_ids(events: list[MetricEvent], data: st.DataObject) -> None:
    """Slices of slices are tried, of a batch of several ranges of serial numbers; by default serials count from 0."""
    assert [*Batch(events).ids] == [f":{at}" for at in range(len(events))]
    first, gap = data.draw(st.integers(0, 10**6)), data.draw(st.integers(0, 9))
    cut = data.draw(st.integers(0, len(events)))
    serials = [*range(first, first + cut), *range(first + cut + gap, first + gap + len(events))]
    given_ids = {serial: f"other:{serial + 7}" for serial in serials if data.draw(st.booleans())}
    batch = Batch(events, ids=EventIds("run", serials, given_ids))
    wanted = [given_ids.get(serial, f"run:{serial}") for serial in serials]
    assert [*batch.ids] == wanted
    part = data.draw(st.slices(len(events)))
    assert [*batch[part].ids] == wanted[part]
    assert [*batch[part].ids.serials] == serials[part]
    again = data.draw(st.slices(len(serials[part])))
    assert [*batch[part][again].ids] == wanted[part][again]
    places = data.draw(st.lists(st.integers(0, max(len(events) - 1, 0)), unique=True, max_size=len(events)).map(sorted))
    assert [*batch.ids.at(places)] == [wanted[at] for at in places]
    assert [*batch.ids.at(places).at(range(1, len(places)))] == [wanted[at] for at in places[1:]]
