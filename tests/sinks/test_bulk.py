"""Bodies and responses of `_bulk`: each document is the event's JSON form, each item of a response has one meaning."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.compiled.rows import checked
from tests.sinks.contract import AWKWARD, SAMPLES, LLMCall
from tests.test_events import EVENTS, LABELS, STAMPS
from trio_batchmetrics import (
    BackendRequest,
    Batch,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics._events.as_json import json_line
from trio_batchmetrics.abc import EventIds, JSONWriter, Receipt, SinkContext
from trio_batchmetrics.sinks._elasticsearch.bulk import BulkBody
from trio_batchmetrics.sinks._elasticsearch.response import receipt_of_items

SECOND = 10**9
NOON = 1_795_489_500 * SECOND
"""2026-11-24T03:05:00Z."""

Lines = list[tuple[dict[str, Any], str]]


@metric_event
class Bare(MetricEvent):
    """Has no labels."""

    size: int = measure(Histogram, "size")


@metric_event
class Nothing(MetricEvent):
    """Has no fields at all."""


@metric_event(counts="odd")
class Odd(MetricEvent):
    """Has names with a meaning in JSON or `%` formatting, and fields in another order than that of their use."""

    größe: float = measure(Gauge, "g")  # noqa: PLC2401 - any identifier will do
    first: Any = label('"%s" \\ %%')
    open: bool = measure(Gauge, "open")
    second: Any = label("%d\n")


def point(name: str, labels: dict[str, Any], counts: list[int], total: float, stamp: int) -> HistogramPoint:
    """Make a point with the bounds 1, 2 and so on."""
    bounds = tuple(map(float, range(1, len(counts))))
    return HistogramPoint(name, labels, sum(counts), total, bounds, tuple(counts), timestamp=stamp)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.lists(st.integers(0, 100), min_size=2, max_size=4)
POINTS = st.builds(point, st.text(min_size=1, max_size=8), LABELS, COUNTS, FINITE, STAMPS)
VALUES = st.text(max_size=5) | st.booleans() | st.integers() | st.none() | st.floats() | st.sampled_from(HTTPStatus)
ALL = st.one_of(
    EVENTS,
    POINTS,
    st.builds(LLMCall, st.text(max_size=5), st.booleans(), st.integers(0, 2**70), st.floats(0, 1e300)),
    st.builds(Bare, st.integers(0, 5), timestamp=STAMPS),
    st.builds(Nothing, timestamp=STAMPS),
    st.builds(Odd, FINITE, VALUES, st.booleans(), VALUES, timestamp=st.integers(-(10**18), 10**18)),
).filter(lambda event: checked(event) is not None)
STATIC = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)


def always_metrics(_: int) -> str:
    """Return the same index for all times."""
    return "metrics"


def by_second(second: int) -> str:
    """Return an index for each second."""
    return f"i{second}"


class Body(BulkBody):
    """An encoder that also takes a list of events."""

    def __init__(self, context: SinkContext, **changes: Any) -> None:
        """Create an encoder with a collector's context."""
        made: dict[str, Any] = {"action": "create", "index": always_metrics, "context": context, **changes}
        super().__init__(**made)
        self.writer = context.json_writer()

    def lines(self, batch: Sequence[MetricEvent]) -> bytes:
        """Return the lines of events, in order."""
        return super().lines(Batch.of(batch))


def body(*, run_id: str = "run", static: Mapping[str, str] | None = None, **changes: Any) -> Body:
    """Create an encoder."""
    return Body(SinkContext(run_id=run_id, static_labels=static or {}), **changes)


def lines(data: bytes) -> Lines:
    """Parse a body into actions and the text of documents."""
    assert data.endswith(b"\n")
    assert b"\r" not in data
    found = data.decode().split("\n")[:-1]
    assert len(found) % 2 == 0
    return [(json.loads(action), document) for action, document in zip(found[::2], found[1::2], strict=True)]


