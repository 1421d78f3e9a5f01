"""Every sink of this package passes the contract."""

import io
import json
import logging
import sqlite3
from calendar import timegm
from collections import Counter as Count
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import strptime
from typing import Any

import pytest
import trio

from tests.sinks.contract import (
    Arrived,
    EventSinkCase,
    EventSinkContract,
    FakeSeriesSink,
    SeriesSinkCase,
    SeriesSinkContract,
    as_arrived,
)
from trio_batchmetrics import MetricEvent
from trio_batchmetrics.sinks import JSONLinesSink, LoggingSink, SQLiteSink
from trio_batchmetrics.testing import RecordingSink


class RecordingCase(EventSinkCase):
    """The sink for users' tests."""

    encodes = adds_static_labels = False
    name = "recording"

    def make(self, **settings: Any) -> RecordingSink:
        """Create the sink."""
        self.sinks: list[RecordingSink] = [*getattr(self, "sinks", []), RecordingSink(**settings)]
        return self.sinks[-1]

    def arrived(self) -> list[Arrived]:
        """Return the events that it kept."""
        return [as_arrived(event) for sink in self.sinks for event in sink.events]


class FunctionCase(EventSinkCase):
    """A plain `async def`."""

    encodes = adds_static_labels = takes_settings = False
    name = "keep"

    def make(self, **settings: Any) -> Any:
        """Create the sink."""
        assert not settings
        self.events = list[MetricEvent]()

        async def keep(batch: Sequence[MetricEvent]) -> None:
            await trio.lowlevel.checkpoint()
            self.events.extend(batch)

        return keep

    def arrived(self) -> list[Arrived]:
        """Return the events that it kept."""
        return [as_arrived(event) for event in self.events]


class Lines(logging.Handler):
    """Keeps the logged messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())


class LoggingCase(EventSinkCase):
    """The default sink, which logs the number of events of each kind."""

    detailed = encodes = False
    name = "logging"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.handler = Lines()

    def make(self, **settings: Any) -> LoggingSink:
        """Create the sink."""
        logger = logging.Logger("contract", logging.INFO)  # noqa: LOG001 - a logger without anyone else's handlers
        logger.addHandler(self.handler)
        return LoggingSink(logger, **settings)

    def arrived(self) -> list[Arrived]:
        """Unavailable: the log has no single events."""
        raise NotImplementedError

    def kinds(self) -> Count[str]:
        """Count the kinds in the logged lines."""
        found = Count[str]()
        for message in self.handler.messages:
            total, _, rest = message.partition(" events: ")
            kinds = Count({kind: int(count) for count, kind in (part.split() for part in rest.split(", "))})
            assert kinds.total() == int(total)
            found += kinds
        return found


class SQLiteCase(EventSinkCase):
    """A database file, read back through a separate connection."""

    name = "sqlite"

    def make(self, **settings: Any) -> SQLiteSink:
        """Create the sink."""
        return SQLiteSink(self.folder / "events.sqlite3", **settings)

    def make_unreachable(self) -> SQLiteSink:
        """Create the sink in a missing folder."""
        return SQLiteSink(self.folder / "no" / "such" / "events.sqlite3")

    def arrived(self) -> list[Arrived]:
        """Return the events in the table."""
        file = self.folder / "events.sqlite3"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone():
                return []
            rows = database.execute("SELECT kind, name, labels, fields, timestamp FROM events ORDER BY id").fetchall()
        return [
            Arrived(kind, name, json.loads(labels), json.loads(fields), at) for kind, name, labels, fields, at in rows
        ]


def parsed(line: str) -> Arrived:
    """Parse a line of JSON."""
    form: dict[str, Any] = json.loads(line)
    moment, _, nanoseconds = form.pop("@timestamp").removesuffix("Z").partition(".")
    assert len(nanoseconds) == 9
    timestamp = timegm(strptime(moment, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(nanoseconds)
    assert form.keys() - {"name"} == {"kind", "labels", "fields"}
    return Arrived(form["kind"], form.get("name"), form["labels"], form["fields"], timestamp)


def whole_lines(data: bytes) -> list[Arrived]:
    """Parse lines of JSON; the last line must be complete too."""
    assert data == b"" or data.endswith(b"\n")
    return [parsed(line) for line in data.decode().split("\n")[:-1]]


class JSONLinesCase(EventSinkCase):
    """A file of JSON lines."""

    name = "jsonlines"

    def make(self, **settings: Any) -> JSONLinesSink:
        """Create the sink."""
        return JSONLinesSink(self.folder / "events.jsonl", **settings)

    def make_unreachable(self) -> JSONLinesSink:
        """Create the sink in a missing folder."""
        return JSONLinesSink(self.folder / "no" / "such" / "events.jsonl")

    def arrived(self) -> list[Arrived]:
        """Return the events in the file."""
        file = self.folder / "events.jsonl"
        return whole_lines(file.read_bytes()) if file.exists() else []


class RotatingCase(EventSinkCase):
    """Files that are rotated all the time."""

    name = "jsonlines"

    def make(self, **settings: Any) -> JSONLinesSink:
        """Create the sink."""
        return JSONLinesSink(self.folder / "events.jsonl", max_bytes=40_000, backups=1000, **settings)

    def arrived(self) -> list[Arrived]:
        """Return the events in all files."""
        files = sorted(self.folder.glob("events.jsonl*"), key=lambda file: -int(file.suffix.strip(".jsonl") or 0))
        return [event for file in files for event in whole_lines(file.read_bytes())]


class TextStreamCase(EventSinkCase):
    """A text stream that isn't based on a binary one."""

    name = "jsonlines"
    exact = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stream = io.StringIO(newline="")

    def make(self, **settings: Any) -> JSONLinesSink:
        """Create the sink."""
        return JSONLinesSink(self.stream, **settings)

    def arrived(self) -> list[Arrived]:
        """Return the events in the stream."""
        return whole_lines(self.stream.getvalue().encode())


