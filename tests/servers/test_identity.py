"""Forked workers push to a real Pushgateway, each to a group of its own, although they share one sink object."""

import os
import socket

import pytest
import trio

from tests.helpers import balanced
from tests.servers.prometheus import Pushgateway
from tests.test_fork import forked
from trio_batchmetrics import collector
from trio_batchmetrics.sinks import PushgatewaySink

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def test_workers_forked_with_one_sink_push_to_groups_of_their_own(pushgateway: Pushgateway) -> None:
    """The sink is created in the master before any fork; the master pushes too, and nothing is overwritten."""
    job = f"workers-{os.getpid()}"
    sink = PushgatewaySink(pushgateway.url, job=job)

    async def work(rows: int) -> None:
        async with collector(sinks=[sink]) as metrics:
            metrics.record_counter("rows", {}, rows)
            assert (await metrics.flush()).ok
        assert balanced(metrics.stats()).processed_events == 1

    def worker(rows: int) -> int:
        def child() -> int:
            trio.run(work, rows)
            return os.getpid()

        pid: int = forked(child)
        return pid

    trio.run(work, 1)
    pids = [worker(rows) for rows in (10, 200)]
    trio.run(work, 1)
    groups = {
        group["labels"]["instance"]: float(group["rows_total"]["metrics"][0]["value"])
        for group in pushgateway.groups()
        if group["labels"]["job"] == job
    }
    assert len(groups) == 3
    by_pid = {int(instance.rpartition(":")[2]): value for instance, value in groups.items()}
    assert by_pid == {os.getpid(): 1, pids[0]: 10, pids[1]: 200}
    assert all(instance.startswith(socket.gethostname()) for instance in groups)


def test_two_collectors_of_one_process_have_a_group_each(pushgateway: Pushgateway) -> None:
    """The second collector that is open gets ``host:pid:2``."""
    job = f"pair-{os.getpid()}"

    async def main() -> None:
        first, second = (PushgatewaySink(pushgateway.url, job=job) for _ in range(2))
        async with collector(sinks=[first]) as one, collector(sinks=[second]) as two:
            one.record_counter("rows", {}, 1)
            two.record_counter("rows", {}, 2)
        assert balanced(one.stats()).processed_events == balanced(two.stats()).processed_events == 1

    trio.run(main)
    groups = {
        group["labels"]["instance"]: float(group["rows_total"]["metrics"][0]["value"])
        for group in pushgateway.groups()
        if group["labels"]["job"] == job
    }
    assert sorted(groups.values()) == [1, 2]
    [first] = [instance for instance, value in groups.items() if value == 1]
    assert groups == {first: 1, f"{first}:2": 2}
