"""Names, labels and values in line protocol: each server reads the original text, and no line affects another."""

import math
import re
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sinks.contract import AWKWARD, SAMPLES, TIMESTAMP
from tests.sinks.line_parsers import PARSERS, Line
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
from trio_batchmetrics.abc import EventIds, SinkContext
from trio_batchmetrics.sinks._influxdb.fields import bucket_fields, field_text, line
from trio_batchmetrics.sinks._influxdb.line_protocol import DIALECTS, Dialect, series_key, tag_text
from trio_batchmetrics.sinks._influxdb.prefixes import ReplacementCounter
from trio_batchmetrics.sinks._influxdb.timestamps import Timestamps
from trio_batchmetrics.sinks._influxdb.writer import LineWriter

LOST = "\ufffd"


def carried(text: str, dialect: str, *, measurement: bool = False) -> str:
    """Return the text that a server must read, determined independently, character by character."""
    made = ""
    for at, char in enumerate(text):
        following = text[at + 1] if at + 1 < len(text) else ""
        lost = char == "\n"
        if measurement and at == 0:
            lost |= char in "#\t\0"
        if dialect == "influxdb" and char == "\\":
            lost |= following == "" or (measurement and following in ',= "')
        if dialect == "influxdb3":
            lost |= char == "\t" or (char == "\\" and following == "") or (measurement and char == "\0")
        made += LOST if lost else char
    return made


def tamed(text: str) -> str:
    """Return the text where a backslash before a space would be dangerous."""
    return text.replace("\\ ", f"{LOST} ")


# ------------------------------------------------------------------------------------------------------- series


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text", [text for text in AWKWARD.values() if text] + ["a\\,b", "a\\ b", "a\\=b", 'a\\"b', "#a", "\ta"]
)
def test_awkward_text_is_read_unchanged_where_possible(dialect: Dialect, text: str) -> None:
    """It is a measurement, a tag's name and its value, between two other lines."""
    keys = [series_key("m", {"a": "b"}, dialect), series_key(text, {text: text}, dialect), series_key("m", {}, dialect)]
    body = "".join(f"{key.text} value=1.5 {number}\n" for number, key in enumerate(keys))
    expected = carried(text, dialect, measurement=True), {carried(text, dialect): carried(text, dialect)}
    assert PARSERS[dialect](body) == [
        Line("m", {"a": "b"}, {"value": 1.5}, 0),
        Line(*expected, {"value": 1.5}, 1),
        Line("m", {}, {"value": 1.5}, 2),
    ]
    assert keys[1].replaced == sum(part.count(LOST) for part in (expected[0], *expected[1], *expected[1].values()))
    assert keys[1].dialect_dependent == ("\\" in text or "\t" in text)


TEXT = st.text(
    st.sampled_from('ab\\\\\\, ="#\n\t\0\ré🙂') | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6
)
NAMES = st.dictionaries(TEXT, TEXT, max_size=3)


@given(st.sampled_from(DIALECTS), st.lists(st.tuples(TEXT, NAMES), min_size=1, max_size=4))
def test_every_text_is_read_unchanged_except_for_lost_characters(
    dialect: Dialect, series: list[tuple[str, Any]]
) -> None:
    """This holds for any text and any neighbours."""
    keys = [series_key(measurement, labels, dialect, ("value",)) for measurement, labels in series]
    body = "".join(f"{key.text} value={number}.5 {number}\n" for number, key in enumerate(keys))
    lines = PARSERS[dialect](body)
    assert len(lines) == len(series)
    for number, ((measurement, labels), key, read) in enumerate(zip(series, keys, lines, strict=True)):
        texts = [measurement, *labels, *labels.values()]
        if dialect == "influxdb" and any("\\ " in text for text in texts) and any('"' in text for text in texts):
            meant, tags = tamed(measurement), {tamed(name): tamed(text) for name, text in labels.items()}
        else:
            meant, tags = measurement, labels
        meant = carried(meant, dialect, measurement=True)
        assert (read.measurement, read.fields, read.timestamp) == (meant, {"value": number + 0.5}, number)
        pairs = sorted((carried(name, dialect), carried(text, dialect)) for name, text in tags.items())
        # Lost characters may make two names equal: then one of them has a "_" at its end.
        found = sorted((re.sub(r"_+\Z", "", name), text) for name, text in read.tags.items())
        assert sorted(text for _, text in found) == sorted(text for _, text in pairs)
        assert {name for name, _ in found} == {re.sub(r"_+\Z", "", name) for name, _ in pairs}
        made = "".join([meant, *(name + text for name, text in pairs)])
        assert key.replaced == made.count(LOST) - "".join(texts).count(LOST)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_quote_after_an_escaped_space_opens_no_string(dialect: Dialect) -> None:
    r"""InfluxDB takes the space of `\\ ` for the end of the tags, and then a quote for a string that eats newlines."""
    hostile = [series_key("m", {"k\\ z": '"'}, dialect), series_key("a\\ =", {"x": '"'}, dialect)]
    body = "".join(f"{key.text} value=1.5 1\nneighbour value=1.5 1\n" for key in hostile)
    assert [found.measurement for found in PARSERS[dialect](body)][1::2] == ["neighbour", "neighbour"]
    kept = "k\\ z" if dialect != "influxdb" else f"k{LOST} z"
    assert PARSERS[dialect](body)[0].tags == {kept: '"'}
    assert hostile[0].replaced == (dialect == "influxdb")