def normal(text: str) -> str:
    """Normalize JSON text, so that equal JSON compares equal: 1 differs from 1.0 there, and order matters."""
    return json.dumps(json.loads(text))


def check(data: bytes, events: Sequence[MetricEvent], static: Mapping[str, str] | None = None) -> Lines:
    """Check that each document is the event's JSON form."""
    found = lines(data)
    assert [normal(document) for _, document in found] == [normal(json_line(event, static)) for event in events]
    return found


# ------------------------------------------------------------------------------------------------------------ documents


@given(events=st.lists(ALL, min_size=1, max_size=12), static=STATIC)
@example(events=[event for event, _ in SAMPLES], static={"a": "b"})
def test_each_document_is_the_events_json_form_on_one_line(events: list[MetricEvent], static: dict[str, str]) -> None:
    """Events of all kinds, including a user's own, come in any order and twice, since texts are cached."""
    encoder = body(static=static)
    for _ in range(2):
        found = check(encoder.lines(events), events, static)
        assert [action for action, _ in found] == [
            {"create": {"_index": "metrics", "_id": f"run-{at:010d}"}} for at in range(len(events))
        ]


def test_rows_of_recorders_are_read_like_events() -> None:
    """The rows have one class, or mixed classes."""
    rows = [
        (HttpRequest, NOON + 1, "GET", "/", 200, 0.25),
        (HttpRequest, NOON + 2, "GET", "/", 200, 1),
        (HttpRequest, NOON + 3, "GET", "/", 404, 1e-300),
        (Counter, NOON + 4, "jobs", {"a": 1}, 2**60),
        (HealthCheck, NOON + 5, "db", False, 0.5),
        (CacheMetric, NOON + 6, "redis", "hit"),
    ]
    for some in (rows[:3], rows[3:4], rows):
        check(body().lines(Batch([*some])), Batch([*some]))


def test_equal_values_with_different_text_stay_distinct() -> None:
    """`True == 1 == 1.0 == HTTPStatus(1)`, in any order."""
    values: list[Any] = [True, 1, 1.0, "1", "true", None, False, 0, -0.0, HTTPStatus.OK, 200, "200", "None"]
    encoder = body()
    for some in (values, values[::-1]):
        events: list[MetricEvent] = [Counter("c", {"v": value}, 1) for value in some]
        events += [HttpRequest("GET", "/", value, 1) for value in some]
        events += [BackendRequest("p", "m", value, 1) for value in some]
        for event in events:
            check(encoder.lines([event]), [event])
        check(encoder.lines(events), events)


def test_durations_given_as_timedelta_are_seconds() -> None:
    """This holds for every sink."""
    duration: Any = timedelta(milliseconds=1500)
    event = HttpRequest("GET", "/", 200, duration)
    check(body().lines([event]), [event])


@pytest.mark.parametrize("value", AWKWARD.values(), ids=AWKWARD)
def test_awkward_text_is_written_as_json(value: str) -> None:
    """It is a name, a label's name, a label's value and a static label."""
    event = Gauge(value or "-", {value: value}, -0.0)
    check(body(static={value + "s": value}).lines([event]), [event], {value + "s": value})


def test_an_unpaired_surrogate_is_replaced_wherever_it_occurs() -> None:
    """It may be in a name, a label's name or a label's value; equal labels become one, with the last value."""
    half = "a\ud800"
    for labels in ({half: half}, {half: "x", "a\ufffd": "y"}, {"a\ufffd": "y", half: "x"}):
        event = Counter(half, labels, 1)
        check(body().lines([event]), [event])


def test_non_ascii_text_is_not_escaped() -> None:
    """This halves the size."""
    assert '"🙂"' in body().lines([Counter("größe", {"a": "🙂"}, 1)]).decode()


def test_no_events_produce_no_lines() -> None:
    """It isn't an error."""
    assert body().lines([]) == body().lines(Batch([])) == b""


class Forgotten(MetricEvent):
    """Lacks the decorator."""


