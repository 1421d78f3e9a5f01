"""A user's own event classes: declared once, handled like the built-in ones; what cannot work fails with the class."""

import copy
import json
import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import attrs
import pytest
import trio.testing

from trio_batchmetrics import (
    BatchMetricsError,
    Counter,
    DeclarationError,
    Gauge,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics._events.as_json import json_line
from trio_batchmetrics._events.schema import Schema
from trio_batchmetrics.testing import RecordingSink


@metric_event
class LLMCall(MetricEvent):
    """The example of the documentation, with its base written out for type checkers."""

    model: str = label("gen_ai.request.model")
    tokens: int = measure(Counter, "gen_ai.client.tokens", unit="{token}")
    seconds: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")


@metric_event
class Bare:
    """As short as it can be written: the base comes by itself."""

    model: str = label("model")
    tokens: int = measure(Counter, "tokens")


@metric_event(counts="logins")
class Login(MetricEvent):
    """Counted, and measures something too."""

    user_kind: str = label()
    two_factor: bool = measure(Gauge, "login.two_factor", default=False)
    region: str = label("cloud.region", default="eu")


@metric_event(counts="refunds")
class Refund(MetricEvent):
    """Counted, and nothing else."""


class Outer:
    """A class that holds another."""

    @metric_event
    class Inner:
        """An event declared in a class."""

        size: int = measure(Counter, "inner.size")


@metric_event
class Rich:
    """A class with more in it than fields."""

    LIMIT: ClassVar[int] = 3

    kind: str = label("kind")
    size: float = measure(Histogram, "rich.size", unit="By", bounds=[1, 2.5], description="How big.")

    @property
    def is_big(self) -> bool:
        """Whether it is above the limit."""
        return self.size > self.LIMIT

    @classmethod
    def small(cls) -> "Rich":
        """Make a small one."""
        return cls("small", 1)

    @staticmethod
    def double(size: float) -> float:
        """Return twice as much."""
        return 2 * size

    def __str__(self) -> str:
        """Print in its own way, and use what the base has."""
        return f"rich: {super().__repr__()}"


@metric_event
class Extended(LLMCall):
    """An event class on top of another."""

    cached: bool = label("gen_ai.cached", default=False)


# -- what a declared class is


def test_the_documentations_example_is_an_event_class() -> None:
    """Its fields are positional or keyword, in the order of the declaration."""
    call = LLMCall("gpt-4", 321, seconds=0.25, timestamp=1)
    assert call == LLMCall(model="gpt-4", tokens=321, seconds=0.25, timestamp=1)
    assert repr(call) == "LLMCall(model='gpt-4', tokens=321, seconds=0.25, timestamp=1)"
    assert (call.model, call.tokens, call.seconds, call.timestamp) == ("gpt-4", 321, 0.25, 1)


@pytest.mark.parametrize(
    "kind", [LLMCall, Bare, Login, Refund, Outer.Inner, Rich, Extended], ids=lambda kind: kind.__name__
)
def test_a_declared_class_is_a_metric_event(kind: type) -> None:
    """With the base written or not, and keeps its name, module and docstring."""
    assert issubclass(kind, MetricEvent)
    assert kind.__module__ == __name__
    assert kind.__doc__
    assert kind.__qualname__.endswith(kind.__name__)


# Deviation reported: without the base a nested class loses its qualified name, and with it pickling.
def test_a_class_declared_in_another_keeps_its_qualified_name() -> None:
    """Pickle finds it by that."""
    assert Outer.Inner.__qualname__ == "Outer.Inner"
    event = Outer.Inner(3)
    assert pickle.loads(pickle.dumps(event)) == event


def test_own_events_take_the_time_when_they_are_made_and_keep_an_explicit_one() -> None:
    """As the built-in ones."""
    before = time.time_ns()
    refund = Refund()
    assert before <= refund.timestamp <= time.time_ns()
    assert Refund(timestamp=5).timestamp == 5


def test_a_duration_of_an_own_event_becomes_float_seconds() -> None:
    """Where the unit is `s`, and only there."""
    span: Any = timedelta(milliseconds=250)
    call = LLMCall("gpt-4", 3, span)
    assert call.seconds == 0.25
    assert type(LLMCall("gpt-4", 3, 2).seconds) is float
    assert type(call.tokens) is int
    assert Rich("a", span).size == span


@pytest.mark.parametrize(
    "event",
    [
        LLMCall("gpt-4", 1, 0.5),
        Bare("gpt-4", 1),
        Login("admin"),
        Refund(),
        Rich("a", 3.0),
        Extended("gpt-4", 1, 0.5, cached=True),
    ],
    ids=lambda event: type(event).__name__,
)
def test_own_events_compare_hash_copy_and_pickle(event: Any) -> None:
    """As the built-in ones."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(event, protocol))
        assert type(again) is type(event)
        assert again == event
    assert copy.deepcopy(event) == event
    assert hash(copy.copy(event)) == hash(event)
    assert attrs.evolve(event, timestamp=0) != event
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.timestamp = 0


def test_defaults_are_those_that_were_declared() -> None:
    """A field that has none must be given."""
    login = Login("admin")
    assert (login.two_factor, login.region) == (False, "eu")
    assert Login("admin", True, "us").region == "us"
    with pytest.raises(TypeError, match="user_kind"):
        Login()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_none_can_be_a_labels_default() -> None:
    """Not to be told from "no default" would be a trap."""

    @metric_event
    class Answer:
        error: str | None = label("error.type", default=None)
        size: int = measure(Counter, "answer.size", default=0)

    answer = Answer()
    assert (answer.error, answer.size) == (None, 0)


def test_whatever_else_stands_in_the_class_stays() -> None:
    """Properties, class and static methods, class variables, and `super()`."""
    rich = Rich("a", 5)
    assert rich.is_big
    assert type(Rich.small()) is Rich
    assert not Rich.small().is_big
    assert Rich.double(2) == 4
    assert Rich.LIMIT == 3
    made: Any = Rich
    assert str(made("a", 5, timestamp=1)) == "rich: Rich(timestamp=1)"


def test_a_class_on_top_of_another_has_its_fields_first() -> None:
    """And its instruments."""
    event = Extended("gpt-4", 3, 0.5, True, timestamp=1)
    assert repr(event) == "Extended(model='gpt-4', tokens=3, seconds=0.5, cached=True, timestamp=1)"
    assert isinstance(event, LLMCall)
    schema = Extended.__metric_schema__
    assert schema is not None
    assert schema.fields == ("model", "tokens", "seconds", "cached")
    assert [one.name for one in schema.labels] == ["gen_ai.request.model", "gen_ai.cached"]


def test_a_class_may_have_other_bases() -> None:
    """They come before the library's own."""

    class Loud:
        """Adds a method."""

        def shout(self) -> str:
            """Print in capitals."""
            return repr(self).upper()

    @metric_event
    class Alarm(Loud):
        """An event that is something else too."""

        kind: str = label("kind")

    alarm = Alarm("fire")
    assert isinstance(alarm, MetricEvent)
    assert alarm.shout().startswith("ALARM(KIND='FIRE', TIMESTAMP=")


def test_a_class_keeps_the_declaration_that_was_made() -> None:
    """Kind, name, unit, description and bounds of each measure; a label's name is the field's by default."""
    rich: Any = Rich
    schema: Schema | None = rich.__metric_schema__
    assert schema is not None
    (size,) = schema.measures
    assert (size.kind.value, size.name, size.unit) == ("histogram", "rich.size", "By")
    assert (size.description, size.bounds) == ("How big.", (1.0, 2.5))
    login = Login.__metric_schema__
    assert login is not None
    assert [(one.field, one.name) for one in login.labels] == [("user_kind", "user_kind"), ("region", "cloud.region")]
    assert [(one.field, one.kind.value, one.name) for one in login.measures] == [
        ("two_factor", "gauge", "login.two_factor"),
        (None, "counter", "logins"),
    ]


def test_two_measures_may_share_a_name_if_they_are_of_one_kind_and_unit() -> None:
    """Both go to the one instrument."""

    @metric_event
    class Transfer:
        sent: int = measure(Counter, "bytes", unit="By")
        received: int = measure(Counter, "bytes", unit="By")

    Transfer(1, 2)


@pytest.mark.parametrize("name", ["a", "Z9", "http.server.request.duration", "a_b-c/d.e", "a" * 255])
def test_an_instruments_name_may_be_what_opentelemetry_allows(name: str) -> None:
    """A letter, then letters, digits and four signs, 255 characters in all."""

    @metric_event(counts=name)
    class Fine:
        size: int = measure(Counter, f"x{name[1:]}")

    Fine(1)


# -- through a collector


async def test_own_events_are_delivered_like_the_built_in_ones(autojump_clock: trio.testing.MockClock) -> None:
    """As the same objects' equals, in order, counted by their class's name."""
    sink = RecordingSink()
    events = [
        LLMCall("gpt-4", 3, 0.5),
        Bare("gpt-4", 1),
        Login("admin", True),
        Refund(),
        Outer.Inner(2),
        Rich("a", 1.5),
        Extended("gpt-4", 3, 0.5, True),
    ]
    async with collector(sinks=[sink]) as metrics:
        for event in events:
            metrics.record(event)
    assert sink.events == events
    assert [type(event) for event in sink.events] == [type(event) for event in events]
    assert sink.batches[0].kinds() == {type(event).__name__: 1 for event in events}
    assert metrics.stats().processed_events == 7


@pytest.mark.parametrize(
    ("event", "labels", "fields"),
    [
        (LLMCall("gpt-4", 3, 0.5), {"gen_ai.request.model": "gpt-4"}, {"tokens": 3.0, "seconds": 0.5}),
        (Login("admin", True), {"user_kind": "admin", "cloud.region": "eu"}, {"two_factor": 1.0}),
        (Login("admin", False), {"user_kind": "admin", "cloud.region": "eu"}, {"two_factor": 0.0}),
        (Refund(), {}, {}),
        (
            Extended("gpt-4", 3, 0.5, True),
            {"gen_ai.request.model": "gpt-4", "gen_ai.cached": "true"},
            {"tokens": 3.0, "seconds": 0.5},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_own_events_have_the_same_json_form(
    event: MetricEvent, labels: dict[str, str], fields: dict[str, float]
) -> None:
    """Labels by declared name, measured fields by field name; a bool measured by a gauge is 1 or 0."""
    form = json.loads(json_line(event))
    assert form["kind"] == type(event).__name__
    assert (form["labels"], form["fields"]) == (labels, fields)
    assert "name" not in form


# -- what cannot work


def two_kinds() -> None:
    """Declare one instrument as two kinds."""

    @metric_event
    class Bad:
        good: int = measure(Counter, "size")
        bad: int = measure(Histogram, "size")


def two_units() -> None:
    """Declare one instrument in two units."""

    @metric_event
    class Bad:
        good: int = measure(Counter, "size", unit="By")
        bad: int = measure(Counter, "size", unit="s")


def two_kinds_but_for_case() -> None:
    """Declare two instruments whose names differ in case only: OpenTelemetry takes them for one."""

    @metric_event
    class Bad:
        good: int = measure(Counter, "size")
        bad: int = measure(Gauge, "SIZE")


def counted_and_measured() -> None:
    """Count events by the name of a gauge."""

    @metric_event(counts="size")
    class Bad:
        good: int = measure(Gauge, "size")


def label_and_measure() -> None:
    """Measure what is a label."""

    @metric_event
    class Bad:
        good: str = label("size")
        bad: int = measure(Counter, "size")


def label_and_count() -> None:
    """Count by the name of a label."""

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
    """Declare a field as nothing."""

    @metric_event
    class Bad:
        good: str = label("region")
        bad: int = 3


def neither_and_no_default() -> None:
    """Annotate a field and leave it at that."""

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
    """Give bounds to what has no buckets."""

    @metric_event
    class Bad:
        bad: int = measure(Counter, "size", bounds=[1.0])


def falling_bounds() -> None:
    """Give bounds that do not rise."""

    @metric_event
    class Bad:
        bad: int = measure(Histogram, "size", bounds=[2.0, 1.0])


def no_bounds() -> None:
    """Give no bounds at all."""

    @metric_event
    class Bad:
        bad: int = measure(Histogram, "size", bounds=[])


def wrong_kind() -> None:
    """Measure by an event that is no instrument."""

    @metric_event
    class Bad:
        bad: int = measure(HttpRequest, "size")


def kind_of_points() -> None:
    """Measure by what a bound histogram hands on."""

    @metric_event
    class Bad:
        bad: int = measure(HistogramPoint, "size")


def no_kind() -> None:
    """Measure by something that is no class of the library's."""
    not_a_kind: Any = int

    @metric_event
    class Bad:
        bad: int = measure(not_a_kind, "size")


def long_unit() -> None:
    """Give a unit that OpenTelemetry does not allow."""

    @metric_event
    class Bad:
        bad: int = measure(Counter, "size", unit="x" * 64)


def strange_unit() -> None:
    """Give a unit that is not ASCII."""

    @metric_event
    class Bad:
        bad: int = measure(Counter, "size", unit="µs")


def no_description() -> None:
    """Give a description that is no text."""
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
def test_a_declaration_that_cannot_work_fails_with_the_class_and_names_the_field(
    declare: Callable[[], None], field: str, words: str
) -> None:
    """Not later, when an event is recorded."""
    with pytest.raises(DeclarationError, match=rf"^Bad\.{field}\b.*{words}"):
        declare()


@pytest.mark.parametrize("name", ["", "1a", "_a", ".a", "a b", "a:b", "ä", "a\n", "a" * 256, None, 3])
def test_an_illegal_instrument_name_fails_with_the_class(name: Any) -> None:
    """The message names the field, the rule and the name; for `counts` as well."""
    with pytest.raises(DeclarationError, match=r"^Measured\.size: an instrument's name must be a letter, .* \(got "):

        @metric_event
        class Measured:
            size: int = measure(Counter, name)

    if name is not None:  # None: the events are not counted
        with pytest.raises(
            DeclarationError, match=r"^Counted\.counts: an instrument's name must be a letter, .* \(got "
        ):

            @metric_event(counts=name)
            class Counted:
                size: int = measure(Counter, "size")


def test_a_field_without_default_behind_one_with_a_default_fails_with_the_class() -> None:
    """As in attrs and dataclasses; the message names the field."""
    with pytest.raises(ValueError, match="late"):

        @metric_event
        class Bad:
            early: str = label("early", default="x")
            late: str = label("late")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


# Deviation reported: attrs then sees only the fields with a specifier, and `bad` is silently no field.
def test_a_field_that_is_neither_fails_even_beside_one_without_annotation() -> None:
    """Nothing in a declaration is left out silently."""
    with pytest.raises(DeclarationError, match="Bad"):

        @metric_event
        class Bad:
            good = label("region")  # pyright: ignore[reportGeneralTypeIssues]
            bad: int = 3


def test_a_declaration_error_is_a_type_error_a_value_error_and_one_of_the_library() -> None:
    """Any of them may be caught."""
    assert issubclass(DeclarationError, BatchMetricsError)
    assert issubclass(DeclarationError, TypeError)
    assert issubclass(DeclarationError, ValueError)


def test_an_event_that_names_its_instrument_declares_nothing_of_its_own() -> None:
    """Its labels and its value are in the event; no sink would look for others."""
    with pytest.raises(DeclarationError, match="names its instrument"):

        @metric_event
        class Labelled(Counter):
            """With a label beside the labels."""

            region: str = label("region", default="eu")

    with pytest.raises(DeclarationError, match="names its instrument"):

        @metric_event(counts="more")
        class Counted(Counter):
            """Counted as well."""
