"""The meaning of a response in OTLP over HTTP.

===========================================  =======================================================================
2xx                                          delivered, except for the data points that its partial success refuses
no response, 429, 502, 503, 504              retried, after ``Retry-After`` if given
400, 413                                     halved; a data point that is refused alone is rejected
any other                                    given up, with the server's text in the error
===========================================  =======================================================================

A 400 may be about a single data point: Prometheus stores nothing of a request that contains a bad one. The body of an
error is a ``google.rpc.Status``, or text from a proxy.

Source: OTLP 1.9, "OTLP/HTTP Response" (opentelemetry.io/docs/specs/otlp), and ``metrics_service.proto``.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

from ..._http import Endpoint, Response, receipt_from
from ...abc import Receipt
from .. import _protobuf as protobuf

__all__ = ["PartialSuccess", "outcome_of", "partial_success"]

_RETRYABLE = frozenset({429, 502, 503, 504})
"""The only statuses after which the same request may be repeated (OTLP 1.9, "Retryable Response Codes")."""

_HALVED = frozenset({400, 413})

_PARTIAL_SUCCESS = 1
"""Field of ``ExportMetricsServiceResponse``."""

_REJECTED, _MESSAGE = 1, 2
"""Fields of ``ExportMetricsPartialSuccess``."""

_STATUS_MESSAGE = 2
"""Field of ``google.rpc.Status``."""


class PartialSuccess(NamedTuple):
    """What a server says about a request that it has accepted."""

    rejected: int = 0
    """How many data points it has refused. It doesn't say which."""
    message: str = ""
    """Why; or, if it has refused none, a warning."""


def partial_success(response: Response) -> PartialSuccess:
    """Return the partial success in a response to an accepted request; the default if there is none."""
    rejected, message = 0, ""
    try:
        for number, value in protobuf.fields(response.body):
            if number == _PARTIAL_SUCCESS and isinstance(value, bytes):
                for inner, content in protobuf.fields(value):
                    if inner == _REJECTED and isinstance(content, int):
                        rejected = content
                    elif inner == _MESSAGE and isinstance(content, bytes):
                        message = content.decode(errors="replace")
    except ValueError:  # some servers respond with text, or with JSON: the status counts
        return PartialSuccess()
    return PartialSuccess(rejected if rejected < 1 << 63 else 0, message)  # a negative number is no number of points


def outcome_of(response: Response, endpoint: Endpoint) -> Receipt:
    """Return the receipt that a response's status means for the data points of its request.

    Args:
        response: the server's response.
        endpoint: removes credentials from the server's text.
    """
    return receipt_from(_with_text(response), endpoint, retryable=_RETRYABLE, halved=_HALVED)


def _with_text(response: Response) -> Response:
    """Return a response whose body is the message of its ``google.rpc.Status``, if it has one."""
    try:
        messages = [value for number, value in protobuf.fields(response.body) if number == _STATUS_MESSAGE]
    except ValueError:
        return response
    if len(messages) == 1 and isinstance(messages[0], bytes):
        return attrs.evolve(response, body=messages[0])
    return response
