"""Pages in text and in OpenMetrics, parsed by parsers that are independent of the library."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.aggregation.streams import EVENTS
from tests.helpers import stable_id
from tests.sinks.contract import AWKWARD, SAMPLES
from tests.sinks.prometheus_parsing import OPENMETRICS, Parsed, labelled, parsed
from tests.tally import DEFAULT, Tally
from trio_batchmetrics import (
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import SinkContext
from trio_batchmetrics.sinks import PrometheusSink
from trio_batchmetrics.sinks._prometheus.text import bound_text, number_text

BOTH = pytest.mark.parametrize("openmetrics", [False, True])


def filled(*events: MetricEvent, **context: Any) -> PrometheusSink:
    """Return a sink into which these events are merged."""
    sink = PrometheusSink()
    sink.bind(SinkContext(**context))
    sink.merge(events)
    return sink


def page(sink: PrometheusSink, openmetrics: bool) -> str:
    """Return the page as text."""
    return sink.render(OPENMETRICS if openmetrics else None)[0].decode()


def read(sink: PrometheusSink, openmetrics: bool) -> Parsed:
    """Return the parsed page."""
    return parsed(page(sink, openmetrics).encode(), openmetrics=openmetrics)


# -- what a page looks like


def test_text_pages_have_the_format_that_prometheus_documents() -> None:
    """The test compares every line."""
    sink = filled(
        HealthCheck("b", True, 0.05),
        CacheMetric("redis", "hit"),
        Counter("jobs.done", {}, 2),
        bounds={"backend.health_check.duration": (0.005, 1.0, 1e6)},
    )
    assert page(sink, openmetrics=False) == (
        "# HELP backend_health 1 while a backend is healthy, else 0.\n"
        "# TYPE backend_health gauge\n"
        'backend_health{backend="b"} 1.0\n'
        "# HELP backend_health_check_duration_seconds Duration of health checks.\n"
        "# TYPE backend_health_check_duration_seconds histogram\n"
        'backend_health_check_duration_seconds_bucket{backend="b",le="0.005"} 0\n'
        'backend_health_check_duration_seconds_bucket{backend="b",le="1.0"} 1\n'
        'backend_health_check_duration_seconds_bucket{backend="b",le="1e+06"} 1\n'
        'backend_health_check_duration_seconds_bucket{backend="b",le="+Inf"} 1\n'
        'backend_health_check_duration_seconds_sum{backend="b"} 0.05\n'
        'backend_health_check_duration_seconds_count{backend="b"} 1\n'
        "# HELP cache_operations_total cache.operations\n"
        "# TYPE cache_operations_total counter\n"
        'cache_operations_total{cache_operation="hit",cache_type="redis"} 1.0\n'
        "# HELP jobs_done_total jobs.done\n"
        "# TYPE jobs_done_total counter\n"
        "jobs_done_total 2.0\n"
    )


def test_openmetrics_pages_follow_the_specification() -> None:
    """Units, counters' families without `_total`, and the end are as specified."""
    sink = filled(
        HealthCheck("b", True, 0.05), Counter("jobs.done", {}, 2), bounds={"backend.health_check.duration": (1.0,)}
    )
    assert page(sink, openmetrics=True) == (
        "# HELP backend_health 1 while a backend is healthy, else 0.\n"
        "# TYPE backend_health gauge\n"
        'backend_health{backend="b"} 1.0\n'
        "# HELP backend_health_check_duration_seconds Duration of health checks.\n"
        "# TYPE backend_health_check_duration_seconds histogram\n"
        "# UNIT backend_health_check_duration_seconds seconds\n"
        'backend_health_check_duration_seconds_bucket{backend="b",le="1.0"} 1\n'
        'backend_health_check_duration_seconds_bucket{backend="b",le="+Inf"} 1\n'
        'backend_health_check_duration_seconds_sum{backend="b"} 0.05\n'
        'backend_health_check_duration_seconds_count{backend="b"} 1\n'
        "# HELP jobs_done jobs.done\n"
        "# TYPE jobs_done counter\n"
        "jobs_done_total 2.0\n"
        "# EOF\n"
    )


