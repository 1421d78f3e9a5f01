"""A flush interval that is easy to count with, and a point of an instrument without its timestamp."""

from trio_batchmetrics import BatchMetricsConfig, Counter, Gauge, HistogramPoint, MetricEvent

__all__ = ["TEN", "plain"]

TEN = BatchMetricsConfig(flush_interval=10)


def plain(event: MetricEvent) -> tuple[object, ...]:
    """Return an event's content without its timestamp."""
    if isinstance(event, HistogramPoint):
        return ("histogram", event.name, event.labels, event.count, event.sum, event.counts)
    assert isinstance(event, Counter | Gauge)
    return (type(event).__name__.lower(), event.name, event.labels, event.value)
