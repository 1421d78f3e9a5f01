"""What stands for a class in a row."""

from __future__ import annotations

import pytest

from tests.columns.drawn import ORIGIN, handed_over, of_columns
from tests.helpers import interrupted_at
from trio_batchmetrics import CacheMetric, HealthCheck, MetricEvent, label, metric_event
from trio_batchmetrics._events.rows import ClassNumbers, Row


@metric_event(counts="jobs")
class Job(MetricEvent):
    """A class that has no number yet."""

    queue: str = label()


def test_a_number_has_its_class_as_soon_as_anybody_can_know_the_number() -> None:
    """At every point of the first call, another one may come; a row with its number may be read at once."""
    point, places = 0, 1
    while point < places:
        classes = ClassNumbers({0: CacheMetric})
        found: list[type[MetricEvent]] = []
        with interrupted_at(point, lambda: found.append(classes[classes.number_of(Job)])) as passed:  # noqa: B023 - called in this round
            number = classes.number_of(Job)
        assert classes[number] is Job
        assert all(each is Job for each in found)
        point, places = point + 1, passed[0]
    assert point > 1, "the scenario did not run the library's code"


@pytest.mark.parametrize("event_class", [CacheMetric, Job])
def test_a_class_keeps_its_number(event_class: type[MetricEvent]) -> None:
    """The number of a known class is the one that it was given."""
    classes = ClassNumbers({0: CacheMetric})
    assert classes.number_of(event_class) == classes.number_of(event_class)
    assert classes.number_of(CacheMetric) == 0


def test_rows_with_a_class_and_rows_with_its_number_are_of_one_class() -> None:
    """However they are mixed, with another class between them."""
    number = ORIGIN.classes.number_of(CacheMetric)
    rows: list[Row] = [
        (number, 1, "redis", "hit"),
        (HealthCheck, 2, "db", True, 0.5),
        (CacheMetric, 3, "redis", "miss"),
    ]
    batch = handed_over(rows)
    assert [event.timestamp for event in batch] == [1, 2, 3]
    found = [(each.kind, each.timestamp) for each in of_columns(batch)]
    assert found == [(CacheMetric, 1), (HealthCheck, 2), (CacheMetric, 3)]
