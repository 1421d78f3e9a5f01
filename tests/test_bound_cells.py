"""Bound instruments with a cell for each thread, as they are where there is no global interpreter lock.

With the lock they do the same, so the mode is forced here; threads take turns as often as they can.
"""

from __future__ import annotations

import gc
import math
import sys
import threading
from collections import Counter as Tallied
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bad_values import NOT_COUNTS, NOT_VALUES, shown
from tests.helpers import interrupted_at
from tests.threads import in_threads, restless
from trio_batchmetrics import BatchMetricsConfig
from trio_batchmetrics._concurrency.thread_cells import gil_enabled
from trio_batchmetrics._recording.bound import Bound
from trio_batchmetrics._recording.instruments import Instruments

NEEDS_GIL = pytest.mark.skipif(not gil_enabled(), reason="instruments of this kind are only used with a GIL")


class Collector:
    """The part of a collector that instruments need, without Trio; it counts refused values."""

    def __init__(self) -> None:
        """Create an open collector that hasn't refused anything."""
        self.state = "open"
        self.refused: Tallied[str] = Tallied()

    def refuse(self, reason: str, fault: object = None) -> None:
        """Count the refusal."""
        self.refused[reason] += 1

    def wake(self, call: Any) -> None:
        """Do nothing, because no task sleeps."""

    def report(self) -> None:
        """Do nothing, because nothing is logged."""

    def now(self) -> float:
        """Return a constant time."""
        return 0.0


def instruments(*, by_thread: bool = True, max_series: int = 2000) -> tuple[Instruments, Collector]:
    """Create the instruments of a collector."""
    host: Any = Collector()
    return Instruments(BatchMetricsConfig(max_series=max_series), host, by_thread=by_thread), host


def collected(made: Instruments) -> dict[str, Any]:
    """Return the result of a collection: a counter's or gauge's value by name, a histogram's counts and sum."""
    rows: list[Any] = []
    made.collect(rows)
    return {row[2]: row[4] if len(row) == 5 else (row[7], row[5]) for row in rows}


