"""What any sink must do, whatever it speaks: write a case for a sink, and the contract tests it.

How this works
==============

A case makes the sink and reads back what arrived, by means that owe nothing to the library: another SQLite connection,
a JSON parser, a log handler. What should have arrived comes from :data:`SAMPLES`, written down by hand beside the
events, or from the numbers that a test recorded. `stats()` is never asked what arrived: it is held against that.

A test module gives a fixture ``case`` and a class that inherits the contract::

    @pytest.fixture(params=[MyCase])
    def case(request, tmp_path):
        return request.param(tmp_path)


    class TestMySink(EventSinkContract):
        pass
"""

from abc import ABC, abstractmethod
from collections import Counter as Count
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from tests.helpers import balanced
from trio_batchmetrics import (
    BackendRequest,
    Batch,
    BatchMetricsCollector,
    BatchMetricsConfig,
    BatchMetricsStats,
    CacheMetric,
    Counter,
    Gauge,
    HealthCheck,
    Histogram,
    HistogramPoint,
    HttpRequest,
    MetricEvent,
    SinkStats,
    collector,
    label,
    measure,
    metric_event,
)
from trio_batchmetrics.abc import Payload, Receipt, SeriesSink

TIMESTAMP = 1_795_489_500_123_456_789
"""2026-11-24T03:05:00.123456789Z."""


@metric_event(counts="llm.calls")
class LLMCall(MetricEvent):
    """An event class of a user's."""

    model: str = label("gen_ai.request.model")
    cached: bool = label()
    tokens: int = measure(Counter, "gen_ai.client.tokens", unit="{token}")
    seconds: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")


class Arrived(NamedTuple):
    """An event as a sink has it: label values are text, measured values are numbers."""

    kind: str
    name: str | None
    labels: dict[str, str]
    fields: dict[str, Any]
    timestamp: int | None = None


SAMPLES: Sequence[tuple[MetricEvent, Arrived]] = [
    (
        HttpRequest("GET", "/users/{id}", 200, 0.15, timestamp=TIMESTAMP),
        Arrived(
            "HttpRequest",
            None,
            {"http.request.method": "GET", "http.route": "/users/{id}", "http.response.status_code": "200"},
            {"duration": 0.15},
        ),
    ),
    (
        BackendRequest("openai", "gpt-4", False, 0.85, "timeout", timestamp=TIMESTAMP),
        Arrived(
            "BackendRequest",
            None,
            {"provider": "openai", "model": "gpt-4", "success": "false", "error.type": "timeout"},
            {"latency": 0.85},
        ),
    ),
    (
        BackendRequest("openai", "gpt-4", True, 1, timestamp=TIMESTAMP),
        Arrived("BackendRequest", None, {"provider": "openai", "model": "gpt-4", "success": "true"}, {"latency": 1.0}),
    ),
    (
        HealthCheck("backend-1", True, 0.05, timestamp=TIMESTAMP),
        Arrived("HealthCheck", None, {"backend": "backend-1"}, {"healthy": 1.0, "duration": 0.05}),
    ),
    (
        CacheMetric("redis", "hit", timestamp=TIMESTAMP),
        Arrived("CacheMetric", None, {"cache.type": "redis", "cache.operation": "hit"}, {}),
    ),
    (
        Counter("jobs", {"region": "us-east"}, 42, timestamp=TIMESTAMP),
        Arrived("Counter", "jobs", {"region": "us-east"}, {"value": 42.0}),
    ),
    (
        Histogram("response_time", {"try": 2, "last": False, "why": None}, -0.5, timestamp=TIMESTAMP),
        Arrived("Histogram", "response_time", {"try": "2", "last": "false"}, {"value": -0.5}),
    ),
    (Gauge("depth", {}, 0, timestamp=TIMESTAMP), Arrived("Gauge", "depth", {}, {"value": 0.0})),
    (
        HistogramPoint("wait", {"queue": "a"}, 3, 4.5, (1.0, 2.0), (1, 0, 2), timestamp=TIMESTAMP),
        Arrived(
            "HistogramPoint",
            "wait",
            {"queue": "a"},
            {"count": 3.0, "sum": 4.5, "bounds": [1.0, 2.0], "counts": [1.0, 0.0, 2.0]},
        ),
    ),
    (
        LLMCall("gpt-4", True, 1200, 2.5, timestamp=TIMESTAMP),
        Arrived(
            "LLMCall", None, {"gen_ai.request.model": "gpt-4", "cached": "true"}, {"tokens": 1200.0, "seconds": 2.5}
        ),
    ),
]
"""An event of each kind, and how it must arrive."""