def test_a_histogram_without_labels_has_only_the_label_of_its_bounds() -> None:
    """It has no empty braces."""
    text = page(filled(HistogramPoint("h", {}, 3, 4.5, (1.0, 2.0), (1, 0, 2))), openmetrics=False)
    assert text.split("\n", 2)[2] == (
        'h_bucket{le="1.0"} 1\nh_bucket{le="2.0"} 1\nh_bucket{le="+Inf"} 3\nh_sum 4.5\nh_count 3\n'
    )


@BOTH
def test_an_empty_page_is_valid(openmetrics: bool) -> None:
    """It is empty before the block too."""
    for sink in (PrometheusSink(), filled()):
        assert page(sink, openmetrics) == ("# EOF\n" if openmetrics else "")
        assert sink.left_out == 0


@metric_event(counts="declared.events")
class Declared(MetricEvent):
    """Descriptions and units of every kind."""

    ratio: float = measure(Gauge, "declared.ratio", unit="1", description='a \\ "quoted"\nline')
    speed: float = measure(Gauge, "declared.speed", unit="By/s")
    middle: float = measure(Gauge, "declared.seconds.middle", unit="s")
    seconds: float = measure(Counter, "declared.busy", unit="s")
    tokens: float = measure(Counter, "declared.tokens", unit="{token}")


@BOTH
def test_types_units_and_help_come_from_the_declaration(openmetrics: bool) -> None:
    """A unit is shown only if the name ends with it."""
    found = read(filled(Declared(0.5, 1, 2, 3, 4)), openmetrics)
    assert found.families == {
        "declared_ratio": ("gauge", "", 'a \\ "quoted"\nline'),
        "declared_speed_bytes_per_second": ("gauge", "bytes_per_second" * openmetrics, "declared.speed"),
        "declared_seconds_middle": ("gauge", "", "declared.seconds.middle"),
        "declared_busy_seconds": ("counter", "seconds" * openmetrics, "declared.busy"),
        "declared_tokens": ("counter", "", "declared.tokens"),
        "declared_events": ("counter", "", "declared.events"),
    }


def test_help_is_escaped_as_each_format_requires() -> None:
    """Only OpenMetrics escapes quotes."""
    sink = filled(Declared(0.5, 1, 2, 3, 4))
    assert '# HELP declared_ratio a \\\\ "quoted"\\nline\n' in page(sink, openmetrics=False)
    assert '# HELP declared_ratio a \\\\ \\"quoted\\"\\nline\n' in page(sink, openmetrics=True)


def test_an_unpaired_surrogate_in_a_description_is_replaced() -> None:
    """It becomes U+FFFD."""

    @metric_event
    class Odd(MetricEvent):
        value: float = measure(Gauge, "odd", description="a\ud83dz")

    assert "# HELP odd a\ufffdz\n" in page(filled(Odd(1)), openmetrics=False)


@BOTH
def test_a_counter_called_total_is_a_counter_in_text_and_of_unknown_type_in_openmetrics(openmetrics: bool) -> None:
    """Otherwise its family's name would be empty."""
    text = page(filled(Counter("total", {"a": "b"}, 3), Gauge("depth", {}, 1)), openmetrics)
    assert f"# TYPE total {'unknown' if openmetrics else 'counter'}\n" in text
    assert 'total{a="b"} 3.0\n' in text
    if openmetrics:
        assert parsed(text.encode(), openmetrics=True).of("total") == {labelled(a="b"): 3}


# -- numbers


