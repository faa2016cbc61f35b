"""The ledger's dashboard: what became of every record, from the device to the table."""

from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Panel, above, of
from deploy.grafana.queries import RATE
from schemas.catalog import DEAD_LETTERS, LATE, READINGS

_RECEIVED: Final = 'headrace_ledger_records_total{outcome="received"}'
_OTHERS: Final = 'headrace_ledger_records_total{outcome!="received"}'
_LANE: Final = "by (instance, domain, partition)"
_UNACCOUNTED: Final = f"abs(sum {_LANE} ({_RECEIVED}) - sum {_LANE} ({_OTHERS}))"
_REJECTED: Final = 'headrace_ledger_records_total{outcome=~"rejected/.+"}'


def _share(title: str, outcome: str, warning: float) -> Panel:
    records = f'sum(rate(headrace_ledger_records_total{{outcome=~"{outcome}"}}[{RATE}]))'
    query = f"({records} or vector(0)) / sum(rate({_RECEIVED}[{RATE}]))"
    return Panel("stat", title, {"": query}, units.PercentUnit, thresholds=above(warning=warning, critical=5 * warning))


def _written(topic: str) -> str:
    return f'sum(rate(headrace_producer_records_total{{topic="{topic}"}}[{RATE}]))'


LEDGER: Final = Board(
    "headrace-ledger",
    "Ledger",
    "What became of every record, from the device to the table.",
    (
        Row(
            "Now",
            (
                Panel("stat", "Unaccounted for", {"": f"max({_UNACCOUNTED})"}, thresholds=above(critical=1)),
                _share("Rejected", "rejected/.+", 0.01),
                _share("Late", "late", 0.01),
                _share("Duplicate", "duplicate", 0.05),
            ),
        ),
        Row(
            "Along the line",
            (
                Panel(
                    "lines",
                    "Readings",
                    {
                        "from devices": f'sum(rate(headrace_gateway_messages_total{{outcome="received"}}[{RATE}]))',
                        "in Kafka": _written(READINGS.topic),
                        "judged": f"sum(rate({_RECEIVED}[{RATE}]))",
                        "stored": f'sum(rate(headrace_warehouse_records_total{{topic="{READINGS.topic}", outcome="stored"}}[{RATE}]))',
                    },
                    units.RecordsPerSecond,
                    "The lines lie on each other. One that stays below those before it is where records wait, or are rejected.",
                ),
                of("headrace_gateway_messages_total", "Messages from devices"),
                of("headrace_warehouse_records_total", "Records at the warehouse", by=("outcome",)),
            ),
        ),
        Row(
            "Devices' messages",
            (
                of("headrace_device_messages_total", "Messages by what became of them", by=("outcome",)),
                of("headrace_spooled_messages", "Waiting on gateways' disks"),
                of("headrace_spooled_bytes", "What they take"),
                of("headrace_lower_qos_messages_total", "Of lower quality of service than agreed"),
            ),
        ),
        Row(
            "Devices",
            (
                of("headrace_devices", "Devices by how they are", by=("status",)),
                of("headrace_repeating_devices", "Devices of which only duplicates come"),
                of("headrace_unfit_devices_total", "Unfit records of devices"),
            ),
        ),
        Row(
            "At the gateway's door",
            (
                of("headrace_gateway_logins_total", "Logins", by=("outcome",)),
                of("headrace_turned_away_messages_total", "Messages turned away"),
                of("headrace_sparkplug_nodes", "Sparkplug edge nodes"),
                of("headrace_sparkplug_rebirths_total", "Births asked of edge nodes"),
                of("headrace_unfit_credentials_total", "Unfit credentials"),
            ),
        ),
        Row(
            "Commands to machines",
            (
                of("headrace_commands_total", "Commands"),
                of("headrace_command_seconds", "From measurement to command", thresholds=above(warning=0.05)),
            ),
        ),
        Row(
            "Commands to the city",
            (
                of("headrace_city_commands_total", "Commands"),
                of("headrace_waiting_commands", "Waiting for their device"),
            ),
        ),
        Row(
            "Domains",
            (
                Panel(
                    "areas",
                    "Records by what became of them",
                    {
                        "{{outcome}}": f'sum by (outcome) (rate(headrace_ledger_records_total{{outcome!~"received|rejected/.+"}}[{RATE}]))',
                        "rejected": f"sum(rate({_REJECTED}[{RATE}])) or vector(0)",
                    },
                    units.RecordsPerSecond,
                ),
                Panel(
                    "areas",
                    "Rejects by reason",
                    {"{{outcome}}": f"sum by (outcome) (rate({_REJECTED}[{RATE}]))"},
                    units.RecordsPerSecond,
                    "schemas/rejects.py lists what to look at for each.",
                ),
                Panel(
                    "lines",
                    "Unaccounted for",
                    {"{{domain}} {{partition}}": f"max by (domain, partition) ({_UNACCOUNTED})"},
                    thresholds=above(critical=1),
                ),
                Panel(
                    "lines",
                    "Set aside",
                    {"dead letters": _written(DEAD_LETTERS.topic), "late records": _written(LATE.topic)},
                    units.RecordsPerSecond,
                ),
            ),
        ),
    ),
)
