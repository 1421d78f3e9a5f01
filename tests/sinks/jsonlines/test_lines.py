"""Each event is one line of JSON, appended to the given file."""

from pathlib import Path
from typing import Any

import pytest

from tests.sinks.contract import record
from tests.sinks.jsonlines.files import HIT, LINE, numbers, text
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import JSONLinesSink


async def test_a_line_is_the_json_form_of_an_event(path: Path) -> None:
    """The line matches byte for byte."""
    async with collector(sinks=[JSONLinesSink(path)]) as metrics:
        metrics.record(HIT)
    assert text(path) == LINE


async def test_a_later_run_adds_to_the_file(path: Path) -> None:
    """Earlier content stays."""
    for start in (0, 10):
        async with collector(sinks=[JSONLinesSink(str(path))]) as metrics:
            record(metrics, range(start, start + 10))
    assert numbers(path) == list(range(20))


async def test_a_relative_path_is_resolved_when_the_sink_is_constructed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application may change its working directory afterwards."""
    monkeypatch.chdir(path.parent)
    sink = JSONLinesSink(path.name)
    monkeypatch.chdir(tmp_path)
    async with collector(sinks=[sink]) as metrics:
        record(metrics, [1])
    assert numbers(path) == [1]


@pytest.mark.parametrize("target", [None, 7, b"events.jsonl", object()])
def test_a_value_that_is_neither_a_path_nor_a_stream_is_refused(target: Any) -> None:
    """The constructor refuses it."""
    with pytest.raises(TypeError, match=r"^path_or_stream must be a path or a stream \(got "):
        JSONLinesSink(target)
