"""The demo's screen: what flows, how fast, how far behind, and the newest alerts."""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.alerts import Status
from deploy.demo.figures import Feed, Figures
from schemas.catalog import (
    ALERTS,
    CITY_READINGS,
    CITY_WINDOWS,
    COMMAND_EVENTS,
    COMMANDS,
    DEAD_LETTERS,
    DISTRICT_WINDOWS,
    LATE,
    MESSAGES,
    READINGS,
    WINDOWS,
)

BARS: Final = " ▁▂▃▄▅▆▇█"
HISTORY: Final = 60
STYLES: Final = {
    Status.RAISED: "bold red",
    Status.REOPENED: "red",
    Status.ESCALATED: "bold red",
    Status.DEESCALATED: "yellow",
    Status.CLEARED: "green",
}


class Screen:
    """Renders figures one after the other; rates are between two of them."""

    def __init__(self) -> None:
        self._before: Figures | None = None
        self._rates: deque[float] = deque(maxlen=HISTORY)

    def render(self, figures: Figures, feed: Feed) -> RenderableType:
        """Everything, for a live display."""
        before, self._before = self._before or figures, figures
        seconds = max(figures.at - before.at, 1e-9)
        self._rates.append((figures.ends[READINGS.topic] - before.ends[READINGS.topic]) / seconds)
        factory, city = (_table(rows(figures, before), seconds) for rows in (_rows, _city_rows))
        delays = feed.delay_ms(50), feed.delay_ms(99)
        latency = "" if None in delays else "measured → alert in Kafka  p50 {:.0f} ms  p99 {:.0f} ms".format(*delays)
        plot = Text(_sparkline(self._rates), style="cyan")
        return Group(
            Columns([Panel(factory, title="the factory"), Panel(city, title="the city")]),
            Panel(plot, title="readings per second"),
            Panel(_alerts(feed), title="newest alerts"),
            latency,
        )

    def line(self, figures: Figures, feed: Feed) -> str:
        """The same in one line, for a log."""
        before, self._before = self._before or figures, figures
        rate = (figures.ends[READINGS.topic] - before.ends[READINGS.topic]) / max(figures.at - before.at, 1e-9)
        behind = ", ".join(f"{group} {lag}" for group, lag in figures.lag.items())
        return (
            f"{figures.ends[READINGS.topic]:,} readings, {rate:,.0f}/s; behind: {behind}; {figures.ends[WINDOWS.topic]:,} windows, "
            f"{feed.changes['factory', 'RAISED']} alerts raised, {figures.rows.get(READINGS.sink, 0):,} readings in ClickHouse; "
            f"city: {figures.messages:,} messages, {figures.ends[CITY_WINDOWS.topic]:,} windows, {feed.changes['city', 'RAISED']} alerts "
            f"raised, {figures.devices.get('spooled', 0):,} spooled"
        )


def _table(rows: Sequence[tuple[str, int, int, str]], seconds: float) -> Table:
    table = Table("", "records", "per second", "behind", box=None, padding=(0, 2))
    for column in table.columns[1:]:
        column.justify = "right"
    for what, count, earlier, behind in rows:
        table.add_row(what, f"{count:,}", f"{max(count - earlier, 0) / seconds:,.0f}", behind)
    return table


def _rows(figures: Figures, before: Figures) -> list[tuple[str, int, int, str]]:
    rows = [("MQTT messages in", figures.gateway.get("received", 0), before.gateway.get("received", 0), "")]
    topics = (READINGS, WINDOWS, ALERTS, COMMANDS, COMMAND_EVENTS, LATE, DEAD_LETTERS)
    rows += [(topic.topic, figures.ends[topic.topic], before.ends[topic.topic], "") for topic in topics]
    watched, was = figures.ledger.get("received", 0), before.ledger.get("received", 0)
    rows.append(("watched by the factory worker", watched, was, f"{figures.lag['factory']:,}"))
    stored, had = sum(figures.rows.values()), sum(before.rows.values())
    rows.append(("rows in ClickHouse", stored, had, f"{figures.lag['warehouse']:,}"))
    return rows


def _city_rows(figures: Figures, before: Figures) -> list[tuple[str, int, int, str]]:
    outcomes = ("accepted", "delivered", "duplicate", "spooled")
    rows = [(f"messages {outcome}", figures.devices.get(outcome, 0), before.devices.get(outcome, 0), "") for outcome in outcomes]
    shown = [contract for contract in MESSAGES if figures.ends[contract.topic]] + [CITY_READINGS, CITY_WINDOWS, DISTRICT_WINDOWS]
    rows += [(contract.topic, figures.ends[contract.topic], before.ends[contract.topic], "") for contract in shown]
    watched, was = figures.measurements.get("received", 0), before.measurements.get("received", 0)
    return [*rows, ("watched by the city worker", watched, was, f"{figures.lag['city']:,}")]


def _alerts(feed: Feed) -> Table:
    table = Table("at", "status", "severity", "device", "message", box=None, padding=(0, 2))
    for alert in feed.newest:
        at = datetime.fromtimestamp(alert["changed_at"] / 1000, UTC).strftime("%H:%M:%S")
        status = Text(alert["status"], style=STYLES[alert["status"]])
        table.add_row(at, status, alert["severity"], alert["device_id"], alert["message"])
    return table


def _sparkline(values: deque[float]) -> str:
    top = max(values, default=0) or 1
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in values) + f"  up to {top:,.0f}"
