"""A FastAPI application as a user runs it: its own process, Hypercorn's Trio worker, a thousand requests over HTTP.

The expected values come from the sent requests, never from the library.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
import trio

from .sinks.prometheus_parsing import Parsed, labelled, parsed

APPLICATION = Path(__file__).with_name("fastapi_app.py")
HELD = 7
"""Requests of each kind that are held: FastAPI has 40 threads, so enough are left for the others."""
WORKERS = 16
SPAN = 497
"""Requests in each half of the traffic. With the held ones, and their `/open`, there are 1 009."""


def plan(first: int) -> list[str]:
    """Return the paths of half the traffic, in mixed order."""
    items = range(first, first + SPAN)
    kinds = ("tasks", "threads", "threads", "tasks", "threads", "tasks", "refused")
    return [f"/{kinds[item % 7]}/{item}" for item in items]


class Sent:
    """The requests that were sent, and thus the expected content of the page once all have a response."""

    def __init__(self) -> None:
        """Create an empty list of requests."""
        self.begun = Counter[str]()
        self.by_route = Counter[tuple[str, int]]()
        self.items: list[tuple[str, int]] = []

    async def ask(self, http: httpx2.AsyncClient, path: str, method: str = "GET") -> None:
        """Send a request, and check the status of the response."""
        kind, _, item = path.removeprefix("/").partition("/")
        self.begun[kind] += 1
        response = await http.request(method, path)
        status = (404 if int(item) % 2 else 500) if kind == "refused" else 200
        assert response.status_code == status, (path, response.text)
        if item.isdecimal():
            self.items.append((kind, int(item)))
            self.by_route[f"/{kind}/{{item}}", status] += 1
        else:
            self.by_route[path, status] += 1

    def of(self, *kinds: str) -> list[int]:
        """Return the items of the requests with a response."""
        return [item for kind, item in self.items if kind in kinds]


def requests_on(page: Parsed) -> Counter[tuple[str, int]]:
    """Return how many requests a page counts, by route and status; assert that the buckets agree."""
    found = Counter[tuple[str, int]]()
    for labels, count in page.of("http_server_request_duration_seconds_count").items():
        named = dict(labels)
        assert named["http_request_method"] == ("POST" if named["http_route"] == "/open" else "GET")
        found[named["http_route"], int(named["http_response_status_code"])] = int(count)
        buckets = page.of("http_server_request_duration_seconds_bucket")
        assert buckets[labels | labelled(le="+Inf")] == count
    return found


def assert_shows(page: Parsed, sent: Sent, *, in_flight: int) -> None:
    """Assert that a page has exactly the requests that were sent and got a response."""
    assert requests_on(page) == sent.by_route
    assert page.of("http_server_active_requests") == {labelled(): in_flight}
    threads, tasks = sent.of("threads"), sent.of("tasks")
    handled = len(sent.items)  # `used` and its handler share one collector_of
    assert page.of("collector_asked_for_total") == {labelled(): handled}
    assert page.of("refused_total") == {labelled(): len(sent.of("refused"))}
    assert page.of("cache_operations_total") == {
        labelled(cache_type="items", cache_operation=operation): sum((item % 3 > 0) is hit for item in threads + tasks)
        for operation, hit in (("hit", True), ("miss", False))
    }
    by_third = {third: sum(item for item in threads if item % 3 == third) for third in range(3)}
    assert page.of("thread_items_total") == {labelled(third=str(third)): total for third, total in by_third.items()}
    assert page.of("bound_items_total") == {
        labelled(kind="async"): sum(tasks),
        **{labelled(kind="def", third=str(third)): total for third, total in by_third.items()},
    }
    assert page.of("work_seconds_count") == {labelled(kind="async"): len(tasks), labelled(kind="def"): len(threads)}
    assert page.of("work_seconds_sum")[labelled(kind="async")] >= 0.001 * len(tasks)
    assert page.of("connections_duration_seconds_count") == {labelled(): len(threads)}
    assert page.of("connections_used") == {labelled(): 0}


async def fetched(http: httpx2.AsyncClient) -> Parsed:
    """Fetch the page from its exact path, without a redirect."""
    response = await http.get("/metrics", follow_redirects=False)
    assert response.status_code == 200
    return parsed(response.content, openmetrics=False)


async def page_where(http: httpx2.AsyncClient, holds: Callable[[Parsed], bool]) -> Parsed:
    """Fetch pages until one satisfies the condition; then fetch another, as a page may be shared for 50 ms."""
    for _ in range(200):
        if holds(await fetched(http)):
            await trio.sleep(0.06)
            return await fetched(http)
        await trio.sleep(0.06)
    raise AssertionError((await http.get("/metrics")).text)


async def settled(http: httpx2.AsyncClient, sent: Sent) -> Parsed:
    """Fetch the page once it counts every response: a client may get one a moment before its request is recorded."""
    return await page_where(http, lambda page: requests_on(page) == sent.by_route)


async def traffic(http: httpx2.AsyncClient, sent: Sent, paths: list[str]) -> None:
    """Send requests, several at a time."""
    waiting = iter(paths)

    async def work() -> None:
        for path in waiting:
            await sent.ask(http, path)

    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(work)


async def watch(http: httpx2.AsyncClient, sent: Sent, pages: list[Parsed]) -> None:
    """Fetch pages during the traffic: their counts never exceed the started requests, and never decrease."""
    before = Counter[tuple[str, int]]()
    while True:
        page = await fetched(http)
        requests = requests_on(page)
        assert requests >= before
        assert requests.total() <= sent.begun.total()
        before = requests
        [active] = page.of("http_server_active_requests").values()
        # A client may have a response, and send its next request, a moment before the server is done with the first.
        assert 2 * HELD <= active <= 2 * (HELD + WORKERS)
        pages.append(page)
        await trio.sleep(0.02)


@contextmanager
def served(folder: Path) -> Generator[tuple[str, subprocess.Popen[str]], None, None]:
    """Run the application as a user does, on a free port; yield its URL and the process."""
    (folder / "path").mkdir()
    (folder / "path" / "fastapi_app.py").symlink_to(APPLICATION)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "ACCOUNT": str(folder / "account.json"),
        "PYTHONPATH": str(folder / "path"),
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "error::Warning:trio_batchmetrics",
    }
    command = [sys.executable, "-m", "hypercorn", "--worker-class", "trio", "--bind", "127.0.0.1:0", "fastapi_app:app"]
    log = folder / "log.txt"
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, text=True, start_new_session=True
        ) as process,
    ):
        try:
            yield url_in(log, process), process
        finally:
            with suppress(ProcessLookupError):  # the worker too, which is its own process
                os.killpg(process.pid, signal.SIGKILL)


def url_in(log: Path, process: subprocess.Popen[str]) -> str:
    """Wait until Hypercorn has logged where it listens."""
    for _ in attempts(process):
        found = re.search(r"Running on (http://127\.0\.0\.1:\d+) ", log.read_text())
        if found is not None:
            return found[1]
    raise AssertionError(log.read_text())


def attempts(process: subprocess.Popen[str]) -> Iterator[None]:
    """Retry for half a minute, as long as the process runs."""
    for _ in range(300):
        yield
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        return


@pytest.fixture
def application(tmp_path: Path) -> Generator[tuple[str, subprocess.Popen[str]], None, None]:
    """Serve the application."""
    with served(tmp_path) as running:
        yield running


async def test_a_thousand_requests_are_counted_exactly_during_the_traffic_and_after_it(
    application: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    """``def`` and ``async def`` handlers that respond or fail are tried, and requests in flight are counted as well."""
    url, process = application
    sent = Sent()
    pages: list[Parsed] = []
    async with httpx2.AsyncClient(base_url=url, timeout=30, limits=httpx2.Limits(max_connections=100)) as http:
        async with trio.open_nursery() as held:
            for path in ("/held/task", "/held/thread") * HELD:
                held.start_soon(sent.ask, http, path)
            all_held = {labelled(): 2 * HELD}
            await page_where(http, lambda page: page.of("http_server_active_requests") == all_held)
            for half in range(2):
                async with trio.open_nursery() as watching:
                    watching.start_soon(watch, http, sent, pages)
                    await traffic(http, sent, plan(half * SPAN))
                    watching.cancel_scope.cancel()
                assert_shows(await settled(http, sent), sent, in_flight=2 * HELD)
            await sent.ask(http, "/open", "POST")
        assert sent.by_route.total() == 2 * SPAN + 2 * HELD + 1
        assert_shows(await settled(http, sent), sent, in_flight=0)
    assert any(page.of("http_server_active_requests") != all_held for page in pages)

    process.send_signal(signal.SIGTERM)
    assert await trio.to_thread.run_sync(process.wait, 30) == 0
    total, processed, dropped, failed, pending = json.loads((tmp_path / "account.json").read_text())
    assert (total, dropped, failed, pending) == (processed, 0, 0, 0)
