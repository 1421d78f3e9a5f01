"""Watermarks cut batch numbers into sections, and join them again without losing a count."""

from __future__ import annotations

import math

import pytest

from trio_batchmetrics import FlushReport
from trio_batchmetrics._ledger.counters import DROPPED, FAILED, PROCESSED, SPOOLED, SinkCounters
from trio_batchmetrics._ledger.watermarks import Watermarks


@pytest.mark.parametrize("outcome", [PROCESSED, SPOOLED, FAILED, DROPPED])
def test_a_flush_counts_each_outcome_that_settled_before_and_after_another_flush_gave_up(outcome: int) -> None:
    """Its section is joined to the next one, including all outcomes settled in it."""
    marks = Watermarks(())
    given_up = marks.add_waiter(lambda: None, 1, 2)
    marks.settle(1, outcome, 1)
    done: list[bool] = []
    waiter = marks.add_waiter(lambda: done.append(True), 2, 4)
    marks.remove_waiter(given_up)
    marks.settle(2, outcome, 2)
    assert not done
    marks.settle(1, outcome, 1)
    names = ("processed", "spooled", "failed", "dropped")
    assert done
    assert marks.report(waiter) == FlushReport(**{names[outcome]: 3})
    assert len(marks) == 0


@pytest.mark.parametrize("outcome", [PROCESSED, SPOOLED, FAILED])
def test_events_that_a_sink_owes_are_final_with_the_push_that_contains_them(outcome: int) -> None:
    """Neither the push of an earlier snapshot nor the push of only one of two sinks makes them final."""
    one, two = SinkCounters("one", series=True), SinkCounters("two", series=True)
    marks = Watermarks((one, two))
    one.merged_through = two.merged_through = 1
    marks.section_of(1).owe(frozenset({one, two}), outcome, 2)
    marks.begin_push(one)
    one.merged_through = two.merged_through = 2
    marks.section_of(2).owe(frozenset({one, two}), outcome, 3)
    assert marks.pushed(one) == [0, 0, 0]
    marks.begin_push(two)
    first = [0, 0, 0]
    first[outcome] = 2
    assert marks.pushed(two) == first, "one has pushed the first batch, and two has pushed both"
    marks.begin_push(one)
    last = [0, 0, 0]
    last[outcome] = 3
    assert marks.pushed(one) == last
    assert len(marks) == 0


def test_a_section_ends_with_its_last_batch() -> None:
    """A batch is in the first section whose watermark isn't below its number."""
    marks = Watermarks(())
    for through in (3, 7):
        marks.add_waiter(lambda: None, through, 100)
    assert [marks.section_of(number).through for number in (1, 3, 4, 7, 8)] == [3, 3, 7, 7, math.inf]