class BinaryStreamCase(EventSinkCase):
    """A binary stream."""

    name = "jsonlines"
    exact = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stream = io.BytesIO()

    def make(self, **settings: Any) -> JSONLinesSink:
        """Create the sink."""
        return JSONLinesSink(self.stream, **settings)

    def arrived(self) -> list[Arrived]:
        """Return the events in the stream."""
        return whole_lines(self.stream.getvalue())


CASES = [
    RecordingCase,
    FunctionCase,
    LoggingCase,
    SQLiteCase,
    JSONLinesCase,
    RotatingCase,
    TextStreamCase,
    BinaryStreamCase,
]


@pytest.fixture(params=CASES, ids=lambda case: case.__name__.removesuffix("Case"))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> EventSinkCase:
    """Each sink in turn."""
    made: EventSinkCase = request.param(tmp_path)
    return made


class TestEventSinks(EventSinkContract):
    """The contract, for every event sink."""


class FakeSeriesCase(SeriesSinkCase):
    """The fake, whose back-end is a list."""

    name = "fakeseries"

    def make(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> FakeSeriesSink:
        """Create the sink."""
        self.sink = FakeSeriesSink(fail=fail, hang=hang, **settings)
        return self.sink

    def sums(self) -> dict[str, float]:
        """Return the last push."""
        return self.sink.pushed[-1] if self.sink.pushed else {}


@pytest.fixture(params=[FakeSeriesCase], ids=lambda case: case.__name__.removesuffix("Case"))
def series(request: pytest.FixtureRequest, tmp_path: Path) -> SeriesSinkCase:
    """Each series sink in turn."""
    made: SeriesSinkCase = request.param(tmp_path)
    return made


class TestSeriesSinks(SeriesSinkContract):
    """The contract, for every series sink."""
