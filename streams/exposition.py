"""What `/metrics` shows: the catalogue's metrics with their values.

Gauges and counters are read from the live state when they are asked for; only the histograms are fed, once a batch or checkpoint.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from streams.metrics import CATALOGUE


class Sample(NamedTuple):
    """A value of a metric now; `labels` in the catalogue's order."""

    name: str
    labels: tuple[str, ...]
    value: float


Source = Callable[[], Iterable[Sample]]


class Metrics:
    """The metrics of one worker, registered apart from other workers' of the same process."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        """What is asked for samples when the metrics are read, in the event loop."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._histograms = {
            metric.name: Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry)
            for metric in CATALOGUE
            if metric.kind == "histogram"
        }
        self.registry.register(self)

    def batch(self, domain: str, records: int, seconds: float) -> None:
        """A batch went through the watch."""
        self._histograms["headrace_batch_records"].labels(domain).observe(records)
        self._histograms["headrace_batch_seconds"].labels(domain).observe(seconds)

    def checkpoint(self, domain: str, size: int, seconds: float) -> None:
        """A checkpoint of `size` bytes was delivered and acknowledged."""
        self._histograms["headrace_checkpoint_bytes"].labels(domain).observe(size)
        self._histograms["headrace_checkpoint_seconds"].labels(domain).observe(seconds)

    def command(self, domain: str, seconds: float) -> None:
        """A command was dispatched so long after the measurement that called for it."""
        self._histograms["headrace_command_seconds"].labels(domain).observe(seconds)

    def forwarded(self, topic: str, seconds: float) -> None:
        """The centre has a batch whose oldest record was written so long ago."""
        self._histograms["headrace_uplink_seconds"].labels(topic).observe(seconds)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The families of all counters and gauges, as prometheus-client asks for them; one without samples says it has none."""
        families = {
            metric.name: (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
                metric.name, metric.help, labels=metric.labels
            )
            for metric in CATALOGUE
            if metric.kind != "histogram"
        }
        for source in self.sources:
            for name, labels, value in source():
                families[name].add_metric(labels, value)
        yield from families.values()
