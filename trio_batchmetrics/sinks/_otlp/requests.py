"""Data points to the bodies of requests (``ExportMetricsServiceRequest``), within the limits of a request.

Source: ``opentelemetry/proto/collector/metrics/v1/metrics_service.proto`` and ``metrics.proto``, version 1.9.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, groupby

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
        metrics, size = self._metrics()
        scope = protobuf.message(_SCOPE, scope)
        scope_metrics = protobuf.key(_SCOPE_METRICS, protobuf.BYTES) + protobuf.varint(len(scope) + size)
        before = b"".join((protobuf.message(_RESOURCE, resource), scope_metrics, scope))
        length = protobuf.varint(len(before) + size)
        # All lengths are known by now, so each data point is copied once.
        return b"".join((protobuf.key(_RESOURCE_METRICS, protobuf.BYTES), length, before, *metrics))

    def _metrics(self) -> tuple[list[bytes], int]:
        """Return the instruments with their data points, in parts, and the size of all parts."""
        parts: list[bytes] = []
        total = 0
        for _, group in groupby(self.pieces, key=lambda piece: id(piece.metric)):
            of_metric = [*group]
            metric, size = of_metric[0].metric, sum([piece.size for piece in of_metric])
            beginning = metric.beginning(size)
            length = len(beginning) + size + len(metric.end)
            head = b"".join((protobuf.key(_METRICS, protobuf.BYTES), protobuf.varint(length), beginning))
            parts.append(head)
            for piece in of_metric:
                parts += piece.points
            parts.append(metric.end)
            total += len(head) + size + len(metric.end)
        return parts, total

    def halves(self) -> tuple[Request, Request]:
        """Return the first and the second half of its data points, of which there are at least two."""
        left = self.count // 2
        first: list[Piece] = []
        second: list[Piece] = []
        for piece in self.pieces:
            cut = min(left, len(piece.points))
            left -= cut
            if cut:
                first.append(piece.between(0, cut))
            if cut < len(piece.points):
                second.append(piece.between(cut, len(piece.points)))
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
            count = len(rest.points)
            if points + count > max_points or size + rest.size > max_bytes:
                count = _fitting(rest, max_points - points, max_bytes - size)
                if not count and not points:
                    count = 1
            if not points:
                requests.append(Request([]))
            if count:
                fitting = rest if count == len(rest.points) else rest.between(0, count)
                requests[-1].pieces.append(fitting)
                points += count
                size += fitting.size
            if count < len(rest.points):
                rest = rest.between(count, len(rest.points))
                points = size = 0
            else:
                break
    return requests


def _fitting(piece: Piece, max_points: int, max_bytes: int) -> int:
    """Return how many of the first data points fit."""
    sizes = accumulate(map(len, piece.points[:max_points]))
    return sum(size <= max_bytes for size in sizes)
