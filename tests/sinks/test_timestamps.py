"""Timestamps: no two lines of a series share one, and a line has the same timestamp each time."""

import random
from collections.abc import Sequence
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_batchmetrics.sinks._influxdb.timestamps import LATEST, WINDOW, Timestamps

Event = tuple[str, int]


def stamps_of(timestamps: Timestamps, events: Sequence[Event], serials: Sequence[int]) -> list[int]:
    """Return the timestamps of the events' lines."""
    own = [stamp for _, stamp in events]
    heads = [head for head, _ in events]
    return list(timestamps.assign(heads, own, serials, 0, later=timestamps.are_later(own)))


def encode(timestamps: Timestamps, events: Sequence[Event], numbers: Sequence[int]) -> dict[int, int]:
    """Return the timestamps of some of the events, by number."""
    return dict(zip(numbers, stamps_of(timestamps, [events[number] for number in numbers], numbers), strict=True))


EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 8) | st.integers(0, 10_000)), min_size=1, max_size=40
)


@given(EVENTS, st.randoms(use_true_random=False), st.booleans())
def test_timestamps_do_not_collide_and_each_line_keeps_its_own(
    events: list[Event], chance: random.Random, rising: bool
) -> None:
    """Events are encoded in any split, in any order, and any number of times."""
    if rising:
        events = sorted(events, key=lambda event: event[1])
    given: dict[int, int] = {}
    timestamps = Timestamps()
    order, start = list(range(len(events))), 0
    while start < len(order):
        stop = start + chance.randint(1, 10)
        given |= encode(timestamps, events, order[start:stop])
        start = stop
        again = sorted(chance.sample(list(given), chance.randint(1, len(given))))
        assert encode(timestamps, events, again) == {number: given[number] for number in again}
    assert len({(events[number][0], stamp) for number, stamp in given.items()}) == len(events)
    for number, stamp in given.items():
        assert 0 <= stamp - events[number][1] < len(events)
    shuffled = chance.sample(order, len(order))
    assert encode(timestamps, events, shuffled) == given


@given(EVENTS)
def test_only_colliding_timestamps_move(events: list[Event]) -> None:
    """The first event of a series at a timestamp keeps it, unless a moved event has taken it before."""
    timestamps = Timestamps()
    found = encode(timestamps, events, range(len(events)))
    taken: set[Event] = set()
    for number, (head, stamp) in enumerate(events):
        assert (found[number] == stamp) == ((head, stamp) not in taken)
        taken.add((head, found[number]))


def test_rising_timestamps_are_returned_unchanged() -> None:
    """The same list is returned: nothing was looked up."""
    timestamps = Timestamps()
    for start in (0, 500, 1000):
        own = list(range(start, start + 500))
        assert timestamps.are_later(own)
        assert timestamps.assign(["a"] * 500, own, range(500), 0, later=True) is own


@pytest.mark.parametrize("own", [[5, 5], [6, 5], [10, 11], [3, 12]])
def test_timestamps_that_do_not_rise_are_looked_up(own: list[int]) -> None:
    """They are equal, falling, or not later than earlier ones."""
    timestamps = Timestamps()
    assert timestamps.are_later([10])
    assert not timestamps.are_later(own)


def test_a_moved_event_keeps_its_timestamp_when_the_other_event_is_forgotten() -> None:
    """The event that it collided with has left the window."""
    timestamps = Timestamps(window=100)
    others = [("b", 5 + number) for number in range(1, 100)]
    assert stamps_of(timestamps, [("a", 5), *others], range(100)) == list(range(5, 105))
    assert stamps_of(timestamps, [("a", 5)], [100]) == [6]
    assert [len(chunk.prefixes) for chunk in vars(timestamps)["_chunks"]] == [1]
    assert stamps_of(timestamps, [("a", 5)], [100]) == [6]


def test_the_memory_of_timestamps_is_bounded() -> None:
    """Timestamps are rising, equal and mixed, and come one at a time and in chunks."""
    timestamps = Timestamps(window=1000)
    serial = 0
    for round_ in range(400):
        size = (1, 7, 50)[round_ % 3]
        events = [("abc"[at % 3], serial + at if round_ % 2 else 5) for at in range(size)]
        stamps_of(timestamps, events, range(serial, serial + size))
        serial += size
    held = vars(timestamps)
    assert sum(len(chunk.prefixes) for chunk in held["_chunks"]) <= 1000
    assert len(held["_chunks"]) <= 20
    for index in ("_owners", "_skips", "_moved"):
        assert len(held[index]) <= 1000