def test_an_untamed_line_is_read_wrongly() -> None:
    """So the test above would fail."""
    with pytest.raises(AssertionError, match="no end"):
        PARSERS["influxdb"]('m,k\\\\ z=" value=1.5 1\nneighbour value=1.5 1\n')


def test_tags_are_sorted_and_empty_ones_left_out() -> None:
    """A tag needs a name and a value."""
    assert series_key("m", {"b": "2", "": "x", "a": "1", "c": ""}).text == "m,a=1,b=2"


def test_names_that_are_already_taken_get_an_underscore() -> None:
    """The server, a field, or another label after losing a character may have taken them."""
    labels = {"time": "1", "_field": "2", "_measurement": "3", "value": "4", "value_": "5", "ok": "6"}
    assert (
        series_key("m", labels, fields=("value",)).text == "m,_field_=2,_measurement_=3,ok=6,time_=1,value_=4,value__=5"
    )
    assert series_key("m", {"time": "1", "time1": "2"}).text == "m,time1=2,time_=1"
    for labels in ({"a\n": "1", f"a{LOST}": "2"}, {f"a{LOST}": "2", "a\n": "1"}):
        assert series_key("m", labels).text == f"m,a{LOST}=1,a{LOST}_=2"


def test_the_dialects_are_those_of_the_type() -> None:
    """The check at run time agrees with the type checker's."""
    assert get_args(Dialect) == DIALECTS


# -------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (-0.0, "-0.0"),
        (2, "2i"),
        (-(2**63), "-9223372036854775808i"),
        (True, "true"),
        (False, "false"),
        ("a", '"a"'),
        ("", '""'),
        ('say "hi" \\', '"say \\"hi\\" \\\\"'),
        ("two\nlines, a = b", '"two\nlines, a = b"'),
    ],
)
def test_a_field_is_an_int_a_float_a_bool_or_a_string(value: Any, text: str) -> None:
    """Each type has its own form."""
    assert field_text(value) == text
    assert line("m", {}, [("f", value)], 7) == f"m f={text} 7"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1])
def test_a_field_that_no_server_accepts_is_refused(value: float) -> None:
    """Such a number is not finite, or an int beyond 64 bits."""
    with pytest.raises(ValueError, match="must"):
        field_text(value)


def test_a_line_needs_a_field() -> None:
    """Without one it is meaningless."""
    with pytest.raises(ValueError, match="a line needs a field"):
        line("m", {}, [], 7)


def test_a_whole_line_is_escaped_everywhere() -> None:
    """That includes its measurement, tags and fields."""
    text = line("a b", {"c d": "e=f"}, [("g,h", 1.5), ("i", "j\n")], 7, "victoriametrics")
    assert text == f'a\\ b,c\\ d=e\\=f g\\,h=1.5,i="j{LOST}" 7'
    assert tag_text("a\\", "influxdb") == f"a{LOST}"
    assert tag_text("a\\", "victoriametrics") == "a\\\\"