LABELS = {
    "HttpRequest": {
        "method": "http.request.method",
        "path": "http.route",
        "status_code": "http.response.status_code",
    },
    "BackendRequest": {"provider": "provider", "model": "model", "success": "success", "error_type": "error.type"},
    "HealthCheck": {"backend": "backend"},
    "CacheMetric": {"cache_type": "cache.type", "operation": "cache.operation"},
    "LLMCall": {"model": "gen_ai.request.model", "cached": "cached"},
}
FIELDS = {
    "HttpRequest": ["duration"],
    "BackendRequest": ["latency"],
    "HealthCheck": ["healthy", "duration"],
    "CacheMetric": [],
    "LLMCall": ["tokens", "seconds"],
    "HistogramPoint": ["count", "sum", "bounds", "counts"],
}

AWKWARD = {
    "quotes": '"it\'s" `so`',
    "backslashes": "\\ \\n \\u0000 C:\\",
    "newlines": "one\ntwo\r\nthree\u2028four\x85five",
    "controls": "\x00\x01\x1b[31m\x7f\t",
    "emoji": "🙂👩\u200d👩\u200d👧",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u0639\u0627\u0644\u0645",
    "empty": "",
    "long": "x" * 10_000 + "é",
    "like JSON": '{"a": [1, null]}',
    "like SQL": "'); DROP TABLE events; --",
}
"""Label values that have to arrive as they are."""


def as_arrived(event: MetricEvent) -> Arrived:
    """Say how an event in memory should look in a file; for sinks that keep events themselves."""
    kind, holder = type(event).__name__, dict[str, Any]()
    values: Any = event
    if kind in LABELS:
        holder = {name: getattr(event, field) for field, name in LABELS[kind].items()}
    else:
        holder = dict(values.labels)
    labels = {key: _as_text(value) for key, value in holder.items() if value is not None}
    fields = {field: _as_float(getattr(event, field)) for field in FIELDS.get(kind, ["value"])}
    return Arrived(kind, getattr(event, "name", None), labels, fields, event.timestamp)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_float(value: Any) -> Any:
    return list(map(float, value)) if hasattr(value, "__len__") else float(value)


class EventSinkCase(ABC):
    """A sink, and a way to read back what arrived."""

    detailed = True
    """Whether it tells what arrived event by event; else only how many of each kind."""
    encodes = True
    """Whether an event that has no form of its kind is rejected."""
    adds_static_labels = True
    """Whether static labels are part of what it writes."""
    takes_settings = True
    """Whether it is made with settings."""
    exact = True
    """Whether what arrived is what was delivered, even where it was cut off."""
    name: str
    """Its name in `stats().sinks`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def make(self, **settings: Any) -> Any:
        """Make the sink."""

    @abstractmethod
    def arrived(self) -> list[Arrived]:
        """Return what arrived so far, in order."""

    def kinds(self) -> Count[str]:
        """Return how many events of each kind arrived so far."""
        return Count(event.kind for event in self.arrived())

    def make_unreachable(self) -> Any:
        """Make one that can deliver nothing; None where there is no such thing."""
        return None


def ids(arrived: Iterable[Arrived]) -> list[int]:
    """Return the label `id` of each event."""
    return [int(event.labels["id"]) for event in arrived]


def record(metrics: BatchMetricsCollector, numbers: Iterable[int]) -> None:
    """Record a counter for each number, which becomes its label `id`."""
    for number in numbers:
        metrics.record_counter("contract", {"id": number}, 1)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is the case that happens in another thread or process."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - nobody there could set an event
            await trio.sleep(0.005)


def account_of(stats: BatchMetricsStats, case: EventSinkCase) -> SinkStats:
    """Check the account, hold it against what arrived, and return the sink's part of it."""
    [account] = balanced(stats).sinks.values()
    count = case.kinds().total()
    assert account.delivered <= count <= account.delivered + account.failed + account.pending, stats
    if case.exact:
        assert count == account.delivered, stats
    return account


