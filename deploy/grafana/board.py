"""A dashboard as data, and what all of them begin with."""

from typing import Final, NamedTuple

from grafana_foundation_sdk.models import units

from deploy.grafana import queries
from deploy.grafana.panels import READY, Panel, above


class Row(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


class Board(NamedTuple):
    """A dashboard: what one looks at first in the first row, the reasons below."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Those of all rows."""
        return tuple(panel for row in self.rows for panel in row.panels)


WORKERS: Final = Panel(
    "stat",
    "Workers ready",
    {"{{worker}}": 'min by (worker) (headrace_ready or up{job="headrace"} == 0)'},
    units.BoolYesNo,
    "One that does not answer Prometheus is not ready either.",
    READY,
)
FIRING: Final = Panel(
    "stat",
    "Rules that fire",
    {"{{alertname}}": queries.or_none(f"count by (alertname) ({queries.FIRING})", "alertname")},
    note="Of deploy/prometheus/alerts.yml. What to do about each is in its description: in Grafana under Alert rules.",
    thresholds=above(critical=1),
)
LAG: Final = Panel(
    "stat",
    "Records behind",
    {"": "sum(headrace_consumer_lag_records)"},
    note="Of all workers and topics.",
    thresholds=above(warning=100_000, critical=1_000_000),
)


def checks(of_worker: str) -> Panel:
    """What one kind of worker says of its parts; `of_worker`: the label that picks it."""
    query = f"min by (check) (headrace_ready{{{of_worker}}})"
    return Panel("stat", "Checks of /ready", {"{{check}}": query}, units.BoolYesNo, thresholds=READY)
