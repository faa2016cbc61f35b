"""Whether a demo showed what it should of factory and city: stored, windowed, alerted, and every record accounted for."""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from agents.gateway.message import Source
from deploy.demo.figures import Figures
from schemas.catalog import CITY_READINGS, CITY_WINDOWS, LIGHTS, READINGS, WINDOWS

GOOD: Final = pl.col("fault").is_in(["sound", "disorder", "late"])
"""Of the factory's readings: those to be stored, each once. What else was sent is a copy, or of no use on purpose."""


def unaccounted(before: Figures, after: Figures, sent: pl.DataFrame) -> Sequence[str]:
    """What does not add up of the factory, in words; nothing if all is well.

    `before` and `after` are of the run's start and end; `sent`: of its simulator, a row for each reading.
    """
    wrong = []
    gateway, ledger, warehouse = after.gateway, after.ledger, after.warehouse
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    good = sent.filter(GOOD).height
    if missing := sent.filter(~pl.col("acknowledged")).height:
        wrong.append(f"{missing} of the factory's {sent.height} messages were not acknowledged")
    stored = after.rows.get(READINGS.sink, 0) - before.rows.get(READINGS.sink, 0)
    if stored != good:
        wrong.append(f"{stored} of {good} good readings are in ClickHouse")
    wrong += [f"{group} is {lag} records behind" for group, lag in after.lag.items() if lag]
    received = gateway.get("received", 0) - gateway.get("passed", 0)
    if received < sent.height:
        wrong.append(f"the gateway received {received} of {sent.height} messages")
    if not _adds_up(gateway):
        wrong.append(f"the gateway's messages do not add up: {_listed(gateway)}")
    if gateway.get("produced", 0) != new[READINGS.topic]:
        wrong.append(f"the gateway produced {gateway.get('produced', 0)} readings, {new[READINGS.topic]} are new in Kafka")
    if ledger.get("received", 0) != after.ends[READINGS.topic]:
        wrong.append(f"the factory worker received {ledger.get('received', 0)} of {after.ends[READINGS.topic]} readings")
    if not _adds_up(ledger):
        wrong.append(f"the factory's ledger does not add up: {_listed(ledger)}")
    if warehouse.get("received", 0) < new[READINGS.topic] or not _adds_up(warehouse):
        wrong.append(f"the warehouse's ledger does not add up to {new[READINGS.topic]} readings: {_listed(warehouse)}")
    return wrong


def unaccounted_in_city(before: Figures, after: Figures, sent: pl.DataFrame) -> Sequence[str]:
    """What does not add up of the city, in words; `sent`: of its simulator, a row for each message."""
    wrong = []
    devices, measurements = after.devices, after.measurements
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    messages = after.messages - before.messages
    if missing := sent.filter(~pl.col("acknowledged")).height:
        wrong.append(f"{missing} of the city's {sent.height} messages were not acknowledged")
    if messages != sent.height:
        wrong.append(f"{messages} of the city's {sent.height} messages are in Kafka")
    stored = {table: after.rows.get(table, 0) - before.rows.get(table, 0) for table in (LIGHTS.sink, CITY_READINGS.sink)}
    if stored[LIGHTS.sink] != messages:
        wrong.append(f"{stored[LIGHTS.sink]} of the city's {messages} messages are in ClickHouse")
    if stored[CITY_READINGS.sink] != new[CITY_READINGS.topic]:
        wrong.append(f"{stored[CITY_READINGS.sink]} of the city's {new[CITY_READINGS.topic]} measurements are in ClickHouse")
    settled = sum(devices.get(outcome, 0) for outcome in ("delivered", "spooled", "rejected", "duplicate", "coalesced"))
    if devices.get("accepted", 0) != settled:
        wrong.append(f"the gateway's ledger of devices' messages does not add up: {_listed(devices)}")
    if devices.get("spooled"):
        wrong.append(f"{devices['spooled']} messages are still in the gateway's spool")
    if measurements.get("received", 0) != after.ends[CITY_READINGS.topic]:
        wrong.append(f"the city worker received {measurements.get('received', 0)} of {after.ends[CITY_READINGS.topic]} measurements")
    if not _adds_up(measurements):
        wrong.append(f"the city's ledger does not add up: {_listed(measurements)}")
    return wrong


def unshown(before: Figures, after: Figures, raised: Mapping[str, int], by_protocol: Mapping[str, int]) -> Sequence[str]:
    """What a whole demo shows and this did not; `raised`: alerts by domain, `by_protocol`: acknowledged by the city."""
    wrong = [f"the city sent nothing over {source}" for source in Source if not by_protocol.get(source)]
    for domain, source, windows in (("factory", READINGS, WINDOWS), ("city", CITY_READINGS, CITY_WINDOWS)):
        new = {topic: after.ends[topic] - before.ends[topic] for topic in (source.topic, windows.topic)}
        if not new[source.topic]:
            wrong.append(f"nothing came into {source.topic}")
        if not new[windows.topic]:
            wrong.append(f"no window of the {domain} was closed")
        if not raised[domain]:
            wrong.append(f"no alert of the {domain} was raised")
    return wrong


def _adds_up(ledger: Mapping[str, int]) -> bool:
    return ledger.get("received", 0) == sum(count for outcome, count in ledger.items() if outcome != "received")


def _listed(ledger: Mapping[str, int]) -> str:
    return ", ".join(f"{outcome or 'all'} {count:,}" for outcome, count in ledger.items()) or "no figures"
