"""What a run of the demo came to, as tables that fit 80 columns."""

from collections.abc import Mapping
from typing import Final

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.gateway.message import Source
from deploy.demo.feed import Feed
from deploy.demo.figures import Figures
from deploy.demo.verdict import GOOD
from schemas.catalog import CITY_READINGS, CITY_WINDOWS, DEAD_LETTERS, DISTRICT_WINDOWS, LATE, LIGHTS, READINGS, WINDOWS

KNOWN_BY: Final = (
    "Acknowledged: the MQTT broker or the gateway has answered for it. "
    "In Kafka: the gateway has written it; what cannot be read is a dead letter."
)


def summary(before: Figures, after: Figures, feed: Feed, factory: pl.DataFrame, city: pl.DataFrame) -> RenderableType:
    """Everything of this run; `factory` and `city` as their simulators wrote what they sent."""
    return Group(
        _ways(before, after, feed, factory, city),
        Text(KNOWN_BY, style="dim"),
        Text(aside(before, after)),
        Text(_copies(before, after, factory), style="dim"),
        Text(""),
        _protocols(city),
        Text(""),
        *map(Text, latencies(feed)),
    )


def latencies(feed: Feed) -> list[str]:
    """A line for each kind of alert that came: how long after its measurement."""
    return [
        f"measured to alert in Kafka, of {kind}: p50 {duration(p50)}, p99 {duration(p99)} ({count:,} alert changes)"
        for kind, (count, p50, p99) in feed.delays().items()
    ] or ["no alert was raised"]


def duration(milliseconds: float) -> str:
    """As a person reads it."""
    return f"{milliseconds:,.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:,.1f} s"


def by_protocol(city: pl.DataFrame) -> Mapping[str, int]:
    """The city's acknowledged messages."""
    return dict(city.filter("acknowledged").group_by("protocol").len().iter_rows())


def aside(before: Figures, after: Figures) -> str:
    """Both domains write these to one topic each."""
    late, letters = (after.ends[topic] - before.ends[topic] for topic in (LATE.topic, DEAD_LETTERS.topic))
    return f"of both together: {late:,} late records and {letters:,} dead letters"


def _ways(before: Figures, after: Figures, feed: Feed, factory: pl.DataFrame, city: pl.DataFrame) -> Table:
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    rows = {table: count - before.rows.get(table, 0) for table, count in after.rows.items()}
    table = Table(f"this run, of {after.at - before.at:.0f} s", "factory", "city", box=None, padding=(0, 2))
    for column in table.columns[1:]:
        column.justify = "right"
    counts = {
        "messages sent by devices": (factory.height, after.devices.get("accepted", 0) - before.devices.get("accepted", 0)),
        "different ones": (factory.filter(GOOD).height, city.height),
        "acknowledged": (factory.filter("acknowledged").height, city.filter("acknowledged").height),
        "messages in Kafka": (new[READINGS.topic], after.messages - before.messages),
        "measurements in Kafka": (new[READINGS.topic], new[CITY_READINGS.topic]),
        **_watched(before, after),
        "window results": (new[WINDOWS.topic], new[CITY_WINDOWS.topic] + new[DISTRICT_WINDOWS.topic]),
        "alerts raised": (feed.raised("factory"), feed.raised("city")),
        "alerts cleared": tuple(feed.changes[domain, "CLEARED"] for domain in ("factory", "city")),
        "messages in ClickHouse": (rows.get(READINGS.sink, 0), rows.get(LIGHTS.sink, 0)),
        "measurements in ClickHouse": (rows.get(READINGS.sink, 0), rows.get(CITY_READINGS.sink, 0)),
    }
    for what, each in counts.items():
        table.add_row(what, *(f"{count:,}" for count in each))
    return table


def _watched(before: Figures, after: Figures) -> dict[str, tuple[int, int]]:
    """The ledgers of both workers: received = all others."""
    ledgers = [(before.ledger, after.ledger), (before.measurements, after.measurements)]
    outcomes = dict.fromkeys(outcome for ledger in ledgers for outcome in ledger[1])
    return {f"watched: {outcome}": tuple(then.get(outcome, 0) - first.get(outcome, 0) for first, then in ledgers) for outcome in outcomes}  # type: ignore[misc]


def _copies(before: Figures, after: Figures, factory: pl.DataFrame) -> str:
    copies = factory.filter(pl.col("fault") == "duplicate").height
    known = after.ledger.get("duplicate", 0) - before.ledger.get("duplicate", 0)
    return (
        f"The factory's devices sent {copies:,} readings twice, on purpose. A worker knows its sensor's newest reading again ({known:,}); "
        f"a copy that comes after a newer one counts as accepted ({max(copies - known, 0):,}). ClickHouse has each once."
    )


def _protocols(city: pl.DataFrame) -> Table:
    table = Table("the city's devices", "messages", "acknowledged", box=None, padding=(0, 2))
    for column in table.columns[1:]:
        column.justify = "right"
    for source in Source:
        sent = city.filter(protocol=source.value)
        table.add_row(f"over {source}", f"{sent.height:,}", f"{sent.filter('acknowledged').height:,}")
    return table
