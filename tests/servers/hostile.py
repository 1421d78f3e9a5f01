r"""Texts that break a format if they are written carelessly, and how each of them must arrive: unchanged, unless noted.

A text is a label's value, a label's name or an instrument's name. Each text is in an event of its own, which increases
a counter by 1. A value is also in an event of a class with declared labels, since sinks write those in another way. The
label ``case`` identifies the event. The expected results below are written down by hand; `LOST` stands for a character
that a protocol cannot carry.

* Prometheus carries any value, but treats an empty value like a missing label. Names have only letters, digits and
  underscores.
* InfluxDB has no newline, no backslash at the end, no empty value. Its measurements do not begin with ``#``, and
  have no backslash before ``,``, ``=``, ``"`` or a space. Tags do not have the names that it reserves.
* VictoriaMetrics, by the same protocol, has no newline, and reserves ``__name__``.
* JSON carries everything. But by default a search server reads ``a.b`` as ``b`` in ``a``, and it has no field without a
  name: `NOT_FIELDS`.

Unpaired surrogates are not text: they are lost everywhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from trio_batchmetrics import BatchMetricsCollector, Counter, MetricEvent, label, measure, metric_event

__all__ = ["CASES", "LOST", "NOT_FIELDS", "VISITS", "Case", "record_cases"]

LOST = "\ufffd"

VISITS = "hostile.visits"
"""The instrument of the class with declared labels."""


@metric_event
class _Visit(MetricEvent):
    path: str = label("text")
    case: str = label("case")
    count: int = measure(Counter, VISITS)


@dataclass(frozen=True, kw_only=True)
class Case:
    """An event with a hostile text; a back-end whose field is None must store exactly what was recorded."""

    number: int
    name: str
    """The instrument's name."""
    labels: Mapping[str, str]
    """Its labels, without ``case``."""
    prometheus: tuple[str, Mapping[str, str]]
    influxdb: tuple[str, Mapping[str, str]] | None = None
    victoriametrics: tuple[str, Mapping[str, str]] | None = None
    document: tuple[str, Mapping[str, str]] | None = None

    @property
    def key(self) -> str:
        """The value of its label ``case``."""
        return f"{self.number:03}"

    def in_influxdb(self) -> tuple[str, dict[str, str]]:
        """Return the measurement and tags that InfluxDB must have."""
        return self._as(self.influxdb)

    def in_victoriametrics(self) -> tuple[str, dict[str, str]]:
        """Return the measurement and labels that VictoriaMetrics must have."""
        return self._as(self.victoriametrics or self.influxdb)

    def in_document(self) -> tuple[str, dict[str, str]]:
        """Return the name and labels that a document must have."""
        return self._as(self.document)

    def in_prometheus(self) -> tuple[str, dict[str, str]]:
        """Return the name and labels that Prometheus must have."""
        return self._as(self.prometheus)

    def _as(self, given: tuple[str, Mapping[str, str]] | None) -> tuple[str, dict[str, str]]:
        name, labels = (self.name, self.labels) if given is None else given
        return name, {**labels, "case": self.key}


_SAME_VALUES = [
    "plain",
    'say "hi"',
    "it's",
    '"',
    '""',
    "C:\\temp",
    "a\\nb",
    "a\\\\b",
    "a\\,b",
    "a\\ b",
    "a\\=b",
    "a,b",
    "a b",
    "a=b",
    " both ends ",
    ",",
    "=",
    "#comment",
    "carriage\rreturn",
    "tab\tstop",
    "🎉 emoji 👩‍👩‍👧",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u200f\u202e\u05e9\u05dc\u05d5\u05dd",
    "e\u0301 and é",
    "\u2028\x7f\x1b[31m",
    "\ufeffmark",
    "x" * 10_000,
    "é" * 5_000,
    '{"a": [1, null]}',
    "%s {0} $(id) `id`",
    "value=9,evil=1",
    'x value=1 1,evil="2"',
    'a" value=1',
    "evil{a='b'} 1 # {trace_id=\"1\"} 2",
    "<b>&amp;",
    '/api/{id}?q=a b&c=\\"',
    "NaN",
    "null",
]

_LINES = [
    "two\nlines",
    "\n",
    "windows\r\nlines",
    '"} 1\nevil_total{a="b',
    "# EOF\n",
    "x value=1 1\nevil,a=b value=1 1",
    '"}}\n{"create":{"_index":"evil"}}\n{"evil":1}',
]
"""Values that contain newlines."""

_OTHER_VALUES: dict[str, tuple[str, str]] = {
    "\\": (LOST, "\\"),
    "C:\\temp\\": (f"C:\\temp{LOST}", "C:\\temp\\"),
    "two\\\\": (f"two\\{LOST}", "two\\\\"),
    'a\\ "b': (f'a{LOST} "b', 'a\\ "b'),
    "half \ud83d": (f"half {LOST}", f"half {LOST}"),
}
"""For each value, the text that must arrive in InfluxDB and in VictoriaMetrics."""

