"""Names match those of Prometheus' own translator for OpenTelemetry."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_batchmetrics.abc import Kind
from trio_batchmetrics.sinks._prometheus.names import label_name, label_set, metric_name, unit_name

COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

TRANSLATED = [
    ("requests", "", COUNTER, "requests_total", ""),
    ("cpu_usage", "1", GAUGE, "cpu_usage_ratio", ""),
    ("items", "1", COUNTER, "items_total", ""),
    ("response_time", "ms", GAUGE, "response_time_milliseconds", "milliseconds"),
    ("memory_usage", "By", GAUGE, "memory_usage_bytes", "bytes"),
    ("requests", "1/s", GAUGE, "requests_per_second", "per_second"),
    ("throughput", "By/s", GAUGE, "throughput_bytes_per_second", "bytes_per_second"),
    ("custom_metric", "custom_unit", GAUGE, "custom_metric_custom_unit", "custom_unit"),
    ("custom_metric", "{custom}", GAUGE, "custom_metric", ""),
    ("custom_metric", "By/{custom}", GAUGE, "custom_metric_bytes", "bytes"),
    ("requests_total", "", COUNTER, "requests_total", ""),
    ("cpu_usage_ratio", "1", GAUGE, "cpu_usage_ratio", ""),
    ("response_time_seconds", "s", GAUGE, "response_time_seconds", "seconds"),
    ("requests", "1/s", COUNTER, "requests_per_second_total", "per_second"),
    ("123_requests", "", COUNTER, "_123_requests_total", ""),
    (
        "metric__with__multiple__underscores",
        "unit__multiple__underscores",
        GAUGE,
        "metric_with_multiple_underscores_unit_multiple_underscores",
        "unit_multiple_underscores",
    ),
    (
        "custom_metric",
        "unit@with#special/chars",
        GAUGE,
        "custom_metric_unit_with_special_per_chars",
        "unit_with_special_per_chars",
    ),
    ("request_duration", "s", HISTOGRAM, "request_duration_seconds", "seconds"),
    ("request_size", "By", HISTOGRAM, "request_size_bytes", "bytes"),
    ("active_connections", "", GAUGE, "active_connections", ""),
    ("metric", "By/", GAUGE, "metric_bytes", "bytes"),
    ("metric", " By / s ", GAUGE, "metric_bytes_per_second", "bytes_per_second"),
    ("metric", "/", GAUGE, "metric", ""),
    ("custom", "1/custom_unit", GAUGE, "custom_per_custom_unit", "per_custom_unit"),
    ("http.request.duration", "ms", HISTOGRAM, "http_request_duration_milliseconds", "milliseconds"),
    ("http.requests", "1", COUNTER, "http_requests_total", ""),
]
"""Name, unit, kind, and the translated name and unit: the relevant cases of otlptranslator's own tests."""

OURS = [
    ("http.server.request.duration", "s", HISTOGRAM, "http_server_request_duration_seconds", "seconds"),
    ("cache.operations", "{event}", COUNTER, "cache_operations_total", ""),
    ("backend.health", "", GAUGE, "backend_health", ""),
    ("gen_ai.client.tokens", "{token}", COUNTER, "gen_ai_client_tokens_total", ""),
    # Derived by hand from its source.
    ("total.requests.total", "", COUNTER, "requests_total", ""),
    ("total", "", COUNTER, "total", ""),
    ("@#$%", "", COUNTER, "total", ""),
    ("@#$%", "s", GAUGE, "seconds", "seconds"),
    ("ratio.of.ratio", "1", GAUGE, "of_ratio", ""),
    ("seconds.spent", "s", GAUGE, "seconds_spent", "seconds"),
    ("cpu", "s", COUNTER, "cpu_seconds_total", "seconds"),
    ("metric", "custom_unit_", GAUGE, "metric_custom_unit_", "custom_unit"),
    ("metric", "custom_unit_/s", GAUGE, "metric_custom_unit_per_second", "custom_unit__per_second"),
    ("metric", "_custom_unit", GAUGE, "metric_custom_unit", "custom_unit"),
    ("metric", "By/_custom__unit_", GAUGE, "metric_bytes_per_custom_unit", "bytes_per_custom_unit"),
    ("metric", "{custom}/s", GAUGE, "metric_per_second", "per_second"),
    ("metric", "By/@", GAUGE, "metric_bytes", "bytes_per"),
    ("metric", "@#$%", GAUGE, "metric", ""),
    ("metric", "   ", GAUGE, "metric", ""),
    ("rate_per_second", "By/s", GAUGE, "rate_per_second_bytes_per_second", "bytes_per_second"),
    ("job:requests:rate5m", "", GAUGE, "job:requests:rate5m", ""),
    ("métric ñ", "", GAUGE, "m_tric", ""),
    ("9", "", GAUGE, "_9", ""),
    ("a", "per\u2003\t", GAUGE, "a_per", "per"),
    ("a", "1\u2003", GAUGE, "a", ""),
]