@pytest.mark.parametrize(
    "event",
    [
        Forgotten(),
        Counter("c", {}, float("nan")),
        Counter("c", {}, 1, timestamp=10**30),
        Histogram("", {}, float("inf")),
    ],
    ids=["undeclared", "nan", "year", "inf"],
)
def test_an_event_without_a_json_form_raises(event: MetricEvent) -> None:
    """So the engine can find it and reject it alone."""
    encoder = body()
    with pytest.raises(Exception):  # noqa: B017, PT011 - of any kind
        encoder.lines([Counter("c", {}, 1), event])
    assert len(lines(encoder.lines([Counter("c", {}, 1)]))) == 1


@pytest.mark.parametrize("length", [10, 1000, 10_000])
def test_the_memory_of_label_sets_is_bounded(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is in bytes, so that long labels count accordingly; forgotten texts are built again."""
    monkeypatch.setitem(JSONWriter.keep.__globals__, "_CACHE_MAX_BYTES", 100_000)
    encoder = body()
    most = 0
    for start in range(0, 1000, 25):
        events = [Counter("c", {"id": number, "x": "x" * length}, 1) for number in range(start, start + 25)]
        check(encoder.lines(events), events)
        most = max(most, len(encoder.writer))
        assert len(encoder.writer) <= 100_000
    assert most >= 300
    repeated = [Counter("c", {"a": "b"}, 1)] * 2000
    encoder.lines(repeated)
    before = len(encoder.writer)
    encoder.lines(repeated)
    assert len(encoder.writer) == before


# --------------------------------------------------------------------------------------------------- seconds and ids


def test_fractions_stay_with_their_seconds_in_any_order() -> None:
    """Timestamps go back and forth around a second's end, before 1970, and with leading zeros."""
    stamps = [NOON, NOON - 1, NOON + 1, NOON + SECOND - 1, NOON + SECOND, 5, 0, -1, -SECOND, 10**18 + 1_000_001, NOON]
    events = [Counter("c", {"at": at}, 1, timestamp=stamp) for at, stamp in enumerate(stamps)]
    check(body().lines(events), events)
    mixed: list[MetricEvent] = [
        event for each in events for event in (each, CacheMetric("a", "b", timestamp=each.timestamp))
    ]
    check(body().lines(mixed), mixed)


def test_each_event_goes_to_the_index_of_its_own_second() -> None:
    """The order does not matter."""
    stamps = [NOON, NOON - SECOND, NOON + 1, NOON - 1]
    events = [Counter("c", {}, 1, timestamp=stamp) for stamp in stamps]
    found = lines(body(index=by_second).lines(events))
    seconds = [NOON // SECOND, NOON // SECOND - 1, NOON // SECOND, NOON // SECOND - 1]
    assert [action["create"]["_index"] for action, _ in found] == [f"i{second}" for second in seconds]


def test_an_event_has_the_same_id_in_every_part_of_its_batch() -> None:
    """Parts of a batch keep the ids of the whole, with mixed classes and several ranges of serial numbers."""
    rows: list[Any] = [
        (CacheMetric, NOON + at, "a", "b") if at % 3 else (Counter, NOON + at, "c", {}, at) for at in range(20)
    ]
    whole = Batch([*rows], ids=EventIds("abc", [*range(5, 15), *range(100, 110)]))
    encoder = body(action="index", run_id="abc")
    ids = [action["index"]["_id"] for action, _ in lines(encoder.lines(whole))]
    assert ids == [f"abc-{serial:010d}" for serial in [*range(5, 15), *range(100, 110)]]
    for part in (slice(3, 12), slice(None, None, 3), slice(1, None, 3), slice(11, 12)):
        found = lines(encoder.lines(whole[part]))
        assert [action["index"]["_id"] for action, _ in found] == ids[part]
        assert [json.loads(document)["@timestamp"][-4:-1] for _, document in found] == [
            f"{at:03d}" for at in range(20)[part]
        ]


def test_a_serial_number_may_have_more_than_ten_digits() -> None:
    """The id is still unique."""
    row = (CacheMetric, NOON, "a", "b")
    for serials in (range(10**10, 10**10 + 2), range(10**10 - 1, 10**10 + 1)):
        found = lines(body().lines(Batch([row, row], ids=EventIds("run", serials))))
        assert [action["create"]["_id"] for action, _ in found] == [f"run-{serial:010d}" for serial in serials]


def test_an_event_with_an_id_of_its_own_keeps_it() -> None:
    """A relay passes on events with the ids of another run; the ids of the events around them are as usual."""
    row = (CacheMetric, NOON, "a", "b")
    given_ids = {1: "other:7", 2: "another", 3: "a:b:12345678901"}
    batch = Batch([row] * 5, ids=EventIds("run", range(5), given_ids))
    wanted = ["run-0000000000", "other-0000000007", "another", "a:b-12345678901", "run-0000000004"]
    encoder = body()
    for part in (slice(None), slice(1, 3), slice(3, 5), slice(0, 1), slice(1, 2)):
        found = lines(encoder.lines(batch[part]))
        assert [action["create"]["_id"] for action, _ in found] == wanted[part]


@pytest.mark.parametrize("run", ['a"b', "a\\b", "a\n{}", "\t"], ids=ascii)
@pytest.mark.parametrize(("serial", "end"), [(":7", "-0000000007"), (":x", ":x")])
def test_an_id_from_elsewhere_cannot_break_the_body(run: str, serial: str, end: str) -> None:
    """A relay gets ids from other processes."""
    batch = Batch([(CacheMetric, NOON, "a", "b")], ids=EventIds("run", range(1), {0: run + serial}))
    assert [action["create"]["_id"] for action, _ in lines(body().lines(batch))] == [run + end]


def test_an_id_from_elsewhere_may_end_in_any_number_of_digits() -> None:
    """Otherwise one such id makes every payload that contains it impossible to encode."""
    batch = Batch([(CacheMetric, NOON, "a", "b")], ids=EventIds("run", range(1), {0: "run:" + "1" * 5000}))
    assert len(lines(body().lines(batch))) == 1


# ------------------------------------------------------------------------------------------------------------ responses


def answer(*items: Any, errors: bool = True) -> bytes:
    """Return a response as the servers write it."""
    return json.dumps({"errors": errors, "items": items}, separators=(",", ":")).encode()


def item(status: int, kind: str = "", reason: str = "", action: str = "create") -> dict[str, Any]:
    """Return an item of a response."""
    return {action: {"status": status, "error": {"type": kind, "reason": reason}} if kind else {"status": status}}


def read(data: bytes, items: int, action: str = "create") -> Receipt:
    """Read a response."""
    return receipt_of_items(data, items, action, lambda words: words.replace("secret", "…"))


def test_all_reasons_are_scrubbed_of_credentials_at_once() -> None:
    """All reasons are searched in one pass, and each keeps its place."""
    reasons = ["secret", "a\0b secret", "", "fine\nsecret", "x" * 400 + "secret"]
    results = [{"create": {"status": 400, "error": {"type": "t", "reason": reason}}} for reason in reasons]
    seen: list[str] = []

    def scrubbed(words: str) -> str:
        seen.append(words)
        return words.replace("secret", "…")

    found = receipt_of_items(json.dumps({"errors": True, "items": results}).encode(), 5, "create", scrubbed)
    expected = ["…", "a b …", "", "fine …", "x" * 400]
    assert found.rejected == {at: f"HTTP 400: t: {reason}"[:300].rstrip() for at, reason in enumerate(expected)}
    assert len(seen) == 1


STATUSES = [
    *((status, "delivered") for status in (200, 201, 202, 299, 409)),
    *((status, "again") for status in (408, 425, 429, 500, 502, 503, 504, 599)),
    *((status, "rejected") for status in (300, 400, 401, 403, 404, 410, 413, 422, 499)),
]


@given(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=20))
def test_each_item_is_settled_by_its_status(drawn: list[tuple[int, str]]) -> None:
    """Items occur in any mixture."""
    receipt = read(answer(*[item(status, "" if status < 300 else "t", "r") for status, _ in drawn]), len(drawn))
    again = [at for at, (_, end) in enumerate(drawn) if end == "again"]
    assert (receipt.rest, receipt.retry) == (("retry", again) if again else ("delivered", None))
    assert receipt.rejected == {
        at: f"HTTP {status}: t: r" for at, (status, end) in enumerate(drawn) if end == "rejected"
    }
    assert (receipt.error is None) == (not again)
    assert receipt.retry_after is None


@pytest.mark.parametrize("action", ["create", "index"])
def test_a_complete_response_delivers_and_one_with_a_missing_item_does_not(action: str) -> None:
    """The response may be written as the servers write it, or with spaces."""
    items = [item(201, action=action)] * 3
    compact = answer(*items, errors=False)
    for data in (compact, json.dumps(json.loads(compact)).encode(), answer(*items)):
        assert read(data, 3, action) == Receipt()
        assert read(data, 2, action).rest == "retry"
        assert read(data, 4, action).rest == "retry"


def test_a_conflict_counts_as_a_delivery_only_for_create() -> None:
    """`index` overwrites, so a conflict means something else there."""
    conflict = item(409, "version_conflict_engine_exception", "[1]: version conflict, document already exists")
    assert read(answer(conflict), 1) == Receipt()
    assert set(read(answer({"index": conflict["create"]}), 1, "index").rejected) == {0}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>It works!</html>",
        b"null",
        b"[]",
        b"3",
        b"{}",
        b'{"errors":false}',
        b'{"errors":false,"items":null}',
        b'{"errors":false,"items":{"create":{"status":201}}}',
        b'{"errors":false,"items":[]}',
        b'{"errors":false,"items":[{"create":{"status":201}}]',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"items":' + b"1" * 5000 + b"}",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_a_response_of_another_kind_retries_all_events(data: bytes) -> None:
    """The fate of the events is unknown, and their ids make a retry safe."""
    receipt = read(data, 1)
    assert (receipt.rest, receipt.retry, receipt.in_doubt) == ("retry", None, True)
    assert receipt.error is not None
    assert receipt.error.startswith("not a _bulk response: ")
    assert len(receipt.error) <= 300
    assert receipt.rejected == {}


@pytest.mark.parametrize(
    "odd",
    [
        None,
        3,
        {},
        [],
        {"create": None},
        {"create": {}},
        {"create": {"status": "201"}},
        {"create": {"status": True}},
        {"create": {"status": 0}},
        {"create": {"status": -1}},
        {"create": {"status": 201.0}},
        {"create": {"status": 201}, "index": {"status": 201}},
    ],
    ids=str,
)
def test_only_an_item_without_a_status_is_retried(odd: Any) -> None:
    """The other items are settled."""
    receipt = read(answer(item(201), odd, item(400, "t", "r")), 3)
    assert receipt.retry == [1]
    assert set(receipt.rejected) == {2}
    assert receipt.error == "1 of 3 events to be sent again: no status"


def test_reasons_quote_the_server_on_one_line_without_credentials() -> None:
    """Long reasons are truncated, and an error may have any shape."""
    long = {
        "create": {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "a\nsecret " + "b" * 999}}
    }
    others: list[Any] = [item(403), {"create": {"status": 404, "error": "gone"}}]
    odd: list[Any] = [3, None, [], {"type": 3, "reason": None}]
    others += [{"create": {"status": 400, "error": error}} for error in odd]
    receipt = read(answer(long, *others, {"create": {"status": 429, "error": "\ud800 secret"}}), 8)
    assert receipt.rejected[0].startswith("HTTP 400: mapper_parsing_exception: a … bbb")
    assert len(receipt.rejected[0]) <= 300
    assert [receipt.rejected[at] for at in range(1, 7)] == ["HTTP 403", "HTTP 404: gone", *["HTTP 400"] * 4]
    assert receipt.error == "1 of 8 events to be sent again: HTTP 429: \ufffd …"