def test_buckets_are_cumulative_and_named_by_their_bounds() -> None:
    """Names are like Telegraf's: without a fraction where there is none."""
    assert bucket_fields(4, (0.005, 1.0, 10.0), (1, 0, 2, 4)) == "7,sum=4.0,0.005=1,1=1,10=3,+Inf=7"
    assert bucket_fields(0.5, (), (2,)) == "2,sum=0.5,+Inf=2"
    assert bucket_fields(2, (3,), (1, 0)) == "1,sum=2.0,3=1,+Inf=1"


# -------------------------------------------------------------------------------------------------------- events


@metric_event(counts="twin.calls")
class Twins(MetricEvent):
    """Has two fields that are measured by one instrument."""

    who: str = label()
    left: float = measure(Gauge, "twin", unit="1")
    right: float = measure(Gauge, "twin", unit="1")


@metric_event
class Bare(MetricEvent):
    """Has no label."""

    value: float = measure(Gauge, "bare")


def writer(dialect: Dialect | None = None, **context: Any) -> LineWriter:
    """Create a writer without any state."""
    return LineWriter(dialect, SinkContext(**context), Timestamps())


def read(body: bytes) -> list[Line]:
    """Parse lines as InfluxDB does."""
    return PARSERS["influxdb"](body.decode())


def test_every_kind_of_event_becomes_its_lines() -> None:
    """There is one line per measurement of the event, in recording order."""
    lines = read(writer().write([event for event, _ in SAMPLES]))
    http = {"http.request.method": "GET", "http.route": "/users/{id}", "http.response.status_code": "200"}
    llm = {"gen_ai.request.model": "gpt-4", "cached": "true"}
    failed = {"provider": "openai", "model": "gpt-4", "success": "false", "error.type": "timeout"}
    assert [(found.measurement, found.tags, found.fields) for found in lines] == [
        ("http.server.request.duration", http, {"value": 0.15}),
        ("backend.request.duration", failed, {"value": 0.85}),
        ("backend.request.duration", {"provider": "openai", "model": "gpt-4", "success": "true"}, {"value": 1.0}),
        ("backend.health", {"backend": "backend-1"}, {"value": 1.0}),
        ("backend.health_check.duration", {"backend": "backend-1"}, {"value": 0.05}),
        ("cache.operations", {"cache.type": "redis", "cache.operation": "hit"}, {"value": 1.0}),
        ("jobs", {"region": "us-east"}, {"value": 42.0}),
        ("response_time", {"try": "2", "last": "false"}, {"value": -0.5}),
        ("depth", {}, {"value": 0.0}),
        ("wait", {"queue": "a"}, {"count": 3.0, "sum": 4.5, "1": 1.0, "2": 1.0, "+Inf": 3.0}),
        ("gen_ai.client.tokens", llm, {"value": 1200.0}),
        ("gen_ai.client.operation.duration", llm, {"value": 2.5}),
        ("llm.calls", llm, {"value": 1.0}),
    ]
    assert {found.timestamp for found in lines} == {TIMESTAMP}


def test_rows_of_recorders_and_events_are_written_alike() -> None:
    """A recorder produces tuples, `record` produces events."""
    events: list[MetricEvent] = [event for event, _ in SAMPLES]
    rows = [
        (type(event), event.timestamp, *(getattr(event, field) for field in schema.fields))
        for event in events
        if (schema := type(event).__metric_schema__) is not None
    ]
    mixed: list[Any] = [row if at % 2 else event for at, (row, event) in enumerate(zip(rows, events, strict=True))]
    assert writer().write(Batch(rows)) == writer().write(events) == writer().write(Batch(mixed))


def test_equal_labels_with_different_text_stay_distinct() -> None:
    """`True` and 1 occur in one label, in one chunk and in several, and so does a float that equals an int."""
    ours = writer()
    for values in ([True, 1, 1.0, "1", None], [1], [True], [1.0], [True, 1]):
        rows = [(BackendRequest, at, "p", value, True, 0.5, None) for at, value in enumerate(values)]
        models = ["true" if value is True else str(value) for value in values if value is not None]
        assert [found.tags["model"] for found in read(ours.write(Batch(rows))) if "model" in found.tags] == models
        named = [(Counter, at, "c", {"model": value}, 1.0) for at, value in enumerate(values)]
        assert [found.tags["model"] for found in read(ours.write(Batch(named))) if "model" in found.tags] == models


