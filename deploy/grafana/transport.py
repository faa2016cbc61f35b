"""The dashboard of transport and lag: does everything move, and if not, what holds it up."""

from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.board import FIRING, LAG, WORKERS, Board, Row
from deploy.grafana.panels import READY, Panel, above, of
from deploy.grafana.queries import RATE, or_none

_STALLED: Final = "max by (what) (headrace_stalled_seconds)"
_STALLS: Final = above(warning=60, critical=240)

TRANSPORT: Final = Board(
    "headrace-transport",
    "Transport and lag",
    "Does everything move, and if not, what holds it up.",
    (
        Row(
            "Now",
            (
                WORKERS,
                FIRING,
                LAG,
                Panel("stat", "Stalled for", {"{{what}}": or_none(_STALLED, "what")}, units.Seconds, thresholds=_STALLS),
                Panel(
                    "stat",
                    "Kafka silent for",
                    {"": "max(headrace_kafka_silent_seconds)"},
                    units.Seconds,
                    thresholds=above(warning=10, critical=15),
                ),
                Panel(
                    "stat",
                    "Not confirmed by Kafka",
                    {"": "sum(headrace_producer_outstanding_records)"},
                    thresholds=above(warning=50_000, critical=100_000),
                ),
                Panel("stat", "Refused by Kafka", {"": "sum(headrace_producer_failures_total)"}, thresholds=above(critical=1)),
                Panel(
                    "stat",
                    "Rebalances in an hour",
                    {"{{worker}}": "max by (worker) (increase(headrace_rebalances_total[1h]))"},
                    thresholds=above(warning=4, critical=12),
                ),
            ),
        ),
        Row(
            "Readiness",
            (
                Panel(
                    "timeline",
                    "Checks of /ready",
                    {"{{worker}} {{instance}} {{check}}": "min by (worker, instance, check) (headrace_ready)"},
                    units.BoolYesNo,
                    thresholds=READY,
                ),
            ),
        ),
        Row(
            "Lag",
            (
                of("headrace_consumer_lag_records", "Lag", by=("worker", "topic")),
                Panel(
                    "lines",
                    "Written to the topic",
                    {"{{worker}} {{topic}}": f"sum by (worker, topic) (deriv(headrace_consumer_end_offset[{RATE}]))"},
                    units.RecordsPerSecond,
                ),
                Panel(
                    "lines",
                    "Committed",
                    {"{{worker}} {{topic}}": f"sum by (worker, topic) (deriv(headrace_consumer_committed_offset[{RATE}]))"},
                    units.RecordsPerSecond,
                ),
                Panel(
                    "lines",
                    "Taken into the state",
                    {"{{domain}} {{partition}}": f"sum by (domain, partition) (deriv(headrace_fence_offset[{RATE}]))"},
                    units.RecordsPerSecond,
                ),
                of("headrace_consumer_unacknowledged_messages", "Messages not acknowledged yet", by=("worker", "topic")),
                Panel("lines", "Stalled for", {"{{what}}": or_none(_STALLED, "what")}, units.Seconds, thresholds=_STALLS),
            ),
        ),
        Row(
            "Producer",
            (
                of("headrace_producer_records_total", "Queued for Kafka"),
                of("headrace_producer_outstanding_records", "Not confirmed by Kafka", by=("worker",)),
                of("headrace_producer_failures_total", "Refused by Kafka in an hour", by=("worker",), thresholds=above(critical=1)),
            ),
        ),
        Row(
            "Uplink",
            (
                of("headrace_uplink_records_total", "Records for the centre", by=("topic", "outcome")),
                of("headrace_uplink_seconds", "From the plant's log to the centre's", thresholds=above(warning=0.1)),
            ),
        ),
        Row(
            "Group",
            (
                of("headrace_rebalances_total", "Rebalances in an hour", by=("worker", "instance")),
                of("headrace_rebalance_seconds", "Time of the latest rebalance", by=("worker", "instance"), thresholds=above(warning=15)),
                of("headrace_recovery_remaining_records", "Changelog records still to be read", by=("worker", "instance")),
            ),
        ),
        Row(
            "Process",
            (
                of("headrace_loop_delay_seconds", "Delay of the event loop", by=("worker", "instance"), thresholds=above(warning=0.2)),
                of("headrace_kafka_silent_seconds", "Kafka silent for", by=("worker", "instance"), thresholds=above(critical=15)),
                Panel(
                    "lines",
                    "Processor",
                    {"{{worker}} {{instance}}": f"sum by (worker, instance) (rate(process_cpu_seconds_total[{RATE}]))"},
                    units.PercentUnit,
                    "Of one core; a worker uses little more than one.",
                    above(warning=0.9),
                ),
                Panel(
                    "lines",
                    "Memory",
                    {"{{worker}} {{instance}}": "sum by (worker, instance) (process_resident_memory_bytes)"},
                    units.BytesIEC,
                    "Resident. Growing while the keys in memory do not: a leak.",
                ),
            ),
        ),
    ),
)