class EventSinkContract:
    """What any event sink must do."""

    async def test_every_event_arrives_exactly_once_in_order(self, case: EventSinkCase) -> None:
        """Over many batches, flushed and not."""
        async with collector(BatchMetricsConfig(batch_size=300), sinks=[case.make()]) as metrics:
            for start in range(0, 2500, 500):
                record(metrics, range(start, start + 500))
                if start % 1000:
                    assert (await metrics.flush()).ok
        assert account_of(metrics.stats(), case).delivered == 2500
        assert case.kinds() == {"Counter": 2500}
        if case.detailed:
            assert ids(case.arrived()) == list(range(2500))

    async def test_every_kind_of_event_arrives_as_it_is_declared(self, case: EventSinkCase) -> None:
        """The built-in ones, a point of a histogram, and a user's own."""
        async with collector(sinks=[case.make()]) as metrics:
            for event, _ in SAMPLES:
                metrics.record(event)
        assert account_of(metrics.stats(), case).delivered == len(SAMPLES)
        assert case.kinds() == Count(expected.kind for _, expected in SAMPLES)
        if case.detailed:
            assert case.arrived() == [expected._replace(timestamp=TIMESTAMP) for _, expected in SAMPLES]

    async def test_what_bound_instruments_gather_arrives(self, case: EventSinkCase) -> None:
        """A point for each instrument that was touched."""
        async with collector(sinks=[case.make()]) as metrics:
            metrics.counter("jobs", labels={"queue": "a"}).add(2)
            metrics.counter("jobs", labels={"queue": "a"}).add(3)
            metrics.gauge("depth").set(7)
            metrics.histogram("size", bounds=[1, 2]).observe(2)
        assert account_of(metrics.stats(), case).delivered == 3
        assert case.kinds() == {"Counter": 1, "Gauge": 1, "HistogramPoint": 1}
        if case.detailed:
            found = {event.kind: (event.name, event.labels, event.fields) for event in case.arrived()}
            counts = {"count": 1.0, "sum": 2.0, "bounds": [1.0, 2.0], "counts": [0.0, 1.0, 0.0]}
            assert found == {
                "Counter": ("jobs", {"queue": "a"}, {"value": 5.0}),
                "Gauge": ("depth", {}, {"value": 7.0}),
                "HistogramPoint": ("size", {}, counts),
            }

    async def test_awkward_text_arrives_as_it_is(self, case: EventSinkCase) -> None:
        """As a label's value, a label's name and an instrument's name; in one event and in one for each."""
        async with collector(sinks=[case.make()]) as metrics:
            metrics.record_gauge("all", AWKWARD, 1)
            for value in AWKWARD.values():
                metrics.record_gauge(value or "-", {value: value}, 1)
        assert account_of(metrics.stats(), case).delivered == 1 + len(AWKWARD)
        assert case.kinds() == {"Gauge": 1 + len(AWKWARD)}
        if case.detailed:
            expected: list[tuple[str | None, dict[str, str]]] = [("all", AWKWARD)]
            expected += [(value or "-", {value: value}) for value in AWKWARD.values()]
            assert [(event.name, event.labels) for event in case.arrived()] == expected

    async def test_half_a_surrogate_pair_takes_nobody_with_it(self, case: EventSinkCase) -> None:
        """No encoding can carry it, so it arrives as U+FFFD."""
        async with collector(sinks=[case.make()]) as metrics:
            record(metrics, [0])
            metrics.record_counter("contract", {"id": 1, "half": "a\ud83dz"}, 1)
            record(metrics, [2])
        assert account_of(metrics.stats(), case).delivered == 3
        assert case.kinds() == {"Counter": 3}
        if case.detailed and case.encodes:
            assert ids(case.arrived()) == [0, 1, 2]
            assert case.arrived()[1].labels["half"] == "a\ufffdz"

    async def test_static_labels_are_on_everything_and_an_events_own_label_wins(self, case: EventSinkCase) -> None:
        """Values become text there too, and None is left out."""
        static = {"service.name": "shop", "build": 7, "canary": True, "none": None}
        async with collector(BatchMetricsConfig(static_labels=static), sinks=[case.make()]) as metrics:
            metrics.record_cache_metric("redis", "hit")
            metrics.record_counter("jobs", {"build": 8, "canary": None}, 1)
        assert account_of(metrics.stats(), case).delivered == 2
        if case.detailed and case.adds_static_labels:
            common = {"service.name": "shop", "build": "7", "canary": "true"}
            first, second = (event.labels for event in case.arrived())
            assert first == {**common, "cache.type": "redis", "cache.operation": "hit"}
            assert second == {**common, "build": "8"}

    async def test_an_event_that_cannot_be_encoded_is_rejected_alone(self, case: EventSinkCase) -> None:
        """A timestamp that no calendar and no 64 bits have, in the middle of others."""
        async with collector(sinks=[case.make()]) as metrics:
            record(metrics, range(700))
            metrics.record(Counter("contract", {"id": 700}, 1, timestamp=10**30))
            record(metrics, range(701, 1400))
        account = account_of(metrics.stats(), case)
        if case.encodes:
            assert (account.delivered, account.rejected) == (1399, 1)
            assert account.last_error is not None
            assert "cannot be encoded" in account.last_error
            assert ids(case.arrived()) == [number for number in range(1400) if number != 700]
        else:
            assert account.delivered == 1400

    async def test_an_invalid_event_never_reaches_it(self, case: EventSinkCase) -> None:
        """It is dropped before."""
        async with collector(sinks=[case.make()]) as metrics:
            record(metrics, [0])
            metrics.record_counter("contract", {"id": 1}, float("nan"))
            metrics.record_counter("contract", {"id": 2}, -1)
            record(metrics, [3])
        assert account_of(metrics.stats(), case).delivered == 2
        assert metrics.stats().dropped == {"invalid": 2}
        assert case.kinds() == {"Counter": 2}

    @pytest.mark.parametrize("milliseconds", [0, 1, 2, 4, 8, 16, 32, 64, 128])
    async def test_cut_at_the_shutdown_deadline_the_account_holds(
        self, case: EventSinkCase, milliseconds: float
    ) -> None:
        """Wherever the deadline strikes: connecting, encoding, inserting, committing; or not at all."""
        config = BatchMetricsConfig(batch_size=4000, shutdown_timeout=milliseconds / 1000)
        async with collector(config, sinks=[case.make()]) as metrics:
            record(metrics, range(4000))
        account = account_of(metrics.stats(), case)
        assert account.total == account.delivered + account.failed
        assert metrics.stats().total_events == 4000
        if case.detailed:
            found = ids(case.arrived())
            assert found == list(range(len(found)))

    async def test_an_attempt_that_takes_too_long_is_made_again(self, case: EventSinkCase) -> None:
        """With a timeout that some attempts keep and others do not, nothing arrives twice or out of order."""
        if not case.takes_settings:
            return
        sink = case.make(timeout=0.02, retry_budget=0.5, backoff=0.001, max_backoff=0.001)
        config = BatchMetricsConfig(batch_size=4000, shutdown_timeout=1)
        async with collector(config, sinks=[sink]) as metrics:
            record(metrics, range(4000))
            await metrics.flush()
            record(metrics, range(4000, 4050))
        account = account_of(metrics.stats(), case)
        assert account.total == account.delivered + account.failed == 4050
        if case.detailed:
            found = ids(case.arrived())
            assert found == sorted(set(found))

    async def test_a_cancelled_block_still_delivers_the_rest(self, case: EventSinkCase) -> None:
        """The flush at the end is shielded."""
        opened = list[BatchMetricsCollector]()
        with trio.CancelScope() as scope:
            async with collector(sinks=[case.make()]) as metrics:
                opened.append(metrics)
                record(metrics, range(10))
                scope.cancel()
                await trio.sleep_forever()
        assert account_of(opened[0].stats(), case).delivered == 10
        assert case.kinds() == {"Counter": 10}

    async def test_a_cancelled_attempt_leaves_it_as_it_was(self, case: EventSinkCase) -> None:
        """`send` in a cancelled scope: either it returned and all arrived, or nothing did; it works afterwards."""
        sink = case.make()
        if not case.takes_settings:
            return
        events = [Counter("contract", {"id": number}, 1) for number in range(3)]
        parts = (sink.encode(events),) if case.encodes else ()
        arrived = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await sink.send(Payload(Batch(events), parts, "key")) in (None, Receipt())
            arrived = 3
        assert case.kinds().total() == arrived
        async with collector(sinks=[sink]) as metrics:
            record(metrics, [3])
        assert balanced(metrics.stats()).processed_events == 1
        assert case.kinds() == {"Counter": arrived + 1}

    async def test_without_time_for_an_attempt_everything_has_failed(self, case: EventSinkCase) -> None:
        """`shutdown_timeout=0`, in a cancelled scope: closing does not wait either."""
        opened = list[BatchMetricsCollector]()
        with trio.CancelScope() as scope:
            scope.cancel()
            async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[case.make()]) as metrics:
                opened.append(metrics)
                record(metrics, range(3))
        assert account_of(opened[0].stats(), case).delivered == 0
        assert opened[0].stats().failed_events == 3

    async def test_two_collectors_at_once_mix_nothing_up(self, case: EventSinkCase) -> None:
        """Each has a sink and a place of its own."""
        places = [type(case)(case.folder / str(number)) for number in range(2)]
        for place in places:
            place.folder.mkdir()
        async with collector(sinks=[places[0].make()]) as one, collector(sinks=[places[1].make()]) as other:
            for number in range(100):
                record([one, other][number % 2], [number])
        for metrics, place, first in zip([one, other], places, [0, 1], strict=True):
            assert account_of(metrics.stats(), place).delivered == 50
            assert place.kinds() == {"Counter": 50}
            if case.detailed:
                assert ids(place.arrived()) == list(range(first, 100, 2))

    async def test_a_stuck_sink_beside_it_delays_nothing(self, case: EventSinkCase) -> None:
        """All has arrived while the other has yet to answer."""

        async def stuck(_: Sequence[MetricEvent]) -> None:
            await trio.sleep_forever()

        sinks = [case.make(), stuck]
        async with collector(BatchMetricsConfig(batch_size=50, shutdown_timeout=0), sinks=sinks) as metrics:
            record(metrics, range(50))
            await until(lambda: balanced(metrics.stats()).sinks[case.name].delivered == 50)
            assert case.kinds() == {"Counter": 50}
        assert balanced(metrics.stats()).failed_events == 50

    async def test_it_has_its_name_or_the_one_it_is_given(self, case: EventSinkCase) -> None:
        """And takes the delivery settings, which must be above 0."""
        async with collector(sinks=[case.make()]) as metrics:
            assert list(metrics.stats().sinks) == [case.name]
        if not case.takes_settings:
            return
        sink = case.make(name="mine", timeout=5, retry_budget=60, backoff=0.1, max_backoff=2, max_events=3)
        async with collector(sinks=[sink]) as metrics:
            record(metrics, range(10))
        assert list(metrics.stats().sinks) == ["mine"]
        assert account_of(metrics.stats(), case).delivered == 10
        settings = (sink.timeout, sink.retry_budget, sink.backoff, sink.max_backoff, sink.max_events)
        assert settings == (5, 60, 0.1, 2, 3)
        with pytest.raises(ValueError, match=r"^timeout must be .*> 0"):
            case.make(timeout=0)

    async def test_closing_it_twice_or_unused_does_no_harm(self, case: EventSinkCase) -> None:
        """Before it was used, and again after the collector closed it; cancelled or not."""
        sink = case.make()
        if not case.takes_settings:
            return
        await sink.aclose()
        async with collector(sinks=[sink]) as metrics:
            record(metrics, range(3))
        with trio.CancelScope() as scope:
            scope.cancel()
            await sink.aclose()
        await sink.aclose()
        assert account_of(metrics.stats(), case).delivered == 3

    async def test_opening_does_no_io(self, case: EventSinkCase) -> None:
        """Neither making a sink nor opening a collector looks for the back-end: what is not there shows later."""
        sink = case.make_unreachable()
        if sink is None:
            return
        async with collector(sinks=[sink]) as metrics:
            assert list(case.folder.iterdir()) == []
            assert metrics.stats().sinks[case.name].last_error is None
        assert list(case.folder.iterdir()) == []
        assert metrics.stats().sinks[case.name].last_error is None

    async def test_what_cannot_be_reached_costs_its_events_and_nothing_else(self, case: EventSinkCase) -> None:
        """They count as failed, with an error that names the place."""
        sink = case.make_unreachable()
        if sink is None:
            return
        async with collector(sinks=[sink]) as metrics:
            record(metrics, range(3))
            report = await metrics.flush()
        assert (report.processed, report.failed) == (0, 3)
        account = account_of(metrics.stats(), case)
        assert account.failed == 3
        assert account.last_error is not None
        assert str(case.folder) in account.last_error


