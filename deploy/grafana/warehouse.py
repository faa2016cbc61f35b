"""The warehouse's dashboard: does ClickHouse have what Kafka has."""

from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.board import FIRING, Board, Row, checks
from deploy.grafana.panels import Panel, above
from deploy.grafana.queries import RATE

_OF_WORKER: Final = 'worker="warehouse"'


_RECEIVED: Final = 'headrace_warehouse_records_total{outcome="received"}'
_HANDLED: Final = 'headrace_warehouse_records_total{outcome!="received"}'
_STORED: Final = 'headrace_warehouse_records_total{outcome="stored"}'
_BEHIND: Final = above(warning=100_000, critical=1_000_000)

WAREHOUSE: Final = Board(
    "headrace-warehouse",
    "Warehouse",
    "Does ClickHouse have what Kafka has.",
    (
        Row(
            "Now",
            (
                checks(_OF_WORKER),
                FIRING,
                Panel("stat", "Not stored yet", {"": f"sum(headrace_consumer_lag_records{{{_OF_WORKER}}})"}, thresholds=_BEHIND),
                Panel("stat", "Stored", {"": f"sum(rate({_STORED}[{RATE}]))"}, units.RecordsPerSecond),
            ),
        ),
        Row(
            "Topics",
            (
                Panel(
                    "lines",
                    "Stored",
                    {"{{topic}}": f"sum by (topic) (rate({_STORED}[{RATE}]))"},
                    units.RecordsPerSecond,
                ),
                Panel(
                    "lines",
                    "Not stored yet",
                    {"{{topic}}": f"sum by (topic) (headrace_consumer_lag_records{{{_OF_WORKER}}})"},
                    thresholds=_BEHIND,
                ),
                Panel(
                    "lines",
                    "Taken and not stored yet",
                    {"{{topic}}": f"sum by (topic) ({_RECEIVED}) - sum by (topic) ({_HANDLED})"},
                    note="What a rebalance takes away is read again elsewhere and stays in this difference until the worker's next start.",
                ),
                Panel(
                    "areas",
                    "By what became of them",
                    {"{{outcome}}": f"sum by (outcome) (rate({_HANDLED}[{RATE}]))"},
                    units.RecordsPerSecond,
                ),
            ),
        ),
    ),
)
