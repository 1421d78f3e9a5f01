"""An event goes to the index of its own day, and a setting that can't work is refused."""

import time
from collections.abc import Generator
from fnmatch import fnmatch
from typing import Any

import pytest
from trio.testing import MockClock

from tests.helpers import balanced
from tests.sinks.elasticsearch.cluster import ONE_BATCH, FakeCluster
from trio_batchmetrics import Counter, collector
from trio_batchmetrics.sinks._elasticsearch.sink import ElasticsearchSink


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Generator[None, None, None]:
    """Run the test nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


async def test_events_go_to_the_index_of_their_own_day_in_utc(in_tokyo: None, autojump_clock: MockClock) -> None:
    """The events lie around midnight, in any order."""
    assert time.localtime(0).tm_hour == 9
    midnight = 1_795_478_400 * 10**9  # 2026-11-24T00:00:00Z
    cluster = FakeCluster()
    async with collector(ONE_BATCH, sinks=[cluster(index="metrics-%Y.%m.%d")]) as metrics:
        for at, offset in enumerate([0, -1, 10**9, -(10**9), 86_400 * 10**9 - 1, 86_400 * 10**9, 0]):
            metrics.record(Counter("c", {}, at, timestamp=midnight + offset))
    assert balanced(metrics.stats()).processed_events == 7
    days = {document["fields"]["value"]: index for (index, _), document in cluster.documents.items()}
    assert days == {
        **dict.fromkeys([0, 2, 4, 6], "metrics-2026.11.24"),
        **dict.fromkeys([1, 3], "metrics-2026.11.23"),
        5: "metrics-2026.11.25",
    }


@pytest.mark.parametrize(
    ("index", "name", "patterns", "template"),
    [
        ("metrics", "metrics", "metrics", "metrics"),
        ("m-%Y.%m.%d", "m-2026.11.24", "m-1* m-2*", "m-"),
        ("m-%Y.%m.%d-x", "m-2026.11.24-x", "m-1*-x m-2*-x", "m--x"),
        ("%Y", "2026", "1* 2*", ""),
        ("a-%G-%V.%H.%j", "a-2026-48.03.328", "a-1* a-2*", "a-"),
        ("%V-%G", "48-2026", "0* 1* 2* 3* 4* 5*", ""),
        ("h%H", "h03", "h0* h1* h2*", "h"),
        ("m%m", "m11", "m0* m1*", "m"),
        ("j%j", "j328", "j0* j1* j2* j3*", "j"),
        ("größe-%d", "größe-24", "größe-0* größe-1* größe-2* größe-3*", "größe-"),
        (".hidden", ".hidden", ".hidden", ".hidden"),
    ],
)
async def test_an_index_name_has_patterns_and_a_template(
    index: str, name: str, patterns: str, template: str, autojump_clock: MockClock
) -> None:
    """The pattern has a star for everything from the first directive to the last, after the first digit."""
    cluster = FakeCluster()
    async with collector(sinks=[cluster(index=index, template=True)]) as metrics:
        metrics.record(Counter("c", {}, 1, timestamp=1_795_489_500 * 10**9))
    assert {found for found, _ in cluster.documents} == {name}
    [(found, body)] = cluster.templates.items()
    assert found == f"trio-batchmetrics-{template}"
    assert body["index_patterns"] == patterns.split()
    assert any(fnmatch(name, pattern) for pattern in body["index_patterns"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"index": "Metrics"}, r"^index must be in lower case.*got 'Metrics'"),
        *(({"index": f"a{bad}b"}, r"^index must be in lower case") for bad in '\\/*?"<>|, #:\n\x00\ud800'),
        *(({"index": f"{bad}a"}, r"^index must be a name that does not begin") for bad in "-_+"),
        *(({"index": bad}, r"^index must be a name") for bad in ("", ".", "..")),
        *(({"index": f"a-{bad}"}, r"^index may have %Y, %m.*no other %") for bad in ("%b", "%", "%%", "%-d", "%\n")),
        ({"index": 3}, r"^index must be a str \(got 3\)"),
        ({"index": "é" * 128}, r"^index must have at most 255 bytes \(got 256\)"),
        ({"action": "update"}, r"^action must be 'create' or 'index' \(got 'update'\)"),
        ({"action": "index", "data_stream": True}, r"^action must be 'create' with data_stream=True"),
        ({"template": "flat"}, r"^template must be True, False or 'keyword' \(got 'flat'\)"),
        ({"max_events": 0}, r"^max_events must be"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    """The error names the setting, the rule and the value."""
    with pytest.raises(ValueError, match=message):
        FakeCluster()(**settings)


def test_the_index_is_a_required_argument() -> None:
    """It has no default."""
    with pytest.raises(TypeError, match="index"):
        ElasticsearchSink("http://search.example")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
