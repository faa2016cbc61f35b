"""The demo's screen: what flows, how fast, how far behind, and the newest alerts, as far as the terminal has lines."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.alerts import Status
from deploy.demo.feed import Feed
from deploy.demo.figures import Figures
from deploy.demo.summary import aside, duration
from schemas.catalog import CITY_READINGS, CITY_WINDOWS, DISTRICT_WINDOWS, LIGHTS, READINGS, WINDOWS

BARS: Final = " ▁▂▃▄▅▆▇█"
HISTORY: Final = 30
WIDE: Final = 100
"""Columns, from which on an alert's severity and device have their own."""
KEEPS_UP: Final = "the machine keeps up"
STARTS: Final = "nothing comes: the devices are starting, or say nothing"
STYLES: Final = {
    Status.RAISED: "bold red",
    Status.REOPENED: "red",
    Status.ESCALATED: "bold red",
    Status.DEESCALATED: "yellow",
    Status.CLEARED: "green",
}
Row = tuple[str, tuple[int, int, int | None], tuple[int, int, int | None]]
"""What, and of factory and city: count in this run, a second ago, records behind."""


class Screen:
    """Renders figures one after the other; counts are of this run, rates between two of them."""

    def __init__(self, begin: Figures, ports: Mapping[str, int]) -> None:
        self._begin = self._before = begin
        self._ports = ports
        self._rates: dict[str, deque[float]] = {topic: deque(maxlen=HISTORY) for topic in (READINGS.topic, "messages")}

    def render(self, figures: Figures, feed: Feed, seconds: float, behind: str, size: ConsoleDimensions) -> RenderableType:
        """Everything, `seconds` after the start; `behind`: what the machine does not keep up with."""
        before, self._before = self._before, figures
        step = max(figures.at - before.at, 1e-9)
        for what, rates in self._rates.items():
            rates.append(max(_count(figures, what) - _count(before, what), 0) / step)
        lines: list[RenderableType] = [
            _line(f"Headrace demo, {int(seconds) // 60}:{int(seconds) % 60:02} so far", "Ctrl-C ends it", size.width),
            _table(rows(figures, before, self._begin), step),
            Text(aside(self._begin, figures)),
            *(
                Text(f"{name} a second {_sparkline(rates)}", style="cyan", no_wrap=True, overflow="ellipsis")
                for name, rates in zip(("readings", "messages"), self._rates.values(), strict=True)
            ),
            *(Text(line, no_wrap=True, overflow="ellipsis") for line in _latencies(feed)),
            Text(behind or (KEEPS_UP if self._rates["messages"][-1] else STARTS), style="yellow" if behind else "dim"),
            Text(f"http://127.0.0.1:PORT/api  {'  '.join(f'{name} {port}' for name, port in self._ports.items())}", style="dim"),
        ]
        used = sum(_height(line, size.width) for line in lines)
        lines.append(_alerts(feed, size.width, max(1, size.height - used - 1)))
        return Group(*lines)


def line(figures: Figures, begin: Figures, before: Figures, feed: Feed) -> str:
    """The same in one line, for a log."""
    rate = (figures.ends[READINGS.topic] - before.ends[READINGS.topic]) / max(figures.at - before.at, 1e-9)
    behind = ", ".join(f"{group} {lag:,}" for group, lag in figures.lag.items())
    new = {topic: end - begin.ends[topic] for topic, end in figures.ends.items()}
    return (
        f"{new[READINGS.topic]:,} readings, {rate:,.0f}/s; behind: {behind}; {new[WINDOWS.topic]:,} windows, "
        f"{feed.raised('factory')} alerts raised, {_stored(figures, begin, READINGS.sink):,} readings in ClickHouse; "
        f"city: {figures.messages - begin.messages:,} messages, {new[CITY_WINDOWS.topic]:,} windows, {feed.raised('city')} alerts "
        f"raised, {figures.devices.get('spooled', 0):,} spooled"
    )


def rows(figures: Figures, before: Figures, begin: Figures) -> Sequence[Row]:
    """What the table says."""

    def of(counted: Callable[[Figures], int], group: str = "") -> tuple[int, int, int | None]:
        return counted(figures) - counted(begin), max(counted(figures) - counted(before), 0), figures.lag.get(group)

    def ends(*topics: str) -> tuple[int, int, int | None]:
        return of(lambda each: sum(each.ends.get(topic, 0) for topic in topics))

    return [
        (
            "taken by the gateway",
            of(lambda each: each.gateway.get("received", 0) - each.gateway.get("passed", 0)),
            of(lambda each: each.devices.get("accepted", 0)),
        ),
        ("messages in Kafka", ends(READINGS.topic), of(lambda each: each.messages)),
        ("measurements in Kafka", ends(READINGS.topic), ends(CITY_READINGS.topic)),
        (
            "watched by workers",
            of(lambda each: each.ledger.get("received", 0), "factory"),
            of(lambda each: each.measurements.get("received", 0), "city"),
        ),
        ("window results", ends(WINDOWS.topic), ends(CITY_WINDOWS.topic, DISTRICT_WINDOWS.topic)),
        (
            "rows in ClickHouse",
            of(lambda each: each.rows.get(READINGS.sink, 0), "warehouse"),
            of(lambda each: each.rows.get(LIGHTS.sink, 0) + each.rows.get(CITY_READINGS.sink, 0)),
        ),
    ]


def _height(shown: RenderableType, width: int) -> int:
    if isinstance(shown, Table):
        return shown.row_count + 1
    return 1 if not isinstance(shown, Text) or shown.no_wrap else max(1, len(shown.wrap(Console(width=width), width)))


def _count(figures: Figures, what: str) -> int:
    return figures.messages if what == "messages" else figures.ends.get(what, 0)


def _stored(figures: Figures, begin: Figures, sink: str) -> int:
    return figures.rows.get(sink, 0) - begin.rows.get(sink, 0)


def _line(left: str, right: str, width: int) -> Text:
    return Text(f"{left}{right:>{max(1, width - len(left))}}", style="bold", no_wrap=True, overflow="ellipsis")


def _table(lines: Sequence[Row], seconds: float) -> Table:
    table = Table("", "factory", "/s", "behind", "city", "/s", "behind", box=None, padding=(0, 1), pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
        column.min_width = 7
    for what, *each in lines:
        table.add_row(
            what,
            *(cell for count, new, lag in each for cell in (f"{count:,}", f"{new / seconds:,.0f}", "" if lag is None else f"{lag:,}")),
        )
    return table


def _latencies(feed: Feed) -> list[str]:
    return [
        f"measured → alert, {kind}: p50 {duration(p50)}, p99 {duration(p99)} ({count:,})"
        for kind, (count, p50, p99) in feed.delays().items()
    ] or ["measured → alert: none so far"]


def _alerts(feed: Feed, width: int, most: int) -> Table:
    wide = width >= WIDE
    table = Table("at", "alert", *(("severity", "device") if wide else ()), "message", box=None, padding=(0, 1), pad_edge=False)
    for column in table.columns[:-1]:
        column.no_wrap = True  # only the message is cut
    for alert in list(feed.newest)[:most]:
        at = datetime.fromtimestamp(alert["changed_at"] / 1000, UTC).astimezone().strftime("%H:%M:%S")
        status = Text(alert["status"], style=STYLES[alert["status"]])
        message = Text(alert["message"], no_wrap=True, overflow="ellipsis")
        table.add_row(at, status, *((alert["severity"], alert["device_id"]) if wide else ()), message)
    return table


def _sparkline(values: deque[float]) -> str:
    top = max(values, default=0) or 1
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in values) + f"  up to {top:,.0f}"
