"""OTLPSink passes the contract of series sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sinks.contract import SeriesSinkCase, SeriesSinkContract
from tests.sinks.otlp.server import FakeOTLP
from trio_batchmetrics.sinks import OTLPSink


class OTLPCase(SeriesSinkCase):
    """A server that is fast, fails, or hangs."""

    name = "otlp"
    server: FakeOTLP | None = None

    def make(self, *, fail: int = 0, hang: bool = False, **settings: Any) -> OTLPSink:
        """Create the sink."""
        self.server = FakeOTLP(*[503] * fail, hang=hang)
        return self.server(**settings)

    def sums(self) -> dict[str, float]:
        """Return the sums."""
        assert self.server is not None
        sums: dict[str, float] = {}
        for (name, _, kind, _), point in self.server.points.items():
            if kind == "sum":
                sums[name] = sums.get(name, 0.0) + point.as_double
        return sums


@pytest.fixture
def series(tmp_path: Path) -> SeriesSinkCase:
    """The case of the sink."""
    return OTLPCase(tmp_path)


class TestOTLP(SeriesSinkContract):
    """The contract of series sinks."""