def test_there_is_a_global_interpreter_lock_unless_python_reports_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The check runs when instruments are created: a free-threaded Python may have the lock, or get it."""
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    assert gil_enabled()
    for enabled in (True, False):
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda enabled=enabled: enabled, raising=False)
        assert gil_enabled() is enabled
        host: Any = Collector()
        made = Instruments(BatchMetricsConfig(), host)
        assert (type(made.counter("c", None, "", "")).__name__ == "BoundCounter") is enabled


@restless()
@pytest.mark.parametrize("by_thread", [True, pytest.param(False, marks=NEEDS_GIL)])
def test_fifty_threads_create_and_update_at_once_and_the_sums_are_exact(by_thread: bool) -> None:
    """Collections go on meanwhile; each thread creates and updates its own instruments and shared ones."""
    made, host = instruments(by_thread=by_thread)
    totals: dict[str, Any] = {}
    none: Any = ((0, 0, 0), 0)
    done = threading.Event()

    def update(number: int) -> None:
        for turn in range(100):
            made.counter("shared", None, "", "").add()
            made.counter("shared", None, "", "").add(0.5)
            made.counter(f"own.{number}", None, "", "").add(2)
            made.gauge("gauge", None, "", "").inc(3)
            made.gauge("gauge", None, "", "").dec()
            made.histogram("histogram", None, "", "", [1, 2]).observe(turn % 3 + 0.5)

    def collect_once() -> None:
        for name, value in collected(made).items():
            if name == "histogram":
                counts, total = totals.get(name, none)
                totals[name] = (tuple(map(sum, zip(counts, value[0], strict=True))), total + value[1])
            elif name == "gauge":
                totals[name] = value
            else:
                totals[name] = totals.get(name, 0) + value

    def collect() -> None:
        while not done.is_set():
            collect_once()

    collecting = threading.Thread(target=collect)
    collecting.start()
    in_threads([lambda number=number: update(number) for number in range(50)])  # type: ignore[misc]
    done.set()
    collecting.join(30)
    collect_once()
    assert totals.pop("shared") == 50 * 100 * 1.5
    assert totals.pop("gauge") == 50 * 100 * 2
    # Of each hundred turns, 34 observe 0.5, 33 observe 1.5, and 33 observe 2.5.
    assert totals.pop("histogram") == ((50 * 34, 50 * 33, 50 * 33), 50 * (34 * 0.5 + 33 * 1.5 + 33 * 2.5))
    assert totals == {f"own.{number}": 200 for number in range(50)}
    assert host.refused == {}


@restless()
@pytest.mark.parametrize("by_thread", [True, False])
def test_fifty_threads_that_create_label_sets_at_once_never_exceed_max_series(by_thread: bool) -> None:
    """They fill it exactly: threads that create the same label set at once take one place, and nothing is lost."""
    made, host = instruments(by_thread=by_thread, max_series=30)

    def update(number: int) -> None:
        for turn in range(25):
            made.counter("c", {"n": (number // 2 * 7 + turn) % 40}, "", "").add()

    in_threads([lambda number=number: update(number) for number in range(50)])  # type: ignore[misc]
    rows: list[Any] = []
    made.collect(rows)
    own = [row for row in rows if "n" in row[3]]
    (shared,) = (row for row in rows if "n" not in row[3])
    assert len(own) == 30
    assert shared[3] == {"otel.metric.overflow": "true"}
    assert sum(row[4] for row in rows) == 50 * 25
    assert made.overflowed == {"c": shared[4]}
    assert host.refused == {}


def _cells() -> int:
    gc.collect()
    return sum(type(one).__name__ in ("_Sums", "_Buckets") for one in gc.get_objects())


def test_threads_that_come_and_go_leave_nothing_behind() -> None:
    """A new thread reuses the cell of one that has ended, and that thread's additions stay."""
    made, _ = instruments()
    counter, histogram = made.counter("c", None, "", ""), made.histogram("h", None, "", "", [1])
    gauge = made.gauge("g", None, "", "")
    before = _cells()

    def update() -> None:
        counter.add(2)
        gauge.inc()
        histogram.observe(0.5)

    for _ in range(100):
        in_threads([update, update, update])
    assert _cells() - before <= 3 * 6  # a thread may begin a little before the storage of the last one goes
    assert collected(made) == {"c": 600, "g": 300, "h": ((300, 0), 150)}


def test_a_gauge_is_the_value_last_set_plus_the_changes_since_in_any_thread() -> None:
    """Earlier changes don't count, whichever thread made them; a thread that has ended changes nothing."""
    made, _ = instruments()
    gauge = made.gauge("g", None, "", "")
    in_threads([lambda: gauge.inc(5), lambda: gauge.dec(2)])
    assert collected(made) == {"g": 3}
    in_threads([lambda: gauge.set(10)])
    in_threads([lambda: gauge.inc(0.5)])
    gauge.inc(2)
    assert collected(made) == {"g": 12.5}
    gauge.set(7)
    assert collected(made) == {"g": 7}
    in_threads([lambda: gauge.set(8)])
    assert collected(made) == {"g": 8}
    assert collected(made) == {}


def test_a_gauge_that_was_set_has_exactly_that_value() -> None:
    """No rounding error of earlier changes stays, whatever they were."""
    made, _ = instruments()
    gauge = made.gauge("g", None, "", "")
    gauge.inc(1e17)
    gauge.inc(0.3)
    for value in (0.1, 2**60 + 1, -0.7):
        gauge.set(value)
        assert collected(made) == {"g": value}


@restless()
def test_a_gauge_set_and_changed_by_fifty_threads_ends_as_one_of_them_left_it() -> None:
    """Each thread sets its own number, changes it and changes it back: a number that was set remains."""
    made, _ = instruments()
    gauge = made.gauge("g", None, "", "")

    def update(number: int) -> None:
        for _ in range(50):
            gauge.set(number * 1000)
            gauge.inc(3)
            gauge.dec(3)

    in_threads([lambda number=number: update(number) for number in range(50)])  # type: ignore[misc]
    value = collected(made)["g"]
    # A change may lose one half to a set() of another thread in between: at most 3 for each thread.
    assert abs(value - round(value, -3)) <= 150
    in_threads([lambda: gauge.set(1)])
    assert collected(made) == {"g": 1}


