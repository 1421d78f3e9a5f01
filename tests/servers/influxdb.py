"""InfluxDB: 1.6 from the system's packages, 1.8, which also has the write path of 2.x, and the current 1.13 and 2.7."""

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
        folder: the folder for its files.
        http: options of the configuration section `http`, such as `{"max-body-size": 1000}`, `{"auth-enabled": True}`.
        data: options of its section `data`, such as `{"max-series-per-database": 10}`.
        credentials: the user and password of the queries.
    """

    kind: ClassVar[str] = "influxdb"
    ready_path: ClassVar[str] = "/ping"

    credentials: ClassVar[dict[str, str]] = {}
    """What a sink needs in addition to the address and the database."""

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
        lines = ["reporting-disabled = true", f'bind-address = "{HOST}:0"']  # the latter is for backups and never used
        for section, options in sections.items():
            # TOML writes words, numbers, true and false as JSON does.
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in options.items())]
        configuration = self.folder / "influxdb.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return [program / "influxd", "run", "-config", configuration]

    def query(
        self, question: str, *, database: str | None = None, epoch: str | None = "ns", **parameters: str
    ) -> list[dict[str, Any]]:
        """Run an InfluxQL query; return the series of the first statement: `name`, `tags`, `columns`, `values`.

        Args:
            question: a single statement.
            database: the database to query.
            epoch: the unit of numeric times; None for text.
            parameters: further parameters, such as `rp="name"`.

        Raises:
            ServerFailedError: the server refused it.
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
            name: its name.
            duration: how long it keeps points, as an InfluxQL duration; permanently if left out.
        """
        keeps = "" if duration is None else f' WITH DURATION {duration} REPLICATION 1 NAME "limited"'
        self.query(f"CREATE DATABASE {_quoted(name)}{keeps}")
        return name

    def points(self, database: str, measurement: str) -> list[dict[str, Any]]:
        """Return all points of a measurement in order of time, tags and fields by name, `time` in nanoseconds.

        Here a float without a fraction cannot be distinguished from an integer; `field_types` can do that.
        """
        series = self.query(f"SELECT * FROM {_quoted(measurement)}", database=database)
        return [dict(zip(each["columns"], row, strict=True)) for each in series for row in each["values"]]

    def measurements(self, database: str) -> list[str]:
        """Return the names of all measurements in a database."""
        return [row[0] for each in self.query("SHOW MEASUREMENTS", database=database) for row in each["values"]]

    def field_types(self, database: str, measurement: str) -> dict[str, str]:
        """Return the type of each field, by name: float, integer, string or boolean."""
        series = self.query(f"SHOW FIELD KEYS FROM {_quoted(measurement)}", database=database)
        return {field: kind for each in series for field, kind in each["values"]}


class InfluxDB18(InfluxDB):
    """InfluxDB 1.8: adds `/api/v2/write` and `/health` to what 1.6 has."""

    kind: ClassVar[str] = "influxdb18"


class InfluxDB113(InfluxDB18):
    """InfluxDB 1.13."""

    kind: ClassVar[str] = "influxdb113"


class InfluxDB27(InfluxDB):
    """InfluxDB 2.7, where a database is a bucket of one organisation.

    InfluxQL works for buckets too, so the queries of 1.x apply.

    Args:
        folder: the folder for its files.
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
        """Start the server; the first time, create the user whose token the tests use."""
        super().start()
        if self.request("GET", "/api/v2/setup").json()["allowed"]:
            owner = {"username": "tests", "password": "correct-horse", "org": self.org, "bucket": "first"}
            self.ask("POST", "/api/v2/setup", json={**owner, "token": self.token})
        return self

    def request(self, method: str, path: str, body: bytes | str | None = None, **options: Any) -> Answer:
        """Send a request with the tests' token."""
        headers: dict[str, str] = options.pop("headers", None) or {}
        return super().request(
            method, path, body, headers={"Authorization": f"Token {self.token}", **headers}, **options
        )

    def create_database(self, name: str, *, duration: str | None = None) -> str:
        """Create a bucket and return its name.

        Args:
            name: its name.
            duration: how long it keeps points: hours, such as ``"1h"``; permanently if left out.
        """
        organisations = self.ask("GET", "/api/v2/orgs", query={"org": self.org}).json()["orgs"]
        rules = [] if duration is None else [{"type": "expire", "everySeconds": int(duration.rstrip("h")) * 3600}]
        bucket = {"orgID": organisations[0]["id"], "name": name, "retentionRules": rules}
        self.ask("POST", "/api/v2/buckets", json=bucket)
        return name


def _quoted(name: str) -> str:
    r"""Quote an InfluxQL identifier, which may contain \\, \" and \n."""
    return '"' + name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'