_LABELS: dict[str, tuple[str, str]] = {
    "a": ("a", "a"),
    "a.b": ("a_b", "a.b"),
    "a.b.c": ("a_b_c", "a.b.c"),
    "a b": ("a_b", "a b"),
    "a,b": ("a_b", "a,b"),
    "a=b": ("a_b", "a=b"),
    'a"b': ("a_b", 'a"b'),
    "a\\b": ("a_b", "a\\b"),
    "a{b}": ("a_b_", "a{b}"),
    "#hash": ("key_hash", "#hash"),
    "1st": ("key_1st", "1st"),
    "new\nline": ("new_line", f"new{LOST}line"),
    "naïve": ("na_ve", "naïve"),
    "le": ("le", "le"),
    "quantile": ("quantile", "quantile"),
    "time": ("time", "time_"),
    "value": ("value", "value_"),
    "_field": ("key_field", "_field_"),
    "job": ("exported_job", "job"),
    "instance": ("exported_instance", "instance"),
    "_id": ("key_id", "_id"),
    "@timestamp": ("key_timestamp", "@timestamp"),
    "l" * 200: ("l" * 200, "l" * 200),
    "__name__": ("key__name__", "__name__"),
    "db": ("db", "db"),
    "": ("U__", ""),
}
"""For each label name, the name that Prometheus and InfluxDB must have."""

_NAMES: dict[str, tuple[str, str, str]] = {
    "with space": ("with_space_total", "with space", "with space"),
    "a,b=c": ("a_b_c_total", "a,b=c", "a,b=c"),
    "#comment": ("comment_total", f"{LOST}comment", f"{LOST}comment"),
    "new\nline": ("new_line_total", f"new{LOST}line", f"new{LOST}line"),
    "9lives": ("_9lives_total", "9lives", "9lives"),
    'quo"te': ("quo_te_total", 'quo"te', 'quo"te'),
    "back\\slash": ("back_slash_total", "back\\slash", "back\\slash"),
    "tail\\": ("tail_total", f"tail{LOST}", "tail\\"),
    "comma\\,x": ("comma_x_total", f"comma{LOST},x", "comma\\,x"),
    "smile 🎉": ("smile_total", "smile 🎉", "smile 🎉"),
    "slash/dash-dot.": ("slash_dash_dot_total", "slash/dash-dot.", "slash/dash-dot."),
    "already_total": ("already_total", "already_total", "already_total"),
    "evil 1\nevil_total 2": ("evil_1_evil_2_total", f"evil 1{LOST}evil_total 2", f"evil 1{LOST}evil_total 2"),
    "n" * 10_000: ("n" * 10_000 + "_total", "n" * 10_000, "n" * 10_000),
}
"""For each instrument name, the name that Prometheus, InfluxDB and VictoriaMetrics must have."""


def _made() -> Iterator[Case]:
    number = 0
    values = [*_SAME_VALUES, *_LINES, *_OTHER_VALUES, ""]
    named, declared = ("hostile.value", "hostile_value_total"), (VISITS, "hostile_visits_total")
    for (name, in_prometheus), value in product([named, declared], values):
        influxdb, victoriametrics = _OTHER_VALUES.get(value, (value.replace("\n", LOST), value.replace("\n", LOST)))
        whole = value.replace("\ud83d", LOST)
        yield Case(
            number=number,
            name=name,
            labels={"text": value},
            prometheus=(in_prometheus, {"text": whole} if value else {}),
            influxdb=(name, {"text": influxdb} if value else {}),
            victoriametrics=(name, {"text": victoriametrics} if value else {}),
            document=(name, {"text": whole}),
        )
        number += 1
    name, in_prometheus = "hostile.label", "hostile_label_total"
    for key, (prometheus, influxdb) in _LABELS.items():
        yield Case(
            number=number,
            name=name,
            labels={key: "x"},
            prometheus=(in_prometheus, {prometheus: "x"}),
            influxdb=(name, {influxdb: "x"} if influxdb else {}),
            victoriametrics=(name, {"__name___": "x"}) if key == "__name__" else None,
        )
        number += 1
    for name, (prometheus, influxdb, victoriametrics) in _NAMES.items():
        yield Case(
            number=number,
            name=name,
            labels={},
            prometheus=(prometheus, {}),
            influxdb=(influxdb, {}),
            victoriametrics=(victoriametrics, {}),
        )
        number += 1


CASES = [*_made()]

NOT_FIELDS = {case.key for case in CASES if {"a.b", "a.b.c", ""} & case.labels.keys()}
"""The cases with labels that cannot be fields of their own next to a text field ``a``."""


def record_cases(metrics: BatchMetricsCollector) -> None:
    """Record all cases."""
    for case in CASES:
        if case.name == VISITS:
            metrics.record(_Visit(case.labels["text"], case.key, 1))
        else:
            metrics.record_counter(case.name, {"case": case.key, **case.labels}, 1)