def test_bounds_are_canonical_numbers() -> None:
    """The examples are from OpenMetrics' specification and from prometheus_client."""
    written = {
        0.0: "0.0",
        0.001: "0.001",
        0.01: "0.01",
        1.0: "1.0",
        9.999: "9.999",
        10.0: "10.0",
        1e-10: "1e-10",
        1e-09: "1e-09",
        1e-05: "1e-05",
        0.0001: "0.0001",
        0.1: "0.1",
        100000.0: "100000.0",
        1e6: "1e+06",
        1e10: "1e+10",
        1234567.5: "1.2345675e+06",
        12e6: "1.2e+07",
        1e22: "1e+22",
        1.5e300: "1.5e+300",
        123456789012345.0: "1.23456789012345e+14",
        999999.5: "999999.5",
        -1.0: "-1.0",
        -2.5e6: "-2.5e+06",
        math.inf: "+Inf",
    }
    assert {bound: bound_text(bound) for bound in written} == written


@given(st.floats())
@example(math.inf)
@example(-math.inf)
@example(math.nan)
@example(1e6)
@example(-0.0)
def test_every_float_round_trips(value: float) -> None:
    """The result is equal to the last bit."""
    for text in (number_text(value), bound_text(value)):
        assert math.isnan(value) or struct.pack("d", float(text)) == struct.pack("d", value)
    assert re.fullmatch(r"NaN|[+-]Inf|-?[0-9.]+(e[+-][0-9]+)?", number_text(value))


@BOTH
def test_sums_beyond_any_float_are_infinite(openmetrics: bool) -> None:
    """Other series are unaffected."""
    huge = [Counter("c", {"a": 1}, 1.7e308)] * 2 + [Histogram("h", {}, 1.7e308)] * 2
    found = read(filled(*huge, Counter("c", {"a": 2}, 0.1)), openmetrics)
    assert found.of("c_total") == {labelled(a="1"): math.inf, labelled(a="2"): 0.1}
    assert found.of("h_sum") == {labelled(): math.inf}
    assert 'c_total{a="1"} +Inf\n' in page(filled(*huge), openmetrics)
    assert "h_sum +Inf\n" in page(filled(*huge), openmetrics)


@BOTH
def test_any_value_of_a_gauge_is_written_as_a_float(openmetrics: bool) -> None:
    """That includes bools and large ints."""
    values = [0, -0.5, 3, 10**300, 2**53 + 1, -(10**20), 1e-320]
    sink = filled(*(Gauge("g", {"n": n}, value) for n, value in enumerate(values)), HealthCheck("b", False, 1))
    found = read(sink, openmetrics)
    assert found.of("g") == {labelled(n=str(n)): float(value) for n, value in enumerate(values)}
    assert found.of("backend_health") == {labelled(backend="b"): 0.0}
    assert "False" not in page(sink, openmetrics)


def test_a_sum_that_may_fall_is_left_out_in_openmetrics() -> None:
    """With negative bounds or a negative sum, OpenMetrics has neither sum nor count, and text has both."""
    low = HistogramPoint("low", {}, 2, 3.0, (-1.0, 2.0), (0, 2, 0))
    sink = filled(low, Histogram("h", {"a": 1}, -0.5), Histogram("h", {"a": 2}, 0.5))
    text, strict = read(sink, openmetrics=False), read(sink, openmetrics=True)
    assert text.of("low_sum") == {labelled(): 3}
    assert text.of("h_sum") == {labelled(a="1"): -0.5, labelled(a="2"): 0.5}
    assert (strict.of("low_sum"), strict.of("low_count")) == ({}, {})
    assert strict.of("h_sum") == {labelled(a="2"): 0.5}
    assert strict.of("h_count") == {labelled(a="2"): 1}
    assert strict.of("low_bucket") == text.of("low_bucket")
    sink.merge([Histogram("h", {"a": 1}, 1)])
    assert read(sink, openmetrics=True).of("h_sum")[labelled(a="1")] == 0.5


# -- arbitrary labels and values

AWKWARD_VALUES = [
    *AWKWARD.values(),
    "\\",
    "a\\",
    '"',
    '\\"',
    "\n",
    "\\n",
    "a\\\n",
    "{}",
    'x="y",',
    "}",
    "# EOF",
    "%s",
    "\0",
]

