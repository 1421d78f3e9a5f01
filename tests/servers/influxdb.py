"""InfluxDB: 1.6, the system's, 1.8, which also has the write path of 2.x, and today's 1.13 and 2.7."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.servers.base import Server
from tests.servers.client import HOST, Answer, ServerFailedError

__all__ = ["InfluxDB", "InfluxDB18", "InfluxDB27", "InfluxDB113"]

Options = Mapping[str, str | int | bool]


class InfluxDB(Server):
    """InfluxDB 1.6.

    Args:
        folder: where it keeps its things.
        http: options of the configuration's section `http`, as `{"max-body-size": 1000}` or `{"auth-enabled": True}`.
        data: options of its section `data`, as `{"max-series-per-database": 10}`.
        credentials: user and password that the questions of this class send.
    """

    kind: ClassVar[str] = "influxdb"
    ready_path: ClassVar[str] = "/ping"

    credentials: ClassVar[dict[str, str]] = {}
    """What a sink needs beside the address and the database."""

    def __init__(
        self,
        folder: Path,
        *,
        http: Options | None = None,
        data: Options | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        self._http = http or {}
        self._data = data or {}
        self._credentials = {} if credentials is None else {"u": credentials[0], "p": credentials[1]}

    def command(self, program: Path) -> list[str | Path]:
        """Write the configuration and return the command."""
        sections: dict[str, Options] = {
            "meta": {"dir": str(self.folder / "meta")},
            "data": {
                "dir": str(self.folder / "data"),
                "wal-dir": str(self.folder / "wal"),
                "query-log-enabled": False,
                **self._data,
            },
            "monitor": {"store-enabled": False},
            "http": {
                "bind-address": f"{self.host}:{self.port}",
                "auth-enabled": False,
                "log-enabled": False,
                **self._http,
            },
            "continuous_queries": {"enabled": False},
        }
        lines = ["reporting-disabled = true", f'bind-address = "{HOST}:0"']  # the latter is for backups: never used
        for section, options in sections.items():
            # Words, numbers, true and false are written in TOML as in JSON.
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in options.items())]
        configuration = self.folder / "influxdb.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return [program / "influxd", "run", "-config", configuration]

    def query(
        self, question: str, *, database: str | None = None, epoch: str | None = "ns", **parameters: str
    ) -> list[dict[str, Any]]:
        """Ask in InfluxQL; return the series of the first statement: `name`, `tags`, `columns`, `values`.

        Args:
            question: one statement.
            database: which one it is about.
            epoch: the unit in which times come as numbers; None for text.
            parameters: further ones, as `rp="name"`.

        Raises:
            ServerFailedError: it was refused.
        """
        asked = {"q": question, **self._credentials, **parameters}
        if database is not None:
            asked["db"] = database
        if epoch is not None:
            asked["epoch"] = epoch
        result = self.ask("POST", "/query", query=asked).json()["results"][0]
        if "error" in result:
            raise ServerFailedError(f"{self.name}: {question}: {result['error']}")
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    def create_database(self, name: str, *, duration: str | None = None) -> str:
        """Create a database and return its name.

        Args:
            name: what to call it.
            duration: how long it keeps points, in InfluxQL's words; for ever if left out.
        """
        keeps = "" if duration is None else f' WITH DURATION {duration} REPLICATION 1 NAME "limited"'
        self.query(f"CREATE DATABASE {_quoted(name)}{keeps}")
        return name

    def points(self, database: str, measurement: str) -> list[dict[str, Any]]:
        """Return all points of a measurement in order of time, tags and fields by name, `time` in nanoseconds.

        A float without a fraction cannot be told from an integer here: `field_types` can.
        """
        series = self.query(f"SELECT * FROM {_quoted(measurement)}", database=database)
        return [dict(zip(each["columns"], row, strict=True)) for each in series for row in each["values"]]

    def measurements(self, database: str) -> list[str]:
        """Return the names of all measurements in a database."""
        return [row[0] for each in self.query("SHOW MEASUREMENTS", database=database) for row in each["values"]]

    def field_types(self, database: str, measurement: str) -> dict[str, str]:
        """Return float, integer, string or boolean by the name of a field."""
        series = self.query(f"SHOW FIELD KEYS FROM {_quoted(measurement)}", database=database)
        return {field: kind for each in series for field, kind in each["values"]}


class InfluxDB18(InfluxDB):
    """InfluxDB 1.8: has `/api/v2/write` and `/health` beside what 1.6 has."""

    kind: ClassVar[str] = "influxdb18"


class InfluxDB113(InfluxDB18):
    """InfluxDB 1.13."""

    kind: ClassVar[str] = "influxdb113"


class InfluxDB27(InfluxDB):
    """InfluxDB 2.7, where a database is a bucket of one organisation.

    It is asked in InfluxQL, which it reads for buckets too, so it has the questions of 1.x.

    Args:
        folder: where it keeps its things.
    """

    kind: ClassVar[str] = "influxdb27"
    ready_path: ClassVar[str] = "/health"

    org: ClassVar[str] = "org"
    token: ClassVar[str] = "token-of-the-tests"
    credentials: ClassVar[dict[str, str]] = {"org": org, "token": token}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def command(self, program: Path) -> list[str | Path]:
        """Return the command."""
        return [
            "env",
            f"HOME={self.folder}",
            program / "influxd",
            f"--http-bind-address={self.host}:{self.port}",
            f"--engine-path={self.folder / 'engine'}",
            f"--bolt-path={self.folder / 'bolt'}",
            f"--sqlite-path={self.folder / 'sqlite'}",
            "--reporting-disabled",
        ]

    def start(self) -> Self:
        """Start it; the first time, create the user whose token the tests have."""
        super().start()
        if self.request("GET", "/api/v2/setup").json()["allowed"]:
            owner = {"username": "tests", "password": "correct-horse", "org": self.org, "bucket": "first"}
            self.ask("POST", "/api/v2/setup", json={**owner, "token": self.token})
        return self

    def request(self, method: str, path: str, body: bytes | str | None = None, **options: Any) -> Answer:
        """Ask the server something, with the tests' token."""
        headers: dict[str, str] = options.pop("headers", None) or {}
        return super().request(
            method, path, body, headers={"Authorization": f"Token {self.token}", **headers}, **options
        )

    def create_database(self, name: str, *, duration: str | None = None) -> str:
        """Create a bucket and return its name.

        Args:
            name: what to call it.
            duration: how long it keeps points: hours, as ``"1h"``; for ever if left out.
        """
        organisations = self.ask("GET", "/api/v2/orgs", query={"org": self.org}).json()["orgs"]
        rules = [] if duration is None else [{"type": "expire", "everySeconds": int(duration.rstrip("h")) * 3600}]
        bucket = {"orgID": organisations[0]["id"], "name": name, "retentionRules": rules}
        self.ask("POST", "/api/v2/buckets", json=bucket)
        return name


def _quoted(name: str) -> str:
    r"""Write an identifier of InfluxQL, which has \\, \" and \n in it."""
    return '"' + name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'
