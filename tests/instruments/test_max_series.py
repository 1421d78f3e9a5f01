"""Label sets beyond `max_series` share one series, and no update is lost."""

import pytest
from trio.testing import MockClock

from tests.instruments.points import plain
from trio_batchmetrics import BatchMetricsConfig, BoundCounter, BoundGauge, BoundHistogram, collector
from trio_batchmetrics.testing import RecordingSink


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
async def test_label_sets_beyond_max_series_share_one_series(kind: str, autojump_clock: MockClock) -> None:
    """The shared series has OpenTelemetry's label; earlier label sets and other instruments keep their series."""
    sink = RecordingSink()
    async with collector(BatchMetricsConfig(max_series=3), sinks=[sink]) as metrics:

        def make(number: int) -> BoundCounter | BoundGauge | BoundHistogram:
            instrument: BoundCounter | BoundGauge | BoundHistogram = getattr(metrics, kind)("x", labels={"n": number})
            return instrument

        def update(instrument: BoundCounter | BoundGauge | BoundHistogram) -> None:
            if isinstance(instrument, BoundCounter):
                instrument.add()
            elif isinstance(instrument, BoundGauge):
                instrument.inc()
            else:
                instrument.observe(1)

        made = [make(number) for number in range(6)]
        for instrument in made:
            update(instrument)
        assert len({id(instrument) for instrument in made}) == 4
        assert made[3] is made[4] is made[5]
        assert make(0) is made[0]
        assert make(99) is made[3]
        assert made[3].labels == {"otel.metric.overflow": "true"}
        assert metrics.counter("y", labels={"n": 1}).labels == {"n": 1}
    points = [(plain(event)[2], plain(event)[3]) for event in sink.events]
    assert points == [({"n": 0}, 1), ({"n": 1}, 1), ({"n": 2}, 1), ({"otel.metric.overflow": "true"}, 3)]
