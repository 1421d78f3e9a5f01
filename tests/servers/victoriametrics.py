"""VictoriaMetrics, which accepts nearly every format."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.base import Server

__all__ = ["VictoriaMetrics", "VictoriaMetrics151"]


class VictoriaMetrics(Server):
    """VictoriaMetrics 1.79.

    It keeps floats to about 13 digits, and repeated samples as often as they came, which helps to count what was sent
    twice. Samples of the last seconds before `kill` are lost; `stop` takes 2 s and keeps everything.

    Args:
        folder: the folder for its files.
        flags: further flags of the command.
    """

    kind: ClassVar[str] = "victoriametrics"
    ready_path: ClassVar[str] = "/health"

    def __init__(self, folder: Path, *, flags: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self._flags = flags

    def command(self, program: Path) -> Sequence[str | Path]:
        """Return the command."""
        return [
            program / "victoria-metrics",
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr={self.host}:{self.port}",
            "-retentionPeriod=100y",
            "-search.latencyOffset=0s",  # otherwise the last 30 s are invisible
            "-search.disableCache",
            "-memory.allowedBytes=64MB",
            *self._flags,
        ]

    def flush(self) -> None:
        """Make everything that was written visible."""
        self.ask("GET", "/internal/force_flush")

    def export(self, match: str) -> list[dict[str, Any]]:
        """Return all samples of the series that match: `metric` (labels), `values`, `timestamps` in milliseconds.

        Args:
            match: a name, or a selector in braces.
        """
        self.flush()
        # Without an end, the last second would be missing.
        lines = self.ask("GET", "/api/v1/export", query={"match[]": match, "end": int(time.time()) + 3600}).text
        return [_parsed(line) for line in lines.split("\n") if line]

    def query(self, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """Return an expression's series, as Prometheus does.

        Args:
            expression: a MetricsQL expression.
            at: seconds since 1970; if left out, a little after now, since times are cut to seconds.
        """
        self.flush()
        parameters = {"query": expression, "time": repr(time.time() + 2 if at is None else at)}
        found: list[dict[str, Any]]
        found = self.ask("GET", "/api/v1/query", query=parameters).json()["data"]["result"]
        return found


class VictoriaMetrics151(VictoriaMetrics):
    """VictoriaMetrics 1.151.

    Unlike 1.79, it drops series beyond its limits (and answers 204), and refuses a whole request for one bad line.
    """

    kind: ClassVar[str] = "victoriametrics151"


def _parsed(line: str) -> dict[str, Any]:
    """Parse a line of an export; 1.79 writes infinite values in a form that isn't JSON, 1.151 as text."""
    head, mark, values = line.rpartition('"values":[')
    values = re.sub(r"(?<=[\[,])\+?(-?)Inf(?=[,\]])", r"\1Infinity", "[" + values)[1:]
    parsed: dict[str, Any] = json.loads(head + mark + values)
    parsed["values"] = [float(value) if isinstance(value, str) else value for value in parsed["values"]]
    return parsed
