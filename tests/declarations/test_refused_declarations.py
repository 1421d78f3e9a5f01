"""A declaration that can't work raises when the class is created, and the message names the field."""

from collections.abc import Callable
from typing import Any

import pytest

from trio_batchmetrics import (
    BatchMetricsError,
    Counter,
    DeclarationError,
    Gauge,
    Histogram,
    HistogramPoint,
    HttpRequest,
    label,
    measure,
    metric_event,
)


def two_kinds() -> None:
    """Declare one instrument with two kinds."""

    @metric_event
    class Bad:
        good: int = measure(Counter, "size")
        bad: int = measure(Histogram, "size")


def two_units() -> None:
    """Declare one instrument with two units."""

    @metric_event
    class Bad:
        good: int = measure(Counter, "size", unit="By")
        bad: int = measure(Counter, "size", unit="s")


def two_kinds_but_for_case() -> None:
    """Declare two instruments whose names differ only in case: to OpenTelemetry they are the same."""

    @metric_event
    class Bad:
        good: int = measure(Counter, "size")
        bad: int = measure(Gauge, "SIZE")


def counted_and_measured() -> None:
    """Count events under the name of a gauge."""

    @metric_event(counts="size")
    class Bad:
        good: int = measure(Gauge, "size")


def label_and_measure() -> None:
    """Measure a label."""

    @metric_event
    class Bad:
        good: str = label("size")
        bad: int = measure(Counter, "size")


def label_and_count() -> None:
    """Count under the name of a label."""

    @metric_event(counts="good")
    class Bad:
        good: str = label()


def two_labels() -> None:
    """Declare a label twice."""

    @metric_event
    class Bad:
        good: str = label("region")
        bad: str = label("region")


def neither() -> None:
    """Declare a field as neither a label nor a measure."""

    @metric_event
    class Bad:
        good: str = label("region")
        bad: int = 3


def neither_and_no_default() -> None:
    """Annotate a field without declaring it."""

    @metric_event
    class Bad:
        good: str = label("region")
        bad: int


def own_timestamp() -> None:
    """Declare the field that every event has."""

    @metric_event
    class Bad:
        timestamp: int = measure(Gauge, "time")


def nameless_label() -> None:
    """Declare a label without a name."""

    @metric_event
    class Bad:
        bad: str = label("")


def bounds_of_a_counter() -> None:
    """Give bounds to an instrument without buckets."""

    @metric_event
    class Bad:
        bad: int = measure(Counter, "size", bounds=[1.0])


def falling_bounds() -> None:
    """Give bounds that don't rise."""

    @metric_event
    class Bad:
        bad: int = measure(Histogram, "size", bounds=[2.0, 1.0])


def no_bounds() -> None:
    """Give empty bounds."""

    @metric_event
    class Bad:
        bad: int = measure(Histogram, "size", bounds=[])


def wrong_kind() -> None:
    """Use an event that isn't an instrument as the kind of a measure."""

    @metric_event
    class Bad:
        bad: int = measure(HttpRequest, "size")


def kind_of_points() -> None:
    """Use the point of a bound histogram as the kind of a measure."""

    @metric_event
    class Bad:
        bad: int = measure(HistogramPoint, "size")


def no_kind() -> None:
    """Use something that isn't a class of the library's as the kind of a measure."""
    not_a_kind: Any = int

    @metric_event
    class Bad:
        bad: int = measure(not_a_kind, "size")


def long_unit() -> None:
    """Give a unit that is longer than OpenTelemetry allows."""

    @metric_event
    class Bad:
        bad: int = measure(Counter, "size", unit="x" * 64)


def strange_unit() -> None:
    """Give a unit that isn't ASCII."""

    @metric_event
    class Bad:
        bad: int = measure(Counter, "size", unit="µs")


def no_description() -> None:
    """Give a description that isn't text."""
    not_text: Any = 3

    @metric_event
    class Bad:
        bad: int = measure(Counter, "size", description=not_text)


@pytest.mark.parametrize(
    ("declare", "field", "words"),
    [
        (two_kinds, "bad", "'size' is a counter"),
        (two_units, "bad", "'size' is a counter in 'By'"),
        (two_kinds_but_for_case, "bad", "'SIZE' is a counter"),
        (counted_and_measured, "counts", "'size' is a gauge"),
        (label_and_measure, "bad", "'size' is a label"),
        (label_and_count, "counts", "'good' is a label"),
        (two_labels, "bad", "the label 'region' already"),
        (neither, "bad", r"must be declared with label\(\) or measure\(\)"),
        (neither_and_no_default, "bad", ""),
        (own_timestamp, "timestamp", "every event has it"),
        (nameless_label, "bad", r"non-empty str \(got ''\)"),
        (bounds_of_a_counter, "bad", "only a Histogram has bounds"),
        (falling_bounds, "bad", r"strictly increasing, at least one \(got 1\.0\)"),
        (no_bounds, "bad", r"at least one \(got \(\)\)"),
        (wrong_kind, "bad", "takes Counter, Histogram or Gauge"),
        (kind_of_points, "bad", "takes Counter, Histogram or Gauge"),
        (no_kind, "bad", "takes Counter, Histogram or Gauge"),
        (long_unit, "bad", "at most 63 ASCII characters"),
        (strange_unit, "bad", "at most 63 ASCII characters"),
        (no_description, "bad", r"a description must be a str \(got 3\)"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "",
)
def test_a_declaration_that_cannot_work_raises_when_the_class_is_created_and_names_the_field(
    declare: Callable[[], None], field: str, words: str
) -> None:
    """The error doesn't wait until an event is recorded."""
    with pytest.raises(DeclarationError, match=rf"^Bad\.{field}\b.*{words}"):
        declare()


@pytest.mark.parametrize("name", ["", "1a", "_a", ".a", "a b", "a:b", "ä", "a\n", "a" * 256, None, 3])
def test_an_illegal_instrument_name_raises_when_the_class_is_created(name: Any) -> None:
    """The message names the field, the rule and the name; the same holds for `counts`."""
    with pytest.raises(DeclarationError, match=r"^Measured\.size: an instrument's name must be a letter, .* \(got "):

        @metric_event
        class Measured:
            size: int = measure(Counter, name)

    if name is not None:  # None: the events aren't counted
        with pytest.raises(
            DeclarationError, match=r"^Counted\.counts: an instrument's name must be a letter, .* \(got "
        ):

            @metric_event(counts=name)
            class Counted:
                size: int = measure(Counter, "size")


def test_a_field_without_a_default_after_one_with_a_default_raises_when_the_class_is_created() -> None:
    """As in attrs and dataclasses, the message names the field."""
    with pytest.raises(ValueError, match="late"):

        @metric_event
        class Bad:
            early: str = label("early", default="x")
            late: str = label("late")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


# Deviation reported: attrs then sees only the fields with a specifier, and `bad` silently isn't a field.
def test_a_field_that_is_neither_raises_even_alongside_one_without_an_annotation() -> None:
    """No part of a declaration is silently ignored."""
    with pytest.raises(DeclarationError, match="Bad"):

        @metric_event
        class Bad:
            good = label("region")  # pyright: ignore[reportGeneralTypeIssues]
            bad: int = 3


def test_a_declaration_error_is_a_type_error_a_value_error_and_an_error_of_the_library() -> None:
    """A caller may catch any of them."""
    assert issubclass(DeclarationError, BatchMetricsError)
    assert issubclass(DeclarationError, TypeError)
    assert issubclass(DeclarationError, ValueError)
