"""Data points to the bodies of requests (``ExportMetricsServiceRequest``), within the limits of a request.

Source: ``opentelemetry/proto/collector/metrics/v1/metrics_service.proto`` and ``metrics.proto``, version 1.9.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from .. import _protobuf as protobuf
from .points import Piece

__all__ = ["MAX_BYTES", "Request", "requests_of"]

MAX_BYTES = 4_000_000
"""The most bytes of data points per request: gRPC's default limit is 4 MiB, and some gateways forward by gRPC."""

_RESOURCE_METRICS = 1
"""Field of ``ExportMetricsServiceRequest``."""

_RESOURCE, _SCOPE_METRICS = 1, 2
"""Fields of ``ResourceMetrics``."""

_SCOPE, _METRICS = 1, 2
"""Fields of ``ScopeMetrics``."""


@attrs.frozen(eq=False)
class Request:
    """The data points of one request."""

    pieces: list[Piece]

    @property
    def count(self) -> int:
        """How many data points it has."""
        return sum([len(piece.points) for piece in self.pieces])

    @property
    def positions(self) -> list[int]:
        """The positions of its series in the snapshot."""
        return [piece.first + at for piece in self.pieces for at in range(len(piece.points))]

    def body(self, resource: bytes, scope: bytes) -> bytes:
        """Return the request's body.

        Args:
            resource: the content of the ``Resource``.
            scope: the content of the ``InstrumentationScope``.
        """
        message = protobuf.message
        metrics: list[bytes] = []
        at = 0
        while at < len(self.pieces):
            metric, points = self.pieces[at].metric, [*self.pieces[at].points]
            at += 1
            while at < len(self.pieces) and self.pieces[at].metric is metric:
                points += self.pieces[at].points
                at += 1
            metrics.append(message(_METRICS, metric.with_points(points)))
        scope_metrics = message(_SCOPE_METRICS, b"".join((message(_SCOPE, scope), *metrics)))
        return message(_RESOURCE_METRICS, message(_RESOURCE, resource) + scope_metrics)

    def halves(self) -> tuple[Request, Request]:
        """Return the first and the second half of its data points, of which there are at least two."""
        left = self.count // 2
        first: list[Piece] = []
        second: list[Piece] = []
        for piece in self.pieces:
            cut = min(left, len(piece.points))
            left -= cut
            if cut:
                first.append(piece._replace(points=piece.points[:cut]))
            if cut < len(piece.points):
                second.append(piece._replace(first=piece.first + cut, points=piece.points[cut:]))
        return Request(first), Request(second)


def requests_of(pieces: Iterable[Piece], max_points: int, max_bytes: int = MAX_BYTES) -> list[Request]:
    """Return the requests for some data points, in order. A data point that is too large is alone.

    Args:
        pieces: the data points.
        max_points: the maximum number of data points per request.
        max_bytes: their maximum size in bytes.
    """
    requests: list[Request] = []
    points = size = 0
    for piece in pieces:
        rest = piece
        while rest.points:
            fitting = 0
            for point in rest.points:
                if (points or fitting) and (points + fitting == max_points or size + len(point) > max_bytes):
                    break
                fitting += 1
                size += len(point)
            if not points:
                requests.append(Request([]))
            if fitting:
                requests[-1].pieces.append(rest._replace(points=rest.points[:fitting]))
            points += fitting
            rest = rest._replace(first=rest.first + fitting, points=rest.points[fitting:])
            if rest.points:
                points = size = 0
    return requests