# ------------------------------------------------------------------------------------------------------- series


class FakeSeriesSink(SeriesSink[dict[str, float]]):
    """Keeps counters' cumulative sums, and pushes them to a list."""

    def __init__(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.fail = fail
        self.hang = hang
        self.sums: dict[str, float] = {}
        self.merged: list[MetricEvent] = []
        self.pushed: list[dict[str, float]] = []
        self.closed = 0

    def merge(self, events: Sequence[MetricEvent]) -> None:
        """Add up the counters by name."""
        for event in events:
            self.merged.append(event)
            if isinstance(event, Counter):
                self.sums[event.name] = self.sums.get(event.name, 0.0) + event.value

    def snapshot(self) -> dict[str, float]:
        """Return the sums as they are."""
        return dict(self.sums)

    async def send(self, payload: Payload[dict[str, float]]) -> Receipt | None:
        """Fail, hang, or push."""
        await trio.lowlevel.checkpoint()
        if self.fail > 0:
            self.fail -= 1
            raise ConnectionError("not yet")
        if self.hang:
            await trio.sleep_forever()
        self.pushed += payload.parts
        return None

    async def aclose(self) -> None:
        """Count the calls."""
        self.closed += 1


class SeriesSinkCase(ABC):
    """A series sink, and a way to read back what its last push that succeeded had."""

    name: str
    """Its name in `stats().sinks`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def make(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> SeriesSink[Any]:
        """Make the sink, on a back-end whose first `fail` answers are errors, or that does not answer."""

    @abstractmethod
    def sums(self) -> dict[str, float]:
        """Return each counter's sum as the back-end has it."""


class SeriesSinkContract:
    """What any series sink that pushes must do."""

    async def test_the_back_end_has_the_cumulative_sums(self, series: SeriesSinkCase) -> None:
        """Over several pushes, each event is in them once."""
        async with collector(BatchMetricsConfig(batch_size=70), sinks=[series.make()]) as metrics:
            for start in range(0, 1500, 500):
                for number in range(start, start + 500):
                    metrics.record_counter(f"c{number % 3}", {}, number)
                assert (await metrics.flush()).ok
                so_far = range(start + 500)
                assert series.sums() == {f"c{rest}": float(sum(so_far[rest::3])) for rest in range(3)}
        account = balanced(metrics.stats()).sinks[series.name]
        assert (account.total, account.delivered, account.retries) == (1500, 1500, 0)

    async def test_a_failed_push_loses_nothing_while_a_later_one_succeeds(self, series: SeriesSinkCase) -> None:
        """What it would have carried is in the next."""
        sink = series.make(fail=3, backoff=0.001, max_backoff=0.001)
        async with collector(BatchMetricsConfig(batch_size=10), sinks=[sink]) as metrics:
            for _ in range(100):
                metrics.record_counter("jobs", {}, 2)
            assert (await metrics.flush()).ok
            assert series.sums() == {"jobs": 200.0}
        account = balanced(metrics.stats()).sinks[series.name]
        assert (account.delivered, account.retries) == (100, 3)
        assert account.last_error is not None

    async def test_what_no_push_contained_has_failed(self, series: SeriesSinkCase) -> None:
        """A back-end that does not answer, and no time left."""
        async with collector(BatchMetricsConfig(shutdown_timeout=0.3), sinks=[series.make(hang=True)]) as metrics:
            for _ in range(100):
                metrics.record_counter("jobs", {}, 2)
        account = balanced(metrics.stats()).sinks[series.name]
        assert (account.total, account.failed, account.delivered) == (100, 100, 0)
        assert series.sums() == {}

    async def test_a_push_that_takes_too_long_is_made_again(self, series: SeriesSinkCase) -> None:
        """And in the meantime what is merged waits."""
        sink = series.make(hang=True, timeout=0.01, backoff=0.001, max_backoff=0.001)
        async with collector(BatchMetricsConfig(batch_size=10, shutdown_timeout=0), sinks=[sink]) as metrics:
            for _ in range(100):
                metrics.record_counter("jobs", {}, 2)
            await until(lambda: balanced(metrics.stats()).sinks[series.name].retries >= 3)
            assert metrics.stats().sinks[series.name].pending == 100
        assert balanced(metrics.stats()).sinks[series.name].failed == 100

    async def test_without_time_for_a_push_everything_has_failed(self, series: SeriesSinkCase) -> None:
        """`shutdown_timeout=0`."""
        async with collector(BatchMetricsConfig(shutdown_timeout=0), sinks=[series.make()]) as metrics:
            metrics.record_counter("jobs", {}, 2)
            metrics.record_counter("jobs", {}, 3)
        account = balanced(metrics.stats()).sinks.get(series.name, SinkStats())
        assert account.delivered == 0
        assert metrics.stats().failed_events == 2

    async def test_an_event_that_it_has_no_series_for_is_delivered_with_the_others(
        self, series: SeriesSinkCase
    ) -> None:
        """Every kind may be merged."""
        async with collector(sinks=[series.make()]) as metrics:
            for event, _ in SAMPLES:
                metrics.record(event)
        account = balanced(metrics.stats()).sinks[series.name]
        assert account.delivered == len(SAMPLES)
        assert series.sums()["jobs"] == 42.0

    async def test_a_cancelled_block_still_pushes(self, series: SeriesSinkCase) -> None:
        """The flush at the end is shielded."""
        opened = list[BatchMetricsCollector]()
        with trio.CancelScope() as scope:
            async with collector(sinks=[series.make()]) as metrics:
                opened.append(metrics)
                metrics.record_counter("jobs", {}, 2)
                scope.cancel()
                await trio.sleep_forever()
        assert balanced(opened[0].stats()).sinks[series.name].delivered == 1
        assert series.sums() == {"jobs": 2.0}

    async def test_an_event_sink_beside_it_gets_the_same_events(self, series: SeriesSinkCase) -> None:
        """Both kinds in one collector; an event is settled when both have settled it."""
        seen = list[MetricEvent]()

        async def keep(batch: Sequence[MetricEvent]) -> None:
            await trio.lowlevel.checkpoint()
            seen.extend(batch)

        async with collector(sinks=[series.make(), keep]) as metrics:
            record(metrics, range(20))
        assert [event.labels["id"] for event in seen if isinstance(event, Counter)] == list(range(20))
        assert series.sums() == {"contract": 20.0}
        assert balanced(metrics.stats()).processed_events == 20

    async def test_closing_it_twice_or_unused_does_no_harm(self, series: SeriesSinkCase) -> None:
        """Before it was used, and again after the collector closed it."""
        sink = series.make()
        await sink.aclose()
        async with collector(sinks=[sink]) as metrics:
            metrics.record_counter("jobs", {}, 2)
        await sink.aclose()
        assert balanced(metrics.stats()).sinks[series.name].delivered == 1