values_of_labels = st.text(max_size=12) | st.sampled_from(AWKWARD_VALUES)
plain_names = st.from_regex(r"[a-z]([a-z0-9]|_[a-z0-9]){0,6}", fullmatch=True)
finite = st.floats(allow_nan=False, allow_infinity=False)


def whole(text: str) -> str:
    """Return text in a form that can be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@BOTH
@settings(deadline=None)
@given(series=st.lists(st.tuples(st.dictionaries(plain_names, values_of_labels, max_size=4), finite), max_size=5))
def test_parsers_return_exactly_the_recorded_labels_and_values(
    openmetrics: bool, series: list[tuple[dict[str, str], float]]
) -> None:
    """Gauges have any text as label values; the last value per label set counts, and empty labels are absent."""
    sink = filled(*(Gauge("depth", labels, value) for labels, value in series))
    expected: dict[Any, float] = {}
    for labels, value in series:
        expected[labelled({name: whole(text) for name, text in labels.items() if text})] = value
    assert read(sink, openmetrics).of("depth") == expected


@BOTH
@pytest.mark.parametrize("value", AWKWARD_VALUES)
def test_hostile_label_values_arrive_unchanged(openmetrics: bool, value: str) -> None:
    """They are in each kind of instrument, next to others."""
    labels: dict[str, Any] = {"a": value, "b": "x", "c": value}
    sink = filled(
        Gauge("g", labels, 1.5), Counter("c", labels, 2), Histogram("h", labels, 3), Gauge("g", {"b": "y"}, 2)
    )
    labels = {name: text for name, text in labels.items() if text}
    found = read(sink, openmetrics)
    assert found.of("g") == {labelled(labels): 1.5, labelled(b="y"): 2}
    assert found.of("c_total") == {labelled(labels): 2}
    assert found.of("h_sum") == {labelled(labels): 3}
    assert found.of("h_bucket")[labelled(labels, le="+Inf")] == 1
    assert len(found.of("h_bucket")) == len(DEFAULT) + 1


CLASHING = ["a", "a.b", "a_b", "a.count", "a.sum", "a.total", "a_created", "a.bucket", "a.info", "a.b.total", "total"]


@BOTH
@settings(deadline=None)
@given(
    series=st.lists(
        st.tuples(
            st.text(min_size=1, max_size=5) | st.sampled_from(CLASHING),
            st.sampled_from([Counter, Gauge, Histogram]),
            st.dictionaries(
                st.text(max_size=4) | st.sampled_from(["le", "__name__", "quantile", "x.y", "x_y"]),
                values_of_labels,
                max_size=3,
            ),
            st.integers(0, 100),
        ),
        max_size=12,
    )
)
def test_a_page_with_any_names_is_parsed_and_has_everything_that_is_not_refused(
    openmetrics: bool, series: list[tuple[str, Any, dict[str, str], int]]
) -> None:
    """Names may be equal once translated, or clash with the samples of other instruments."""
    sink = filled()
    refused = sink.merge([kind(name, labels, value) for name, kind, labels, value in series]) or {}
    taken = [one for at, one in enumerate(series) if at not in refused]
    found = read(sink, openmetrics)
    of_type = {"counter": 0.0, "gauge": 0.0, "histogram": 0.0, "unknown": 0.0}
    for name, (kind, *_) in found.families.items():
        if kind == "histogram":
            buckets = found.of(f"{name}_bucket").items()
            of_type[kind] += sum(value for labels, value in buckets if ("le", "+Inf") in labels)
        else:
            of_type[kind] += sum(found.of(f"{name}_total" if kind == "counter" else name).values())
    assert of_type["counter"] + of_type["unknown"] == sum(value for _, kind, _, value in taken if kind is Counter)
    assert of_type["histogram"] == sum(kind is Histogram for _, kind, _, _ in taken)
    assert taken or not series
    assert all(re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name) for name, _ in found.samples)
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label) for _, labels in found.samples for label, _ in labels)


# -- conflicts


def test_instruments_with_the_same_name_type_and_unit_share_a_family() -> None:
    """They may be declared differently; a histogram keeps the bounds that came first."""
    events = [
        *(
            Counter("jobs.done", {"n": 1}, 1),
            Counter("jobs_done", {"n": 2}, 2),
            Counter("jobs-done-total", {"n": 3}, 3),
        ),
        *(Histogram("a.size", {"n": 1}, 1), Histogram("a_size", {"n": 2}, 7)),
    ]
    sink = filled(*events, bounds={"a_size": (2.0,)})
    for openmetrics in (False, True):
        found = read(sink, openmetrics)
        assert found.of("jobs_done_total") == {labelled(n="1"): 1, labelled(n="2"): 2, labelled(n="3"): 3}
        assert len(found.of("a_size_bucket")) == 2 * (len(DEFAULT) + 1)
        assert found.of("a_size_bucket")[labelled(n="2", le="10.0")] == 1


def test_series_with_equal_translated_names_are_added_up() -> None:
    """They may belong to one instrument or two, and to one merge or several; for a gauge, the latest value counts."""
    sink = filled(
        *(Counter("hits", {"user": None}, 7), Counter("hits", {"user": ""}, 2), Counter("hits", {}, 1)),
        *(Counter("jobs.done", {"http.route": "/", "n": 1}, 1), Counter("jobs_done", {"n": 1, "http_route": "/"}, 2)),
        *(Gauge("g", {"a.b": "1"}, 1, timestamp=1), Gauge("g.", {"a_b": "1"}, 2, timestamp=2)),
        *(Histogram("h", {"_a": 1}, 3), Histogram("h", {"key_a": "1"}, 4)),
        *(Histogram("i", {"le": 1}, 3), Histogram("i", {"exported_le": "1"}, 4)),
    )
    sink.merge([Counter("jobs-done", {"http-route": "/", "n": "1"}, 4), Counter("hits", {"user": "", "x": None}, 10)])
    sink.merge([Gauge("g", {"a-b": "1", "empty": ""}, 3)])
    for openmetrics in (False, True):
        found = read(sink, openmetrics)
        assert found.of("hits_total") == {labelled(): 20}
        assert found.of("jobs_done_total") == {labelled(http_route="/", n="1"): 7}
        assert found.of("g") == {labelled(a_b="1"): 3}
        assert found.of("h_sum") == {labelled(key_a="1"): 7}
        assert found.of("i_sum") == {labelled(exported_le="1"): 7}
    assert len(sink.store) == 5


def test_the_cap_counts_series_as_prometheus_sees_them() -> None:
    """Different spellings of a series count once."""
    names = ["a.b", "a_b", "a-b", "a b"]
    sink = filled(*(Counter("c", {name: n}, 1) for n in range(3) for name in names), max_series=3)
    assert read(sink, openmetrics=True).of("c_total") == {labelled(a_b=str(n)): 4 for n in range(3)}
    assert sink.overflowed == {}
    sink.merge([Counter("c", {"a.b": 3}, 1), Counter("c", {"a_b": 3}, 1), Counter("c", {"a_b": 4}, 1)])
    assert read(sink, openmetrics=True).of("c_total")[labelled(otel_metric_overflow="true")] == 3
    assert sink.overflowed == {"c": 3}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Counter("a", {}, 1), Gauge("a", {}, 2)),
        (Gauge("a", {}, 1), Counter("a", {}, 2)),
        (Gauge("a.total", {}, 1), Counter("a", {}, 2)),
        (Counter("a", {}, 1), Gauge("a_total", {}, 2)),
        (Counter("a", {}, 1), Gauge("a.created", {}, 2)),
        (Histogram("a", {}, 1), Gauge("a", {}, 2)),
        (Histogram("a", {}, 1), Gauge("a.bucket", {}, 2)),
        (Gauge("a.count", {}, 1), Histogram("a", {}, 2)),
        (Gauge("a_sum", {}, 1), Histogram("a", {}, 2)),
        (Histogram("a", {}, 1), Counter("a.count", {}, 2)),
        (Declared(1, 2, 3, 4, 5), Gauge("declared.speed.bytes.per.second", {}, 6)),
    ],
    ids=stable_id,
)
def test_an_instrument_whose_names_are_taken_is_refused(
    first: MetricEvent, second: MetricEvent, caplog: pytest.LogCaptureFixture
) -> None:
    """The later one is refused in both formats; its events are rejected, and that is logged once."""
    sink = filled(first)
    alone = [page(sink, openmetrics) for openmetrics in (False, True)]
    assert list(sink.merge([second]) or {}) == [0]
    refused = sink.merge([Gauge("unlike", {}, 1), second, Gauge("unlike", {}, 2), second])
    assert list(refused or {}) == [1, 3]
    assert all("of another kind or unit has the name" in reason for reason in (refused or {}).values())
    sink.merge([first])
    pages = [page(sink, openmetrics) for openmetrics in (False, True)]
    assert [len(text.splitlines()) for text in pages] == [len(text.splitlines()) + 3 for text in alone]
    assert read(sink, openmetrics=True).of("unlike") == {labelled(): 2}
    assert len(caplog.records) == 1
    assert re.match(
        r"metrics: events of '.+' are rejected: '.+' of another kind or unit has the name", caplog.messages[0]
    )


@BOTH
@pytest.mark.parametrize("suffix", ["bucket", "sum", "count", "total", "created", "info", "gsum", "gcount", "max"])
def test_a_gauge_may_be_named_like_a_sample_of_another_type(suffix: str, openmetrics: bool) -> None:
    """This holds as long as no other instrument uses the name."""
    sink = filled(Gauge(f"a.{suffix}", {}, 2), Counter("b", {}, 1), Histogram("c", {}, 1))
    assert read(sink, openmetrics).of(f"a_{suffix}") == {labelled(): 2}
    assert sink.left_out == 0


# -- successive pages

NAMES = {"a": "a", "b": "b", "\ufffd": "U___fffd_"}
LABEL_NAMES = {"1": "key_1", "\ufffd": "key_"}


def of_tally(tally: Tally) -> dict[str, dict[Any, list[float]]]:
    """Return the samples by name and labels of instruments that clash with no other.

    An empty label is absent, so several series may become one: sums are added up, and gauges have all last values.
    """
    expected: dict[str, dict[Any, list[float]]] = {}

    def put(name: str, labels: dict[str, str], value: float) -> None:
        expected.setdefault(name, {}).setdefault(labelled(labels), []).append(value)

    suffix = {"": "", "s": "_seconds", "By": "_bytes", "{job}": "", "{event}": ""}
    shared = {name for name, *_ in tally.series if sum(name == other for other, *_ in tally.series) > 1}
    for (name, kind, unit), family in tally.series.items():
        if name in shared or (name == "\ufffd" and kind == "counter"):  # that counter is called total
            continue
        base = NAMES.get(name, name.replace(".", "_")) + suffix[unit]
        for pairs, one in family.items():
            labels = {LABEL_NAMES.get(key, key.replace(".", "_")): value for key, value in pairs if value}
            if kind == "histogram":
                put(f"{base}_count", labels, sum(one.counts))
                put(f"{base}_sum", labels, float(one.total))
            elif kind == "counter":
                put(f"{base}_total", labels, float(one.total))
            else:
                put(base, labels, float(one.last))
    return expected


@settings(deadline=None)
@given(batches=st.lists(st.tuples(st.lists(EVENTS, max_size=8), st.booleans(), st.booleans()), max_size=6))
def test_every_page_agrees_with_an_independent_tally(
    batches: Sequence[tuple[list[MetricEvent], bool, bool]],
) -> None:
    """Pages are read after each merge or after some, in either format, whatever is cached from earlier pages."""
    sink, tally = filled(static_labels={"region": "eu"}), Tally({"region": "eu"})
    for events, look, openmetrics in batches:
        for event in events:  # one at a time: the last value of a gauge is the last one merged, whatever its timestamp
            sink.merge([event])
            tally.add(event)
        if not look:
            continue
        found = read(sink, openmetrics)
        gauges = {name for name, (kind, *_) in found.families.items() if kind == "gauge"}
        for name, family in of_tally(tally).items():
            told = found.of(name)
            if name in gauges:
                assert {labels: told[labels] in values for labels, values in family.items()} == dict.fromkeys(
                    told, True
                )
                continue
            sums = {labels: sum(values) for labels, values in family.items()}
            strict = {labels: value for labels, value in sums.items() if labels in told}
            assert told == pytest.approx(strict)
            assert openmetrics or told.keys() == sums.keys()


@BOTH
def test_every_kind_of_event_is_on_the_page_as_declared(openmetrics: bool) -> None:
    """The events are the samples of the contract."""
    found = read(filled(*(event for event, _ in SAMPLES)), openmetrics)
    labels = {"http_request_method": "GET", "http_route": "/users/{id}", "http_response_status_code": "200"}
    assert found.of("http_server_request_duration_seconds_sum") == {labelled(labels): 0.15}
    backend = {"provider": "openai", "model": "gpt-4"}
    assert found.of("backend_request_duration_seconds_sum") == {
        labelled(backend, success="false", error_type="timeout"): 0.85,
        labelled(backend, success="true"): 1.0,
    }
    assert found.of("backend_request_duration_seconds_bucket")[labelled(backend, success="true", le="1.28")] == 1
    assert found.of("backend_request_duration_seconds_bucket")[labelled(backend, success="true", le="0.64")] == 0
    assert found.of("backend_health") == {labelled(backend="backend-1"): 1}
    assert found.of("cache_operations_total") == {labelled(cache_type="redis", cache_operation="hit"): 1}
    assert found.of("jobs_total") == {labelled(region="us-east"): 42}
    assert found.of("depth") == {labelled(): 0}
    waited = {key: found.of("wait_bucket")[labelled(queue="a", le=key)] for key in ("1.0", "2.0", "+Inf")}
    assert waited == {"1.0": 1, "2.0": 1, "+Inf": 3}
    assert found.of("gen_ai_client_tokens_total") == {labelled(gen_ai_request_model="gpt-4", cached="true"): 1200}
    assert found.of("llm_calls_total") == {labelled(gen_ai_request_model="gpt-4", cached="true"): 1}


def test_label_sets_beyond_the_cap_share_a_series() -> None:
    """The series has OpenTelemetry's label for it."""
    sink = filled(*(Counter("c", {"n": n}, 1) for n in range(7)), max_series=3, static_labels={"region": "eu"})
    found = read(sink, openmetrics=True).of("c_total")
    assert found[labelled(otel_metric_overflow="true", region="eu")] == 4
    assert len(found) == 4


def test_only_changed_series_are_written_again() -> None:
    """Both formats cache unchanged series."""
    sink = filled(HttpRequest("GET", "/a", 200, 0.1), Counter("c", {"n": 1}, 1), Counter("c", {"n": 2}, 1))
    for openmetrics in (False, True):
        before = page(sink, openmetrics)
        assert page(sink, openmetrics) == before
        sink.merge([Counter("c", {"n": 2}, 5), HttpRequest("GET", "/b", 200, 0.1)])
        found = read(sink, openmetrics)
        assert found.of("c_total") == {labelled(n="1"): 1, labelled(n="2"): 6 + 5 * openmetrics}
        assert [*found.of("http_server_request_duration_seconds_count").values()] == [1 + openmetrics] * 2
        sink.merge([HttpRequest("GET", "/a", 200, 0)])
        assert 2 + openmetrics in read(sink, openmetrics).of("http_server_request_duration_seconds_count").values()
