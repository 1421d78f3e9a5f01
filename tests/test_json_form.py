"""The JSON form of an event, wherever events are stored, and the conversion of labels to text."""

import enum
import json
import math
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_events import EVENTS
from trio_batchmetrics import (
    BackendRequest,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
)
from trio_batchmetrics._events.as_json import fields_of, json_line, labels_of, rfc3339, text

STAMP = 1_795_489_500_123_456_789


class Color(enum.Enum):
    """An enum used as a label's value."""

    RED = 1


class Shouting(str):
    """A str that prints otherwise; its text is its characters."""

    def __str__(self) -> str:
        """Return the text in capitals."""
        return self.upper()


# -- text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("eu", "eu"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (None, None),
        (0, "0"),
        (200, "200"),
        (0.5, "0.5"),
        (b"raw", "b'raw'"),
        (HTTPStatus.NOT_FOUND, "404"),
        (Color.RED, "Color.RED"),
        (Shouting("quiet"), "quiet"),
        ("größer 🙂", "größer 🙂"),
        ("half \ud83d", "half \ufffd"),
        ("\ud83d\ude42", "🙂"),
        ("\udc80 undecodable byte", "\ufffd undecodable byte"),
    ],
    ids=ascii,
)
def test_a_label_value_becomes_text(value: object, expected: str | None) -> None:
    """Bools are in lower case, None has no text, and halves of surrogate pairs become something that can be encoded."""
    assert text(value) == expected
    if expected is not None:
        assert type(text(value)) is str


@given(value=st.text(st.characters()))
def test_text_can_always_be_encoded_and_is_kept_where_it_could_be(value: str) -> None:
    """The conversion is idempotent, too."""
    result = text(value)
    assert result is not None
    result.encode()
    assert text(result) == result
    if not any("\ud800" <= character <= "\udfff" for character in value):
        assert result == value


# -- labels


def test_static_labels_are_on_every_event_and_its_own_win() -> None:
    """The caller's dict isn't touched."""
    static = {"instance": "one", "region": "eu"}
    assert labels_of(Counter("a", {"region": "us", "shard": 3}, 1), static) == {
        "instance": "one",
        "region": "us",
        "shard": "3",
    }
    assert labels_of(CacheMetric("redis", "hit"), static) == {
        "instance": "one",
        "region": "eu",
        "cache.type": "redis",
        "cache.operation": "hit",
    }
    assert static == {"instance": "one", "region": "eu"}


def test_a_label_without_a_value_is_left_out() -> None:
    """None has no text."""
    assert labels_of(BackendRequest("openai", "gpt-4", True, 1)) == {
        "provider": "openai",
        "model": "gpt-4",
        "success": "true",
    }
    assert labels_of(Counter("a", {"region": None, "zone": ""}, 1)) == {"zone": ""}


def test_label_names_become_text_too() -> None:
    """The mapping's keys may be anything."""
    labels: Any = {1: "x", "b": 2}
    assert labels_of(Counter("a", labels, 1)) == {"1": "x", "b": "2"}


# -- timestamps


def test_a_timestamp_is_rfc_3339_with_nine_digits() -> None:
    """The form is the documented one."""
    moment = datetime(2026, 11, 24, 3, 5, tzinfo=UTC)
    assert rfc3339(int(moment.timestamp()) * 10**9 + 123_456_789) == "2026-11-24T03:05:00.123456789Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"


@given(timestamp=st.integers(-(2**62), 2**63 - 1))
def test_a_timestamp_can_be_read_back_exactly(timestamp: int) -> None:
    """The value is exact to the nanosecond."""
    written = rfc3339(timestamp)
    assert len(written) == len("2026-11-24T03:05:00.123456789Z")
    whole = datetime.fromisoformat(written[:19]).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    assert whole // timedelta(seconds=1) * 10**9 + int(written[20:29]) == timestamp


# -- the whole


