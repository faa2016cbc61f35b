"""The factory's dashboard: are the machines watched, what is raised, and what does it cost."""

from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.board import FIRING, LAG, WORKERS, Board, Row
from deploy.grafana.panels import Panel, above, of
from deploy.grafana.queries import RATE
from schemas.catalog import ALERTS

_RECEIVED: Final = f'sum(rate(headrace_ledger_records_total{{outcome="received"}}[{RATE}]))'
_REJECTED: Final = f'sum(rate(headrace_ledger_records_total{{outcome=~"rejected/.+"}}[{RATE}]))'
_RAISED: Final = 'sum(headrace_forecasts_total{outcome="raised"})'
_SETTLED: Final = 'sum(headrace_forecasts_total{outcome!="raised"})'

FACTORY: Final = Board(
    "headrace-factory",
    "Factory",
    "Are the machines watched, what is raised, and what does it cost.",
    (
        Row(
            "Now",
            (
                WORKERS,
                FIRING,
                Panel("stat", "Open alerts", {"": "sum(headrace_open_episodes)"}),
                Panel(
                    "stat",
                    "Open forecasts",
                    {"": f"({_RAISED} - {_SETTLED}) or vector(0)"},
                    note="Machines that are expected to fail within half an hour.",
                    thresholds=above(warning=1),
                ),
                Panel("stat", "Readings", {"": _RECEIVED}, units.RecordsPerSecond),
                Panel(
                    "stat",
                    "Unfit readings",
                    {"": f"({_REJECTED} or vector(0)) / {_RECEIVED}"},
                    units.PercentUnit,
                    thresholds=above(warning=0.01, critical=0.05),
                ),
                Panel(
                    "stat",
                    "Watermark delay",
                    {"": "max(headrace_watermark_delay_seconds)"},
                    units.Seconds,
                    thresholds=above(warning=30, critical=120),
                ),
                LAG,
            ),
        ),
        Row(
            "Alerts and forecasts",
            (
                of("headrace_open_episodes", "Open alerts"),
                Panel(
                    "lines",
                    "Alert changes written",
                    {"{{worker}}": f'sum by (worker) (rate(headrace_producer_records_total{{topic="{ALERTS.topic}"}}[{RATE}]))'},
                    units.RecordsPerSecond,
                    "Raised, cleared and reopened.",
                ),
                Panel(
                    "lines",
                    "Forecasts so far",
                    {"{{outcome}}": "sum by (outcome) (headrace_forecasts_total)"},
                    note="Since the topic's first reading: the count is part of the state.",
                ),
                of("headrace_unjudged_panes_total", "Panes not judged in an hour", thresholds=above(critical=1)),
                of("headrace_switched_off_rules_total", "Rules switched off in an hour", thresholds=above(critical=1)),
                of("headrace_refused_rules_total", "Rules refused in an hour", thresholds=above(critical=1)),
                of("headrace_refused_sensors_total", "Sensor types refused in an hour", thresholds=above(critical=1)),
            ),
        ),
        Row(
            "Desk",
            (
                Panel(
                    "lines",
                    "Alerts by what was done about them",
                    {"{{state}} {{severity}}": "max by (state, severity) (headrace_desk_alerts)"},
                    note="Every desk has all of them.",
                ),
                of("headrace_desk_waiting_seconds", "Longest wait for somebody"),
            ),
        ),
        Row(
            "Readings",
            (
                Panel(
                    "stat",
                    "Event time",
                    {"partition {{partition}}": "1000 * max by (partition) (headrace_watermark_timestamp_seconds > 0)"},
                    units.DateTimeFromNow,
                    "Partitions without readings yet are left out.",
                ),
                Panel(
                    "areas",
                    "Readings by partition",
                    {"{{partition}}": f'sum by (partition) (rate(headrace_ledger_records_total{{outcome="received"}}[{RATE}]))'},
                    units.RecordsPerSecond,
                ),
                of("headrace_watermark_delay_seconds", "Watermark delay", by=("partition",), thresholds=above(warning=30, critical=120)),
            ),
        ),
        Row(
            "Work",
            (
                of("headrace_batch_records", "Records of a batch"),
                of("headrace_batch_seconds", "Time of a batch", thresholds=above(warning=0.05)),
                of("headrace_checkpoint_seconds", "Time of a checkpoint", thresholds=above(critical=1)),
                of("headrace_checkpoint_bytes", "Size of a checkpoint"),
                of("headrace_unsettled_records", "Records not in a checkpoint yet", by=("partition",)),
                of("headrace_parked_batches", "Batches that wait for a schema", thresholds=above(critical=1)),
            ),
        ),
        Row(
            "State",
            (
                of("headrace_state_panes", "Panes in memory", by=("partition",)),
                of("headrace_state_rows", "Keys in memory", by=("partition",)),
            ),
        ),
    ),
)
