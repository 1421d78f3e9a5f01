"""A server that keeps what it gets over OTLP, read with OpenTelemetry's own Protocol Buffers messages."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import httpx2
import trio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from trio_batchmetrics.sinks import OTLPSink

__all__ = ["Attributes", "FakeOTLP", "Points", "attributes_of", "error", "partial", "points_of", "status_message"]

Attributes = frozenset[tuple[str, str, Any]]
"""Name, type and value of each."""

Points = dict[tuple[str, str, str, Attributes], Any]
"""By name, unit, kind and attributes: each data point."""


def attributes_of(given: Any) -> Attributes:
    """Return attributes with their types; none may occur twice."""
    found = [(each.key, each.value.WhichOneof("value"), each.value) for each in given]
    assert len({key for key, _, _ in found}) == len(found)
    return frozenset((key, kind, getattr(value, kind)) for key, kind, value in found)


def points_of(request: ExportMetricsServiceRequest) -> Points:
    """Return the data points of a request; none may occur twice."""
    points: Points = {}
    for resource_metrics in request.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind: Any = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    key = (metric.name, metric.unit, kind, attributes_of(point.attributes))
                    assert key not in points
                    points[key] = point
    return points


def status_message(message: str) -> bytes:
    """Return a ``google.rpc.Status`` with the code 13 and a message of less than 128 bytes."""
    encoded = message.encode()
    return b"\x08\x0d\x12" + len(encoded).to_bytes() + encoded


def error(status: int, message: str = "not now", **headers: str) -> httpx2.Response:
    """Return a response with the message in a ``google.rpc.Status``."""
    return httpx2.Response(status, content=status_message(message), headers=headers)


def partial(rejected: int, message: str = "") -> httpx2.Response:
    """Return a response to a request that was accepted in part."""
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = rejected
    response.partial_success.error_message = message
    return httpx2.Response(200, content=response.SerializeToString())


class FakeOTLP:
    """Follows a script first; a function may then respond to each request."""

    def __init__(
        self,
        *script: httpx2.Response | int,
        hang: bool = False,
        delay: float = 0.0,
        answer: Callable[[ExportMetricsServiceRequest], httpx2.Response] | None = None,
    ) -> None:
        self.script = list(script)
        self.hang = hang
        self.delay = delay
        self.answer = answer
        self.requests: list[httpx2.Request] = []
        self.accepted: list[ExportMetricsServiceRequest] = []
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._respond))

    async def _respond(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.hang:
            await trio.sleep_forever()
        if self.delay:
            await trio.sleep(self.delay)
        if self.script:
            scripted = self.script.pop(0)
            return error(scripted) if isinstance(scripted, int) else scripted
        compressed = request.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(request.content) if compressed else request.content
        message = ExportMetricsServiceRequest.FromString(body)
        response = httpx2.Response(200) if self.answer is None else self.answer(message)
        if response.status_code == 200:
            self.accepted.append(message)
        return response

    @property
    def points(self) -> Points:
        """The data points of all accepted requests; a later one replaces an earlier one."""
        points: Points = {}
        for request in self.accepted:
            points |= points_of(request)
        return points

    def __call__(self, **settings: Any) -> OTLPSink:
        """Create a sink that sends to this server."""
        settings = {"client": self.client, **settings}
        return OTLPSink("http://otlp.example:4318", **settings)
