"""The demo's screen: what flows, how fast, how far behind, and the newest alerts."""

from collections import deque
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.alerts import Status
from deploy.demo.figures import Feed, Figures
from schemas.catalog import ALERTS, COMMAND_EVENTS, COMMANDS, DEAD_LETTERS, LATE, READINGS, WINDOWS

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
        table = Table("", "records", "per second", "behind", box=None, padding=(0, 2))
        for column in table.columns[1:]:
            column.justify = "right"
        for what, count, earlier, behind in _rows(figures, before):
            table.add_row(what, f"{count:,}", f"{max(count - earlier, 0) / seconds:,.0f}", behind)
        delays = feed.delay_ms(50), feed.delay_ms(99)
        latency = "" if None in delays else "measured → alert in Kafka  p50 {:.0f} ms  p99 {:.0f} ms".format(*delays)
        plot = Text(_sparkline(self._rates), style="cyan")
        return Group(
            Panel(table, title="the line"), Panel(plot, title="readings per second"), Panel(_alerts(feed), title="newest alerts"), latency
        )

    def line(self, figures: Figures, feed: Feed) -> str:
        """The same in one line, for a log."""
        before, self._before = self._before or figures, figures
        rate = (figures.ends[READINGS.topic] - before.ends[READINGS.topic]) / max(figures.at - before.at, 1e-9)
        behind = ", ".join(f"{group} {lag}" for group, lag in figures.lag.items())
        return (
            f"{figures.ends[READINGS.topic]:,} readings, {rate:,.0f}/s; behind: {behind}; {figures.ends[WINDOWS.topic]:,} windows, "
            f"{feed.changes['RAISED']} alerts raised, {figures.rows.get(READINGS.sink, 0):,} readings in ClickHouse"
        )


def _rows(figures: Figures, before: Figures) -> list[tuple[str, int, int, str]]:
    rows = [("MQTT messages in", figures.gateway.get("received", 0), before.gateway.get("received", 0), "")]
    topics = (READINGS, WINDOWS, ALERTS, COMMANDS, COMMAND_EVENTS, LATE, DEAD_LETTERS)
    rows += [(topic.topic, figures.ends[topic.topic], before.ends[topic.topic], "") for topic in topics]
    watched, was = figures.ledger.get("received", 0), before.ledger.get("received", 0)
    rows.append(("watched by the factory worker", watched, was, f"{figures.lag['factory']:,}"))
    stored, had = sum(figures.rows.values()), sum(before.rows.values())
    rows.append(("rows in ClickHouse", stored, had, f"{figures.lag['warehouse']:,}"))
    return rows


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
