"""The city's dashboard: do devices' messages become measurements, and are devices and districts watched."""

from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.board import FIRING, Board, Row, checks
from deploy.grafana.panels import Panel, above, of
from deploy.grafana.queries import RATE

_OF_WORKER: Final = 'worker="city"'
_OF_DOMAINS: Final = 'domain=~"city|districts"'
_CAME: Final = f'sum(rate(headrace_refined_messages_total{{outcome="received"}}[{RATE}]))'
_REJECTED: Final = f'sum(rate(headrace_refined_messages_total{{outcome=~"rejected/.+"}}[{RATE}]))'
_REPEATED: Final = f'sum(rate(headrace_refined_messages_total{{outcome="repeated"}}[{RATE}]))'

CITY: Final = Board(
    "headrace-city",
    "City",
    "Do devices' messages become measurements, and are devices and districts watched.",
    (
        Row(
            "Now",
            (
                checks(_OF_WORKER),
                FIRING,
                Panel("stat", "Open alerts", {"{{domain}}": f"sum by (domain) (headrace_open_episodes{{{_OF_DOMAINS}}})"}),
                Panel("stat", "Messages", {"": _CAME}, units.MessagesPerSecond),
                Panel(
                    "stat",
                    "Unfit messages",
                    {"": f"({_REJECTED} or vector(0)) / clamp_min({_CAME}, 1e-9)"},
                    units.PercentUnit,
                    thresholds=above(warning=0.01, critical=0.05),
                ),
                Panel(
                    "stat",
                    "Not refined yet",
                    {"": f"sum(headrace_consumer_lag_records{{{_OF_WORKER}}})"},
                    thresholds=above(warning=100_000, critical=1_000_000),
                ),
            ),
        ),
        Row(
            "Messages",
            (
                of("headrace_refined_messages_total", "Messages by what became of them", by=("outcome",)),
                of("headrace_refined_messages_total", "Messages by topic and what became of them"),
                Panel(
                    "lines",
                    "Messages that came before",
                    {"": _REPEATED},
                    units.MessagesPerSecond,
                    "Left out here: the gateway did not remember them.",
                ),
            ),
        ),
        Row(
            "Measurements",
            (
                Panel(
                    "lines",
                    "Open alerts",
                    {"{{domain}}": f"sum by (domain) (headrace_open_episodes{{{_OF_DOMAINS}}})"},
                    note="Of districts: means of hours and days above what is healthy have alerts of their own, on the desk.",
                ),
                Panel(
                    "lines",
                    "Watermark delay",
                    {"{{domain}}": f"max by (domain) (headrace_watermark_delay_seconds{{{_OF_DOMAINS}}})"},
                    units.Seconds,
                ),
                Panel(
                    "lines",
                    "Keys in memory",
                    {"{{domain}}": f"sum by (domain) (headrace_state_rows{{{_OF_DOMAINS}}})"},
                ),
            ),
        ),
    ),
)