class Celsius(float):
    """A subclass of float."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "warm"


def test_numbers_of_unusual_types_are_written_as_plain_ones() -> None:
    """They are written together with others."""
    rows = [(Bare, 1, Celsius(20.5)), (Bare, 2, 3), (Bare, 3, True)]
    assert [found.fields["value"] for found in read(writer().write(Batch(rows)))] == [20.5, 3.0, 1.0]
    point = HistogramPoint("h", {}, 1, Celsius(20.5), (Celsius(1.5),), (0, 1), timestamp=1)
    assert b"warm" not in writer().write([point])


class Name(str):
    """A subclass of str, for names and labels."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


def test_names_and_labels_of_unusual_types_are_written_as_their_text() -> None:
    """Texts and names may be subclasses of str, mappings of other types, keys that aren't strings, and objects."""
    odd = Name("odd")
    labels: list[Any] = [{odd: odd}, {7: "x"}, {"a": 2.5}, MappingProxyType({"a": "b"}), {"a": odd}, {"a": 2**70}]
    rows: list[Any] = [(Gauge, at, "g", each, 1.0) for at, each in enumerate(labels)]
    rows += [(Gauge, 9, odd, {}, 1.0), (BackendRequest, 9, odd, 2.5, 2**70, 1.0, None)]
    expected: list[tuple[str, dict[str, str]]] = [
        *(("g", {str.__str__(key): text}) for key, text in [("odd", "odd"), ("7", "x"), ("a", "2.5"), ("a", "b")]),
        *(("g", {"a": text}) for text in ("odd", str(2**70))),
        ("odd", {}),
        ("backend.request.duration", {"provider": "odd", "model": "2.5", "success": str(2**70)}),
    ]
    for row, each in zip(rows, expected, strict=True):
        assert [found[:2] for found in read(writer().write(Batch([row])))] == [each]
    assert [found[:2] for found in read(writer().write(Batch(rows)))] == expected


def test_numbers_are_exact_and_floats() -> None:
    """Gauges may measure bools and ints, and floats keep all their digits."""
    values = [True, False, 0, 7, 10**300, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -2.5]
    rows = [(Bare, at, value) for at, value in enumerate(values)]
    body = writer().write(Batch(rows))
    assert [found.fields["value"] for found in read(body)] == [float(value) for value in values]
    assert b"rue" not in body
    assert re.search(rb"\di ", body) is None


def test_static_labels_are_on_every_line_and_an_events_own_labels_win() -> None:
    """A static label also replaces an event's own label that is None."""
    body = writer(static_labels={"model": "static", "host": "h"}).write(
        [BackendRequest("p", "m", True, 0.5, timestamp=1), Counter("c", {"host": None, "model": "own"}, 1, timestamp=1)]
    )
    assert [found.tags for found in read(body)] == [
        {"provider": "p", "model": "m", "success": "true", "host": "h"},
        {"model": "own", "host": "h"},
    ]


def test_events_of_several_kinds_are_identified_by_their_serial_numbers() -> None:
    """Two chunks share a nanosecond: lines written again are the same, and all others have other timestamps."""
    ours = writer()
    rows: list[Any] = [(CacheMetric, 5, "c", "hit"), (Counter, 5, "n", {}, 1.0), (CacheMetric, 5, "c", "hit")]
    chunks = [Batch([*rows], ids=EventIds("run", range(start, start + 3))) for start in (0, 3)]
    bodies = [ours.write(chunk) for chunk in chunks]
    assert [ours.write(chunk) for chunk in chunks] == bodies
    lines = read(b"".join(bodies))
    assert sorted(found.timestamp for found in lines if found.measurement == "n") == [5, 6]
    assert sorted(found.timestamp for found in lines if found.measurement != "n") == [5, 6, 7, 8]
    assert [found.measurement == "n" for found in lines] == [False, True, False] * 2


def test_two_lines_of_one_event_get_distinct_timestamps() -> None:
    """If one instrument measures two of its fields, one line is a nanosecond later."""
    ours = writer()
    events = [Twins("a", 1, 2, timestamp=at) for at in (10, 11, 20)]
    lines = [(found.measurement, found.fields["value"], found.timestamp) for found in read(ours.write(events))]
    twins = [(value, at) for measurement, value, at in lines if measurement == "twin"]
    assert len({at for _, at in twins}) == 6
    assert [value for value, _ in twins] == [1, 2] * 3
    assert [at for measurement, _, at in lines if measurement == "twin.calls"] == [10, 11, 20]
    assert ours.write(events) == ours.write(events)


