"""Label sets whose texts are equal are one series, and an event's own label replaces a static one."""

from __future__ import annotations

from tests.aggregation.streams import C, Number, value_of
from tests.tally import Job, points
from trio_batchmetrics import Counter
from trio_batchmetrics.abc import SeriesStore, SinkContext


def test_the_last_value_wins_among_label_names_with_the_same_text() -> None:
    """The rule is that of ``labels_of``, where a value of None is the same as no label."""
    store = SeriesStore()
    store.merge([Counter("c", {1: "a", "1": None}, 1)])  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    assert [*points(store)[C]] == [(("1", "a"),)]


def test_static_labels_are_added_and_an_events_own_wins() -> None:
    """A label of the event's own whose value is None doesn't replace a static one."""
    store = SeriesStore(SinkContext(static_labels={"queue": "static", "region": "eu"}))
    store.merge([Counter("c", {}, 1), Counter("c", {"queue": "q"}, 2), Counter("c", {"region": None}, 4)])
    store.merge([Job("q", 1, 1, 1, 1), Job(None, 1, 2, 1, 1)])
    assert value_of(store, C, queue="static", region="eu") == 5
    assert value_of(store, C, queue="q", region="eu") == 2
    retries = points(store)["job.retries", "counter", ""]
    assert {dict(labels)["queue"]: point.value for labels, point in retries.items()} == {"q": 1, "static": 2}
    assert all(dict(labels)["region"] == "eu" for labels in retries)


def test_the_order_of_labels_does_not_create_another_series() -> None:
    """Neither the labels' order, nor a value of None among them, nor the type of a value creates a series."""
    store = SeriesStore()
    store.merge(
        [
            Counter("c", {"a": 1, "b": "2"}, 1),
            Counter("c", {"b": 2, "a": "1"}, 10),
            Counter("c", {"b": 2, "none": None, "a": Number.ONE}, 100),
        ]
    )
    assert {labels: point.value for labels, point in points(store)[C].items()} == {(("a", "1"), ("b", "2")): 111}
