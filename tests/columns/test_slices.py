"""A slice of a batch has the slices of its columns, and joined slices have joined columns."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.columns.drawn import DRAWN, Known, handed_over, known, made, of_columns
from tests.helpers import examples
from trio_batchmetrics import Batch, CacheMetric, Counter
from trio_batchmetrics._delivery.slices import SliceQueue
from trio_batchmetrics._events.batch import join
from trio_batchmetrics._ledger.pending_batch import PendingBatch


def batches(chunks: list[list[Any]]) -> tuple[list[Batch], list[list[Known]]]:
    """Return several batches of one run, one for each chunk with a valid event, and what their events have."""
    found: list[Batch] = []
    everything: list[list[Known]] = []
    first = 0
    for drawn in chunks:
        rows = made(drawn)
        batch = handed_over(rows, first)
        if batch:
            found.append(batch)
            everything.append(known(rows, first))
            first += len(batch)
    return found, everything


def assert_same(batch: Batch, wanted: list[Known], *, timestamps_first: bool = False) -> None:
    """Assert that a batch has these events, with their columns, ids and timestamps."""
    if timestamps_first:
        assert [*batch.timestamps] == [each.timestamp for each in wanted]
    assert of_columns(batch) == wanted
    assert [*batch.ids] == [each.id for each in wanted]
    assert [*batch.timestamps] == [each.timestamp for each in wanted]
    assert batch.columns() is batch.columns()


CHUNKS = st.lists(DRAWN, min_size=1, max_size=4)


@given(drawn=DRAWN, data=st.data())
@settings(max_examples=examples(200))
def test_a_slice_of_a_batch_has_slices_of_its_columns(drawn: list[Any], data: st.DataObject) -> None:
    """Slices of slices are taken, before and after the columns of the slice between were read."""
    rows = made(drawn)
    part, wanted = handed_over(rows), known(rows)
    for _ in range(3):
        start = data.draw(st.integers(-2, len(wanted)))
        stop = data.draw(st.integers(-2, len(wanted) + 1))
        part, wanted = part[start:stop], wanted[start:stop]
        if data.draw(st.booleans()):
            assert_same(part, wanted, timestamps_first=data.draw(st.booleans()))
    assert_same(part, wanted)


@given(chunks=CHUNKS, data=st.data())
@settings(max_examples=examples(300))
def test_joined_slices_have_the_joined_columns(chunks: list[list[Any]], data: st.DataObject) -> None:
    """Slices of several batches are joined in any order, joined again, and cut again."""
    found, everything = batches(chunks)
    pool = [*zip(found, everything, strict=True)]
    for _ in range(3):
        if not pool:
            return
        parts: list[tuple[Batch, int, int]] = []
        wanted: list[Known] = []
        for _ in range(data.draw(st.integers(1, 4))):
            batch, each = data.draw(st.sampled_from(pool))
            start = data.draw(st.integers(0, len(each) - 1))
            stop = data.draw(st.integers(start + 1, len(each)))
            parts.append((batch, start, stop))
            wanted += each[start:stop]
        joined = join(parts)
        if data.draw(st.booleans()):
            assert_same(joined, wanted, timestamps_first=data.draw(st.booleans()))
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(wanted))] * 2)))
        assert_same(joined[start:stop], wanted[start:stop], timestamps_first=data.draw(st.booleans()))
        assert_same(joined, wanted)
        pool.append((joined, wanted))


@given(chunks=CHUNKS, data=st.data())
@settings(max_examples=examples(200))
def test_the_queue_of_a_sink_keeps_columns_ids_and_timestamps(chunks: list[list[Any]], data: st.DataObject) -> None:
    """Events are popped, pushed back, given up and divided, as the delivery engine does."""
    found, everything = batches(chunks)
    queue = SliceQueue()
    for number, batch in enumerate(found):
        pending = PendingBatch([], number + 1)
        pending.events = batch
        queue.append(pending)
    wanted = [each for some in everything for each in some]
    while wanted:
        count = data.draw(st.integers(1, len(wanted)))
        popped = queue.pop(count)
        assert_same(popped.events(), wanted[:count])
        match data.draw(st.sampled_from(["settle", "push back", "divide"])):
            case "push back":
                queue.push_front(popped)
                assert_same(queue.events(), wanted)
                assert_same(queue.pop(count).events(), wanted[:count])
            case "divide":
                marks = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
                for mark, part in enumerate(popped.partition(marks, 3)):
                    assert_same(part.events(), [each for each, its in zip(wanted, marks, strict=False) if its == mark])
            case _:
                pass
        wanted = wanted[count:]


def test_slices_share_the_columns_of_the_whole() -> None:
    """The whole is itself, and a slice of a slice is taken from columns that are read already."""
    rows: list[Any] = [(CacheMetric, at, "redis", "hit") if at % 3 else (Counter, at, "c", {}, at) for at in range(9)]
    whole = handed_over(rows)
    assert join([(whole, 0, 9)]) is whole
    caches = next(each for each in whole.columns() if each.schema.event_class is CacheMetric)
    assert caches.between(0, 9) is caches
    assert caches.between(3, 4) is None
    assert caches.between(5, 5) is None
    found = caches.between(4, 8)
    assert found is not None
    assert ([*found.positions], [*found.timestamps]) == ([0, 1, 3], [4, 5, 7])
    for start in range(10):
        for stop in range(start, 10):
            cut = caches.between(start, stop)
            kept = [at for at in range(start, stop) if at % 3]
            assert ([] if cut is None else [*cut.timestamps]) == kept
            assert ([] if cut is None else [*cut.positions]) == [at - start for at in kept]
