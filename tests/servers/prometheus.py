"""Prometheus, which scrapes and accepts remote writes; Pushgateway; and promtool, which checks pages."""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.base import Server
from tests.servers.cache import server_folder
from tests.servers.client import HOST, free_port

__all__ = ["Prometheus", "Prometheus3", "Pushgateway", "Verdict", "check_metrics"]


class Prometheus(Server):
    """Prometheus 2: scrapes every half second, accepts remote writes at `/api/v1/write`.

    It looks for new targets only every 5 s. So it scrapes some ports from the start, even if nothing listens there: a
    page that a test serves on one of `scraped_ports` is read within half a second.

    Args:
        folder: the folder for its files.
        scraped_ports: the number of local ports to scrape from the start.
        flags: further flags of the command.
        sections: further sections of the configuration, such as `{"storage": {"tsdb": {…}}}`.
    """

    kind: ClassVar[str] = "prometheus"
    ready_path: ClassVar[str] = "/-/ready"

    own_flags: ClassVar[Sequence[str]] = ("--enable-feature=native-histograms,exemplar-storage",)
    """What differs between the versions."""

    def __init__(
        self,
        folder: Path,
        *,
        scraped_ports: int = 0,
        flags: Sequence[str] = (),
        sections: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(folder)
        self.scraped_ports = [free_port() for _ in range(scraped_ports)]
        self._flags = flags
        self._sections = sections or {}
        self._targets = [f"{HOST}:{port}" for port in self.scraped_ports]
        self._interval = "500ms"
        self._metrics_path = "/metrics"

    def command(self, program: Path) -> Sequence[str | Path]:
        """Write the scrape configuration and return the command."""
        self._write_configuration()
        return [
            program / "prometheus",
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.host}:{self.port}",
            "--web.enable-remote-write-receiver",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
            *self.own_flags,
            *self._flags,
        ]

    @property
    def _configuration(self) -> Path:
        return self.folder / "prometheus.yml"

    def _write_configuration(self) -> None:
        job = {
            "job_name": "tests",
            "metrics_path": self._metrics_path,
            "static_configs": [{"targets": self._targets}],
        }
        times = {"scrape_interval": self._interval, "scrape_timeout": self._interval}
        # JSON is YAML too.
        self._configuration.write_text(json.dumps({"global": times, "scrape_configs": [job], **self._sections}))

    def scrape(self, targets: Iterable[str], *, interval: str = "500ms", metrics_path: str = "/metrics") -> None:
        """Scrape other targets from now on; the first scrape happens within about 6 s.

        Args:
            targets: each as `host:port`.
            interval: the scrape interval, as a Prometheus duration.
            metrics_path: the path of each target's page.
        """
        self._targets = list(targets)
        self._interval = interval
        self._metrics_path = metrics_path
        self._write_configuration()
        self.ask("POST", "/-/reload")

    def targets(self) -> dict[str, dict[str, Any]]:
        """Return the state of each target, by `host:port`: `health` (up, down, unknown), `lastError` and more."""
        active = self.ask("GET", "/api/v1/targets").json()["data"]["activeTargets"]
        return {target["labels"]["instance"]: target for target in active}

    def query(self, expression: str, *, time: float | None = None) -> list[dict[str, Any]]:
        """Return an expression's series: each has `metric` and `value` (or `values`, `histogram`).

        Args:
            expression: in PromQL; `name[1h]` returns samples as they are stored.
            time: seconds since 1970; now if left out.
        """
        parameters = {"query": expression} if time is None else {"query": expression, "time": repr(time)}
        data = self.ask("GET", "/api/v1/query", query=parameters).json()["data"]
        found: list[dict[str, Any]] = data["result"]
        return found

    def values(self, expression: str, *, time: float | None = None) -> list[float]:
        """Return only the values of an expression, one per series, sorted."""
        return sorted(float(series["value"][1]) for series in self.query(expression, time=time))

    def series(self, match: str) -> list[dict[str, str]]:
        """Return the labels of all matching series, including the name as `__name__`."""
        found: list[dict[str, str]] = self.ask("GET", "/api/v1/series", query={"match[]": match}).json()["data"]
        return found

    def exemplars(self, match: str, *, start: float, end: float) -> list[dict[str, Any]]:
        """Return the exemplars of matching series between two times in seconds since 1970."""
        parameters = {"query": match, "start": repr(start), "end": repr(end)}
        found: list[dict[str, Any]] = self.ask("GET", "/api/v1/query_exemplars", query=parameters).json()["data"]
        return found

    def metadata(self, name: str) -> list[dict[str, str]]:
        """Return `type`, `help` and `unit` of a scraped metric."""
        found: dict[str, list[dict[str, str]]]
        found = self.ask("GET", "/api/v1/metadata", query={"metric": name}).json()["data"]
        return found.get(name, [])


class Prometheus3(Prometheus):
    """Prometheus 3.16: also accepts OTLP at `/api/v1/otlp/v1/metrics`, and remote writes in version 2.0.

    The section `otlp` of its configuration has `translation_strategy` and `promote_resource_attributes`. It always
    stores native histograms, but scrapes them only where the configuration says `scrape_native_histograms`.
    """

    kind: ClassVar[str] = "prometheus3"
    own_flags: ClassVar[Sequence[str]] = ("--web.enable-otlp-receiver", "--enable-feature=exemplar-storage")


class Pushgateway(Server):
    """Pushgateway.

    Args:
        folder: the folder for its files.
        keeps: whether groups survive a restart, because a stop writes them to a file.
        flags: further flags of the command.
    """

    kind: ClassVar[str] = "pushgateway"
    ready_path: ClassVar[str] = "/-/ready"

    def __init__(self, folder: Path, *, keeps: bool = True, flags: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self._keeps = keeps
        self._flags = flags

    def command(self, program: Path) -> Sequence[str | Path]:
        """Return the command."""
        return [
            program / "prometheus-pushgateway",
            f"--web.listen-address={self.host}:{self.port}",
            *([f"--persistence.file={self.folder / 'groups'}"] if self._keeps else []),
            *self._flags,
        ]

    def groups(self) -> list[dict[str, Any]]:
        """Return each group: its `labels`, and by metric name its `type`, `help` and `metrics`."""
        found: list[dict[str, Any]] = self.ask("GET", "/api/v1/metrics").json()["data"]
        return found

    def page(self) -> str:
        """Return the page that Prometheus would scrape."""
        return self.ask("GET", "/metrics").text


@dataclass(frozen=True)
class Verdict:
    """The result of promtool for a page."""

    status: int
    """0: valid; 3: readable, but breaks a style rule; 1: unreadable."""
    text: str


def check_metrics(page: bytes | str) -> Verdict:
    """Check a page in the classic text format with `promtool check metrics`, which comes with `prometheus`."""
    result = subprocess.run(
        [server_folder("prometheus") / "promtool", "check", "metrics"],
        input=page.encode() if isinstance(page, str) else page,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
        check=False,
    )
    return Verdict(result.returncode, result.stdout.decode())
