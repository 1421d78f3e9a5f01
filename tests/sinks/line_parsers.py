"""Line protocol as the servers read it, written from their sources and independent of the library.

`influxdb` follows `models/points.go` of InfluxDB 1.8.3 (`scanLine`, `scanMeasurement`, `scanTagsKey`, `scanTagsValue`,
`unescapeTag`, `escape.Unescape`), `influxdb3` the crate `influxdb_line_protocol`, `victoriametrics` `parser.go` of
VictoriaMetrics 1.79.5. Each raises an AssertionError where the server refuses a line.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["PARSERS", "Line", "influxdb", "influxdb3", "victoriametrics"]


class Line(NamedTuple):
    """A parsed line."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float]
    timestamp: int


def _split_lines(text: str) -> Iterator[str]:
    """Split as InfluxDB does: at newlines outside of what it considers a quoted string."""
    start = at = equals = commas = 0
    quoted = fields = False
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 2 < len(text):
            at += 2
            continue
        if char == " ":
            fields = True
        if fields and not quoted and char in "=,":
            equals += char == "="
            commas += char == ","
        elif fields and char == '"' and equals > commas:
            quoted = not quoted
        elif char == "\n" and not quoted:
            yield text[start:at]
            start, equals, commas, quoted, fields = at + 1, 0, 0, False, False
        at += 1
    assert start == len(text), "the last line has no end"


def _rest(text: str) -> tuple[dict[str, float], int]:
    """Parse fields and timestamp; in these tests all fields are floats, and no field name needs escaping."""
    fields, _, timestamp = text.partition(" ")
    found: dict[str, float] = {}
    for field in fields.split(","):
        name, _, value = field.partition("=")
        assert name
        assert name not in found
        assert not value.endswith("i")
        found[name] = float(value)
    return found, int(timestamp)


def _add(tags: dict[str, str], key: str, value: str) -> None:
    assert key
    assert value
    assert key not in tags
    tags[key] = value


def influxdb(text: str) -> list[Line]:
    """Read lines as InfluxDB 1 and 2 do."""
    return [_influxdb_line(line) for line in _split_lines(text)]


def _influxdb_line(line: str) -> Line:
    line = line.lstrip(" \t\0")
    assert line
    assert line[0] not in ",#"
    # A character after a backslash ends nothing; in a measurement, that applies to a backslash after a backslash too.
    at = 1
    while line[at - 1] == "\\" or line[at] not in ", ":
        at += 1
    measurement, tags = line[:at], dict[str, str]()
    while line[at] == ",":
        at += 1
        start = at
        assert line[at] not in " ,="
        at += 1
        while line[at] != "=" or line[at - 1] == "\\":
            assert line[at] not in " ," or line[at - 1] == "\\"
            at += 1
        key = line[start:at]
        at += 1
        start = at
        assert line[at] not in ", "
        at += 1
        while line[at] not in ", " or line[at - 1] == "\\":
            assert line[at] != "=" or line[at - 1] == "\\"
            at += 1
        _add(tags, _untag(key), _untag(line[start:at]))
    assert "time" not in tags
    return Line(_unmeasure(measurement), tags, *_rest(line[at + 1 :]))


def _untag(text: str) -> str:
    for char in ", =":
        text = text.replace("\\" + char, char)
    return text


def _unmeasure(text: str) -> str:
    made, at = "", 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in {",", '"', " ", "="}:
            at += 1
        made += text[at]
        at += 1
    return made


def influxdb3(text: str) -> list[Line]:
    """Read lines as InfluxDB 3 does."""
    return [_pairwise_line(line, ends=", \t\n") for line in _split_lines(text)]


def victoriametrics(text: str) -> list[Line]:
    """Read lines as VictoriaMetrics does."""
    lines = text.split("\n")
    assert lines.pop() == ""
    return [_pairwise_line(line, ends=", ") for line in lines]


def _pairwise_line(line: str, *, ends: str) -> Line:
    assert line
    assert line[0] != "#"
    strict = "\t" in ends
    measurement, at = _pairs(line, 0, ends + "\0" * strict, unescaped=", \\")
    tags: dict[str, str] = {}
    while line[at] == ",":
        key, at = _pairs(line, at + 1, ends.replace(",", "") + "=", unescaped=", =\\")
        assert line[at] == "="
        value, at = _pairs(line, at + 1, ends, unescaped=", =\\")
        assert not strict or not (key.endswith("\\") or value.endswith("\\"))
        _add(tags, key, value)
    assert line[at] == " "
    assert not strict or not measurement.endswith("\\")
    assert "time" not in tags
    return Line(measurement, tags, *_rest(line[at + 1 :]))


def _pairs(line: str, at: int, ends: str, *, unescaped: str) -> tuple[str, int]:
    made = ""
    while line[at] not in ends:
        if line[at] == "\\":
            made += line[at + 1] if line[at + 1] in unescaped else line[at : at + 2]
            at += 2
        else:
            made += line[at]
            at += 1
    return made, at


PARSERS: dict[str, Callable[[str], list[Line]]] = {
    "influxdb": influxdb,
    "influxdb3": influxdb3,
    "victoriametrics": victoriametrics,
}