@metric_event
class Twice(MetricEvent):
    """Has two measurements of one instrument."""

    first: float = measure(Histogram, "op")
    second: float = measure(Histogram, "op")


@pytest.mark.parametrize("classes", [[Twice, Histogram], [Histogram, Twice], [Twice, Twice], [Twice, Histogram, Gauge]])
def test_a_moved_line_is_not_overwritten_by_an_event_of_another_kind(classes: list[Any]) -> None:
    """This holds in the same chunk and in the next one."""
    ours = writer()
    lines: list[str] = []
    for start in (100, 102, 104, 110):
        payload: list[MetricEvent] = [
            Twice(1, 2, timestamp=at) if each is Twice else each("op", {}, 3, timestamp=at)
            for at, each in enumerate(classes, start)
        ]
        ids = EventIds("run", range(start * 10, start * 10 + len(payload)))
        lines += ours.write(Batch(payload, ids=ids)).decode().splitlines()
    assert len({each.rpartition(" ")[2] for each in lines}) == len(lines)


def test_an_event_that_measures_nothing_has_no_line() -> None:
    """It is alone, or among others."""

    @metric_event
    class Nothing(MetricEvent):
        """Has only a label."""

        a: str = label("a")

    assert writer().write([Nothing("x", timestamp=1)]) == b""
    payload = [Gauge("a", {}, 1, timestamp=1), Nothing("x", timestamp=2), Gauge("b", {}, 2, timestamp=3)]
    assert writer().write(payload) == b"a value=1.0 1\nb value=2.0 3\n"