def test_the_window_has_the_documented_size() -> None:
    """The window reaches 50 000 lines back."""
    assert WINDOW == 50_000
    timestamps = Timestamps()
    for start in range(0, WINDOW, 500):
        own = range(start, start + 500)
        stamps_of(timestamps, [("a", at) for at in own], own)
    assert stamps_of(timestamps, [("a", 0)], [WINDOW]) == [WINDOW]


@pytest.mark.parametrize("size", [1, 3, 49, 50, 99])
@pytest.mark.parametrize("again", [False, True])
def test_the_window_counts_lines_in_small_payloads_too(size: int, again: bool) -> None:
    """Lines may come one at a time, with or without lookups. It may be off by one chunk."""
    timestamps = Timestamps(window=2000)
    serials = range(0, 2000 - 100 - size, size)
    for start in serials:
        own = range(start, start + size)
        assert stamps_of(timestamps, [("a", at) for at in own], own) == list(own)
        if again and start % 2:
            assert stamps_of(timestamps, [("a", at) for at in own], own) == list(own)
    held = vars(timestamps)
    assert len(held["_chunks"]) <= 40
    assert stamps_of(timestamps, [("a", 0)], [5000]) == [serials[-1] + size]
    assert stamps_of(timestamps, [("a", 1)], [1]) == [1]
    for start in range(10_000, 20_000, size):
        own = range(start, start + size)
        stamps_of(timestamps, [("a", at) for at in own], own)
    assert 1900 - size <= sum(len(chunk.prefixes) for chunk in held["_chunks"]) <= 2000
    assert len(held["_owners"]) <= 2000


def test_the_window_is_bounded_by_characters_too() -> None:
    """The bound counts the characters that were built for the lines."""
    timestamps = Timestamps()
    for start in range(0, 50_000, 100):
        own = range(start, start + 100)
        timestamps.assign(["x"] * 100, own, own, 0, later=timestamps.are_later(own), prefix_chars=100_000)
    assert len(vars(timestamps)["_chunks"]) == 200


def test_serial_numbers_that_start_over_belong_to_other_events() -> None:
    """The sink is used in a second collector."""
    timestamps = Timestamps()
    assert stamps_of(timestamps, [("a", 5), ("a", 5)], [0, 1]) == [5, 6]
    timestamps.begin_run()
    assert stamps_of(timestamps, [("a", 5), ("a", 5)], [0, 1]) == [7, 8]
    assert stamps_of(timestamps, [("a", 5), ("a", 5)], [0, 1]) == [7, 8]


def test_a_moved_event_is_not_overwritten_by_the_next_event() -> None:
    """The next event already has the timestamp to which it moved."""
    timestamps = Timestamps()
    assert stamps_of(timestamps, [("a", 5), ("a", 5)], [0, 1]) == [5, 6]
    assert stamps_of(timestamps, [("a", 6), ("a", 7)], [2, 3]) == [7, 8]


def test_lines_of_one_event_get_distinct_timestamps() -> None:
    """Several of its lines belong to one series."""
    timestamps = Timestamps()
    for _ in range(2):
        assert [timestamps.assign(["a"], [5], [7], line, later=False) for line in range(3)] == [[5], [6], [7]]


@pytest.mark.parametrize("own", [[5] * 20_000, [*range(10_000), *range(10_000)]], ids=["equal", "twice"])
def test_many_colliding_timestamps_are_resolved_quickly(own: list[int]) -> None:
    """Taken timestamps are skipped at once: this takes a fiftieth of a second, and a search would take a minute."""
    timestamps = Timestamps()
    start = process_time()
    found = [
        stamp
        for at in range(0, len(own), 500)
        for stamp in stamps_of(timestamps, [("a", stamp) for stamp in own[at : at + 500]], range(at, at + 500))
    ]
    assert len(set(found)) == len(own)
    assert max(found) - min(found) == len(own) - 1
    assert process_time() - start < 5


def test_an_event_far_in_the_future_does_not_disturb_other_events() -> None:
    """An event from the future comes first, then the present again."""
    timestamps = Timestamps()
    assert stamps_of(timestamps, [("a", 10**12), ("a", 5)], [0, 1]) == [10**12, 5]
    later = stamps_of(timestamps, [("a", at) for at in range(6, 506)], range(2, 502))
    assert all(after - before == 1 for before, after in pairwise(later))
    assert stamps_of(timestamps, [("a", LATEST), ("a", 10**12)], [502, 503]) == [LATEST, 10**12 + 1]
