"""A declared class is an event class like the built-in ones."""

import copy
import json
import pickle
import time
from datetime import timedelta
from typing import Any, ClassVar

import attrs
import pytest
import trio.testing

from trio_batchmetrics import (
    Counter,
    DeclarationError,
    Gauge,
    Histogram,
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
    """The documentation's example, with its base written out for type checkers."""

    model: str = label("gen_ai.request.model")
    tokens: int = measure(Counter, "gen_ai.client.tokens", unit="{token}")
    seconds: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")


@metric_event
class Bare:
    """The shortest possible declaration: the decorator adds the base."""

    model: str = label("model")
    tokens: int = measure(Counter, "tokens")


@metric_event(counts="logins")
class Login(MetricEvent):
    """An event that is counted and has a measure as well."""

    user_kind: str = label()
    two_factor: bool = measure(Gauge, "login.two_factor", default=False)
    region: str = label("cloud.region", default="eu")


@metric_event(counts="refunds")
class Refund(MetricEvent):
    """An event that is only counted."""


class Outer:
    """A class that holds another."""

    @metric_event
    class Inner:
        """An event class declared inside another class."""

        size: int = measure(Counter, "inner.size")


@metric_event
class Rich:
    """A class with more members than its fields."""

    LIMIT: ClassVar[int] = 3

    kind: str = label("kind")
    size: float = measure(Histogram, "rich.size", unit="By", bounds=[1, 2.5], description="How big.")

    @property
    def is_big(self) -> bool:
        """Whether the amount is above the limit."""
        return self.size > self.LIMIT

    @classmethod
    def small(cls) -> "Rich":
        """Create a small one."""
        return cls("small", 1)

    @staticmethod
    def double(size: float) -> float:
        """Return the doubled value."""
        return 2 * size

    def __str__(self) -> str:
        """Print in its own way, and use the base's method."""
        return f"rich: {super().__repr__()}"


@metric_event
class Extended(LLMCall):
    """A subclass of an event class."""

    cached: bool = label("gen_ai.cached", default=False)


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
    """A declared class has the base, whether written or not, and keeps its name, module and docstring."""
    assert issubclass(kind, MetricEvent)
    assert kind.__module__ == __name__
    assert kind.__doc__
    assert kind.__qualname__.endswith(kind.__name__)


# Deviation reported: without the base a nested class loses its qualified name, and with it pickling.
def test_a_class_declared_in_another_keeps_its_qualified_name() -> None:
    """Pickle finds the class by that name."""
    assert Outer.Inner.__qualname__ == "Outer.Inner"
    event = Outer.Inner(3)
    assert pickle.loads(pickle.dumps(event)) == event


def test_declared_events_take_the_time_when_they_are_created_and_keep_an_explicit_one() -> None:
    """Declared events treat their timestamp like the built-in ones."""
    before = time.time_ns()
    refund = Refund()
    assert before <= refund.timestamp <= time.time_ns()
    assert Refund(timestamp=5).timestamp == 5


def test_a_declared_events_duration_becomes_float_seconds() -> None:
    """A duration is converted where the unit is `s`, and only there."""
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
def test_declared_events_compare_hash_copy_and_pickle(event: Any) -> None:
    """Declared events behave like the built-in ones."""
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
    """A field without a default must be given."""
    login = Login("admin")
    assert (login.two_factor, login.region) == (False, "eu")
    assert Login("admin", True, "us").region == "us"
    with pytest.raises(TypeError, match="user_kind"):
        Login()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_none_can_be_a_labels_default() -> None:
    """An API that couldn't distinguish it from "no default" would be a trap."""

    @metric_event
    class Answer:
        error: str | None = label("error.type", default=None)
        size: int = measure(Counter, "answer.size", default=0)

    answer = Answer()
    assert (answer.error, answer.size) == (None, 0)


def test_other_members_of_the_class_stay() -> None:
    """Properties, class and static methods, class variables and `super()` are tried."""
    rich = Rich("a", 5)
    assert rich.is_big
    assert type(Rich.small()) is Rich
    assert not Rich.small().is_big
    assert Rich.double(2) == 4
    assert Rich.LIMIT == 3
    made: Any = Rich
    assert str(made("a", 5, timestamp=1)) == "rich: Rich(timestamp=1)"


def test_a_subclass_has_the_fields_of_its_base_first() -> None:
    """A subclass has its base's instruments as well."""
    event = Extended("gpt-4", 3, 0.5, True, timestamp=1)
    assert repr(event) == "Extended(model='gpt-4', tokens=3, seconds=0.5, cached=True, timestamp=1)"
    assert isinstance(event, LLMCall)
    schema = Extended.__metric_schema__
    assert schema is not None
    assert schema.fields == ("model", "tokens", "seconds", "cached")
    assert [one.name for one in schema.labels] == ["gen_ai.request.model", "gen_ai.cached"]


def test_a_class_may_have_other_bases() -> None:
    """The other bases come before the library's own."""

    class Loud:
        """A base that adds a method."""

        def shout(self) -> str:
            """Return the text in capitals."""
            return repr(self).upper()

    @metric_event
    class Alarm(Loud):
        """An event class with another base."""

        kind: str = label("kind")

    alarm = Alarm("fire")
    assert isinstance(alarm, MetricEvent)
    assert alarm.shout().startswith("ALARM(KIND='FIRE', TIMESTAMP=")


def test_a_class_keeps_the_declaration_that_was_made() -> None:
    """Each measure keeps its kind, name, unit, description and bounds; a label's name defaults to the field's."""
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


def test_two_measures_may_share_a_name_if_they_have_the_same_kind_and_unit() -> None:
    """Both measures go to one instrument."""

    @metric_event
    class Transfer:
        sent: int = measure(Counter, "bytes", unit="By")
        received: int = measure(Counter, "bytes", unit="By")

    Transfer(1, 2)


@pytest.mark.parametrize("name", ["a", "Z9", "http.server.request.duration", "a_b-c/d.e", "a" * 255])
def test_an_instrument_may_have_any_name_that_opentelemetry_allows(name: str) -> None:
    """A letter is followed by letters, digits and four other characters, 255 characters in all."""

    @metric_event(counts=name)
    class Fine:
        size: int = measure(Counter, f"x{name[1:]}")

    Fine(1)


async def test_declared_events_are_delivered_like_the_built_in_ones(autojump_clock: trio.testing.MockClock) -> None:
    """They arrive as equal objects, in order, and are counted by their class's name."""
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
def test_declared_events_have_the_same_json_form(
    event: MetricEvent, labels: dict[str, str], fields: dict[str, float]
) -> None:
    """Labels have their declared names and measures their field names; a bool measured by a gauge is 1 or 0."""
    form = json.loads(json_line(event))
    assert form["kind"] == type(event).__name__
    assert (form["labels"], form["fields"]) == (labels, fields)
    assert "name" not in form


def test_an_event_that_names_its_instrument_declares_nothing_of_its_own() -> None:
    """Its labels and its value are in the event; no sink would look for others."""
    with pytest.raises(DeclarationError, match="names its instrument"):

        @metric_event
        class Labelled(Counter):
            """A class with a label alongside the labels."""

            region: str = label("region", default="eu")

    with pytest.raises(DeclarationError, match="names its instrument"):

        @metric_event(counts="more")
        class Counted(Counter):
            """A class that is counted as well."""
