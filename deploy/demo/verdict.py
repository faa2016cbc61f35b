"""Whether a demo showed what it should of factory and city: stored, windowed, alerted, and every record accounted for."""

from collections.abc import Mapping, Sequence

import polars as pl

from deploy.demo.figures import Figures
from schemas.catalog import CITY_READINGS, CITY_WINDOWS, LIGHTS, READINGS, WINDOWS


def judge(before: Figures, after: Figures, sent: int, good: int, raised: int) -> Sequence[str]:
    """What is wrong with the factory, in words; nothing if all is well.

    `before` and `after` are of the run's start and end, all lag gone; `sent` are the messages the simulator had acknowledged,
    `good` the different readings among them, `raised` the alerts raised or
    reopened.
    """
    wrong = []
    gateway, ledger, warehouse = after.gateway, after.ledger, after.warehouse
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    stored = after.rows.get(READINGS.sink, 0) - before.rows.get(READINGS.sink, 0)
    if not stored or stored != good:
        wrong.append(f"{stored} of {good} good readings are in ClickHouse")
    if not new[WINDOWS.topic]:
        wrong.append("no window was closed")
    if not raised:
        wrong.append("no alert was raised")
    wrong += [f"{group} is {lag} records behind" for group, lag in after.lag.items() if lag]
    received = gateway.get("received", 0) - gateway.get("passed", 0)
    if received < sent:
        wrong.append(f"the gateway received {received} of {sent} messages")
    if not _adds_up(gateway):
        wrong.append(f"the gateway's messages do not add up: {dict(gateway)}")
    if gateway.get("produced") != new[READINGS.topic]:
        wrong.append(f"the gateway produced {gateway.get('produced')} readings, {new[READINGS.topic]} are new in Kafka")
    if ledger.get("received") != after.ends[READINGS.topic]:
        wrong.append(f"the factory worker received {ledger.get('received')} of {after.ends[READINGS.topic]} readings")
    if not _adds_up(ledger):
        wrong.append(f"the factory's ledger does not add up: {dict(ledger)}")
    if warehouse.get("received", 0) < new[READINGS.topic] or not _adds_up(warehouse):
        wrong.append(f"the warehouse's ledger does not add up to {new[READINGS.topic]} readings: {dict(warehouse)}")
    return wrong


def judge_city(before: Figures, after: Figures, truth: pl.DataFrame, raised: int) -> Sequence[str]:
    """What is wrong with the city, in words; `truth`: of its simulator, a row for each message; `raised`: alerts."""
    wrong = []
    devices, measurements = after.devices, after.measurements
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    messages = after.messages - before.messages
    if missing := truth.filter(~pl.col("acknowledged")).height:
        wrong.append(f"{missing} of the city's {truth.height} messages were not acknowledged")
    if not messages or messages != truth.height:
        wrong.append(f"{messages} of the city's {truth.height} messages are in Kafka")
    stored = {table: after.rows.get(table, 0) - before.rows.get(table, 0) for table in (LIGHTS.sink, CITY_READINGS.sink)}
    if stored[LIGHTS.sink] != messages:
        wrong.append(f"{stored[LIGHTS.sink]} of the city's {messages} messages are in ClickHouse")
    if not new[CITY_READINGS.topic] or stored[CITY_READINGS.sink] != new[CITY_READINGS.topic]:
        wrong.append(f"{stored[CITY_READINGS.sink]} of the city's {new[CITY_READINGS.topic]} measurements are in ClickHouse")
    if not new[CITY_WINDOWS.topic]:
        wrong.append("no window of the city was closed")
    if not raised:
        wrong.append("no alert of the city was raised")
    settled = sum(devices.get(outcome, 0) for outcome in ("delivered", "spooled", "rejected", "duplicate"))
    if not devices.get("accepted") or devices["accepted"] != settled:
        wrong.append(f"the gateway's ledger of devices' messages does not add up: {dict(devices)}")
    if devices.get("spooled"):
        wrong.append(f"{devices['spooled']} messages are still in the gateway's spool")
    if measurements.get("received") != after.ends[CITY_READINGS.topic]:
        wrong.append(f"the city worker received {measurements.get('received')} of {after.ends[CITY_READINGS.topic]} measurements")
    if not _adds_up(measurements):
        wrong.append(f"the city's ledger does not add up: {dict(measurements)}")
    return wrong


def _adds_up(ledger: Mapping[str, int]) -> bool:
    return ledger.get("received", 0) == sum(count for outcome, count in ledger.items() if outcome != "received")