@pytest.mark.parametrize(("name", "unit", "kind", "expected", "unit_expected"), [*TRANSLATED, *OURS])
def test_names_and_units_are_translated(name: str, unit: str, kind: Kind, expected: str, unit_expected: str) -> None:
    """Suffixes are added, non-ASCII characters replaced, and runs of underscores collapsed."""
    assert metric_name(name, unit, kind) == expected
    assert unit_name(unit) == unit_expected


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        *[("d", "days"), ("h", "hours"), ("min", "minutes"), ("s", "seconds"), ("ms", "milliseconds")],
        *[("us", "microseconds"), ("ns", "nanoseconds"), ("By", "bytes"), ("KiBy", "kibibytes")],
        *[("MiBy", "mebibytes"), ("GiBy", "gibibytes"), ("TiBy", "tibibytes"), ("KBy", "kilobytes")],
        *[("MBy", "megabytes"), ("GBy", "gigabytes"), ("TBy", "terabytes"), ("m", "meters"), ("V", "volts")],
        *[("A", "amperes"), ("J", "joules"), ("W", "watts"), ("g", "grams"), ("Cel", "celsius"), ("Hz", "hertz")],
        *[("%", "percent"), ("1/m", "per_minute"), ("1/h", "per_hour"), ("1/d", "per_day"), ("1/w", "per_week")],
        *[("1/mo", "per_month"), ("1/y", "per_year"), ("MBy/h", "megabytes_per_hour")],
    ],
)
def test_each_unit_has_its_full_name(unit: str, expected: str) -> None:
    """It is in the plural, or after "per" in the singular."""
    assert unit_name(unit) == expected
    assert metric_name("x", unit, GAUGE) == f"x_{expected}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("label:with:colons", "label_with_colons"),
        ("LabelWithCapitalLetters", "LabelWithCapitalLetters"),
        ("label!with&special$chars)", "label_with_special_chars_"),
        ("label_with_foreign_characters_字符", "label_with_foreign_characters___"),
        ("label.with.dots", "label_with_dots"),
        (".foo", "key_foo"),
        ("123label", "key_123label"),
        ("_label_starting_with_underscore", "key_label_starting_with_underscore"),
        ("__label_starting_with_2underscores", "__label_starting_with_2underscores"),
        ("label__with__double__underscores", "label__with__double__underscores"),
        ("label.name__with&&special##chars", "label_name__with__special__chars"),
        ("__reserved__label__name__", "__reserved__label__name__"),
        ("trailing_underscores___", "trailing_underscores___"),
        ("http.response.status_code", "http_response_status_code"),
        ("__name__", "__name__"),
        ("a..b", "a__b"),
        ("größe", "gr__e"),
        ("_a", "key_a"),
        ("a__b", "a__b"),
        ("..a", "__a"),
        (".9", "key_9"),
        ("\u0660a", "key_a"),
        ("é", "key_"),
        ("_", "key_"),
        ("___", "U________"),
        ("", "U__"),
        ("__", "U______"),
        ("ようこそ", "U___3088__3046__3053__305d_"),
    ],
)
def test_label_names_are_translated(name: str, expected: str) -> None:
    """The results equal otlptranslator 1.0.0 at the defaults of Prometheus 3; a name that it refuses is spelled out."""
    assert label_name(name) == expected


def test_names_without_any_legal_character_stay_distinct() -> None:
    """They become legal, and as distinct as the originals."""
    names = ["温度", "湿度", "", "_", "__", "🙂", "\n", '"', "-"]
    translated = [metric_name(name, "", GAUGE) for name in names]
    assert len(set(translated)) == len(names)
    assert translated[:3] == ["U___6e29__5ea6_", "U___6e7f__5ea6_", "U__"]
    two = [name + name for name in names]
    assert len({label_name(name) for name in two}) == len(names)


@given(name=st.text(), unit=st.text(), kind=st.sampled_from(Kind))
@example("\u0660", "\u0661/\u0662", COUNTER)
def test_every_name_becomes_legal(name: str, unit: str, kind: Kind) -> None:
    """Translating it again changes nothing, except for the underscore before a digit."""
    translated = metric_name(name, unit, kind)
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", translated)
    assert translated.strip("_")
    assert kind is not COUNTER or translated == "total" or translated.endswith("_total") or translated.startswith("U__")
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label_name(name))
    assert re.fullmatch(r"[a-zA-Z0-9:_]*", unit_name(unit))


# -- label sets


def test_labels_with_equal_translated_names_are_joined_in_the_order_of_their_original_names() -> None:
    """OpenTelemetry's specification requires it."""
    labels = {"a.b": "dot", "z": "last", "a_b": "underscore", "a-b": "minus", "a b": "space"}
    assert label_set(labels) == {"a_b": "space;minus;dot;underscore", "z": "last"}
    assert [*label_set({"b": "1", "a": "2"})] == ["a", "b"]


def test_names_that_prometheus_reserves_are_renamed() -> None:
    """Other labels may be named like their replacements."""
    labels = {"__name__": "x", "__address__": "y", "le": "1", "exported_le": "2", "key__name__": "z"}
    assert label_set(labels, {"le"}) == {
        "exported_le": "2;1",
        "key__address__": "y",
        "key__name__": "x;z",
    }
    assert label_set({"le": "1"}) == {"le": "1"}
    assert label_set({"job": "1"}, {"job", "exported_job"}) == {"exported_exported_job": "1"}


def test_an_empty_label_counts_as_absent() -> None:
    """This also holds if another label has its translated name."""
    assert label_set({"a.b": "", "a_b": "x", "user": ""}) == {"a_b": "x"}
    assert label_set({"a.b": "x", "a_b": ""}) == {"a_b": "x"}


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=3), max_size=6))
def test_no_label_is_lost_and_no_translated_name_is_reserved(labels: dict[str, str]) -> None:
    """Each non-empty value is in one of them."""
    translated = label_set(labels, {"le"})
    assert not any(name.startswith("__") or name == "le" for name in translated)
    values = [value for value in labels.values() if value]
    assert sum(map(len, translated.values())) == sum(map(len, values)) + len(values) - len(translated)