@pytest.mark.parametrize(
    ("event", "form"),
    [
        (
            HttpRequest("GET", "/api/data", 200, 0.15, timestamp=STAMP),
            {
                "kind": "HttpRequest",
                "labels": {"http.request.method": "GET", "http.route": "/api/data", "http.response.status_code": "200"},
                "fields": {"duration": 0.15},
            },
        ),
        (
            BackendRequest("openai", "gpt-4", False, 2, "timeout", timestamp=STAMP),
            {
                "kind": "BackendRequest",
                "labels": {"provider": "openai", "model": "gpt-4", "success": "false", "error.type": "timeout"},
                "fields": {"latency": 2.0},
            },
        ),
        (
            HealthCheck("backend-1", True, 0.05, timestamp=STAMP),
            {
                "kind": "HealthCheck",
                "labels": {"backend": "backend-1"},
                "fields": {"healthy": 1.0, "duration": 0.05},
            },
        ),
        (
            CacheMetric("redis", "hit", timestamp=STAMP),
            {"kind": "CacheMetric", "labels": {"cache.type": "redis", "cache.operation": "hit"}, "fields": {}},
        ),
        (
            Counter("custom_counter", {"region": "us-east"}, 42, timestamp=STAMP),
            {
                "kind": "Counter",
                "name": "custom_counter",
                "labels": {"region": "us-east"},
                "fields": {"value": 42.0},
            },
        ),
        (
            Histogram("response_time", {}, 123.4, timestamp=STAMP),
            {"kind": "Histogram", "name": "response_time", "labels": {}, "fields": {"value": 123.4}},
        ),
        (
            Gauge("temperature", {}, -3, timestamp=STAMP),
            {"kind": "Gauge", "name": "temperature", "labels": {}, "fields": {"value": -3.0}},
        ),
        (
            HistogramPoint("size", {"a": True}, 3, 7, (1, 5.0), (1, 2, 0), timestamp=STAMP),
            {
                "kind": "HistogramPoint",
                "name": "size",
                "labels": {"a": "true"},
                "fields": {"count": 3.0, "sum": 7.0, "bounds": [1.0, 5.0], "counts": [1.0, 2.0, 0.0]},
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_json_form_of_each_kind_is_as_documented(event: MetricEvent, form: dict[str, Any]) -> None:
    """The timestamp comes first, then the kind, the name of a named event, labels and fields."""
    line = json_line(event)
    assert json.loads(line) == {"@timestamp": "2026-11-24T03:05:00.123456789Z", **form}
    assert list(json.loads(line)) == [
        key for key in ("@timestamp", "kind", "name", "labels", "fields") if key in form or key == "@timestamp"
    ]


@given(event=EVENTS, static=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
def test_the_json_form_survives_being_written_and_read(event: MetricEvent, static: dict[str, str]) -> None:
    """The form is one line, every number is a float, every label is text, and nothing is lost."""
    line = json_line(event, static)
    assert "\n" not in line
    assert "\r" not in line
    form = json.loads(line.encode())
    assert set(form) - {"name"} == {"@timestamp", "kind", "labels", "fields"}
    assert form["@timestamp"] == rfc3339(event.timestamp)
    assert form["kind"] == type(event).__name__
    assert ("name" in form) is isinstance(event, Counter | Histogram | Gauge)
    assert all(type(value) is str for value in form["labels"].values())
    assert all(type(value) is float for value in form["fields"].values())
    assert form["labels"] == labels_of(event, static)
    assert form["fields"] == fields_of(event)
    if isinstance(event, Counter | Histogram | Gauge):
        assert form["name"] == text(event.name)
        assert form["fields"] == {"value": float(event.value)}


@given(value=st.integers(0, int(1.7976931348623157e308)) | st.floats(0, allow_infinity=False))
def test_every_number_is_written_as_floating_point(value: float) -> None:
    """An int is written with a point or an exponent, and is read back as the nearest float."""
    line = json_line(Counter("a", {}, value))
    written = line.partition('"value":')[2].rstrip("}")
    assert "." in written or "e" in written
    assert float(written) == float(value)


def test_values_that_json_cannot_express_are_never_written() -> None:
    """NaN isn't JSON; validation keeps it out, and the encoder would refuse it, too."""
    with pytest.raises(ValueError, match="JSON compliant"):
        json_line(Gauge("a", {}, math.nan))


def test_text_that_is_not_ascii_is_written_as_it_is() -> None:
    """The text is readable, and takes half the space."""
    line = json_line(Counter("größe", {"emoji": "🙂", "line": "a\nb\u2028c", "half": "\ud83d"}, 1))
    assert '"größe"' in line
    assert '"🙂"' in line
    assert "\n" not in line
    assert json.loads(line.encode())["labels"]["half"] == "\ufffd"


def test_an_event_whose_class_was_never_declared_has_no_json_form() -> None:
    """The error says so."""

    class Forgotten(MetricEvent):
        """A class that lacks the decorator."""

    with pytest.raises(TypeError, match="Forgotten isn't an event class"):
        json_line(Forgotten())
