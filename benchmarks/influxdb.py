"""Measures the CPU time per event into a real InfluxDB, from the call to the server's confirmation."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.servers.cache import is_installed
from tests.servers.influxdb import InfluxDB18

from .effort import Effort
from .figures import Figure, Outcome, ratio
from .influxdb_writer import CLIENTS
from .processes import run_program

__all__ = ["run"]


def run(effort: Effort) -> Outcome:
    """Run the clients in turns on one server. Each must have written every event."""
    if not is_installed(InfluxDB18.kind):
        print("influxdb: left out, there is no server (make servers)")
        return Outcome()
    events = effort.events // 10
    seconds: dict[str, list[float]] = {client: [] for client in CLIENTS}
    with tempfile.TemporaryDirectory() as folder, InfluxDB18(Path(folder)) as server:
        for turn in range(max(3, effort.processes // 3)):
            for number, client in enumerate(CLIENTS):
                database = server.create_database(f"turn{turn}x{number}")
                seconds[client].append(run_program("influxdb_writer", client, server.url, database, events))
                [series] = server.query('SELECT count("value") FROM "http.server.request.duration"', database=database)
                if series["values"][0][1] != events:
                    raise AssertionError(f"{client} wrote {series['values'][0][1]} of {events} events")
    figures = [
        ratio(
            "CPU an event into InfluxDB ÷ influxdb-client's batching writer",
            seconds["ours"],
            seconds["influxdb-client"],
            0.2,
        ),
        *(
            Figure(f"events a CPU second into InfluxDB, {client}", events / min(took), "")
            for client, took in seconds.items()
        ),
    ]
    return Outcome(figures)
