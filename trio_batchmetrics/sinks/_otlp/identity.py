"""Which series are the same to a back-end of OTLP."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ...abc import Identity, Limits, Measure, label_text
from .resource import SERVICE

__all__ = ["OTLPIdentity"]


class OTLPIdentity(Identity):
    """Leaves static labels that are attributes of the resource out of the series.

    Series are the same if the texts of their labels are, and an empty text is as good as no label: back-ends that store
    text would keep only one of two values. The labels have the types of the first event.
    """

    def __init__(self, static: Mapping[str, str], limits: Limits | None) -> None:
        """Create the identity of one collector's series.

        Args:
            static: the static labels.
            limits: the largest labels that the back-end accepts.
        """
        super().__init__(limits)
        self._left_out = {name: value for name, value in static.items() if name.startswith(SERVICE)}

    def labels(self, instrument: Measure, labels: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the labels of a series; an event's own label with another value stays."""
        if not self._left_out:
            return labels
        return {name: value for name, value in labels.items() if self._left_out.get(name) != value or value is None}

    def key(self, instrument: Measure, labels: Mapping[str, Any]) -> Hashable:
        """Return the labels as text."""
        texts = {name: label_text(value) for name, value in labels.items()}
        return frozenset((name, text) for name, text in texts.items() if name and text)
