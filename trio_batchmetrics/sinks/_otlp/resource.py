"""Who sends: the process as a resource, and this library as the instrumentation scope.

Source: ``opentelemetry/proto/resource/v1/resource.proto`` and ``common/v1/common.proto``, version 1.9; OpenTelemetry's
semantic conventions for resources.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...abc import SinkContext
from .. import _protobuf as protobuf
from .points import attribute

__all__ = ["SERVICE", "encoded_resource", "encoded_scope", "resource_attributes"]

SERVICE = "service."
"""Static labels whose names begin with this describe the process: they are attributes of the resource."""

_LIBRARY = "trio_batchmetrics"

_ATTRIBUTES = 1
"""Field of ``Resource``."""

_SCOPE_NAME, _SCOPE_VERSION = 1, 2
"""Fields of ``InstrumentationScope``."""


def _version() -> str:
    try:
        return version("trio-batchmetrics")
    except PackageNotFoundError:  # the source is on the path, but isn't installed
        return ""


def resource_attributes(context: SinkContext, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the resource: the sink's own, over static labels, over those that are always there.

    ``service.instance.id`` is the run of the collector: Prometheus refuses the second sender of one resource.

    Args:
        context: the collector's context.
        given: the sink's own.
    """
    run = context.run_id
    own = {name: value for name, value in context.static_labels.items() if name.startswith(SERVICE)}
    return {
        "service.name": "unknown_service:python",
        "service.instance.id": str(uuid.UUID(run)) if len(run) == len(uuid.uuid4().hex) else run or uuid.uuid4().hex,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": _LIBRARY,
        "telemetry.sdk.version": _version(),
        **own,
        **given,
    }


def encoded_resource(attributes: Mapping[str, Any]) -> bytes:
    """Return the content of the ``Resource``."""
    return b"".join([attribute(_ATTRIBUTES, name, value) for name, value in attributes.items() if name])


def encoded_scope() -> bytes:
    """Return the content of the ``InstrumentationScope``: this library."""
    return protobuf.message(_SCOPE_NAME, _LIBRARY.encode()) + protobuf.message(_SCOPE_VERSION, _version().encode())