def test_a_series_that_is_too_long_is_refused() -> None:
    """InfluxDB accepts at most 65 535 bytes of measurement, tags and field."""
    fits = 65_535 - len("m,a= value") - 3  # "m,a=" + value, 4 between, "value"
    assert read(writer().write([Counter("m", {"a": "x" * fits}, 1)]))[0].tags == {"a": "x" * fits}
    known: list[Dialect | None] = [None, "influxdb"]
    for dialect in known:
        with pytest.raises(ValueError, match=r"at most 65535 bytes together \(got 65536\)"):
            writer(dialect).write([Counter("m", {"a": "x" * (fits + 1)}, 1)])
        with pytest.raises(ValueError, match="at most 65535 bytes"):
            writer(dialect).write([HistogramPoint("m", {"a": "é" * (fits // 2 + 1)}, 1, 1.0, (), (1,))])
    assert len(writer("influxdb3").write([Counter("m", {"a": "x" * 70_000}, 1)])) > 70_000


@pytest.mark.parametrize("timestamp", [-(2**63) + 1, 2**63 - 1, 10**30])
def test_a_timestamp_beyond_64_bits_is_refused(timestamp: int) -> None:
    """InfluxDB defines the ends of the range."""
    for stamps in ([timestamp], [1, timestamp], [timestamp, 1]):
        with pytest.raises(ValueError, match=r"timestamp must fit into 64 bits \(got -?\d+\)"):
            writer().write([CacheMetric("a", "b", timestamp=at) for at in stamps])


def test_the_first_and_last_timestamps_are_written() -> None:
    """They are one after the first nanosecond of int64, and one before the last."""
    ends = [-(2**63) + 2, 2**63 - 2]
    assert [
        found.timestamp for found in read(writer().write([CacheMetric("a", "b", timestamp=at) for at in ends]))
    ] == ends


def test_nothing_can_be_written_beyond_the_last_timestamp() -> None:
    """Two events at the last nanosecond cannot both be written."""
    events = [CacheMetric("a", "b", timestamp=2**63 - 2) for _ in range(2)]
    with pytest.raises(ValueError, match="timestamp must be earlier"):
        writer().write(events)


@pytest.mark.parametrize(
    "event",
    [
        HttpRequest("GET", "/", 200, math.nan),
        HttpRequest("GET", "/", 200, None),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        Histogram("h", {}, math.inf),
        MetricEvent(),
    ],
)
def test_an_invalid_event_is_refused(event: MetricEvent) -> None:
    """A collector never hands over any."""
    with pytest.raises((TypeError, ValueError, AttributeError)):
        writer().write([HealthCheck("a", True, 0.1), event])


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "1"])
def test_a_row_without_a_number_is_refused(value: Any) -> None:
    """It is among rows that have one."""
    with pytest.raises((TypeError, ValueError)):
        writer().write(Batch([(Bare, 1, 0.5), (Bare, 2, value)]))


def test_prefixes_are_built_once() -> None:
    """So the second line of a series is cheap."""
    ours = writer()
    rows: list[Any] = [(HttpRequest, 1, "GET", "/", 200, 0.5), (BackendRequest, 2, "p", "m", True, 0.5, None)]
    ours.write(Batch(rows))
    before = {key: [*map(id, prefixes)] for key, prefixes in vars(ours.prefixes)["_prefixes"].items()}
    ours.write(Batch(rows))
    assert {key: [*map(id, prefixes)] for key, prefixes in vars(ours.prefixes)["_prefixes"].items()} == before


def test_no_events_become_no_lines() -> None:
    """The body is empty."""
    assert writer().write([]) == b""


@pytest.mark.parametrize("kinds", [slice(2), slice(2, 3), slice(3)])
def test_the_memory_of_series_is_bounded(kinds: slice) -> None:
    """This holds for any labels, and any number of names."""
    ours = writer(max_series=10)
    for number in range(2_000):
        rows: list[Any] = [
            (CacheMetric, number, "c", str(number)),
            (Counter, number, f"c{number}", {"a": number}, 1.0),
            (HistogramPoint, number, f"h{number}", {"a": number}, 1, 1.0, (1.0,), (1, 0)),
        ][kinds]
        assert len(read(ours.write(Batch(rows)))) == len(rows)
    held = vars(ours.prefixes)["_prefixes"]
    assert sum(len(prefixes) for known in held.values() for prefixes in known) <= 1043
    assert len(held) <= 1043


# ------------------------------------------------------------------------------------------------------ doubtful


def test_lines_are_in_doubt_only_where_the_dialect_matters() -> None:
    """A name or label has a backslash or a tab, and the dialect is not known yet."""
    plain, slash, tab = Counter("a b", {"c": "d,e"}, 1), Counter("c", {"a": "\\"}, 1), Counter("a\tb", {}, 1)
    for dialect in (None, *DIALECTS):
        ours = writer(dialect)
        for events, doubtful in (([plain], False), ([slash], True), ([plain], False), ([plain, tab], True)):
            ours.write(events)
            assert ours.dialect_dependent == (doubtful and dialect is None)
    ours = writer()
    point = HistogramPoint("h", {"a": "\\"}, 1, 1.0, (), (1,))
    ours.write([point])
    assert ours.dialect_dependent


def test_lost_characters_are_counted_once_per_series() -> None:
    """They do not count while another dialect may carry them."""
    replacements = ReplacementCounter()
    lost, slash = Counter("c", {"a": "x\ny"}, 1), Counter("c", {"a": "\\"}, 1)
    known: list[tuple[Dialect | None, int]] = [(None, 1), ("influxdb", 2), ("influxdb", 2)]
    for dialect, count in known:
        ours = LineWriter(dialect, SinkContext(), Timestamps(), replacements)
        for _ in range(3):
            ours.write([lost, slash])
        assert replacements.count == count
    ours = LineWriter("influxdb", SinkContext(), Timestamps(), replacements)
    ours.write([Counter("c\n", {"a\\": "\\"}, 1), HistogramPoint("c", {"a": "x\ny"}, 1, 1.0, (), (1,))])
    assert replacements.count == 6


def test_the_memory_of_lost_characters_is_bounded() -> None:
    """This holds for any number of replacements."""
    replacements = ReplacementCounter()
    for number in range(1000):
        replacements.add(number, 1, 10)
    assert replacements.count == 1000
    assert len(vars(replacements)["_counted"]) <= 10


def test_a_label_called_name_is_doubtful_and_renamed_for_victoriametrics() -> None:
    """VictoriaMetrics reserves it for the name of a metric."""
    assert series_key("m", {"__name__": "x"}) == ("m,__name__=x", 0, True)
    assert series_key("m", {"__name__": "x"}, "victoriametrics") == ("m,__name___=x", 0, True)
