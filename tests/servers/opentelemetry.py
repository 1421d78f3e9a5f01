"""The OpenTelemetry Collector, which writes the metrics that it receives into a file."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.base import Server
from tests.servers.client import Client, free_port

__all__ = ["OTelCollector"]

_BEGIN = b'{"resourceMetrics":'
"""The text that each stored request begins with."""

Options = Mapping[str, object]


class OTelCollector(Server):
    """The OpenTelemetry Collector 0.162: accepts OTLP over HTTP at `/v1/metrics`, as protobuf or JSON.

    By default, it writes each request into a file, where `metrics` and `named` find it. The file survives `stop`;
    `kill` loses the requests of the last 50 ms.

    Args:
        folder: the folder for its files.
        http: options of its receiver over HTTP, such as `{"max_request_body_size": 1000}`.
        processors: the processors by name, with their options, in the order of the pipeline.
        exporters: the exporters by name, with their options, instead of the one that writes the file.
    """

    kind: ClassVar[str] = "otelcol"
    ready_path: ClassVar[str] = "/"  # of its health check, which has a port of its own

    def __init__(
        self,
        folder: Path,
        *,
        http: Options | None = None,
        processors: Mapping[str, Options] | None = None,
        exporters: Mapping[str, Options] | None = None,
    ) -> None:
        super().__init__(folder)
        self._http = http or {}
        self._processors = processors or {}
        # Without `append`, a restart would empty the file.
        file: Options = {"path": str(self._file), "append": True, "flush_interval": "50ms"}
        self._exporters = {"file": file} if exporters is None else exporters
        self._health = Client(f"{self.name}'s health check", free_port())

    def command(self, program: Path) -> list[str | Path]:
        """Write the configuration and return the command."""
        settings = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{self.host}:{self.port}", **self._http}}}},
            "processors": self._processors,
            "exporters": self._exporters,
            "extensions": {"health_check": {"endpoint": f"{self._health.host}:{self._health.port}"}},
            "service": {
                "extensions": ["health_check"],
                "pipelines": {
                    "metrics": {
                        "receivers": ["otlp"],
                        "processors": [*self._processors],
                        "exporters": [*self._exporters],
                    }
                },
                "telemetry": {"metrics": {"level": "none"}},  # its own metrics, which would need another port
            },
        }
        configuration = self.folder / "otelcol.yaml"
        configuration.write_text(json.dumps(settings, indent=1))  # JSON is YAML too
        return [program / "otelcol", "--config", configuration]

    @property
    def _file(self) -> Path:
        return self.folder / "metrics.jsonl"

    def _is_ready(self) -> bool:
        try:
            return self._health.request("GET", self.ready_path, timeout=2.0).status == 200
        except (OSError, HTTPException):
            return False

    def metrics(self) -> list[dict[str, Any]]:
        """Return each stored request in the order of arrival, as OTLP's JSON: an object with `resourceMetrics`.

        A request is visible within 50 ms after its response. In this form, integers of 64 bits are text, as are NaN and
        infinite values, and fields that have their default value are missing.
        """
        if not self._file.exists():
            return []
        lines = self._file.read_bytes().split(b"\n")[:-1]  # a part after the last newline is still being written
        # Before the request there may be the part of another that was being written when the server was killed.
        return [json.loads(line[line.rindex(_BEGIN) :]) for line in lines]

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the stored metrics of a name, in the order of arrival.

        Each is the metric of OTLP's JSON (`name`, `unit`, and one of `sum`, `gauge`, `histogram` and so on), with its
        `resource` and `scope` added.
        """
        return [
            {**metric, "resource": resource.get("resource", {}), "scope": scope.get("scope", {})}
            for request in self.metrics()
            for resource in request["resourceMetrics"]
            for scope in resource.get("scopeMetrics", [])
            for metric in scope.get("metrics", [])
            if metric.get("name", "") == name
        ]
