"""Panels as data: what is asked of Prometheus, and how it is shown. What a panel means is what the catalogue says of its metrics."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from grafana_foundation_sdk.models import units

from deploy.grafana.queries import METRICS, RATE, metrics_of, or_none

# What a metric counts is the last word of its name, and so is its unit.
_UNITS: Final = {"seconds": units.Seconds, "bytes": units.BytesIEC}
_RATES: Final = {"records": units.RecordsPerSecond, "messages": units.MessagesPerSecond, "bytes": units.BytesPerSecondIEC}
# Of these the worst partition counts, not the sum of all.
_WORST: Final = {"seconds", "offset", "ready"}
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

Kind = Literal["stat", "lines", "areas", "timeline"]
Thresholds = tuple[tuple[float | None, str], ...]
"""From which value on a panel has which colour; the first holds from below."""

READY: Final[Thresholds] = ((None, "red"), (1, "green"))


def above(*, warning: float | None = None, critical: float | None = None) -> Thresholds:
    """Green, orange from `warning`, red from `critical`."""
    steps = ((None, "green"), (warning, "orange"), (critical, "red"))
    return tuple((value, colour) for value, colour in steps if colour == "green" or value is not None)


class Panel(NamedTuple):
    """What a dashboard shows in one frame: a number, tiles, lines, stacked areas or states over time."""

    kind: Kind
    title: str
    queries: Mapping[str, str]
    """PromQL by legend; without a legend, tiles and lines are named by the title."""
    unit: str = units.Short
    note: str = ""
    """What is to be said besides what the catalogue says."""
    thresholds: Thresholds = ()

    @property
    def description(self) -> str:
        """The tooltip: every metric with its meaning and what it is a symptom of."""
        metrics = {metric.name: metric for query in self.queries.values() for metric in metrics_of(query)}
        told = [f"`{name}`: {metric.help}" for name, metric in metrics.items()]
        return "\n\n".join([self.note, *told] if self.note else told)


def of(name: str, title: str, *, by: Sequence[str] | None = None, thresholds: Thresholds = ()) -> Panel:
    """A metric of the catalogue over time, by its labels but the partition, or by those of `by`.

    A gauge is summed, or the worst of it taken where it is a time or an offset. A counter of records, messages or bytes is shown
    per second, one of rarer things per hour, and a histogram by its quantiles, each 0 where there was nothing to count.
    """
    metric = METRICS[name]
    counted = name.removesuffix("_total").rpartition("_")[2]
    labels = [label for label in metric.labels if label != "partition"] if by is None else by
    grouped = f" by ({', '.join(labels)}) " if labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    unit = _UNITS.get(counted, units.Short)
    queries: dict[str, str]
    match metric.kind:
        case "histogram":
            buckets = f"sum by (le) (rate({name}_bucket[{RATE}]))"
            # without anything in the buckets a quantile is NaN, which no comparison lets through
            queries = {legend: f"histogram_quantile({quantile}, {buckets}) >= 0 or vector(0)" for legend, quantile in _QUANTILES.items()}
        case "gauge":
            queries = {legend: f"{'max' if counted in _WORST else 'sum'}{grouped}({name})"}
        case "counter":
            rate, unit = (f"rate({name}[{RATE}])", _RATES[counted]) if counted in _RATES else (f"increase({name}[1h])", unit)
            summed = f"sum{grouped}({rate})"
            queries = {legend: or_none(summed, labels[0]) if labels else summed}
    return Panel("lines", title, queries, unit, thresholds=thresholds)
