"""The example gateway as a user runs it: another process, real HTTP, the real clock and real signals.

The import path of the processes holds the examples and nothing else of the repository, so that they, too, run on the
installed package.
"""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

KINDS = {
    "BackendRequest",
    "CacheMetric",
    "Counter",
    "Gauge",
    "HealthCheck",
    "Histogram",
    "HistogramPoint",
    "HttpRequest",
    "LLMCall",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Create an empty folder to run in, with the path to the examples next to it."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "examples").symlink_to(EXAMPLES, target_is_directory=True)
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@contextmanager
def started(folder: Path, *arguments: str) -> Generator["subprocess.Popen[str]", None, None]:
    """Start the demo in a folder; it ends with the block at the latest."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "PYTHONPATH": str(folder.parent / "path"),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        # The HTTP client leaves connections that it was closing at the second Ctrl-C to the operating system.
        "PYTHONWARNINGS": "error,ignore::ResourceWarning",
    }
    command = [sys.executable, "-m", "examples.gateway", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> str:
    """Wait for the demo to end successfully, and return its output."""
    output, errors = process.communicate(timeout=120)
    assert errors == ""
    assert process.returncode == 0, output
    return output


def rows_by_kind(folder: Path) -> Counter[str]:
    """Count the file's rows."""
    with closing(sqlite3.connect(folder / "demo.sqlite3")) as database:
        return Counter(dict(database.execute("SELECT kind, count(*) FROM events GROUP BY kind")))


def one_number(folder: Path, query: str) -> int:
    """Return the only number in a query's result."""
    with closing(sqlite3.connect(folder / "demo.sqlite3")) as database:
        [number] = database.execute(query).fetchone()
        return int(number)


def processed_count(output: str) -> int:
    """Return the ledger's count from the demo's last output."""
    match = re.search(r"^rows +(\d+) in demo\.sqlite3, (\d+) processed by the ledger: equal$", output, re.MULTILINE)
    assert match is not None, output
    assert match[1] == match[2]
    return int(match[2])


def test_every_event_that_the_ledger_counts_as_processed_is_a_row_of_the_file(folder: Path) -> None:
    """Two runs share a folder: each file holds every kind, and as many rows as the ledger reports."""
    for _ in range(2):
        with started(folder, "--plain", "--seconds", "3") as process:
            output = ended(process)
        rows = rows_by_kind(folder)
        assert rows.keys() == KINDS
        assert rows.total() == processed_count(output)
        for title in ("Requests by route", "Calls by provider and model", "Cache", "Health checks", "ledger"):
            assert title in output
        assert [path.name for path in folder.iterdir()] == ["demo.sqlite3"]


def test_rows_of_different_kinds_agree_with_each_other(folder: Path) -> None:
    """A call recorded under two kinds is there twice, and the clients saw the same as the gateway."""
    with started(folder, "--plain", "--seconds", "3") as process:
        ended(process)
    rows = rows_by_kind(folder)
    successes = one_number(
        folder,
        "SELECT count(*) FROM events WHERE kind = 'BackendRequest' AND json_extract(labels, '$.success') = 'true'",
    )
    lookups = one_number(
        folder,
        "SELECT count(*) FROM events WHERE kind = 'CacheMetric'"
        " AND json_extract(labels, '$.\"cache.operation\"') IN ('hit', 'miss')",
    )
    sent = one_number(folder, "SELECT sum(json_extract(fields, '$.count')) FROM events WHERE kind = 'HistogramPoint'")
    workers = 12
    assert rows["LLMCall"] == successes
    assert rows["Histogram"] == lookups
    assert sent - workers <= rows["HttpRequest"] <= sent  # at the end each worker may have one request in flight


def test_the_metrics_page_agrees_with_the_file(folder: Path) -> None:
    """A scrape in the middle of the run counts at most the final number of rows for each route."""
    with started(folder, "--plain", "--seconds", "4") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        url = first.removeprefix("Prometheus can scrape ").strip()
        process.stdout.readline()
        process.stdout.readline()
        with urlopen(url, timeout=10) as answer:
            page = answer.read().decode()
        ended(process)
    requests = "http_server_request_duration_seconds"
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert {requests, "backend_health", "cache_operations", "http_server_active_requests"} <= families.keys()
    scraped = Counter[str]()
    for sample in families[requests].samples:
        if sample.name == f"{requests}_count":
            scraped[sample.labels["http_route"]] += int(sample.value)
    assert scraped
    for route, count in scraped.items():
        query = f"SELECT count(*) FROM events WHERE json_extract(labels, '$.\"http.route\"') = '{route}'"
        assert 0 < count <= one_number(folder, query)


@pytest.mark.parametrize("signals", [1, 2])
def test_an_interrupted_run_still_flushes_everything_and_reports_it(folder: Path, signals: int) -> None:
    """One Ctrl-C ends the traffic, and another one during that cuts it off."""
    with started(folder, "--plain", "--seconds", "60") as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(2)]
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            printed.append(process.stdout.readline())
        output = "".join(printed) + ended(process)
    assert printed[0].startswith("Prometheus can scrape http://127.0.0.1:")
    assert printed[1].startswith("  1.0 s  ")
    assert "\nstopping: once more to do it the hard way\n" in output
    assert "\ninterrupted: what was recorded until then is in the file\n" in output
    rows = rows_by_kind(folder)
    assert rows["HttpRequest"] > 0
    assert rows.total() == processed_count(output)


def test_a_file_that_is_not_the_demos_is_never_replaced(folder: Path) -> None:
    """A text file and a foreign database aren't deleted, and the message names the file."""
    (folder / "notes.txt").write_text("precious")
    with closing(sqlite3.connect(folder / "other.sqlite3")) as database:
        database.execute("CREATE TABLE precious (value)")
    for name in ("notes.txt", "other.sqlite3"):
        before = (folder / name).read_bytes()
        with started(folder, "--database", name) as process:
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert f"{name} is not a file that this demo made" in errors
        assert (folder / name).read_bytes() == before