NUMBERS = st.integers(0, 10**12) | st.integers(0, 1000).map(lambda n: n / 4)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "set", "inc", "dec", "observe", "collect"]),
        NUMBERS | st.sampled_from([-1, math.nan, True]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(STEPS)
def test_both_modes_hand_on_the_same_points(steps: list[tuple[str, Any]]) -> None:
    """Counters, gauges and histograms are updated and collected in any order, in one thread."""
    taken: list[tuple[list[dict[str, Any]], Any]] = []
    for by_thread in (False, True):
        made, host = instruments(by_thread=by_thread)
        counter, gauge = made.counter("c", None, "s", ""), made.gauge("g", None, "", "")
        histogram = made.histogram("h", None, "", "", [1, 100])
        calls: dict[str, Any] = {
            "add": counter.add,
            "set": gauge.set,
            "inc": gauge.inc,
            "dec": gauge.dec,
            "observe": histogram.observe,
        }
        points: list[dict[str, Any]] = []
        for name, value in [*steps, ("collect", 0)]:
            if name == "collect":
                points.append(collected(made))
            else:
                calls[name](value)
        taken.append((points, host.refused))
    assert taken[0] == taken[1]  # quarters are exact


@pytest.mark.parametrize("value", NOT_VALUES, ids=shown)
def test_a_bad_value_counts_as_invalid_and_leaves_the_cells_alone(value: Any) -> None:
    """Cells behave as with a global interpreter lock."""
    made, host = instruments()
    gauge, histogram = made.gauge("g", None, "", ""), made.histogram("h", None, "", "", None)
    for update in (gauge.set, gauge.inc, gauge.dec, histogram.observe):
        update(value)
    assert (collected(made), host.refused) == ({}, {"invalid": 4})


@pytest.mark.parametrize("value", NOT_COUNTS, ids=shown)
def test_a_bad_count_counts_as_invalid_and_leaves_the_cells_alone(value: Any) -> None:
    """Cells behave as with a global interpreter lock."""
    made, host = instruments()
    made.counter("c", None, "", "").add(value)
    assert (collected(made), host.refused) == ({}, {"invalid": 1})


def test_after_the_end_an_update_counts_as_closed() -> None:
    """Every kind of update is tried; earlier ones are still collected."""
    made, host = instruments()
    counter, gauge = made.counter("c", None, "", ""), made.gauge("g", None, "", "")
    histogram = made.histogram("h", None, "", "", [1])
    counter.add()
    made.close()
    for update in (counter.add, gauge.set, gauge.inc, gauge.dec, histogram.observe):
        update(1)
        update(0.5)
    made.counter("late", None, "", "").add()
    assert (collected(made), host.refused) == ({"c": 1}, {"closed": 11})


@pytest.mark.parametrize("update", ["add", "inc", "set", "observe"])
def test_an_update_in_the_middle_of_an_update_counts(update: str) -> None:
    """At each place where a signal handler may run in the same thread, both updates count."""
    expected: dict[str, list[Any]] = {"add": [2.75], "inc": [2.75], "set": [0.25, 2.25], "observe": [((2, 1), 2.75)]}
    point, passed = 0, [1]
    while passed[0] > point:
        made, host = instruments()
        one: Any
        if update == "add":
            one = made.counter("n", None, "", "")
        elif update == "observe":
            one = made.histogram("n", None, "", "", [1])
        else:
            one = made.gauge("n", None, "", "")
        again = getattr(one, "inc" if update == "set" else update)
        getattr(one, update)(0.5)
        with interrupted_at(point, lambda again=again: again(2)) as passed:  # type: ignore[misc]
            getattr(one, update)(0.25)
        if passed[0] > point:
            assert collected(made)["n"] in expected[update]
        assert host.refused == {}
        point += 1
    assert point > 3


def test_an_instrument_looks_the_same_in_both_modes() -> None:
    """Its class is a subclass, and it prints the same."""
    shown_by_mode: list[list[str]] = []
    for by_thread in (True, False):
        made, _ = instruments(by_thread=by_thread)
        all_kinds: list[Bound] = [
            made.counter("c", {"a": 1}, "", ""),
            made.gauge("g", None, "", ""),
            made.histogram("h", None, "", "", None),
        ]
        shown_by_mode.append([repr(one) for one in all_kinds])
    assert (
        shown_by_mode[0]
        == shown_by_mode[1]
        == ["<BoundCounter 'c' {'a': 1}>", "<BoundGauge 'g' {}>", "<BoundHistogram 'h' {}>"]
    )


@pytest.mark.parametrize("by_thread", [True, False])
def test_a_stack_that_is_too_deep_for_a_collection_costs_no_updates(by_thread: bool) -> None:
    """At any depth it succeeds or raises, and a later collection takes whatever it has missed."""
    made, host = instruments(by_thread=by_thread)
    counter, gauge = made.counter("c", None, "", ""), made.gauge("g", None, "", "")
    histogram = made.histogram("h", None, "", "", [1])
    rows: list[Any] = []

    def deep(frames: int) -> None:
        if frames:
            deep(frames - 1)
        else:
            made.collect(rows)

    failed, limit = 0, sys.getrecursionlimit()
    for frames in range(60):
        counter.add(2)
        gauge.set(frames)
        histogram.observe(0.5)
        sys.setrecursionlimit(_depth() + 50)
        try:
            deep(frames)
        except RecursionError:
            failed += 1
        finally:
            sys.setrecursionlimit(limit)
    made.collect(rows)
    assert 0 < failed < 60
    assert sum(row[4] for row in rows if row[2] == "c") == 120
    assert [row[4] for row in rows if row[2] == "g"][-1] == 59
    assert sum(row[4] for row in rows if row[2] == "h") == 60
    assert sum(row[5] for row in rows if row[2] == "h") == 30
    assert host.refused == {}


def _depth() -> int:
    frame: FrameType | None = sys._getframe()
    depth = 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


@pytest.mark.parametrize("by_thread", [True, False])
def test_an_exception_while_an_instrument_is_collected_costs_no_updates(by_thread: bool) -> None:
    """At each place where a signal handler may raise, later collections take all updates, and none twice."""

    def interrupt() -> None:
        code = sys._getframe(2).f_code
        if code.co_filename.endswith(("bound.py", "bound_cells.py")) and code.co_name != "__del__":
            raise TimeoutError("from a signal handler")

    point, raised, more = 0, 0, True
    while more:
        made, _ = instruments(by_thread=by_thread)
        made.counter("c", None, "", "").add(2)
        made.gauge("g", None, "", "").set(3)
        histogram = made.histogram("h", None, "", "", [1])
        histogram.observe(0.5)
        rows: list[Any] = []
        with interrupted_at(point, interrupt) as passed:
            try:
                made.collect(rows)
            except TimeoutError:
                raised += 1
        histogram.observe(1.5)
        for _ in range(2):
            made.collect(rows)
        assert [row[4] for row in rows if row[2] == "c"] == [2]
        assert [row[4] for row in rows if row[2] == "g"] == [3]
        points = [row for row in rows if row[2] == "h"]
        assert [sum(column) for column in zip(*(row[7] for row in points), strict=True)] == [1, 1]
        assert sum(row[5] for row in points) == 2
        more = passed[0] > point
        point += 1
    assert raised > 5


def test_label_sets_created_while_another_is_created_never_exceed_max_series() -> None:
    """At each place where a signal handler may run, as many as allowed keep their labels, and the rest share one."""
    point, passed = 0, [1]
    while passed[0] > point:
        made, host = instruments(by_thread=False, max_series=3)

        def interrupt(made: Instruments = made) -> None:
            for number in range(3):
                made.counter("c", {"n": number}, "", "").add()

        with interrupted_at(point, interrupt) as passed:
            made.counter("c", {"n": "outer"}, "", "").add()
        for number in range(3):
            made.counter("c", {"n": number}, "", "").add()
        rows: list[Any] = []
        made.collect(rows)
        own = [row for row in rows if "n" in row[3]]
        assert len(own) == 3
        assert sum(row[4] for row in rows) == (7 if passed[0] > point else 4)
        assert host.refused == {}
        point += 1
    assert point > 20
